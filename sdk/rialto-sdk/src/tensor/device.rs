//! The devices that run operations.

use super::Error;
use crate::bindings::compute::rialto::tensor::devices;

pub use devices::{Device, Kind};

/// The devices that this host offers, the default first.
#[must_use]
pub fn list() -> Vec<Device> {
    devices::list()
}

/// The device on which this call's operations run.
///
/// # Errors
/// [`Error::Unsupported`] if the host offers none.
pub fn current() -> Result<Device, Error> {
    Ok(devices::current()?)
}

/// Runs what was recorded, moves this call's tensors to the device of this name, and runs all later
/// operations there.
///
/// # Errors
/// [`Error::InvalidArgument`] if the host has no such device, and else as
/// [`Tensor::evaluate`](super::Tensor::evaluate).
pub fn choose(name: &str) -> Result<(), Error> {
    Ok(devices::choose(name)?)
}

//! The call in progress. Needs the grant `context`.

use std::time::Duration;

use crate::bindings::call::rialto::service::context;

/// Execution time left before the host stops this call.
#[must_use]
pub fn time_left() -> Duration {
    Duration::from_millis(context::time_left_ms())
}

/// The name of this call: the identifier of the receipt that a paid call will carry.
#[must_use]
pub fn call_id() -> String {
    context::call_id()
}

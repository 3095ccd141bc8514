//! Lines for the host operator. Needs the grant `log`.
//!
//! Beyond a call's allowance, the host drops lines and counts them. Never log what a caller sent.
//!
//! ```no_run
//! rialto_sdk::log::warn(format_args!("{} texts truncated", 3));
//! ```

use std::fmt::Display;

use crate::bindings::call::rialto::service::log::{Level, write};

/// Detail for the author.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message.to_string());
}

/// Normal events.
pub fn info(message: impl Display) {
    write(Level::Info, &message.to_string());
}

/// Something unexpected that the service survived.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message.to_string());
}

/// Something that made the call fail.
pub fn error(message: impl Display) {
    write(Level::Error, &message.to_string());
}

//! The service's settings and secrets. Needs the grant `config`, or names in `[config]` or `secrets`.
//!
//! ```no_run
//! let greeting = rialto_sdk::config::get("greeting").unwrap_or_default();
//! ```

use crate::bindings::config::wasi::config::store;

/// The value of a setting or a secret; none if the manifest names no such.
///
/// # Panics
/// If the host cannot read it, which no Rialto host says.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    match store::get(name) {
        Ok(value) => value,
        Err(error) => panic!("the host has no settings: {error:?}"),
    }
}

/// All settings and secrets by their names.
///
/// # Panics
/// As [`get`].
#[must_use]
pub fn all() -> Vec<(String, String)> {
    match store::get_all() {
        Ok(all) => all,
        Err(error) => panic!("the host has no settings: {error:?}"),
    }
}

//! Pure registry types: what a service is called, what it may touch, which models it runs, what its
//! calls may use and what they cost.
//!
//! The centre is [`Manifest`]: parsed once from a [`RawManifest`] (the shape of `service.toml`) with
//! every problem reported at once, and correct by construction from then on.
//!
//! Non-goals: reading files, fetching artifacts, signing, networks, clocks. Decoding the TOML text is
//! the node's; this crate only says what the decoded value must look like.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::iter_over_hash_type
    )
)]

pub mod digest;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grants;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod origin;
pub mod outline;
mod prices;
pub mod problem;
pub mod raw;
mod royalty;
mod settings;
pub mod source;

pub use digest::Digest;
pub use grants::{Grants, WasiGroup};
pub use limits::Limits;
pub use manifest::{Manifest, ModelGrant};
pub use name::{MethodName, Name};
pub use origin::Origin;
pub use outline::Outline;
pub use problem::{ManifestErrors, Problem};
pub use raw::RawManifest;
pub use source::Source;

#[cfg(test)]
mod tests;

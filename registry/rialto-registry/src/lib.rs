//! Pure registry types: what a service is called, what it may touch, which models it runs, what its
//! calls may use and what they cost; who published it, who offers it, and whose its name is.
//!
//! The centre is [`Manifest`]: parsed once from a [`RawManifest`] (the shape of `service.toml`) with
//! every problem reported at once, and correct by construction from then on. What travels between
//! strangers is signed: a [`SignedManifest`] by its publisher's account, a [`SignedOffer`] by the peer
//! and the host that run the service. [`NameBook`] says by the chain's log who owns a name.
//!
//! Non-goals: reading files, fetching artifacts, networks, clocks. Decoding the TOML text is
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

pub mod agent;
pub mod digest;
pub mod envelope;
pub mod erc8004;
mod fixed;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grants;
pub mod index;
pub mod limits;
pub mod lookalike;
pub mod manifest;
pub mod name;
pub mod names;
pub mod offer;
pub mod origin;
pub mod outline;
pub mod peer;
mod prices;
pub mod problem;
pub mod raw;
pub mod registration;
pub mod reputation;
pub mod router;
mod royalty;
mod settings;
pub mod signed_manifest;
pub mod source;

pub use agent::{AgentId, RegistryId};
pub use digest::Digest;
pub use grants::{Callees, Grants, WasiGroup};
pub use index::{Index, IndexLimits};
pub use limits::Limits;
pub use lookalike::LookAlikes;
pub use manifest::{Manifest, ModelGrant};
pub use name::{MethodName, Name};
pub use names::{NameBook, Status};
pub use offer::{Offer, SignedOffer};
pub use origin::Origin;
pub use outline::Outline;
pub use peer::{PeerId, PeerKey};
pub use problem::{ManifestErrors, Problem};
pub use raw::RawManifest;
pub use registration::Registration;
pub use reputation::{Reputation, ReputationConfig};
pub use signed_manifest::SignedManifest;
pub use source::Source;

#[cfg(test)]
mod tests;

//! Content-addressed artifacts: store, fetch and verify.
//!
//! An artifact is a file named by the SHA-256 of its bytes. [`Store`] keeps them in one flat folder,
//! `<dir>/<64 hex digits>`, so that any tool can look one up; a file appears under its name only
//! complete, synced and verified, by an atomic rename. [`Store::fetch_any`] gets a missing artifact
//! from the first [`Source`](rialto_registry::Source) that has it (a file, a Python wheel, an address,
//! an OCI registry, an object store, a model hub) or from [`Peers`], and goes on where an earlier
//! fetch broke off.
//!
//! Where the bytes come from never matters for safety: the digest decides what is accepted. Where this
//! machine is sent to does: what strangers name is fetched by [`Store::for_strangers`]. Who gave wrong bytes is [remembered](Marks). A store that is full evicts what was not used for longest, but
//! nothing that is [pinned](Store::pin) or [in use](Store::hold).
//!
//! Non-goals: deciding which artifacts are wanted, and speaking with peers; the node does both.

mod collect;
mod config;
mod error;
mod fetch;
mod folder;
mod held;
mod http;
mod hub;
mod incoming;
mod landing;
mod local;
mod marks;
mod object;
mod oci;
mod peers;
mod pins;
mod pip;
mod progress;
mod publish;
mod quota;
mod remote;
mod serve;
mod store;
mod wheel;

pub use collect::{Collected, Entry};
pub use config::{Config, RegistryLogin, Secret};
pub use error::{CollectError, FetchError, OpenError, PinError, PutError, ReadError};
pub use held::Held;
pub use http::IsPublic;
pub use marks::{Culprit, Fault, MARKS_MAX, MarkFn, Marks};
pub use oci::OciError;
pub use peers::{
    PROVIDERS_MAX, PeerError, PeerFailure, PeerName, PeerNameError, Peers, PeersError,
};
pub use pins::{PinOwner, PinOwnerError};
pub use progress::{Progress, ProgressFn, silent};
pub use publish::PublishError;
pub use store::Store;

#[cfg(test)]
mod tests;

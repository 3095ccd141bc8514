//! Finding providers without a directory that anybody owns: the libp2p driver.
//!
//! A node publishes signed records under [`Key`]s at the peers nearest to them, finds others' records by
//! asking peers ever nearer, hears news by gossip, opens streams for calls, relayed where there is no
//! other way, and fetches parts of artifacts. [`Discovery`] is the handle.
//!
//! What a record means is not known here: a [`Judge`] says whether it is good and which keys it has. What
//! strangers send is bounded in size, rate and memory, by peer and by network, and who sends what nobody
//! honest would is shut out for a while.
//!
//! This crate alone imports libp2p, and nothing of libp2p shows in its interface.
//!
//! Non-goals: deciding which provider to use, HTTP, what an offer says, keeping artifacts.

mod admission;
mod artifacts;
mod ask;
mod book;
mod cache;
mod config;
mod context;
mod counters;
mod crowds;
mod dials;
mod discovery;
mod find;
mod gate;
mod gossip;
mod gossip_task;
mod identity;
mod judge;
mod key;
mod lookup;
mod mesh;
mod muxer;
mod pauses;
mod pointers;
mod prefix;
mod publish;
mod rates;
mod retries;
mod scores;
mod server;
mod shelf;
pub mod simulation;
mod streams;
mod swarm;
mod table;
mod transport;
mod wire;

pub use artifacts::FetchError;
pub use config::{Clock, Config, Limits, Network, Periods, PointerLimits, Reach, TableLimits};
pub use counters::{Levels, Snapshot};
pub use discovery::{AnnounceError, Discovery, Event, Incoming, Started, WANT};
pub use find::{Found, Record};
pub use gossip::{BadTopic, Topic};
pub use identity::{Address, Identity, ParseAddressError, ParsePeerError, PeerKey};
pub use judge::{
    ADDRESSES_MAX, Blobs, CHUNK_BYTES, CHUNKS_MAX, Judge, Judged, KEYS_MAX, NoBlobs, Outline,
    RECORD_BYTES_MAX, Refusal, Subject, UnixSeconds,
};
pub use key::Key;
pub use mesh::StartError;
pub use publish::{Placed, PublishError, Published};
pub use rates::Rate;
pub use streams::{OpenError, Protocol, Stream};
pub use transport::BuildError;

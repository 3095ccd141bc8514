//! Keys: where in the network something is registered.
//!
//! A key is the multihash (0x12 0x20) of the SHA-256 of `rialto:v1:<kind>:<value>`, so that any Kademlia
//! implementation can look it up, and nobody chooses where it lies.
//!
//! Not here: what stands under a key.

use std::fmt;

use rialto_registry::Digest;

use crate::PeerKey;

/// A place in the network's keyspace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; Key::BYTES]);

impl Key {
    /// A key's length: the multihash's two leading bytes and the digest.
    pub const BYTES: usize = 34;

    /// Of a service, by its name.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::of("service", name)
    }

    /// Of an interface, by its name.
    #[must_use]
    pub fn interface(name: &str) -> Self {
        Self::of("interface", name)
    }

    /// Of a tag within a region: what is popular everywhere has a key in every region.
    #[must_use]
    pub fn tag(tag: &str, region: &str) -> Self {
        // The tag's length keeps ("a", "b:c") and ("a:b", "c") apart.
        Self::of("tag", &format!("{}:{tag}:{region}", tag.len()))
    }

    /// Of an artifact, by its digest.
    #[must_use]
    pub fn artifact(digest: &Digest) -> Self {
        Self::of("artifact", &digest.to_string())
    }

    /// Of a peer: what it publishes is found by its name too.
    #[must_use]
    pub fn peer(peer: PeerKey) -> Self {
        Self::of("peer", &peer.to_string())
    }

    /// Of a gossip topic: where its subscribers meet.
    pub(crate) fn topic(name: &str) -> Self {
        Self::of("topic", name)
    }

    /// Reads a key that came over the network.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = bytes.try_into().ok()?;
        (bytes[..2] == PREFIX).then_some(Self(bytes))
    }

    /// The multihash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn of(kind: &str, value: &str) -> Self {
        let digest = Digest::of(format!("rialto:v1:{kind}:{value}").as_bytes());
        let mut bytes = [0; Self::BYTES];
        bytes[..2].copy_from_slice(&PREFIX);
        bytes[2..].copy_from_slice(digest.as_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(")?;
        for byte in &self.0[2..6] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "..)")
    }
}

/// SHA-256, 32 bytes: the head of the multihash.
const PREFIX: [u8; 2] = [0x12, 0x20];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_multihash_of_its_text() {
        let key = Key::service("alice/echo");
        assert_eq!(key.as_bytes()[..2], [0x12, 0x20]);
        assert_eq!(
            key.as_bytes()[2..],
            *Digest::of(b"rialto:v1:service:alice/echo").as_bytes()
        );
        assert_eq!(Key::from_bytes(key.as_bytes()), Some(key));
    }

    #[test]
    fn kinds_and_parts_do_not_run_together() {
        assert_ne!(Key::service("a"), Key::interface("a"));
        assert_ne!(Key::tag("a", "b:c"), Key::tag("a:b", "c"));
    }

    #[test]
    fn other_bytes_are_no_key() {
        assert_eq!(Key::from_bytes(&[0; Key::BYTES]), None);
        assert_eq!(Key::from_bytes(&[0x12; 3]), None);
    }
}

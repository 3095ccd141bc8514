//! Records for simulations and tests: a payload, signed by its peer and nothing else.
//!
//! Not here: offers, which the registry's crate makes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;

use crate::judge::{Judge, Judged, Refusal, Subject, UnixSeconds};
use crate::{Address, Discovery, Identity, Key, PeerKey};

/// What a plain record says. Its subject is the service's name and the peer.
#[derive(Clone, PartialEq, Message)]
pub struct PlainRecord {
    /// The peer's name.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// The service's name, under whose key it stands.
    #[prost(string, tag = "2")]
    pub service: String,
    /// The record's number.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// When it ends, in seconds since the epoch.
    #[prost(uint64, tag = "4")]
    pub expires: u64,
    /// Where the peer is reached.
    #[prost(string, repeated, tag = "5")]
    pub addresses: Vec<String>,
    /// Anything else, to make it longer.
    #[prost(bytes = "vec", tag = "6")]
    pub padding: Vec<u8>,
}

/// Judges plain records by their signature and end.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainJudge;

impl PlainRecord {
    /// A first record of a node's service, with the addresses it has now.
    #[must_use]
    pub fn of(node: &Discovery, service: &str, valid: Duration) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            peer: node.peer().to_string(),
            service: service.to_owned(),
            seq: 1,
            expires: now.saturating_add(valid).as_secs(),
            addresses: node.addresses().iter().map(ToString::to_string).collect(),
            padding: Vec::new(),
        }
    }

    /// The record with its signature in front: 64 bytes.
    #[must_use]
    pub fn sign(&self, identity: &Identity) -> Bytes {
        let payload = self.encode_to_vec();
        let mut record = identity.sign(&signed(&payload));
        record.extend(payload);
        record.into()
    }
}

impl Judge for PlainJudge {
    fn judge(&self, record: &[u8], _from: PeerKey, now: UnixSeconds) -> Result<Judged, Refusal> {
        let (signature, payload) = record.split_at_checked(64).ok_or(Refusal::Malformed)?;
        let plain = PlainRecord::decode(payload).map_err(|_| Refusal::Malformed)?;
        let publisher: PeerKey = plain.peer.parse().map_err(|_| Refusal::Malformed)?;
        if !publisher.signed(&signed(payload), signature) {
            return Err(Refusal::Forged);
        }
        if plain.expires <= now.0 {
            return Err(Refusal::Expired);
        }
        let addresses = plain.addresses.iter().map(|address| address.parse());
        let addresses: Vec<Address> = addresses
            .collect::<Result<_, _>>()
            .map_err(|_| Refusal::Malformed)?;
        Ok(Judged {
            keys: vec![Key::service(&plain.service)],
            publisher,
            subject: Subject::of(&format!("{}:{}", plain.service, plain.peer)),
            seq: plain.seq,
            expires: UnixSeconds(plain.expires),
            addresses,
        })
    }
}

/// What is signed: the payload with a head that no other signature has.
fn signed(payload: &[u8]) -> Vec<u8> {
    [b"rialto plain record:", payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_changed_and_ended_records_are_refused() {
        let identity = Identity::from_seed([1; 32]);
        let plain = PlainRecord {
            peer: identity.peer().to_string(),
            service: "a".to_owned(),
            seq: 1,
            expires: 2000,
            addresses: vec!["/memory/1".to_owned()],
            padding: Vec::new(),
        };
        let judge =
            |record: &[u8], now| PlainJudge.judge(record, identity.peer(), UnixSeconds(now));
        let good = plain.sign(&identity);
        assert!(judge(&good, 1999).is_ok());
        assert_eq!(judge(&good, 2000), Err(Refusal::Expired));
        let forged = plain.sign(&Identity::from_seed([2; 32]));
        assert_eq!(judge(&forged, 1), Err(Refusal::Forged));
        let mut changed = good.to_vec();
        changed.extend([0x18, 0x09]);
        assert_eq!(judge(&changed, 1), Err(Refusal::Forged));
        assert_eq!(judge(&good[..9], 1), Err(Refusal::Malformed));
    }
}

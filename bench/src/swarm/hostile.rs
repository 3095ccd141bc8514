//! Nodes that speak the protocol and mean ill: they join like any other.
//!
//! - The *forger* takes every record for good, keeps what other forgers made up, and gives it to who asks.
//! - The *silent* one has made keys until one lay next to a service's key, and keeps and gives nothing: an
//!   attempt to surround the service (eclipse).
//! - The *flooder* registers ended, outdated, oversized and others' records with everybody.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use prost::Message;
use rialto_discovery::simulation::{Node, PlainRecord};
use rialto_discovery::{
    Config, Discovery, Identity, Judge, Judged, Key, NoBlobs, PeerKey, Protocol, RECORD_BYTES_MAX,
    Refusal, Subject, UnixSeconds,
};
use rialto_registry::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dice::Dice;
use super::world::HOUR;

/// How a hostile node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Forger,
    /// Beside this key.
    Silent(Key),
    Flooder,
}

/// Takes every record for good, and for the sender's own.
#[derive(Debug)]
struct Credulous;

impl Judge for Credulous {
    fn judge(&self, record: &[u8], from: PeerKey, now: UnixSeconds) -> Result<Judged, Refusal> {
        let payload = record.get(64..).ok_or(Refusal::Malformed)?;
        let plain = PlainRecord::decode(payload).map_err(|_| Refusal::Malformed)?;
        Ok(Judged {
            keys: vec![Key::service(&plain.service)],
            publisher: from,
            subject: Subject::of(&format!("{}:{}:{from}", plain.service, plain.peer)),
            seq: plain.seq,
            expires: UnixSeconds(now.0 + HOUR.as_secs()),
            addresses: Vec::new(),
        })
    }
}

/// Takes nothing, and so has nothing to give.
#[derive(Debug)]
struct Deaf;

impl Judge for Deaf {
    fn judge(&self, _: &[u8], _: PeerKey, _: UnixSeconds) -> Result<Judged, Refusal> {
        Err(Refusal::Unavailable)
    }
}

/// Starts a hostile node.
///
/// # Errors
/// It does not start.
pub(super) fn start(mut config: Config, manner: Manner, dice: &mut Dice) -> Result<Node> {
    let judge: Arc<dyn Judge> = match manner {
        Manner::Forger => Arc::new(Credulous),
        Manner::Silent(key) => {
            config.identity = beside(key, dice);
            Arc::new(Deaf)
        }
        Manner::Flooder => Arc::new(rialto_discovery::simulation::PlainJudge),
    };
    Ok(Discovery::start(config, judge, Arc::new(NoBlobs))?.into())
}

/// The nearest to a key of so many identities.
fn beside(key: Key, dice: &mut Dice) -> Identity {
    let target = Digest::of(key.as_bytes());
    let distance = |identity: &Identity| {
        let place = Digest::of(&identity.peer().to_bytes());
        let bytes = place.as_bytes().iter().zip(target.as_bytes());
        bytes.map(|(one, other)| one ^ other).collect::<Vec<u8>>()
    };
    let mut best = identity(dice);
    let mut nearest = distance(&best);
    for _ in 1..KEYS_TRIED {
        let other = identity(dice);
        let away = distance(&other);
        if away < nearest {
            (best, nearest) = (other, away);
        }
    }
    best
}

fn identity(dice: &mut Dice) -> Identity {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&dice.draw().to_le_bytes()[..part.len()]);
    }
    Identity::from_seed(seed)
}

/// Gives a forger a record that seems to be of `victim`, by the hand of another.
pub(super) async fn plant(from: &Discovery, forger: PeerKey, victim: &Discovery, service: &str) {
    let forged = PlainRecord::of(victim, service, HOUR).sign(from.identity());
    // A forger that has been shut out by the other keeps nothing.
    let _ = register(from, forger, Key::service(service), forged).await;
}

/// Sends an honest node something that nobody honest would, of a kind by the number.
pub(super) async fn pester(flooder: &Discovery, to: PeerKey, service: &str, number: u64) {
    let good = PlainRecord::of(flooder, service, HOUR);
    let key = Key::service(service);
    let (key, record) = match number % 4 {
        0 => (key, PlainRecord { expires: 1, ..good }),
        1 => (key, PlainRecord { seq: 0, ..good }),
        2 => (
            key,
            PlainRecord {
                padding: vec![0; RECORD_BYTES_MAX],
                ..good
            },
        ),
        _ => (Key::service("somebody/else"), good),
    };
    let _ = register(flooder, to, key, record.sign(flooder.identity())).await;
}

/// Asks to register anything. The answer is read, so that the question is not cut off, and means nothing.
async fn register(from: &Discovery, to: PeerKey, key: Key, record: Bytes) -> Option<()> {
    let asked = Request {
        register: Some(Register {
            key: key.as_bytes().to_vec(),
            record: record.to_vec(),
        }),
    };
    let mut stream = from.open(to, Protocol::Registration).await.ok()?;
    let frame = asked.encode_length_delimited_to_vec();
    stream.write_all(&frame).await.ok()?;
    stream.flush().await.ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.ok()?;
    Some(())
}

/// The request as the protocol's document has it; the crate keeps its own to itself.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "1")]
    register: Option<Register>,
}

#[derive(Clone, PartialEq, Message)]
struct Register {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    record: Vec<u8>,
}

/// How many keys a silent node makes to lie near its target: nearer than nearly all of a thousand nodes.
const KEYS_TRIED: usize = 512;

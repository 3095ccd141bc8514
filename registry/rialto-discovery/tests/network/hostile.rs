//! Hostile nodes: they speak the protocol and lie.

use std::sync::Arc;

use prost::Message;
use rialto_discovery::simulation::{Node, PlainRecord};
use rialto_discovery::{
    Config, Discovery, Judge, Judged, Key, NoBlobs, PeerKey, Protocol, Refusal, Stream, Subject,
    UnixSeconds, WANT,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::swarms::{LIMIT, publish, record, swarm};

/// Takes every record for good, and for the sender's own.
#[derive(Debug)]
struct Credulous;

impl Judge for Credulous {
    fn judge(&self, record: &[u8], from: PeerKey, now: UnixSeconds) -> Result<Judged, Refusal> {
        let plain = PlainRecord::decode(&record[64.min(record.len())..]);
        let plain = plain.map_err(|_| Refusal::Malformed)?;
        Ok(Judged {
            keys: vec![Key::service(&plain.service)],
            publisher: from,
            subject: Subject::of(&format!("{}:{}:{from}", plain.service, plain.peer)),
            seq: plain.seq,
            expires: UnixSeconds(now.0 + 3600),
            addresses: Vec::new(),
        })
    }
}

/// Starts a node that takes every record for good.
pub(crate) fn liar(config: Config) -> Node {
    Discovery::start(config, Arc::new(Credulous), Arc::new(NoBlobs))
        .unwrap()
        .into()
}

/// A record that somebody else seems to have signed.
pub(crate) fn forged(victim: &Discovery, liar: &Discovery, service: &str) -> bytes::Bytes {
    record(victim, service).sign(liar.identity())
}

/// A request of the registration protocol, as another implementation would write it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(message, optional, tag = "1")]
    pub(crate) register: Option<Register>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Register {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) record: Vec<u8>,
}

/// Its answer: how many records were registered, a wait, or a code.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reply {
    #[prost(message, optional, tag = "1")]
    pub(crate) done: Option<Done>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) later: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) refused: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Done {
    #[prost(uint32, tag = "1")]
    pub(crate) records: u32,
}

/// Sends raw bytes as a request and returns what comes back, if the peer still answers.
pub(crate) async fn send(node: &Discovery, to: PeerKey, bytes: &[u8]) -> Option<Vec<u8>> {
    let sending = async {
        let mut stream: Stream = node.open(to, Protocol::Registration).await.ok()?;
        stream.write_all(bytes).await.ok()?;
        stream.flush().await.ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.ok()?;
        Some(reply)
    };
    timeout(LIMIT, sending).await.unwrap()
}

/// Asks to register anything, and reads the answer.
pub(crate) async fn register(
    node: &Discovery,
    to: PeerKey,
    key: Key,
    record: &[u8],
) -> Option<Reply> {
    let register = Register {
        key: key.as_bytes().to_vec(),
        record: record.to_vec(),
    };
    let request = Request {
        register: Some(register),
    };
    let reply = send(node, to, &request.encode_length_delimited_to_vec()).await?;
    Reply::decode_length_delimited(&reply[..]).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifth_of_liars_does_not_stop_lookups() {
    let mut swarm = swarm(16).await;
    let mut liars = Vec::new();
    for _ in 0..4 {
        let config = swarm.config();
        liars.push(liar(config));
    }
    for one in &liars {
        let known = |node: &Discovery| node.snapshot().levels.routing >= 8;
        assert!(one.discovery.wait_for(known, LIMIT).await);
    }
    let nodes = swarm.nodes();
    let services = ["a/one", "b/two", "c/three", "d/four"];
    for (index, service) in services.iter().enumerate() {
        assert!(publish(&nodes[index].discovery, service).await >= 8);
        for (number, one) in liars.iter().enumerate() {
            // Liars keep it for each other, and give it to whoever asks them.
            let other = liars[(number + 1) % liars.len()].discovery.peer();
            let forged = forged(&nodes[9].discovery, &one.discovery, service);
            let reply = register(&one.discovery, other, Key::service(service), &forged).await;
            assert!(reply.unwrap().done.is_some());
        }
    }
    for node in nodes {
        for (index, service) in services.iter().enumerate() {
            let found = node.discovery.find_anew(Key::service(service), WANT).await;
            assert_eq!(found.records.len(), 1, "{service}: {found:?}");
            assert_eq!(
                found.records[0].judged.publisher,
                nodes[index].discovery.peer()
            );
        }
    }
    let bans: u64 = nodes
        .iter()
        .map(|node| node.discovery.snapshot().count("bans"))
        .sum();
    assert!(bans > 0, "liars are shut out");
    for node in nodes {
        let honest_banned = node.discovery.snapshot().levels.banned > liars.len();
        assert!(!honest_banned, "and nobody else is");
    }
}

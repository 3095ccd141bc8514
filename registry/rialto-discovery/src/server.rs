//! Answers what others ask: registering, looking up, withdrawing, and parts of artifacts.
//!
//! One task takes the streams that others open; each question gets a task of its own, as many as the
//! door has places. Streams of calls are handed on to the node.
//!
//! Not here: what is in the tables.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::admission::{Asked, Limited};
use crate::context::Context;
use crate::counters::Count;
use crate::judge::{KEYS_MAX, Refusal};
use crate::lookup::Contact;
use crate::prefix::Prefix;
use crate::scores::Fault;
use crate::streams::{Arrival, Protocol, Stream};
use crate::table::{Entry, NotPut};
use crate::wire::{self, Answer, Ask, Closer, Done, FoundHere, Reply, Request, code};
use crate::{Incoming, Key, PeerKey, artifacts};

/// Takes streams until the swarm stops.
pub(crate) async fn run(
    context: Arc<Context>,
    mut arrivals: mpsc::Receiver<Arrival>,
    calls: mpsc::Sender<Incoming>,
) {
    while let Some(Arrival {
        peer,
        network,
        protocol,
        stream,
    }) = arrivals.recv().await
    {
        match protocol {
            Protocol::Http1 | Protocol::Http2 => {
                let incoming = Incoming {
                    peer: PeerKey::new(peer),
                    protocol,
                    stream,
                };
                // As long as the door has places, so only a node that takes no calls refuses here.
                if calls.try_send(incoming).is_err() {
                    context.counters.one(Count::StreamsRefused);
                }
            }
            Protocol::Registration => {
                let context = Arc::clone(&context);
                tokio::spawn(async move { registration(&context, peer, network, stream).await });
            }
            Protocol::Artifact => {
                let context = Arc::clone(&context);
                tokio::spawn(
                    async move { artifacts::serve(&context, peer, network, stream).await },
                );
            }
        }
    }
}

async fn registration(
    context: &Context,
    peer: PeerId,
    network: Option<Prefix>,
    mut stream: Stream,
) {
    let limit = context.config.periods.request;
    let serving = async {
        let request = wire::read::<Request>(&mut stream, wire::REQUEST_BYTES_MAX).await?;
        let answer = answer(context, peer, network, request).await;
        wire::write(
            &mut stream,
            &Reply {
                answer: Some(answer),
            },
        )
        .await
    };
    match timeout(limit, serving).await {
        Ok(Ok(())) => context.counters.one(Count::RequestsServed),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            context.counters.one(Count::RequestsMalformed);
            context.fault(peer, Fault::BadMessage);
        }
        // A connection that broke, or a peer that was slow, is nobody's fault.
        Ok(Err(_)) | Err(_) => {}
    }
}

async fn answer(
    context: &Context,
    peer: PeerId,
    network: Option<Prefix>,
    request: Request,
) -> Answer {
    let Some(ask) = request.ask else {
        return malformed(context, peer);
    };
    let asked = match ask {
        Ask::Register(_) | Ask::Withdraw(_) => Asked::Register,
        Ask::Lookup(_) => Asked::Lookup,
    };
    if let Err(limited) = context.admit(asked, peer, network) {
        return Answer::Later(limited.seconds());
    }
    match ask {
        Ask::Register(register) => match Key::from_bytes(&register.key) {
            Some(key) => put(context, peer, network, key, register.record),
            None => malformed(context, peer),
        },
        Ask::Lookup(lookup) => match Key::from_bytes(&lookup.key) {
            Some(key) => look_up(context, peer, key, lookup.want).await,
            None => malformed(context, peer),
        },
        Ask::Withdraw(withdraw) => match Key::from_bytes(&withdraw.key) {
            Some(key) => {
                let records = context.table.lock().remove(&key, &peer);
                Answer::Done(Done {
                    records: u32::try_from(records).unwrap_or(u32::MAX),
                })
            }
            None => malformed(context, peer),
        },
    }
}

fn malformed(context: &Context, peer: PeerId) -> Answer {
    context.counters.one(Count::RequestsMalformed);
    context.fault(peer, Fault::BadMessage);
    Answer::Refused(code::MALFORMED)
}

impl Context {
    /// Takes a token of the peer's and one of its network's. To have none is held only against who used up
    /// its own.
    pub(crate) fn admit(
        &self,
        asked: Asked,
        peer: PeerId,
        network: Option<Prefix>,
    ) -> Result<(), Limited> {
        let now_ms = self.now_ms();
        let admitted = self.limits.lock().admit(asked, peer, network, now_ms);
        if let Err(limited) = admitted {
            self.counters.one(Count::RequestsLimited);
            if matches!(limited, Limited::Peer(_)) {
                self.fault(peer, Fault::Flood);
            }
        }
        admitted
    }
}

fn put(
    context: &Context,
    peer: PeerId,
    network: Option<Prefix>,
    key: Key,
    record: Bytes,
) -> Answer {
    let judged = match context.judge(&record, peer) {
        Ok(judged) => judged,
        Err(refusal) => return refuse(context, peer, refusal),
    };
    // Only its publisher registers a record: then old ones cannot be brought back by others, and quotas
    // count whom they should.
    if judged.publisher.id() != peer {
        return refuse(context, peer, Refusal::Forged);
    }
    if judged.keys.len() > KEYS_MAX || !judged.belongs_to(&key) {
        return refuse(context, peer, Refusal::NotEntitled);
    }
    let entry = Entry {
        subject: judged.subject,
        publisher: peer,
        prefix: network,
        seq: judged.seq,
        expires: judged.expires,
        // A slice would keep the whole request it came in.
        record: Bytes::copy_from_slice(&record),
    };
    let put = context.table.lock().put(key, entry, context.now());
    match put {
        Ok(()) => {
            context.counters.one(Count::Registered);
            Answer::Done(Done { records: 1 })
        }
        Err(NotPut::Stale) => refuse(context, peer, Refusal::Stale),
        Err(NotPut::Later(seconds)) => {
            context.counters.one(Count::RegisterRefused);
            Answer::Later(seconds)
        }
    }
}

fn refuse(context: &Context, peer: PeerId, refusal: Refusal) -> Answer {
    context.counters.one(Count::RegisterRefused);
    context.fault_of(peer, refusal);
    Answer::Refused(match refusal {
        Refusal::Malformed => code::MALFORMED,
        Refusal::Forged => code::FORGED,
        Refusal::Expired => code::EXPIRED,
        Refusal::Stale => code::STALE,
        Refusal::NotEntitled => code::NOT_ENTITLED,
        Refusal::Unavailable => code::UNAVAILABLE,
    })
}

async fn look_up(context: &Context, peer: PeerId, key: Key, want: u32) -> Answer {
    let want = usize::try_from(want).unwrap_or(usize::MAX);
    let records = context
        .table
        .lock()
        .get(&key, want, context.now(), rand::random());
    let closer = context.nearest(key, peer).await;
    Answer::Found(FoundHere {
        records,
        closer: closer
            .into_iter()
            .take(CLOSER_MAX)
            .map(closer_message)
            .collect(),
    })
}

fn closer_message(contact: Contact) -> Closer {
    let addresses = contact.addresses.iter().take(CLOSER_ADDRESSES);
    Closer {
        peer: contact.peer.to_bytes(),
        addresses: addresses.map(|address| address.to_vec()).collect(),
    }
}

/// How many closer peers are named. With four addresses of 128 bytes each, 20 of them and the records
/// stay below a reply's 64 KiB.
const CLOSER_MAX: usize = 20;
/// How many addresses of each.
const CLOSER_ADDRESSES: usize = 4;

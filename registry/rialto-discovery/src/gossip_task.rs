//! Judges what was heard, away from the swarm's task.
//!
//! Not here: the swarm's side, or which topics there are.

use std::sync::Arc;

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use tokio::sync::mpsc;

use crate::context::{Command, Context};
use crate::counters::Count;
use crate::find::Record;
use crate::gossip::News;
use crate::judge::Refusal;
use crate::scores::Fault;
use crate::{Event, Topic};

/// A message that waits for its verdict in the swarm.
#[derive(Debug, Clone)]
pub(crate) struct MessageRef {
    pub(crate) id: MessageId,
    /// Who passed it on to this node.
    pub(crate) from: PeerId,
}

/// A message to judge.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) reference: MessageRef,
    /// Who signed the message.
    pub(crate) author: Option<PeerId>,
    pub(crate) topic: Topic,
    pub(crate) record: Bytes,
}

/// What a message is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Pass it on.
    Accept,
    /// Don't, and hold it against nobody.
    Ignore,
    /// Don't, and hold it against who passed it on.
    Reject,
}

impl From<Verdict> for MessageAcceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Ignore => Self::Ignore,
            Verdict::Reject => Self::Reject,
        }
    }
}

/// Judges messages until the swarm stops.
pub(crate) async fn run(context: Arc<Context>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        let reference = message.reference.clone();
        let verdict = judge(&context, message);
        context.counters.one(match verdict {
            Verdict::Accept => Count::GossipAccepted,
            Verdict::Ignore => Count::GossipIgnored,
            Verdict::Reject => Count::GossipRejected,
        });
        let command = Command::Verdict {
            message: reference,
            verdict,
        };
        if context.command(command).await.is_err() {
            return;
        }
    }
}

fn judge(context: &Context, message: Message) -> Verdict {
    let from = message.reference.from;
    let Some(author) = message.author else {
        context.fault(from, Fault::BadMessage);
        return Verdict::Reject;
    };
    let judged = match context.judge(&message.record, author) {
        Ok(judged) if judged.publisher.id() == author => judged,
        Ok(_) => {
            context.fault_of(from, Refusal::Forged);
            return Verdict::Reject;
        }
        // It may have ended on its way, or be ahead of what this node can look up.
        Err(Refusal::Expired | Refusal::Stale | Refusal::Unavailable) => return Verdict::Ignore,
        Err(refusal @ (Refusal::Malformed | Refusal::Forged | Refusal::NotEntitled)) => {
            context.fault_of(from, refusal);
            return Verdict::Reject;
        }
    };
    let (now, now_ms) = (context.now(), context.now_ms());
    let news = context
        .heard
        .lock()
        .hear(author, &message.topic, &judged, now, now_ms);
    match news {
        News::New => {
            let record = Record {
                bytes: message.record,
                judged,
            };
            context.tell(Event::Heard {
                topic: message.topic,
                record,
            });
            Verdict::Accept
        }
        News::Old => Verdict::Ignore,
        News::TooOften => {
            // Who only passes it on may have heard less often than this node did.
            if from == author {
                context.fault(from, Fault::Flood);
            }
            Verdict::Ignore
        }
    }
}

//! The payee's disk: records go to a tail, a sync makes the tail durable, a crash keeps as much of
//! the tail as happened to be written. A torn record is a lost one.

use std::collections::BTreeMap;

use rialto_channels::{
    Amount, B256, ChannelId, U256, payee::ChannelSnapshot, receipt::SignedReceipt,
};

use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) enum Record {
    Channel(ChannelSnapshot),
    Charge {
        snapshot: ChannelSnapshot,
        key: [u8; 32],
        payment: Box<Payment>,
    },
    /// A refund is about to be sent.
    Refunding(ChannelId, Amount, U256),
    /// It is done.
    Refunded(ChannelId),
}

/// A payment that was executed, and its stored answer.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) request: B256,
    pub(crate) receipt: SignedReceipt,
}

/// What is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    pub(crate) channels: BTreeMap<ChannelId, ChannelSnapshot>,
    pub(crate) payments: BTreeMap<[u8; 32], Payment>,
    pub(crate) refunds: BTreeMap<ChannelId, (Amount, U256)>,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) durable: Durable,
    pub(crate) tail: Vec<Record>,
}

impl Disk {
    pub(crate) fn push(&mut self, record: Record) {
        self.tail.push(record);
    }

    pub(crate) fn sync(&mut self) {
        for record in std::mem::take(&mut self.tail) {
            self.durable.apply(record);
        }
    }

    /// Power fails: a part of the tail was written.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let written = random.index(self.tail.len() + 1);
        for record in std::mem::take(&mut self.tail).into_iter().take(written) {
            self.durable.apply(record);
        }
    }

    /// Whether the payment is known, durably or not.
    pub(crate) fn knows(&self, key: &[u8; 32]) -> bool {
        let unsynced =
            |record: &Record| matches!(record, Record::Charge { key: known, .. } if known == key);
        self.durable.payments.contains_key(key) || self.tail.iter().any(unsynced)
    }
}

impl Durable {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Channel(snapshot) => self.keep(snapshot),
            Record::Charge {
                snapshot,
                key,
                payment,
            } => {
                self.keep(snapshot);
                self.payments.insert(key, *payment);
            }
            Record::Refunding(channel, amount, nonce) => {
                self.refunds.insert(channel, (amount, nonce));
            }
            Record::Refunded(channel) => {
                self.refunds.remove(&channel);
            }
        }
    }

    /// An older snapshot never overwrites a newer.
    fn keep(&mut self, snapshot: ChannelSnapshot) {
        match self.channels.get(&snapshot.id) {
            Some(known) if known.version >= snapshot.version => {}
            _ => {
                self.channels.insert(snapshot.id, snapshot);
            }
        }
    }
}

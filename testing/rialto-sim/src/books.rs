//! Accounts that the simulation keeps itself, to compare the state machines with.

use std::collections::{BTreeMap, BTreeSet};

use rialto_channels::ChannelId;

/// What the payee did, as an observer of everything knows it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Calls that succeeded and were charged, by payment.
    charges: BTreeMap<[u8; 32], (ChannelId, u128)>,
    /// Payments whose answer went out.
    acknowledged: BTreeSet<[u8; 32]>,
    /// What was claimed when the payee first saw a channel.
    baseline: BTreeMap<ChannelId, u128>,
    /// The payee lost its disk: it owes nobody an account of what was before.
    pub(crate) lost: bool,
}

impl Books {
    pub(crate) fn enter(&mut self, channel: ChannelId, claimed: u128) {
        self.baseline.insert(channel, claimed);
    }

    /// False if the payment was charged before.
    pub(crate) fn charge(&mut self, key: [u8; 32], channel: ChannelId, amount: u128) -> bool {
        self.charges.insert(key, (channel, amount)).is_none()
    }

    pub(crate) fn acknowledge(&mut self, key: [u8; 32]) {
        self.acknowledged.insert(key);
    }

    /// The payee restarted: charges that nobody knows of any more were never made.
    pub(crate) fn restart(&mut self, knows: impl Fn(&[u8; 32]) -> bool) {
        let acknowledged = &self.acknowledged;
        self.charges
            .retain(|key, _| knows(key) || acknowledged.contains(key));
    }

    pub(crate) fn forget(&mut self) {
        *self = Self {
            lost: true,
            ..Self::default()
        };
    }

    /// The sum charged for work on a channel.
    pub(crate) fn charged(&self, channel: ChannelId) -> u128 {
        let baseline = self.baseline.get(&channel).copied().unwrap_or_default();
        let charges = self.charges.values().filter(|(it, _)| *it == channel);
        baseline + charges.map(|(_, amount)| amount).sum::<u128>()
    }

    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.acknowledged.iter()
    }
}

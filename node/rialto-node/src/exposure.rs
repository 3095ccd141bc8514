//! What each payer has at stake here, over all its channels, kept up to date by the channels' locks.
//!
//! The limits and their meaning are `rialto-channels`' (`payee::ExposureLimits`). Replicas that
//! share a ledger count in its database; there, these sums only tell when to claim early.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_channels::payee::{PayeeChannel, PayerExposure};
use rialto_channels::{Address, Amount};

/// One payer's sum, shared by its channels.
#[derive(Debug, Default)]
pub(crate) struct PayerSum(Mutex<PayerExposure>);

impl PayerSum {
    /// The sum, locked. Always after the lock of a channel, never before.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PayerExposure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel of this payer was entered.
    pub(crate) fn enters(&self, exposure: Amount) {
        self.moved(Amount::ZERO, exposure);
    }

    fn moved(&self, before: Amount, after: Amount) {
        if before != after && self.lock().moved(before, after).is_err() {
            tracing::error!(%before, %after, "a payer's exposure cannot be summed up");
        }
    }
}

/// The sums of all payers. Bounded by the channels.
#[derive(Debug, Default)]
pub(crate) struct PayerSums(Mutex<HashMap<Address, Arc<PayerSum>>>);

impl PayerSums {
    /// The sum of this payer.
    pub(crate) fn of(&self, payer: Address) -> Arc<PayerSum> {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sums.entry(payer).or_default())
    }

    /// Forgets a payer whose last channel was forgotten: `last` is that channel's handle.
    pub(crate) fn forget(&self, payer: Address, last: &Arc<PayerSum>) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's handle and the channel's.
        if Arc::strong_count(last) <= 2 {
            sums.remove(&payer);
        }
    }
}

/// A channel, locked; when it is given up, its payer's sum follows what was done to it.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    channel: MutexGuard<'a, PayeeChannel>,
    payer: &'a PayerSum,
    before: Amount,
}

impl<'a> Locked<'a> {
    pub(crate) fn new(channel: MutexGuard<'a, PayeeChannel>, payer: &'a PayerSum) -> Self {
        let before = channel.exposure();
        Self {
            channel,
            payer,
            before,
        }
    }

    /// Works on the channel with its payer's sum, which no other channel changes meanwhile.
    pub(crate) fn with_payer<T>(
        &mut self,
        work: impl FnOnce(&mut PayeeChannel, &PayerExposure) -> T,
    ) -> T {
        let mut payer = self.payer.lock();
        let done = work(&mut self.channel, &payer);
        let after = self.channel.exposure();
        if payer.moved(self.before, after).is_ok() {
            self.before = after;
        }
        done
    }
}

impl Deref for Locked<'_> {
    type Target = PayeeChannel;

    fn deref(&self) -> &PayeeChannel {
        &self.channel
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut PayeeChannel {
        &mut self.channel
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.payer.moved(self.before, self.channel.exposure());
    }
}

#[cfg(test)]
mod tests {
    use rialto_channels::payee::{ExposureLimits, Reject, Terms};
    use rialto_channels::{
        B256, ChainTime, ChannelConfig, OnChainView, SettlementDomain, SigningKey, U256, Voucher,
    };

    use super::*;

    const DOMAIN: SettlementDomain = SettlementDomain {
        chain_id: 84_532,
        contract: Address::repeat_byte(1),
    };
    const NOW: ChainTime = ChainTime::new(1_000);

    fn channel(key: &SigningKey, salt: u8) -> Mutex<PayeeChannel> {
        let config = ChannelConfig {
            payer: key.address(),
            payer_authorizer: key.address(),
            receiver: Address::repeat_byte(2),
            receiver_authorizer: Address::repeat_byte(3),
            token: Address::repeat_byte(4),
            withdraw_delay: 900,
            salt: B256::with_last_byte(salt),
        };
        let terms = Terms {
            receiver: config.receiver,
            receiver_authorizer: config.receiver_authorizer,
            token: config.token,
            withdraw_delay: 900,
            in_flight_max: 9,
        };
        let view = OnChainView {
            balance: Amount::new(1_000),
            claimed: Amount::ZERO,
            refund_nonce: U256::ZERO,
            withdrawal: None,
            read_at: NOW,
        };
        Mutex::new(PayeeChannel::new(&terms, &DOMAIN, config, &view).unwrap())
    }

    #[test]
    fn a_payers_sum_follows_all_its_channels() {
        let key = SigningKey::from_bytes(&[1; 32]).unwrap();
        let sums = PayerSums::default();
        let sum = sums.of(key.address());
        let channels = [channel(&key, 1), channel(&key, 2)];
        let limits = ExposureLimits {
            channel_max: None,
            payer_max: Some(Amount::new(250)),
        };
        let locked = |index: usize| Locked::new(channels[index].lock().unwrap(), &sum);
        let take = |index, ceiling| {
            let mut channel = locked(index);
            let voucher = Voucher {
                channel: channel.state().id,
                ceiling: Amount::new(ceiling),
            };
            let voucher = voucher.sign(&DOMAIN, &key).verify(&DOMAIN, key.address());
            channel.with_payer(|channel, payer| {
                let price = Amount::new(100);
                channel.reserve_within(&voucher.unwrap(), price, NOW, &limits, payer)
            })
        };
        let first = take(0, 100).unwrap();
        let second = take(1, 100).unwrap();
        assert!(matches!(take(0, 200), Err(Reject::Exposed { .. })));
        assert_eq!(sum.lock().sum(), Amount::new(200));
        locked(1).release(second);
        assert_eq!(sum.lock().sum(), Amount::new(100));
        let _ = locked(0)
            .commit(first, Amount::new(40), B256::ZERO)
            .unwrap();
        assert_eq!(sum.lock().sum(), Amount::new(40));
        locked(0).on_claimed(Amount::new(40), ChainTime::new(1_001));
        assert_eq!(sum.lock().sum(), Amount::ZERO);
        sums.forget(key.address(), &sum);
        assert!(!Arc::ptr_eq(&sum, &sums.of(key.address())));
    }
}

//! How far a host's count of a channel's charges is believed, and what of it the day's budget has
//! been told of.
//!
//! A host proves its count by our own signature, and so can count up to all that was signed; a
//! ceiling has headroom for calls that overlap. What it counts beyond its own answers is therefore
//! added up here over the channel's whole life, for the payer to compare with what it forgives; and
//! the budget is told of every charge, whichever way it became known.

use rialto_channels::payer::PayerChannel;
use rialto_channels::{Amount, OnChainView};

/// A channel's charges, by how they became known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Charges that no answer told of, from before this program opened the channel.
    before: Amount,
    /// What was charged before this payer knew anything of the channel.
    excused: Amount,
    /// The channel was used before, and nothing was kept of it: what is charged there is still to
    /// be learned, and not the host's fault.
    learning: bool,
    /// Charges that the budget has been told of.
    counted: Amount,
}

impl Account {
    /// Of a channel with so much charged, of which answers did not tell `before`.
    pub(super) fn new(learning: bool, before: Amount, charged: Amount) -> Self {
        Self {
            before,
            excused: Amount::ZERO,
            learning,
            counted: charged,
        }
    }

    /// The budget counts so much for one call.
    pub(super) fn count(&mut self, amount: Amount) {
        // Only ever compared, so the largest amount stands for all above it.
        self.counted = self.counted.checked_add(amount).unwrap_or(Amount::MAX);
    }

    /// Nothing is open and the host's count is known: what is unknown from here on is its fault.
    pub(super) fn learned(&mut self, payer: &PayerChannel) {
        if self.learning {
            self.learning = false;
            self.excused = payer.unexplained();
            self.counted = payer.state().charged;
        }
    }

    /// What the host counts and no answer told of, over the channel's whole life.
    pub(super) fn unexplained(&self, payer: &PayerChannel) -> Amount {
        if self.learning {
            return self.before;
        }
        let new = payer.unexplained().saturating_sub(self.excused);
        let sum = self.before.checked_add(new);
        sum.unwrap_or(Amount::MAX)
    }

    /// What is charged and the budget has not been told of; it is told now. Calls in flight may be
    /// part of the host's count and are counted by themselves.
    pub(super) fn uncounted(&mut self, payer: &PayerChannel) -> Amount {
        let open = payer.in_flight().unwrap_or(Amount::MAX);
        let known = self.counted.checked_add(open).unwrap_or(Amount::MAX);
        match payer.state().charged.checked_sub(known) {
            Ok(extra) if !self.learning => {
                self.count(extra);
                extra
            }
            Ok(_) | Err(_) => Amount::ZERO,
        }
    }
}

/// What is taken from a view of the chain that the host, or an endpoint of its choice, has told. The
/// contract pays out no more than was signed; a higher claim, taken for true, would have us sign for
/// it afterwards.
pub(super) fn believed(view: &OnChainView, signed_max: Amount, source: Source) -> OnChainView {
    let mut view = *view;
    if source == Source::Hosts {
        view.claimed = view.claimed.min(signed_max);
    }
    view
}

/// Who says what the contract holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An endpoint that the user chose.
    Own,
    /// The host, or an endpoint that it named.
    Hosts,
}

#[cfg(test)]
mod tests {
    use rialto_channels::payer::Limits;
    use rialto_channels::{B256, ChainTime, ChannelConfig, SettlementDomain, SigningKey};

    use super::*;

    const AMOUNT: Amount = Amount::new(1000);
    const DOMAIN: SettlementDomain = SettlementDomain {
        chain_id: 1,
        contract: alloy_primitives::Address::ZERO,
    };
    const LIMITS: Limits = Limits {
        call_max: AMOUNT,
        deposit_max: Amount::new(100_000),
        deposit_calls: 1,
    };

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    fn view(claimed: u128) -> OnChainView {
        OnChainView {
            balance: Amount::new(100_000),
            claimed: Amount::new(claimed),
            refund_nonce: Default::default(),
            withdrawal: None,
            read_at: ChainTime::ZERO,
        }
    }

    fn funded() -> PayerChannel {
        let config = ChannelConfig {
            payer: key().address(),
            payer_authorizer: key().address(),
            receiver: Default::default(),
            receiver_authorizer: Default::default(),
            token: Default::default(),
            withdraw_delay: 900,
            salt: B256::ZERO,
        };
        let mut payer = PayerChannel::new(DOMAIN, config, LIMITS);
        payer.on_chain_view(&view(0));
        payer
    }

    /// One call that is charged 100 by its answer, while the host counts so much.
    fn call(payer: &mut PayerChannel, account: &mut Account, count: u128) {
        let charged = Amount::new(100);
        let (call, _) = payer.next_voucher(AMOUNT, None, &key()).unwrap();
        payer
            .on_charged(call, charged, Some(Amount::new(count)))
            .unwrap();
        account.count(charged);
    }

    #[test]
    fn counts_beyond_the_answers_add_up_and_reach_the_budget_once() {
        let (mut payer, mut account) = (funded(), Account::new(false, Amount::ZERO, Amount::ZERO));
        let sums = |account: &mut Account, payer: &PayerChannel| {
            let unexplained = account.unexplained(payer).get();
            (unexplained, account.uncounted(payer).get())
        };
        call(&mut payer, &mut account, 100);
        assert_eq!(sums(&mut account, &payer), (0, 0));
        call(&mut payer, &mut account, 700);
        assert_eq!(sums(&mut account, &payer), (500, 500));
        assert_eq!(sums(&mut account, &payer), (500, 0));
        call(&mut payer, &mut account, 1300);
        assert_eq!(sums(&mut account, &payer), (1000, 500));
        // A call in flight may be part of the count.
        let (open, _) = payer.next_voucher(AMOUNT, None, &key()).unwrap();
        payer.on_chain_view(&view(2000));
        assert_eq!(sums(&mut account, &payer), (700, 0));
        payer.on_failed(open);
        assert_eq!(sums(&mut account, &payer), (1700, 700));
        // Another program goes on where this one stopped.
        let before = account.unexplained(&payer);
        let later = Account::new(false, before, payer.state().charged);
        let stored = payer.snapshot().unwrap();
        let restored = PayerChannel::restore(DOMAIN, stored, LIMITS);
        assert_eq!(later.unexplained(&restored).get(), 1700);
    }

    #[test]
    fn a_payer_without_memory_blames_nobody_for_what_it_forgot() {
        let (mut payer, mut account) = (funded(), Account::new(true, Amount::ZERO, Amount::ZERO));
        payer.on_chain_view(&view(5000));
        assert_eq!(account.unexplained(&payer), Amount::ZERO);
        assert_eq!(account.uncounted(&payer), Amount::ZERO);
        call(&mut payer, &mut account, 5900);
        account.learned(&payer);
        assert_eq!(account.unexplained(&payer), Amount::ZERO);
        assert_eq!(account.uncounted(&payer), Amount::ZERO);
        call(&mut payer, &mut account, 6500);
        assert_eq!(account.unexplained(&payer), Amount::new(500));
        assert_eq!(account.uncounted(&payer), Amount::new(500));
    }

    #[test]
    fn a_hosts_word_for_claims_ends_where_our_signatures_do() {
        let signed = Amount::new(70);
        let claimed = |source| believed(&view(90), signed, source).claimed.get();
        assert_eq!(claimed(Source::Hosts), 70);
        assert_eq!(claimed(Source::Own), 90);
        assert_eq!(believed(&view(60), signed, Source::Hosts), view(60));
    }
}

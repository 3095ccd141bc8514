//! One channel on a settlement contract, as far as the state machines can see it.

use rialto_channels::{Amount, ChainTime, ClaimRow, OnChainView, U256, Withdrawal};

/// The contract, the wallets and the clock. Money is never made: see [`Chain::total`].
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) now: u64,
    pub(crate) balance: u128,
    pub(crate) claimed: u128,
    pub(crate) settled: u128,
    pub(crate) payer_wallet: u128,
    pub(crate) receiver_wallet: u128,
    refund_nonce: u64,
    withdrawal: Option<(u128, u64)>,
}

impl Chain {
    pub(crate) fn new(payer_wallet: u128) -> Self {
        Self {
            now: 1_000_000,
            balance: 0,
            claimed: 0,
            settled: 0,
            payer_wallet,
            receiver_wallet: 0,
            refund_nonce: 0,
            withdrawal: None,
        }
    }

    /// M6: the sum over all accounts is constant.
    pub(crate) fn total(&self) -> u128 {
        self.payer_wallet + self.receiver_wallet + (self.balance - self.settled)
    }

    pub(crate) fn time(&self) -> ChainTime {
        ChainTime::new(self.now)
    }

    /// Every transaction is a block of its own.
    fn block(&mut self) -> ChainTime {
        self.now += 1;
        self.time()
    }

    pub(crate) fn view(&self) -> OnChainView {
        OnChainView {
            balance: Amount::new(self.balance),
            claimed: Amount::new(self.claimed),
            refund_nonce: U256::from(self.refund_nonce),
            withdrawal: self.withdrawal.map(|(amount, at)| Withdrawal {
                amount: Amount::new(amount),
                finalizes_at: ChainTime::new(at),
            }),
            read_at: self.time(),
        }
    }

    pub(crate) fn deposit(&mut self, amount: u128) -> ChainTime {
        self.payer_wallet -= amount;
        self.balance += amount;
        self.block()
    }

    /// The contract's own rules for a row; a broken one reverts the whole batch.
    pub(crate) fn claim(&mut self, row: &ClaimRow) -> ChainTime {
        let total = row.total_claimed.get();
        assert!(
            total <= row.voucher.voucher.ceiling.get(),
            "the contract would revert"
        );
        assert!(total <= self.balance, "the contract would revert");
        self.claimed = self.claimed.max(total);
        self.block()
    }

    pub(crate) fn settle(&mut self) {
        self.receiver_wallet += self.claimed - self.settled;
        self.settled = self.claimed;
        self.block();
    }

    pub(crate) fn refund(&mut self, amount: u128, nonce: U256) -> (u128, ChainTime) {
        assert_eq!(nonce, U256::from(self.refund_nonce));
        self.refund_nonce += 1;
        let amount = amount.min(self.balance - self.claimed);
        self.pay_back(amount);
        // A refund is taken off a withdrawal under way.
        self.withdrawal = self
            .withdrawal
            .filter(|(pending, _)| *pending > amount)
            .map(|(pending, at)| (pending - amount, at));
        (amount, self.block())
    }

    pub(crate) fn start_withdrawal(&mut self, amount: u128, delay: u64) -> Option<ChainTime> {
        if self.withdrawal.is_some() || amount == 0 || amount > self.balance - self.claimed {
            return None;
        }
        let at = self.block();
        self.withdrawal = Some((amount, self.now + delay));
        Some(at)
    }

    pub(crate) fn finish_withdrawal(&mut self) -> Option<ChainTime> {
        let (amount, at) = self.withdrawal?;
        if self.now < at {
            return None;
        }
        self.withdrawal = None;
        self.pay_back(amount.min(self.balance - self.claimed));
        Some(self.block())
    }

    pub(crate) fn withdrawal_ends_at(&self) -> Option<u64> {
        self.withdrawal.map(|(_, at)| at)
    }

    fn pay_back(&mut self, amount: u128) {
        self.balance -= amount;
        self.payer_wallet += amount;
    }
}

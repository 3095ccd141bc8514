//! What the payer's driver would do.

use rialto_channels::{
    Address, Amount, B256, ChainTime, ChannelConfig, SettlementDomain, SigningKey, TokenDomain,
    Withdrawal,
    payer::{Limits, PayeeFault, PayerChannel},
};

use crate::{
    chain::Chain,
    payee_side::{DELAY_SECS, HEADROOM, PRICE, terms},
    world::{Answer, Request, World},
};

pub(crate) const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84532,
    contract: Address::repeat_byte(0x40),
};

const OFFERED: Amount = Amount::new(PRICE * HEADROOM);

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

pub(crate) fn config() -> ChannelConfig {
    ChannelConfig {
        payer: key().address(),
        payer_authorizer: key().address(),
        receiver: terms().receiver,
        receiver_authorizer: terms().receiver_authorizer,
        token: terms().token,
        withdraw_delay: DELAY_SECS,
        salt: B256::ZERO,
    }
}

fn limits() -> Limits {
    Limits {
        call_max: OFFERED,
        deposit_max: Amount::new(1_000_000),
        deposit_calls: 5,
    }
}

/// A payer that remembers nothing and has read the chain.
pub(crate) fn cold(chain: &Chain) -> PayerChannel {
    let mut payer = PayerChannel::new(DOMAIN, config(), limits());
    payer.on_chain_view(&chain.view());
    payer
}

impl World {
    /// Deposits if the next call needs it.
    fn fund(&mut self) {
        let Some(amount) = self.payer.deposit_needed(OFFERED, None).unwrap() else {
            return;
        };
        let token = TokenDomain {
            chain_id: DOMAIN.chain_id,
            token: terms().token,
            name: "USDC".into(),
            version: "2".into(),
        };
        let salt = B256::repeat_byte(9);
        let collector = Address::repeat_byte(0x41);
        let plan = self
            .payer
            .plan_deposit(&token, collector, amount, salt, u64::MAX)
            .unwrap();
        assert!(plan.sign(&key()).is_ok());
        let at = self.chain.deposit(amount.get());
        self.payer.on_deposited(&plan).unwrap();
        self.payee.on_deposited(Amount::new(self.chain.balance), at);
    }

    pub(crate) fn send_call(&mut self, explicit_count: bool) {
        self.fund();
        let (call, voucher) = self.payer.next_voucher(OFFERED, None, &key()).unwrap();
        let id = self.next_id;
        self.next_id += 1;
        assert!(
            voucher.voucher.ceiling.get() <= self.chain.balance,
            "M2: ceiling <= balance"
        );
        self.signed_max = self.signed_max.max(voucher.voucher.ceiling);
        if explicit_count {
            self.counted.insert(id);
        }
        self.open.insert(id, call);
        self.requests.push(Request { id, voucher });
    }

    pub(crate) fn hear(&mut self, id: u64, answer: Answer) {
        // The payer may have given the call up or crashed since.
        let Some(call) = self.open.remove(&id) else {
            return;
        };
        let view = self.chain.view();
        match answer {
            Answer::Charged { charged, count } => {
                self.served += 1;
                match self.payer.on_charged(call, charged, count) {
                    Ok(_unexplained) => {}
                    Err(PayeeFault::AboveSigned { .. }) => {
                        assert!(
                            self.payer_forgot,
                            "an honest payee is only blamed after a loss"
                        );
                    }
                    Err(fault @ PayeeFault::Overcharged { .. }) => panic!("{fault}"),
                }
            }
            Answer::Failed => {
                self.payer.on_failed(call);
                self.payer.on_chain_view(&view);
            }
            Answer::Refused(corrective) => {
                self.refusals += 1;
                self.payer.on_failed(call);
                match corrective {
                    Some(state) => self.payer.resync(&state, &view).unwrap(),
                    None => self.payer.resync_from_chain(&view),
                }
            }
        }
    }

    pub(crate) fn payer_times_out(&mut self, id: u64) {
        if let Some(call) = self.open.remove(&id) {
            self.payer.on_lost(call);
        }
    }

    pub(crate) fn crash_payer(&mut self) {
        let Some(saved) = self.saved.clone() else {
            return self.forget_payer();
        };
        self.open.clear();
        self.payer_forgot = true;
        self.payer = PayerChannel::restore(DOMAIN, saved, limits());
        self.payer.on_chain_view(&self.chain.view());
    }

    pub(crate) fn forget_payer(&mut self) {
        self.open.clear();
        self.payer_forgot = true;
        self.payer = cold(&self.chain);
    }

    /// Asks for everything back, or for one unit.
    pub(crate) fn refund(&mut self, partly: bool) {
        self.sync();
        let Ok(voucher) = self.payer.refund_voucher(&key()) else {
            return;
        };
        self.signed_max = self.signed_max.max(voucher.voucher.ceiling);
        let asked = partly.then_some(Amount::new(1));
        match self.serve_refund(voucher, asked) {
            Answer::Charged {
                charged: refunded, ..
            } => {
                self.payer.on_refunded(refunded).unwrap();
                assert_eq!(self.payer.state().balance.get(), self.chain.balance);
            }
            Answer::Refused(Some(state)) => {
                self.payer.resync(&state, &self.chain.view()).unwrap();
            }
            Answer::Refused(None) => self.payer.resync_from_chain(&self.chain.view()),
            Answer::Failed => {}
        }
        self.payer.on_chain_view(&self.chain.view());
    }

    /// A greedy payer withdraws what it was charged but has not been claimed, too.
    pub(crate) fn start_withdrawal(&mut self, greedy: bool) {
        self.payer.on_chain_view(&self.chain.view());
        let amount = if greedy {
            self.chain.balance - self.chain.claimed
        } else {
            self.payer.withdrawable().map_or(0, Amount::get)
        };
        let Some(at) = self.chain.start_withdrawal(amount, DELAY_SECS) else {
            return;
        };
        let finalizes_at = at.checked_add(DELAY_SECS).unwrap();
        let withdrawal = Withdrawal {
            amount: Amount::new(amount),
            finalizes_at,
        };
        self.payer.on_withdraw_initiated(withdrawal);
        self.payee.on_withdraw_initiated(withdrawal, at);
        self.claim();
    }

    pub(crate) fn finish_withdrawal(&mut self) {
        let now = ChainTime::new(self.chain.now);
        if !self.payer.state().can_finalize_withdrawal(now) {
            return;
        }
        self.settle_down();
        if let Some(at) = self.chain.finish_withdrawal() {
            self.payee.on_withdraw_finalized(at);
            self.payer.on_chain_view(&self.chain.view());
        }
    }
}

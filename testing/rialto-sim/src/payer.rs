//! The payer's driver: what a client does around the real [`PayerChannel`].

use std::collections::BTreeMap;

use rialto_channels::{
    Amount, B256, ChannelConfig, SignedVoucher, SigningKey,
    payer::{Call, DepositPlan, PayerChannel, PayerSnapshot},
    receipt::SignedReceipt,
};

use crate::{
    Rule,
    chain::{Deposit, Transaction},
    message::{CallRequest, Message, RefundRequest},
    parties::{
        COLLECTOR, DOMAIN, HEADROOM, OFFERED, SESSION_KEY, config, key, limits, terms, token,
    },
    random::Random,
    world::{Event, World, wallet_key},
};

#[derive(Debug)]
pub(crate) struct Payer {
    pub(crate) cheats: bool,
    pub(crate) wallet: SigningKey,
    pub(crate) session: SigningKey,
    pub(crate) config: ChannelConfig,
    pub(crate) channel: PayerChannel,
    saved: Option<PayerSnapshot>,
    pub(crate) open: BTreeMap<u64, Open>,
    next_call: u64,
    pub(crate) receipts: Vec<SignedReceipt>,
    /// The payee was caught: no more calls, and the rest of the money is taken back.
    pub(crate) stopped: bool,
    /// State was lost and not made up for yet.
    pub(crate) forgot: bool,
    /// What calls that were forgotten may explain.
    pub(crate) allowance: u128,
    /// Everything that ever left this payer's hands.
    pub(crate) signed_max: u128,
    /// Charged for answers that arrived.
    pub(crate) delivered: u128,
    /// Calls that no answer came for, and those a crash forgot.
    pub(crate) lost_calls: u128,
    /// Calls that the payee said had failed.
    pub(crate) failed_calls: u128,
    pub(crate) vouchers: Vec<SignedVoucher>,
    /// A refund asked for, not answered.
    pub(crate) refund: Option<u64>,
}

/// A call whose answer did not come yet.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) call: Call,
    pub(crate) plan: Option<DepositPlan>,
    pub(crate) request: CallRequest,
    tries: u32,
}

impl Payer {
    pub(crate) fn new(number: usize, cheats: bool, host: &SigningKey, random: &mut Random) -> Self {
        let wallet = wallet_key(number);
        // A session key, or the wallet's own.
        let session = if random.percent(70) {
            key(SESSION_KEY + u8::try_from(number).unwrap_or_default())
        } else {
            wallet.clone()
        };
        let lane = if random.percent(50) { 0 } else { 1 };
        let config = config(&wallet, &session, &terms(host), lane);
        Self {
            cheats,
            channel: PayerChannel::new(DOMAIN, config, limits()),
            wallet,
            session,
            config,
            saved: None,
            open: BTreeMap::new(),
            next_call: 0,
            receipts: Vec::new(),
            stopped: false,
            forgot: false,
            allowance: 0,
            signed_max: 0,
            delivered: 0,
            lost_calls: 0,
            failed_calls: 0,
            vouchers: Vec::new(),
            refund: None,
        }
    }

    pub(crate) fn id(&self) -> rialto_channels::ChannelId {
        self.channel.id()
    }

    fn signed(&mut self, voucher: SignedVoucher) {
        self.signed_max = self.signed_max.max(voucher.voucher.ceiling.get());
        self.vouchers.push(voucher);
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.next_call += 1;
        self.next_call
    }
}

impl World {
    pub(crate) fn act(&mut self, number: usize) {
        let pause = self.random.between(40, 300);
        self.after(pause, Event::Act(number));
        let choice = self.random.below(100);
        let payer = &mut self.payers[number];
        if payer.stopped {
            return self.withdraw(number);
        }
        match choice {
            0..=67 => {
                let calls = 1 + self.random.index(3);
                for _ in 0..calls {
                    self.call(number);
                }
            }
            68..=77 => self.ask_refund(number),
            78..=82 => self.withdraw(number),
            83..=91 => payer.saved = payer.channel.snapshot().ok(),
            92..=94 => self.crash_payer(number),
            _ => self.read_chain(number),
        }
        if self.payers[number].cheats {
            self.cheat_beside(number);
        }
    }

    /// Signs and sends a call, with a deposit if the channel needs one.
    pub(crate) fn call(&mut self, number: usize) {
        let (salt, request) = (
            B256::from(self.random.bytes()),
            B256::from(self.random.bytes()),
        );
        let (named, impatient) = (self.random.percent(50), self.random.percent(50));
        let valid_before = self.now + 600;
        let payer = &mut self.payers[number];
        let busy = u128::try_from(payer.open.len()).unwrap_or(u128::MAX) >= HEADROOM;
        if busy || (payer.refund.is_some() && !impatient) {
            return;
        }
        let Ok(needed) = payer.channel.deposit_needed(OFFERED, None) else {
            return;
        };
        let plan = needed.and_then(|amount| {
            let planned =
                payer
                    .channel
                    .plan_deposit(&token(), COLLECTOR, amount, salt, valid_before);
            planned.ok()
        });
        let signed = payer
            .channel
            .next_voucher(OFFERED, plan.as_ref(), &payer.session);
        let Ok((call, voucher)) = signed else {
            if let Some(plan) = plan {
                payer.channel.on_deposit_failed(plan);
            }
            return;
        };
        let id = payer.next_number();
        payer.signed(voucher);
        let deposit = plan.as_ref().and_then(|plan| {
            Some(Deposit {
                config: payer.config,
                amount: plan.amount,
                authorization: plan.authorization,
                salt: plan.salt,
                signature: plan.sign(&payer.wallet).ok()?,
            })
        });
        let request = CallRequest {
            payer: number,
            call: id,
            config: payer.config,
            channel: payer.channel.id(),
            voucher,
            payment_id: named.then(|| format!("{number}-{id}")),
            request,
            deposit,
        };
        let open = Open {
            call,
            plan,
            request: request.clone(),
            tries: 1,
        };
        payer.open.insert(id, open);
        self.summary.calls += 1;
        let request = self.cheat_request(request);
        self.send(Message::Call(Box::new(request)));
        self.after(
            TIMEOUT_SECS,
            Event::Timeout {
                payer: number,
                call: id,
            },
        );
    }

    /// The same payment again, which is answered once; in the end the call counts as lost.
    pub(crate) fn time_out(&mut self, number: usize, id: u64) {
        let payer = &mut self.payers[number];
        if payer.refund == Some(id) {
            payer.refund = None;
            return self.read_chain(number);
        }
        let Some(open) = payer.open.get_mut(&id) else {
            return;
        };
        if open.tries < TRIES_MAX {
            open.tries += 1;
            let request = open.request.clone();
            self.send(Message::Call(Box::new(request)));
            return self.after(
                TIMEOUT_SECS,
                Event::Timeout {
                    payer: number,
                    call: id,
                },
            );
        }
        let Some(open) = payer.open.remove(&id) else {
            return;
        };
        payer.lost_calls += 1;
        if self.broken == Some(Rule::ForgetLost) {
            payer.channel.on_failed(open.call);
        } else {
            payer.channel.on_lost(open.call);
        }
        self.end_deposit(number, open.plan);
        self.read_chain(number);
    }

    /// Did the deposit that travelled with a call happen?
    pub(crate) fn end_deposit(&mut self, number: usize, plan: Option<DepositPlan>) {
        let Some(plan) = plan else { return };
        let used = self
            .chain
            .used(plan.authorization.from, plan.authorization.nonce, 0);
        let payer = &mut self.payers[number];
        if used {
            // An overflow needs more money than there is.
            let _fits = payer.channel.on_deposited(&plan);
        } else {
            payer.channel.on_deposit_failed(plan);
        }
        self.read_chain(number);
    }

    pub(crate) fn read_chain(&mut self, number: usize) {
        let payer = &mut self.payers[number];
        let view = self.chain.view(payer.channel.id(), 0);
        payer.channel.on_chain_view(&view);
        self.judge(number);
    }

    pub(crate) fn ask_refund(&mut self, number: usize) {
        let all = self.random.percent(60);
        let payer = &mut self.payers[number];
        if payer.refund.is_some() {
            return;
        }
        let Ok(voucher) = payer.channel.refund_voucher(&payer.session) else {
            return;
        };
        let call = payer.next_number();
        payer.signed(voucher);
        payer.refund = Some(call);
        let request = RefundRequest {
            payer: number,
            call,
            config: payer.config,
            voucher,
            asked: (!all).then_some(Amount::new(1)),
        };
        self.send(Message::Refund(Box::new(request)));
        self.after(
            REFUND_SECS,
            Event::Timeout {
                payer: number,
                call,
            },
        );
    }

    /// Starts a withdrawal of everything that no call was promised, or finishes one.
    pub(crate) fn withdraw(&mut self, number: usize) {
        self.read_chain(number);
        let now = rialto_channels::ChainTime::new(self.chain.time());
        let payer = &mut self.payers[number];
        let state = payer.channel.state();
        if state.can_finalize_withdrawal(now) {
            self.summary.withdrawals += 1;
            return self.chain.submit(Transaction::Finalize(payer.config));
        }
        if state.withdrawal.is_some() {
            return;
        }
        let everything = payer.cheats || payer.stopped;
        let left = state.balance.saturating_sub(state.claimed);
        let amount = if everything {
            left
        } else {
            payer.channel.withdrawable().unwrap_or_default()
        };
        let config = payer.config;
        if !amount.is_zero() {
            self.chain.submit(Transaction::Withdraw { config, amount });
        }
    }

    /// What was not saved is gone; vouchers of open calls are out.
    pub(crate) fn crash_payer(&mut self, number: usize) {
        let payer = &mut self.payers[number];
        self.summary.crashes += 1;
        let open = u128::try_from(payer.open.len()).unwrap_or_default();
        payer.lost_calls += open;
        payer.open.clear();
        payer.refund = None;
        payer.forgot = true;
        payer.channel = match payer.saved.clone() {
            Some(saved) => PayerChannel::restore(DOMAIN, saved, limits()),
            None => PayerChannel::new(DOMAIN, payer.config, limits()),
        };
        self.read_chain(number);
    }
}

/// Longer than a deposit takes and the longest work.
const TIMEOUT_SECS: u64 = 180;
const TRIES_MAX: u32 = 3;
const REFUND_SECS: u64 = 400;

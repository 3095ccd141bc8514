//! The schedule's world: both sides, the network between them, and accounts of its own.

use std::collections::{BTreeMap, BTreeSet};

use proptest::sample::Index;
use rialto_channels::{
    Amount, SignedVoucher,
    payee::{ChannelSnapshot, PayeeChannel, Reservation},
    payer::{Call, Corrective, PayerChannel, PayerSnapshot},
};

use crate::{chain::Chain, payee_side, payer_side};

/// One event of a schedule. Those that find nothing to act on do nothing.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call { explicit_count: bool },
    Deliver(Index),
    Repeat(Index),
    LoseRequest(Index),
    Succeed(Index, u128),
    Fail(Index),
    Sync,
    Answer(Index),
    LoseAnswer(Index),
    CrashPayee,
    SavePayer,
    CrashPayer,
    ColdPayer,
    Claim,
    Settle,
    Refund(bool),
    StartWithdrawal(bool),
    FinishWithdrawal,
    Wait(u64),
}

/// A request on its way or repeated by the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) voucher: SignedVoucher,
}

/// What the payee says at the end of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Charged {
        charged: Amount,
        count: Option<Amount>,
    },
    Failed,
    Refused(Option<Corrective>),
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) payer: PayerChannel,
    pub(crate) payee: PayeeChannel,
    /// What the payee's disk holds.
    pub(crate) durable: ChannelSnapshot,
    /// What the payer saved last, perhaps long ago.
    pub(crate) saved: Option<PayerSnapshot>,
    /// The payer's open calls; emptied when it crashes.
    pub(crate) open: BTreeMap<u64, Call>,
    pub(crate) requests: Vec<Request>,
    /// Requests the network may repeat.
    pub(crate) seen: Vec<Request>,
    pub(crate) running: Vec<(u64, Reservation)>,
    /// Charged and waiting for the disk.
    pub(crate) unsynced: Vec<(u64, ChannelSnapshot, Amount)>,
    pub(crate) answers: Vec<(u64, Answer)>,
    /// Calls whose answers must carry the payee's count.
    pub(crate) counted: BTreeSet<u64>,
    /// M5: what was executed to the end and is durable, by call.
    pub(crate) executed: BTreeMap<u64, Amount>,
    pub(crate) next_id: u64,
    pub(crate) refusals: usize,
    pub(crate) served: usize,
    /// The highest ceiling the payer ever signed.
    pub(crate) signed_max: Amount,
    /// Whether the payer ever lost state.
    pub(crate) payer_forgot: bool,
}

pub(crate) const WALLET: u128 = 1_000_000_000;

impl World {
    pub(crate) fn new() -> Self {
        let chain = Chain::new(WALLET);
        let payer = payer_side::cold(&chain);
        let payee = payee_side::fresh(&chain);
        Self {
            durable: payee.snapshot(),
            chain,
            payer,
            payee,
            saved: None,
            open: BTreeMap::new(),
            requests: Vec::new(),
            seen: Vec::new(),
            running: Vec::new(),
            unsynced: Vec::new(),
            answers: Vec::new(),
            counted: BTreeSet::new(),
            executed: BTreeMap::new(),
            next_id: 0,
            refusals: 0,
            served: 0,
            signed_max: Amount::ZERO,
            payer_forgot: false,
        }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        match step {
            Step::Call { explicit_count } => self.send_call(*explicit_count),
            Step::Deliver(_) | Step::Repeat(_) | Step::LoseRequest(_) => self.network(step),
            Step::Succeed(index, actual) => {
                if let Some(call) = pick(&mut self.running, index) {
                    self.succeed(call, *actual);
                }
            }
            Step::Fail(index) => {
                if let Some(call) = pick(&mut self.running, index) {
                    self.fail(call);
                }
            }
            Step::Sync => self.sync(),
            Step::Answer(index) => {
                if let Some((id, answer)) = pick(&mut self.answers, index) {
                    self.hear(id, answer);
                }
            }
            Step::LoseAnswer(index) => {
                if let Some((id, _)) = pick(&mut self.answers, index) {
                    self.payer_times_out(id);
                }
            }
            Step::CrashPayee => self.crash_payee(),
            Step::SavePayer => self.saved = Some(self.payer.snapshot().unwrap()),
            Step::CrashPayer => self.crash_payer(),
            Step::ColdPayer => self.forget_payer(),
            Step::Claim => self.claim(),
            Step::Settle => self.chain.settle(),
            Step::Refund(partly) => self.refund(*partly),
            Step::StartWithdrawal(greedy) => self.start_withdrawal(*greedy),
            Step::FinishWithdrawal => self.finish_withdrawal(),
            Step::Wait(secs) => self.wait(*secs),
        }
    }

    fn network(&mut self, step: &Step) {
        if let Step::Deliver(index) = step
            && let Some(request) = pick(&mut self.requests, index)
        {
            self.arrive(request);
        }
        if let Step::Repeat(index) = step
            && !self.seen.is_empty()
        {
            self.arrive(*index.get(&self.seen));
        }
        if let Step::LoseRequest(index) = step
            && let Some(request) = pick(&mut self.requests, index)
        {
            self.payer_times_out(request.id);
        }
    }

    /// The money rules, from accounts kept here and not by the state machines.
    pub(crate) fn check(&self) {
        assert_eq!(self.chain.total(), WALLET, "M6");
        let state = self.payee.state();
        let done = self
            .executed
            .values()
            .map(|charged| charged.get())
            .sum::<u128>();
        let waiting = self
            .unsynced
            .iter()
            .map(|(.., charged)| charged.get())
            .sum::<u128>();
        assert_eq!(
            state.charged.get(),
            done + waiting,
            "M3 and M5: charged once, for work done"
        );
        assert_eq!(
            self.durable.charged.get(),
            done,
            "M4: what was answered is durable"
        );
        assert!(
            self.chain.claimed <= done,
            "nothing is claimed that was not charged"
        );
        assert!(
            state.charged.get() <= self.chain.balance,
            "M2: charged <= balance"
        );
        assert!(
            state.charged <= state.ceiling(),
            "M2: charged <= signed ceiling"
        );
        assert!(
            state.ceiling() <= self.signed_max,
            "only what the payer signed"
        );
        let promised = state.charged.checked_add(self.payee.in_flight()).unwrap();
        assert!(promised <= state.ceiling(), "M2 for calls in flight");
        let running = self
            .running
            .iter()
            .map(|(_, call)| call.price().get())
            .sum::<u128>();
        assert_eq!(
            self.payee.in_flight().get(),
            running,
            "no reservation is lost"
        );
    }

    /// Lets everything come to rest, closes the channel and compares all accounts.
    pub(crate) fn close(mut self) {
        while let Some(call) = self.running.pop() {
            self.fail(call);
        }
        self.sync();
        self.answer_all();
        while let Some(request) = self.requests.pop() {
            self.payer_times_out(request.id);
        }
        self.check();
        assert!(self.open.is_empty(), "every call has an outcome");
        self.payer.on_chain_view(&self.chain.view());
        // One more call always works: both sides agree again after it.
        let served = self.served;
        self.call_and_finish(50);
        assert_eq!(self.served, served + 1, "a quiet channel serves a call");
        assert_eq!(
            self.payer.state().charged,
            self.payee.state().charged,
            "both counts agree"
        );
        self.refund(false);
        self.claim();
        self.chain.settle();
        self.check();
        let done = self
            .executed
            .values()
            .map(|charged| charged.get())
            .sum::<u128>();
        assert_eq!(
            self.chain.receiver_wallet, done,
            "the receiver has exactly what was charged"
        );
        assert_eq!(
            self.chain.payer_wallet,
            WALLET - done,
            "the payer has all the rest"
        );
    }

    pub(crate) fn call_and_finish(&mut self, actual: u128) {
        for _attempt in 0..2 {
            let served = self.served;
            self.take(&Step::Call {
                explicit_count: true,
            });
            self.deliver_all();
            self.succeed_all(actual);
            self.sync();
            self.answer_all();
            if self.served > served {
                return;
            }
        }
    }

    pub(crate) fn deliver_all(&mut self) {
        for request in std::mem::take(&mut self.requests) {
            self.arrive(request);
        }
    }

    pub(crate) fn succeed_all(&mut self, actual: u128) {
        for call in std::mem::take(&mut self.running) {
            self.succeed(call, actual);
        }
    }

    pub(crate) fn answer_all(&mut self) {
        for (id, answer) in std::mem::take(&mut self.answers) {
            self.hear(id, answer);
        }
    }

    pub(crate) fn refusals(&self) -> usize {
        self.refusals
    }

    pub(crate) fn served(&self) -> usize {
        self.served
    }
}

fn pick<T>(items: &mut Vec<T>, index: &Index) -> Option<T> {
    (!items.is_empty()).then(|| items.swap_remove(index.index(items.len())))
}

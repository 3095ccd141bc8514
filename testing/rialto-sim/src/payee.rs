//! The payee's driver: what a node does around the real [`PayeeChannel`]. The order is the point:
//! checks, deposit, reservation, work, charge, disk, answer.

use std::collections::BTreeMap;

use rialto_channels::{
    Amount, B256, ChainTime, ChannelId, Signature, SigningKey, U256, VerifiedVoucher,
    payee::{PayeeChannel, PayerExposure, Refund, Reject, Reservation, Terms, payment_key},
    payer::Corrective,
    receipt::{Receipt, SignedReceipt},
};

use crate::{
    Rule,
    chain::{DEPTH_MAX, Transaction},
    disk::{Disk, Payment, Record},
    message::{Answer, CallRequest, Message},
    parties::{DEPOSIT_MIN, DOMAIN, EXPOSURE, IN_FLIGHT_MAX, PRICE, terms},
    random::Random,
    world::{Event, World},
};

#[derive(Debug)]
pub(crate) struct Payee {
    pub(crate) key: SigningKey,
    pub(crate) terms: Terms,
    pub(crate) cheats: bool,
    /// Receipts carry real signatures in this run.
    pub(crate) signs: bool,
    pub(crate) channels: BTreeMap<ChannelId, Served>,
    pub(crate) disk: Disk,
    /// Wrong by so many seconds, early or late.
    skew: (u64, bool),
    /// The chain cannot be reached.
    pub(crate) blind: bool,
    running: BTreeMap<u64, Running>,
    next_execution: u64,
    /// Calls whose deposit is on its way.
    waiting: Vec<Waiting>,
    /// Answers that wait for the disk.
    answers: Vec<([u8; 32], Message)>,
    /// State older than the present, for the broken rule.
    stale: Option<crate::disk::Durable>,
}

#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) channel: PayeeChannel,
    pub(crate) refund: Option<(Refund, Option<(usize, u64)>)>,
}

#[derive(Debug)]
struct Waiting {
    until: u64,
    request: CallRequest,
    voucher: VerifiedVoucher,
    key: [u8; 32],
}

#[derive(Debug)]
struct Running {
    reservation: Reservation,
    request: CallRequest,
    key: [u8; 32],
}

impl Payee {
    pub(crate) fn new(key: SigningKey, cheats: bool, signs: bool, random: &mut Random) -> Self {
        Self {
            terms: terms(&key),
            key,
            cheats,
            signs,
            channels: BTreeMap::new(),
            disk: Disk::default(),
            skew: (random.below(20), random.percent(50)),
            blind: false,
            running: BTreeMap::new(),
            next_execution: 0,
            waiting: Vec::new(),
            answers: Vec::new(),
            stale: None,
        }
    }

    fn payer_exposure(&self, payer: rialto_channels::Address) -> PayerExposure {
        let mut sum = PayerExposure::default();
        for served in self.channels.values() {
            if served.channel.state().config.payer == payer {
                // Base units of a few wallets: far below the type's end.
                let _fits = sum.moved(Amount::ZERO, served.channel.exposure());
            }
        }
        sum
    }

    pub(crate) fn in_flight(&self, channel: ChannelId) -> u128 {
        let running = self.running.values();
        let on_it = running.filter(|it| it.reservation.channel() == channel);
        on_it.map(|it| it.reservation.price().get()).sum()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.answers.is_empty()
    }
}

impl World {
    pub(crate) fn payee_now(&self) -> ChainTime {
        let (secs, late) = self.payee.skew;
        let machine = if late {
            self.now - secs
        } else {
            self.now + secs
        };
        ChainTime::new(machine.max(self.chain.time()))
    }

    pub(crate) fn arrive(&mut self, request: CallRequest) {
        let Some(voucher) = self.checked(&request) else {
            return self.answer(&request, Answer::Failed);
        };
        let id = request.payment_id.as_deref();
        let key = payment_key(request.channel, voucher.ceiling(), id, &request.request);
        if !self.breaks(Rule::ForgetPayments) {
            if let Some(payment) = self.payee.disk.durable.payments.get(&key) {
                let same = payment.request == request.request;
                let receipt = payment.receipt.clone();
                self.summary.replays += 1;
                let answer = if same {
                    Answer::Done {
                        receipt,
                        count: None,
                    }
                } else {
                    Answer::Failed
                };
                return self.answer(&request, answer);
            }
            // The payment's turn is taken: its answer is on the way.
            let running = self.payee.running.values().any(|it| it.key == key);
            let waiting = self.payee.waiting.iter().any(|it| it.key == key);
            if running || waiting || self.payee.disk.knows(&key) {
                return;
            }
        }
        if self.payee.blind {
            return self.answer(&request, Answer::Failed);
        }
        match request.deposit {
            Some(deposit) if !self.used(&request, DEPTH_MAX) => {
                let worth = deposit.amount >= DEPOSIT_MIN
                    && deposit.authorization.valid_before > self.now + 60;
                if !worth {
                    return self.answer(&request, Answer::Failed);
                }
                self.chain.submit(Transaction::Deposit(Box::new(deposit)));
                let until = self.now + DEPOSIT_SECS;
                self.payee.waiting.push(Waiting {
                    until,
                    request,
                    voucher,
                    key,
                });
            }
            Some(_) | None => self.serve(request, &voucher, key),
        }
    }

    /// Terms and signature; nothing is believed before.
    fn checked(&self, request: &CallRequest) -> Option<VerifiedVoucher> {
        self.payee.terms.check(&request.config).ok()?;
        if request.config.id(&DOMAIN) != request.channel {
            return None;
        }
        let authorizer = request.config.payer_authorizer;
        let voucher = request.voucher.verify(&DOMAIN, authorizer).ok()?;
        (voucher.channel() == request.channel).then_some(voucher)
    }

    fn used(&self, request: &CallRequest, depth: usize) -> bool {
        request.deposit.is_some_and(|deposit| {
            let nonce = deposit.authorization.nonce;
            self.chain.used(deposit.authorization.from, nonce, depth)
        })
    }

    fn serve(&mut self, request: CallRequest, voucher: &VerifiedVoucher, key: [u8; 32]) {
        let id = request.channel;
        let view = self.payee_view(id);
        if !self.payee.channels.contains_key(&id) {
            let entered = PayeeChannel::new(&self.payee.terms, &DOMAIN, request.config, &view);
            let Some(channel) = entered.ok().filter(|_| !view.balance.is_zero()) else {
                return self.answer(&request, Answer::Failed);
            };
            self.books.enter(id, channel.state().charged.get());
            let refund = None;
            self.payee.channels.insert(id, Served { channel, refund });
        }
        let now = self.payee_now();
        let payer = self.payee.payer_exposure(request.config.payer);
        let Some(served) = self.payee.channels.get_mut(&id) else {
            return;
        };
        if served.channel.needs_view(now) || request.deposit.is_some() {
            served.channel.on_chain_view(&view);
        }
        let price = Amount::new(PRICE);
        let reserved = served
            .channel
            .reserve_within(voucher, price, now, &EXPOSURE, &payer);
        match reserved {
            Ok(reservation) => {
                self.payee.next_execution += 1;
                let execution = self.payee.next_execution;
                let running = Running {
                    reservation,
                    request,
                    key,
                };
                self.payee.running.insert(execution, running);
                let secs = if self.random.percent(10) { 120 } else { 10 };
                let secs = self.random.between(0, secs);
                self.after(secs, Event::Finish(execution));
            }
            Err(reject) => {
                self.summary.refusals += 1;
                self.note(|| format!("refused: {reject}"));
                let answer = self.refusal(id, &reject);
                self.answer(&request, answer);
            }
        }
    }

    pub(crate) fn refusal(&self, id: ChannelId, reject: &Reject) -> Answer {
        let served = self
            .payee
            .channels
            .get(&id)
            .filter(|_| reject.is_corrective());
        served.map_or(Answer::Failed, |served| {
            let state = served.channel.state();
            Answer::Refused(state.best.map(|best| Corrective {
                charged: state.charged,
                signed_max: best.voucher.ceiling,
                signature: best.signature,
            }))
        })
    }

    pub(crate) fn finish(&mut self, execution: u64) {
        // A crash ends the work, too.
        let Some(running) = self.payee.running.remove(&execution) else {
            return;
        };
        let Running {
            reservation,
            request,
            key,
        } = running;
        let id = request.channel;
        let failed = self.random.percent(15);
        let actual = Amount::new(self.random.amount(PRICE));
        let signs = self.payee.signs;
        let fork = self.breaks(Rule::ForkReceipts) && self.random.percent(10);
        let Some(served) = self.payee.channels.get_mut(&id) else {
            return;
        };
        if failed && self.broken != Some(Rule::ChargeFailed) {
            served.channel.release(reservation);
            return self.answer(&request, Answer::Failed);
        }
        let Ok(charge) = served.channel.charge(&reservation, actual) else {
            served.channel.release(reservation);
            // Claims beyond its charges, of before it lost its disk, count as charges.
            let odd = self.payee.cheats || self.books.lost;
            self.require(odd, || "a reserved call cannot be charged".into());
            return self.answer(&request, Answer::Failed);
        };
        let receipt = receipt(&request, &reservation, &charge, execution, self.now);
        let digest = if fork { B256::ZERO } else { receipt.digest() };
        let receipt = sign(receipt, &self.payee.key, signs);
        let Ok(done) = served.channel.commit(reservation, actual, digest) else {
            return self.require(false, || "a charge that was computed is refused".into());
        };
        let count = Some(done.snapshot.charged).filter(|_| served.channel.in_flight_count() == 0);
        let payment = Box::new(Payment {
            request: request.request,
            receipt: receipt.clone(),
        });
        let snapshot = done.snapshot;
        self.payee.disk.push(Record::Charge {
            snapshot,
            key,
            payment,
        });
        self.summary.charged += actual.get();
        if failed {
            return self.answer(&request, Answer::Failed);
        }
        self.summary.served += 1;
        let once = self.books.charge(key, id, actual.get());
        self.require(once, || format!("M5: a payment on {id} is charged twice"));
        let message = Message::Answer {
            payer: request.payer,
            call: request.call,
            answer: Box::new(Answer::Done { receipt, count }),
        };
        self.payee.answers.push((key, message));
        if self.breaks(Rule::AnswerEarly) {
            self.release_answers();
        }
        let secs = self.random.below(3);
        self.after(secs, Event::Sync);
        if self
            .payee
            .channels
            .get(&id)
            .is_some_and(|it| it.channel.at_risk())
        {
            self.claim_at_risk();
        }
    }

    /// The disk has it; only now the answers go out (M4).
    pub(crate) fn sync(&mut self) {
        if self.breaks(Rule::StaleRestore) && self.payee.stale.is_none() {
            self.payee.stale = Some(self.payee.disk.durable.clone());
        }
        self.payee.disk.sync();
        self.release_answers();
    }

    fn release_answers(&mut self) {
        for (key, message) in std::mem::take(&mut self.payee.answers) {
            self.books.acknowledge(key);
            self.send_from_payee(message);
        }
    }

    pub(crate) fn answer(&mut self, request: &CallRequest, answer: Answer) {
        self.send_from_payee(Message::Answer {
            payer: request.payer,
            call: request.call,
            answer: Box::new(answer),
        });
    }

    /// Everything that is not on the disk is gone, and so is the work.
    pub(crate) fn crash_payee(&mut self) {
        self.summary.crashes += 1;
        self.payee.running.clear();
        self.payee.waiting.clear();
        self.payee.answers.clear();
        self.payee.disk.crash(&mut self.random);
        if let Some(stale) = self.payee.stale.take() {
            self.payee.disk.durable = stale;
        }
        if self.random.percent(3) {
            // The machine is gone with its disk; what is not claimed is lost.
            self.payee.disk = Disk::default();
            self.books.forget();
        }
        self.payee.channels.clear();
        for (id, snapshot) in self.payee.disk.durable.channels.clone() {
            match PayeeChannel::restore(snapshot, &DOMAIN, IN_FLIGHT_MAX) {
                Ok(channel) => {
                    let refund = None;
                    self.payee.channels.insert(id, Served { channel, refund });
                }
                Err(error) => self.require(false, || format!("a restart fails: {error}")),
            }
        }
        let disk = &self.payee.disk;
        self.books.restart(|key| disk.knows(key));
        self.resume_refunds();
    }

    /// Deposits that arrived, and refunds that were paid.
    pub(crate) fn see_block(&mut self) {
        if self.payee.blind {
            return;
        }
        let depth = if self.breaks(Rule::TrustNewest) {
            0
        } else {
            DEPTH_MAX
        };
        for waiting in std::mem::take(&mut self.payee.waiting) {
            if self.used(&waiting.request, depth) {
                self.serve(waiting.request, &waiting.voucher, waiting.key);
            } else if self.now > waiting.until {
                self.answer(&waiting.request, Answer::Failed);
            } else {
                self.payee.waiting.push(waiting);
            }
        }
        self.see_refunds();
    }
}

/// A receipt that says what little this world knows.
fn receipt(
    request: &CallRequest,
    call: &Reservation,
    charge: &rialto_channels::payee::Charge,
    execution: u64,
    now: u64,
) -> Receipt {
    Receipt {
        id: B256::from(U256::from(now) << 64 | U256::from(execution)),
        channel: Some(request.channel),
        payer: request.config.payer,
        provider: request.config.receiver,
        chain_id: DOMAIN.chain_id,
        token: request.config.token,
        service: String::new(),
        version: String::new(),
        component: B256::ZERO,
        models: Vec::new(),
        method: String::new(),
        request: request.request,
        response: request.request,
        usage: rialto_channels::receipt::Usage::default(),
        price: call.price(),
        before: charge.before,
        charged: charge.charged,
        after: charge.after,
        issued_at: now,
        engine: String::new(),
        deterministic: true,
        previous: charge.previous,
        parent: None,
    }
}

/// Signs, or puts a placeholder where the run does without.
pub(crate) fn sign(receipt: Receipt, key: &SigningKey, really: bool) -> SignedReceipt {
    if really {
        return receipt.sign(key);
    }
    let mut bytes = [1; 65];
    bytes[64] = 27;
    match Signature::parse(&bytes) {
        Ok(signature) => SignedReceipt { receipt, signature },
        Err(_) => unreachable!("a low s and a known v"),
    }
}

/// How long a deposit is waited for.
const DEPOSIT_SECS: u64 = 200;

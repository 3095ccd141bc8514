//! A call from payment to receipt: reserve, run, charge, make durable, answer.
//!
//! The order is the point. Arguments are checked before any money moves; a deposit is on the
//! chain before the work; the charge is durable before the answer is handed out (M4); whatever
//! fails before the charge charges nothing (M3), because the reservation is released on drop.

mod hold;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use rialto_channels::payee::{ChargeError, Committed, PayeeChannel, Reservation, WireCode};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Address, Amount, VerifiedVoucher};
use rialto_host::{CallContext, ItemList, Outcome, Prepared};
use rialto_ledger::{Entry, PaymentRecord, StoredAnswer};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use crate::Node;
use crate::api::{
    CallError, CallOutcome, CallRequest, ChannelPayment, Lineage, Payment, PaymentError,
};
use crate::book::{self, Slot};
use crate::catalog::{Code, Version, Visit};
use crate::digest;
use crate::hires::Hirings;
use crate::money::{Arrival, Work};
use crate::receipts::{Extent, Facts, Paid};
use crate::reject::{bad_signature, invalid, unavailable};
use crate::turns::Turn;

pub(crate) use hold::{Began, Hold, OwnHold, Ready};

/// A call whose arguments and price are settled.
pub(crate) struct Job {
    pub(crate) service: Arc<Version>,
    /// Counts the call.
    pub(crate) visit: Visit,
    pub(crate) method: String,
    pub(crate) prepared: Prepared,
    pub(crate) price: Amount,
    /// How long it may run.
    pub(crate) time_max: Duration,
    /// Names what was asked, for replays and receipts.
    pub(crate) request: B256,
    /// The receipt's id.
    pub(crate) id: B256,
    /// The calls above it.
    pub(crate) lineage: Lineage,
    /// Set where a guest of this host waits for it: the bytes of host memory that it leaves it meanwhile.
    pub(crate) awaited: Option<u64>,
}

/// What a call holds until its payment is settled, whether or not its caller still waits: the
/// payment's turn, without which a retry would run and be charged again, and a place in the node.
pub(crate) type Stay = (Turn, OwnedSemaphorePermit);

impl Node {
    /// Runs one call and charges for it.
    ///
    /// Cancel-safe: dropped before the charge, it charges nothing; dropped after, the answer is
    /// stored and the same payment fetches it.
    ///
    /// # Errors
    /// [`CallError`]; nothing is charged in any case (M3).
    pub async fn call(&self, request: CallRequest) -> Result<CallOutcome, CallError> {
        let service = self.open(&request.service)?;
        let metered = service.begin(&request.method);
        let called = self.call_of(service, request).await;
        if let Some(metered) = metered {
            metered.end(called.as_ref());
        }
        called
    }

    async fn call_of(
        &self,
        service: Arc<Version>,
        request: CallRequest,
    ) -> Result<CallOutcome, CallError> {
        let (job, payment) = self.job(service, request)?;
        let permit = self.admit()?;
        self.check_room(&job, &payment)?;
        match payment {
            Payment::None if job.price.is_zero() => self.call_free(job).await,
            Payment::None => Err(PaymentError::Required.into()),
            Payment::Channel(payment) => self.call_on_channel(job, *payment, permit).await,
            Payment::Exact(payment) => self.call_exact(job, *payment, permit).await,
        }
    }

    /// Checks what can be checked before any money is looked at.
    pub(crate) fn job(
        &self,
        service: Arc<Version>,
        request: CallRequest,
    ) -> Result<(Job, Payment), CallError> {
        let payer = paid_by(&request.payment);
        let party = digest::party(payer, request.lineage.on_behalf);
        self.job_of(service, request, (payer, party))
    }

    /// The same for a caller that is known otherwise.
    pub(crate) fn job_of(
        &self,
        service: Arc<Version>,
        request: CallRequest,
        (payer, party): (Option<Address>, Option<Address>),
    ) -> Result<(Job, Payment), CallError> {
        let price = service.price(&request.method, request.body_bytes)?;
        if price > request.price_max {
            return Err(CallError::Repriced { price });
        }
        let terms = self.config().payers.of(payer);
        terms.check_size(request.body_bytes)?;
        let prepared = service.host.prepare(&request.method, request.arguments)?;
        let method = prepared.method().to_owned();
        let time_max = terms.time(service.view.limits.time_max());
        let left = request.lineage.time_max.unwrap_or(time_max);
        let beside = self.0.hiring.awaited(request.lineage.parent.as_ref());
        let job = Job {
            request: digest::request(&request.service, &method, &request.body_digest),
            id: B256::from(rand::random::<[u8; 32]>()),
            awaited: beside.as_ref().map(|beside| beside.lends),
            lineage: request.lineage,
            visit: service.visit(&named(party))?.beside(beside),
            time_max: time_max.min(left),
            service,
            method,
            prepared,
            price,
        };
        Ok((job, request.payment))
    }

    /// Whether the host has room for a call that would be paid: before a deposit moves or a signature
    /// is checked.
    pub(crate) fn check_room(&self, job: &Job, payment: &Payment) -> Result<(), CallError> {
        // Who is waited for needs no room of its own.
        if !matches!(payment, Payment::None) && job.awaited.is_none() {
            let (payer, deadline) = (named(paid_by(payment)), Instant::now() + job.time_max);
            job.service
                .host
                .check_room(&job.prepared, &payer, deadline)?;
        }
        Ok(())
    }

    async fn call_free(&self, job: Job) -> Result<CallOutcome, CallError> {
        let code = self.0.catalog.code(&job.service).await?;
        let (_, outcome) = self.execute(job, code, None).await?;
        Ok(CallOutcome {
            body: outcome.body,
            charged: Amount::ZERO,
            payer: None,
            channel: None,
            transaction: None,
            receipt: None,
            replayed: false,
        })
    }

    async fn call_on_channel(
        &self,
        mut job: Job,
        payment: ChannelPayment,
        permit: OwnedSemaphorePermit,
    ) -> Result<CallOutcome, CallError> {
        self.name_again(&mut job, &payment);
        let Ready {
            payer,
            code,
            attempt,
            hold,
            key,
            deposited,
            stay,
        } = match self.begin(&job, payment, permit).await? {
            Began::Now(ready) => *ready,
            Began::Before(record, slot) => {
                return self.replay(&record, &job.request, slot.as_deref());
            }
        };
        let (facts, outcome) = match attempt.of(self.execute(job, code, Some(payer))).await {
            Ok(ran) => ran,
            Err(error) => {
                hold.give_back().await;
                return Err(error);
            }
        };
        // A task of its own: a caller that goes away while the charge is being stored must not
        // free the turn, or its retry would find nothing stored yet and be charged again.
        let node = self.clone();
        let charging = async move {
            let _stay = stay;
            node.charge_channel(hold, facts, outcome, key, deposited)
                .await
        };
        let charged = tokio::spawn(charging.in_current_span());
        charged
            .await
            .map_err(|error| unavailable("the charge", error))?
    }

    /// Does all that comes before a paid call may run: the payment's turn, what is stored of it, the
    /// deposit, the reservation.
    pub(crate) async fn begin(
        &self,
        job: &Job,
        payment: ChannelPayment,
        permit: OwnedSemaphorePermit,
    ) -> Result<Began, CallError> {
        self.book().check(&payment.config, payment.channel)?;
        job.service.check_receiver(&payment.config)?;
        let authorizer = payment.config.payer_authorizer;
        let voucher = tracing::info_span!("payment.verify")
            .in_scope(|| payment.voucher.verify(self.book().domain(), authorizer))
            .map_err(|error| bad_signature(&error))?;
        if voucher.channel() != payment.channel {
            return Err(invalid(
                WireCode::ChannelIdMismatch,
                "the voucher is drawn on another channel",
            )
            .into());
        }
        let key = digest::payment_key(&payment, &job.request);
        let turn = self.turns().take(key).await;
        let work = match self.arrive(key).await? {
            Arrival::Now(work) => work,
            Arrival::Before(record) => {
                let slot = self.known(payment.channel).await?;
                return Ok(Began::Before(record, slot));
            }
        };
        // Before a deposit moves, and in a time of its own.
        let code = self.0.catalog.code(&job.service).await?;
        let attempt = self.failures().begin(payment.channel)?;
        let (slot, deposited) = self.funded(&payment, &voucher, job.price).await?;
        let hold = self.hold(work, &slot, &voucher, job.price).await?;
        if let Err(blind) = self.watch().admit(job.price) {
            hold.give_back().await;
            return Err(unavailable("the chain", blind));
        }
        Ok(Began::Now(Box::new(Ready {
            payer: payment.config.payer,
            code,
            attempt,
            hold,
            key,
            deposited,
            stay: (turn, permit),
        })))
    }

    /// Reserves the price on the channel.
    async fn hold(
        &self,
        work: Work,
        slot: &Arc<Slot>,
        voucher: &VerifiedVoucher,
        price: Amount,
    ) -> Result<Hold, CallError> {
        match work {
            None => {
                let (now, limits) = (self.now(), self.config().risk.exposure);
                let hold = OwnHold::reserve(slot, voucher, price, now, &limits)?;
                Ok(Hold::Own(hold))
            }
            Some(execution) => {
                let held = self.hold_in_fleet(execution, slot, voucher, price);
                Ok(Hold::Shared(Box::new(held.await?)))
            }
        }
    }

    /// Charges, signs the receipt and waits until both are durable (M4).
    pub(crate) async fn charge_channel(
        &self,
        hold: Hold,
        facts: Facts,
        outcome: Outcome,
        key: [u8; 32],
        deposited: Option<(B256, Amount)>,
    ) -> Result<CallOutcome, CallError> {
        match hold {
            Hold::Own(hold) => self.charge_own(hold, facts, outcome, key, deposited).await,
            Hold::Shared(hold) => {
                self.charge_in_fleet(*hold, facts, outcome, key, deposited)
                    .await
            }
        }
    }

    async fn charge_own(
        &self,
        mut hold: OwnHold,
        facts: Facts,
        outcome: Outcome,
        key: [u8; 32],
        deposited: Option<(B256, Amount)>,
    ) -> Result<CallOutcome, CallError> {
        let Some(ledger) = self.ledger().own() else {
            return Err(CallError::Conflict("the ledger is another".to_owned()));
        };
        let actual = facts.charge(&outcome);
        let payer;
        let (receipt, view, durable) = {
            let mut channel = hold.slot.lock();
            let Some(reservation) = hold.reservation.take() else {
                return Err(CallError::Conflict("the reservation is gone".to_owned()));
            };
            payer = channel.state().config.payer;
            let (receipt, committed) = self
                .charge_locked(&mut channel, reservation, &facts, &outcome)
                .map_err(|error| unavailable("the channel", error))?;
            let entry = Entry::Charge {
                snapshot: Some(committed.snapshot),
                payment: record(key, &receipt, &outcome.body, facts.extent),
            };
            // Queued under the channel's lock, so that the ledger sees charges in their order.
            let queued = ledger.enqueue(entry);
            if queued.is_err() {
                // Nothing will remember this charge, so it must not stand.
                channel.take_back(&committed.charge);
            }
            let durable = queued.map_err(|error| unavailable("the ledger", error))?;
            (receipt, book::view(&channel), durable)
        };
        durable
            .instrument(tracing::info_span!("ledger.commit"))
            .await
            .map_err(|error| unavailable("the ledger", error))?;
        Ok(CallOutcome {
            body: outcome.body,
            charged: actual,
            payer: Some(payer),
            channel: Some(view),
            transaction: deposited,
            receipt: Some(receipt),
            replayed: false,
        })
    }

    /// Charges on a channel that is locked, with the receipt that says so.
    pub(crate) fn charge_locked(
        &self,
        channel: &mut PayeeChannel,
        reservation: Reservation,
        facts: &Facts,
        outcome: &Outcome,
    ) -> Result<(SignedReceipt, Committed), ChargeError> {
        let actual = facts.charge(outcome);
        let charge = match channel.charge(&reservation, actual) {
            Ok(charge) => charge,
            Err(error) => {
                // Or it would block a part of the channel for ever (M3).
                channel.release(reservation);
                return Err(error);
            }
        };
        let paid = Paid::on_channel(channel.state(), &charge);
        let receipt = facts.receipt(outcome, &paid, self.now());
        let (receipt, digest) = receipt.sign_with_digest(self.key());
        let committed = channel.commit(reservation, actual, digest)?;
        Ok((receipt, committed))
    }

    /// Runs the component in a fresh instance. Payers take turns where calls wait; those who pay nothing
    /// have one turn together.
    pub(crate) async fn execute(
        &self,
        job: Job,
        code: Arc<Code>,
        payer: Option<Address>,
    ) -> Result<(Facts, Outcome), CallError> {
        let Prepare {
            facts,
            visit,
            prepared,
            context,
            hirings,
        } = self.make_ready(job, code, payer);
        let party = context.payer.clone();
        let ended = facts.code.service.call(prepared, context).await;
        visit.over(&party, &ended);
        // Also of a call that failed: what was done for it is not done again.
        hirings.queued().await?;
        let mut outcome = ended?;
        hirings.settle(&mut outcome.usage);
        Ok((facts, outcome))
    }

    /// The stored answer of a payment that was made before, or why there is none: what a stream
    /// delivered that broke off is no answer.
    pub(crate) fn replay(
        &self,
        record: &PaymentRecord,
        request: &B256,
        slot: Option<&Slot>,
    ) -> Result<CallOutcome, CallError> {
        let outcome = self.stored(record, request, slot)?;
        if is_whole(record) {
            return Ok(outcome);
        }
        let items = ItemList::split(&outcome.body).len();
        let items = u64::try_from(items).unwrap_or(u64::MAX);
        Err(CallError::StreamEnded { items })
    }

    /// What is stored of a payment that was made before, whole or not.
    pub(crate) fn stored(
        &self,
        record: &PaymentRecord,
        request: &B256,
        slot: Option<&Slot>,
    ) -> Result<CallOutcome, CallError> {
        let receipt = &record.receipt.receipt;
        if receipt.request != *request {
            return Err(CallError::Conflict(format!(
                "this payment was used for another request; its receipt is {}",
                receipt.id
            )));
        }
        let Some(answer) = &record.answer else {
            return Err(CallError::Conflict(format!(
                "this payment was answered before and the answer is no longer kept; its receipt is {}",
                receipt.id
            )));
        };
        Ok(CallOutcome {
            body: Bytes::copy_from_slice(&answer.body),
            charged: receipt.charged,
            payer: Some(receipt.payer),
            channel: slot.map(Slot::view),
            transaction: None,
            receipt: Some(record.receipt.clone()),
            replayed: true,
        })
    }
}

/// A payer's name where payers take turns; those who pay nothing have none.
pub(crate) fn named(payer: Option<Address>) -> String {
    // Nobody in particular has the empty name.
    payer.map_or_else(String::new, |payer| format!("{payer:x}"))
}

/// Who says to pay. Not checked yet.
const fn paid_by(payment: &Payment) -> Option<Address> {
    match payment {
        Payment::None => None,
        Payment::Channel(payment) => Some(payment.config.payer),
        Payment::Exact(payment) => Some(payment.authorization.from),
    }
}

/// What the host is asked to run, and what will be said of it.
pub(crate) struct Prepare {
    pub(crate) facts: Facts,
    /// To be told how the call ended.
    pub(crate) visit: Visit,
    pub(crate) prepared: Prepared,
    pub(crate) context: CallContext,
    /// What it has others do.
    pub(crate) hirings: Hirings,
}

impl Node {
    /// Makes a call ready for the host.
    pub(crate) fn make_ready(&self, job: Job, code: Arc<Code>, payer: Option<Address>) -> Prepare {
        let party = digest::party(payer, job.lineage.on_behalf);
        let (hirer, hirings) = self.hirer(&job, party);
        let Job {
            service,
            visit,
            method,
            prepared,
            price,
            time_max,
            request,
            id,
            lineage,
            awaited,
        } = job;
        let context = CallContext {
            call_id: id.to_string(),
            deadline: Instant::now() + time_max,
            payer: named(party),
            price: price.get(),
            hirer,
            awaited,
        };
        let facts = Facts {
            service,
            code,
            method,
            price,
            request,
            id,
            parent: lineage.parent,
            extent: Extent::Whole,
        };
        Prepare {
            facts,
            visit,
            prepared,
            context,
            hirings,
        }
    }
}

/// What the ledger keeps of a paid call.
pub(crate) fn record(
    key: [u8; 32],
    receipt: &SignedReceipt,
    body: &Bytes,
    extent: Extent,
) -> PaymentRecord {
    let media_type = match extent {
        Extent::Whole => "application/json",
        Extent::Left | Extent::Broken => UNFINISHED,
    };
    let answer = (body.len() <= ANSWER_BYTES_MAX).then(|| StoredAnswer {
        content_type: media_type.to_owned(),
        body: body.to_vec(),
    });
    PaymentRecord {
        key,
        receipt: receipt.clone(),
        answer,
    }
}

/// Whether a stored answer is one, and not the beginning of a stream that broke off.
pub(crate) fn is_whole(record: &PaymentRecord) -> bool {
    let answer = record.answer.as_ref();
    answer.is_none_or(|answer| answer.content_type != UNFINISHED)
}

/// A JSON array of a stream's items, without the last bracket.
const UNFINISHED: &str = "application/json; unfinished";

/// Larger answers are not kept for replays: the caller is told so.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;

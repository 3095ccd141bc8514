//! A call in a fleet: the reservation and the charge are made in the database that replicas share.
//!
//! The order is that of a node alone; only where the money is decided differs. A replica that is
//! killed in between charges nothing (M3), and what it held is free when its lease ends.

use std::sync::Arc;

use alloy_primitives::B256;
use rialto_channels::payee::{PayeeChannel, PayerExposure, Reject, WireCode};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, VerifiedVoucher};
use rialto_host::Outcome;
use rialto_ledger::{Charged, Execution, PaymentRecord, SharedError, SharedLedger};

use crate::Node;
use crate::api::{CallError, CallOutcome, PaymentError};
use crate::book::{self, Slot};
use crate::calls::record;
use crate::money::{Work, unrecorded};
use crate::receipts::Facts;
use crate::reject::{invalid, refused_on, unavailable};

/// A reservation in the shared ledger; given back when the call ends without a charge (M3).
pub(crate) struct SharedHold {
    execution: Execution,
    slot: Arc<Slot>,
    voucher: VerifiedVoucher,
    price: Amount,
}

impl SharedHold {
    /// Gives the reservation back and waits until it is.
    pub(crate) async fn give_back(self) {
        self.execution.give_up().await;
    }
}

impl Node {
    /// Reserves the price on the channel, over all replicas (M2).
    pub(crate) async fn hold_in_fleet(
        &self,
        mut execution: Execution,
        slot: &Arc<Slot>,
        voucher: &VerifiedVoucher,
        price: Amount,
    ) -> Result<SharedHold, CallError> {
        let ledger = self.fleet()?;
        let mut refused = self
            .try_hold(ledger, &mut execution, slot, voucher, price)
            .await?;
        if matches!(refused, Some((Reject::ViewStale { .. }, _))) {
            // Another replica knows of something that this one's copy did not show.
            self.refresh(slot).await?;
            refused = self
                .try_hold(ledger, &mut execution, slot, voucher, price)
                .await?;
        }
        match refused {
            None => Ok(SharedHold {
                execution,
                slot: Arc::clone(slot),
                voucher: *voucher,
                price,
            }),
            Some((_, told)) => Err(told.into()),
        }
    }

    async fn try_hold(
        &self,
        ledger: &SharedLedger,
        execution: &mut Execution,
        slot: &Slot,
        voucher: &VerifiedVoucher,
        price: Amount,
    ) -> Result<Option<(Reject, PaymentError)>, CallError> {
        let now = self.now();
        let limits = self.config().risk.exposure;
        let work = |channel: &mut PayeeChannel, payer: &PayerExposure| {
            channel.reserve_within(voucher, price, now, &limits, payer)
        };
        let (id, in_flight_max) = (slot.id, self.book().in_flight_max());
        // Counting what a payer has at stake over all replicas takes a lock, so only if it matters.
        let reserved = if limits.payer_max.is_some() {
            ledger
                .reserve_within(execution, id, in_flight_max, work)
                .await
        } else {
            let nobody = PayerExposure::default();
            let work = |channel: &mut PayeeChannel| work(channel, &nobody);
            ledger.reserve(execution, id, in_flight_max, work).await
        };
        let changed = match reserved {
            Ok(changed) => changed,
            Err(SharedError::UnknownChannel) => {
                let message = "this channel holds no money: send a deposit first";
                return Err(invalid(WireCode::MissingChannel, message).into());
            }
            Err(error) => return Err(unrecorded(error)),
        };
        let told = changed.outcome.err().map(|reject| {
            let told = refused_on(&changed.channel, &reject);
            (reject, told)
        });
        slot.adopt(changed.channel);
        Ok(told)
    }

    /// Charges, signs the receipt and waits until both are durable (M4).
    pub(crate) async fn charge_in_fleet(
        &self,
        mut hold: SharedHold,
        facts: Facts,
        outcome: Outcome,
        key: [u8; 32],
        deposited: Option<(B256, Amount)>,
    ) -> Result<CallOutcome, CallError> {
        let number = hold.execution.reservation();
        let (voucher, price, now) = (hold.voucher, hold.price, self.now());
        let charged = self
            .fleet()?
            .charge(
                &mut hold.execution,
                hold.slot.id,
                self.book().in_flight_max(),
                |channel: &mut PayeeChannel| {
                    let held = number.and_then(|number| channel.held(number));
                    let reservation = match held {
                        Some(reservation) => reservation,
                        // This replica's lease ended during the work and others may have promised
                        // the money since: it is asked for anew (M2).
                        None => channel
                            .reserve(&voucher, price, now)
                            .map_err(|reject| CallError::from(refused_on(channel, &reject)))?,
                    };
                    let (receipt, _stored_with_the_channel) = self
                        .charge_locked(channel, reservation, &facts, &outcome)
                        .map_err(|error| unavailable("the channel", error))?;
                    Ok(record(key, &receipt, &outcome.body, facts.extent))
                },
            )
            .await
            .map_err(unrecorded)?;
        let (payment, channel) = match charged {
            Charged::Now { payment, channel } => (payment, channel),
            Charged::Before(payment) if payment.receipt.receipt.id == facts.id => (payment, None),
            Charged::Before(payment) => {
                return self.replay(&payment, &facts.request, Some(&hold.slot));
            }
            Charged::Refused(error) => return Err(error),
            Charged::TakenOver => return Err(taken_over()),
        };
        let view = channel.as_ref().map(|channel| book::view(channel));
        if let Some(channel) = channel {
            hold.slot.adopt(*channel);
        }
        let receipt: SignedReceipt = payment.receipt;
        Ok(CallOutcome {
            body: outcome.body,
            charged: receipt.receipt.charged,
            payer: Some(receipt.receipt.payer),
            channel: Some(view.unwrap_or_else(|| hold.slot.view())),
            transaction: deposited,
            receipt: Some(receipt),
            replayed: false,
        })
    }

    /// Makes a payment outside channels durable, if it is still this node's to record.
    pub(crate) async fn record_payment(
        &self,
        payment: PaymentRecord,
        work: Work,
    ) -> Result<(), CallError> {
        let Some(mut execution) = work else {
            let entry = rialto_ledger::Entry::Charge {
                snapshot: None,
                payment,
            };
            return self.ledger().commit(entry).await.map_err(unrecorded);
        };
        let recorded = self.fleet()?.record(&mut execution, &payment).await;
        match recorded.map_err(unrecorded)? {
            Charged::Now { .. } => Ok(()),
            Charged::Before(stored) if stored.receipt.receipt.id == payment.receipt.receipt.id => {
                Ok(())
            }
            Charged::Before(_) | Charged::TakenOver => Err(taken_over()),
            Charged::Refused(error) => Err(unrecorded(error)),
        }
    }

    fn fleet(&self) -> Result<&SharedLedger, CallError> {
        self.ledger()
            .shared()
            .ok_or_else(|| CallError::Conflict("this node shares no ledger".to_owned()))
    }
}

/// This replica gave no sign for so long that another took the payment.
fn taken_over() -> CallError {
    CallError::Conflict(
        "another replica of this host executes this payment: send the same payment again later"
            .to_owned(),
    )
}

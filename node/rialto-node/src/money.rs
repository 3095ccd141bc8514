//! Where money is recorded and channels change: in this node's own ledger, or in one that it shares
//! with other replicas of the same provider.
//!
//! Alone, a channel changes in memory under its slot's lock and what came of it is queued. In a
//! fleet it changes in the database under its row's lock, and the slot is this replica's latest
//! copy: good for showing and for telling whether the chain must be read, never for deciding.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use rialto_channels::payee::{ExposureLimits, PayeeChannel};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, ChannelId, OnChainView};
use rialto_ledger::{
    Begun, CommitError, Duty, Entry, Execution, Ledger, PaymentRecord, ReadError, SharedError,
    SharedLedger,
};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::Node;
use crate::api::CallError;
use crate::book::Slot;
use crate::reject::unavailable;

/// The record of money.
#[derive(Debug)]
pub(crate) enum Money {
    /// This node's alone.
    Own(Ledger),
    /// Shared with other replicas.
    Shared(SharedLedger),
}

/// What a payment's arrival finds.
pub(crate) enum Arrival {
    /// It was executed before.
    Before(Box<PaymentRecord>),
    /// It is to be executed now.
    Now(Work),
}

/// The right to execute a payment, among replicas; alone, the payment's turn is all it takes.
pub(crate) type Work = Option<Execution>;

impl Money {
    /// Makes an entry durable.
    pub(crate) async fn commit(&self, entry: Entry) -> Result<(), CommitError> {
        let span = tracing::info_span!("ledger.commit");
        match self {
            Self::Own(ledger) => ledger.commit(entry).instrument(span).await,
            Self::Shared(ledger) => ledger.commit(entry).instrument(span).await,
        }
    }

    /// What is recorded as settled to a receiver.
    pub(crate) async fn settled(
        &self,
        receiver: Address,
        token: Address,
    ) -> Result<Amount, CallError> {
        match self {
            Self::Own(ledger) => Ok(ledger.settled(receiver, token)),
            Self::Shared(ledger) => ledger.settled(receiver, token).await.map_err(unrecorded),
        }
    }

    /// A receipt by its id.
    pub(crate) async fn receipt(&self, id: &B256) -> Result<Option<SignedReceipt>, ReadError> {
        match self {
            Self::Own(ledger) => ledger.receipt(id),
            Self::Shared(ledger) => Ok(ledger.receipt(id).await?),
        }
    }

    /// The shared ledger, in a fleet.
    pub(crate) fn shared(&self) -> Option<&SharedLedger> {
        match self {
            Self::Own(_) => None,
            Self::Shared(ledger) => Some(ledger),
        }
    }

    /// This node's own ledger, outside a fleet.
    pub(crate) fn own(&self) -> Option<&Ledger> {
        match self {
            Self::Own(ledger) => Some(ledger),
            Self::Shared(_) => None,
        }
    }

    /// Whether the process should end. A database that is away comes back by itself.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.own().is_some_and(Ledger::is_poisoned)
    }

    /// Gives up at once what this replica holds among others.
    pub(crate) async fn close(&self) {
        if let Self::Shared(ledger) = self {
            ledger.close().await;
        }
    }
}

impl Node {
    /// Finds out whether a payment was executed before, and takes it if it was not (M5). The
    /// caller has the payment's turn in this process.
    pub(crate) async fn arrive(&self, key: [u8; 32]) -> Result<Arrival, CallError> {
        match self.ledger() {
            Money::Own(ledger) => {
                let stored = ledger.payment(&key).map_err(unrecorded)?;
                Ok(stored.map_or(Arrival::Now(None), |record| {
                    Arrival::Before(Box::new(record))
                }))
            }
            Money::Shared(ledger) => self.arrive_among_replicas(ledger, key).await,
        }
    }

    async fn arrive_among_replicas(
        &self,
        ledger: &SharedLedger,
        key: [u8; 32],
    ) -> Result<Arrival, CallError> {
        let patience = Duration::from_millis(self.config().sandbox.time_ms_max) + STORING;
        let deadline = Instant::now() + patience;
        let mut pause = LOOK_FIRST;
        loop {
            match ledger.begin(key).await.map_err(unrecorded)? {
                Begun::Now(execution) => return Ok(Arrival::Now(Some(execution))),
                Begun::Before(record) => return Ok(Arrival::Before(record)),
                Begun::Elsewhere if Instant::now() < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOOK_LAST);
                }
                Begun::Elsewhere => {
                    return Err(CallError::Conflict(
                        "another replica of this host executes this payment: send the same payment again later"
                            .to_owned(),
                    ));
                }
            }
        }
    }

    /// Lets `work` change a channel: in memory, or in the database under its lock. In a fleet
    /// `work` may be called again, on the channel as it is then.
    pub(crate) async fn change<T: Send>(
        &self,
        slot: &Slot,
        mut work: impl FnMut(&mut PayeeChannel) -> T + Send,
    ) -> Result<T, CallError> {
        let Money::Shared(ledger) = self.ledger() else {
            return Ok(work(&mut slot.lock()));
        };
        let in_flight_max = self.book().in_flight_max();
        let changed = ledger
            .change(slot.id, in_flight_max, work)
            .await
            .map_err(unrecorded)?;
        slot.adopt(changed.channel);
        Ok(changed.outcome)
    }

    /// Takes note of the chain's view of a channel, durably if anything changed.
    pub(crate) async fn note_view(&self, slot: &Slot, view: &OnChainView) -> Result<(), CallError> {
        let ledger = match self.ledger() {
            Money::Own(ledger) => return note_own_view(ledger, slot, view).await,
            Money::Shared(ledger) => ledger,
        };
        if self.noted(slot, view).await? {
            return Ok(());
        }
        // No replica has recorded it yet. Without money it stays so: junk must not fill the database.
        slot.lock().on_chain_view(view);
        if view.balance.is_zero() {
            return Ok(());
        }
        let snapshot = slot.lock().snapshot();
        ledger.enter(&snapshot).await.map_err(unrecorded)?;
        self.noted(slot, view).await.map(drop)
    }

    /// Notes a view in the database; false if the channel is not there.
    async fn noted(&self, slot: &Slot, view: &OnChainView) -> Result<bool, CallError> {
        let Some(ledger) = self.ledger().shared() else {
            return Ok(false);
        };
        let in_flight_max = self.book().in_flight_max();
        let work = |channel: &mut PayeeChannel| channel.on_chain_view(view);
        match ledger.change(slot.id, in_flight_max, work).await {
            Ok(changed) => {
                slot.adopt(changed.channel);
                Ok(true)
            }
            Err(SharedError::UnknownChannel) => Ok(false),
            Err(error) => Err(unrecorded(error)),
        }
    }

    /// The channel, if it is known: here, or in a fleet to any replica.
    pub(crate) async fn known(&self, id: ChannelId) -> Result<Option<Arc<Slot>>, CallError> {
        if let Some(slot) = self.book().get(id) {
            return Ok(Some(slot));
        }
        let Some(ledger) = self.ledger().shared() else {
            return Ok(None);
        };
        match ledger.shared_state(&id).await.map_err(unrecorded)? {
            Some(state) => self.book().adopt(state).map(Some).map_err(unrecorded),
            None => Ok(None),
        }
    }

    /// In a fleet, copies the channels that owe something, whoever served them, so that this
    /// replica can watch and claim them.
    pub(crate) async fn learn_owing(&self) -> Result<(), CallError> {
        let Some(ledger) = self.ledger().shared() else {
            return Ok(());
        };
        for state in ledger.owing().await.map_err(unrecorded)? {
            self.book().adopt(state).map_err(unrecorded)?;
        }
        Ok(())
    }

    /// In a fleet, copies the channels that come near a limit of what may be at stake, whoever served
    /// them.
    pub(crate) async fn learn_exposed(&self) -> Result<(), CallError> {
        let limits = self.config().risk.exposure;
        let Some(ledger) = self
            .ledger()
            .shared()
            .filter(|_| limits != ExposureLimits::NONE)
        else {
            return Ok(());
        };
        for state in ledger.exposed(&limits).await.map_err(unrecorded)? {
            self.book().adopt(state).map_err(unrecorded)?;
        }
        Ok(())
    }

    /// The right to claim and settle: one replica at a time has it. `None` if another has it now.
    pub(crate) async fn collecting_duty(&self) -> Result<Option<Option<Duty>>, CallError> {
        let Some(ledger) = self.ledger().shared() else {
            return Ok(Some(None));
        };
        let duty = ledger.take_duty("collect").await.map_err(unrecorded)?;
        Ok(duty.map(Some))
    }
}

/// Queued under the channel's lock, so that the ledger sees changes in their order.
async fn note_own_view(ledger: &Ledger, slot: &Slot, view: &OnChainView) -> Result<(), CallError> {
    let durable = {
        let mut channel = slot.lock();
        if !channel.on_chain_view(view) {
            return Ok(());
        }
        let entry = Entry::Channel(channel.snapshot());
        ledger.enqueue(entry).map_err(unrecorded)?
    };
    durable.await.map_err(unrecorded)
}

/// The record of money does not answer: nothing is charged, the caller may try again.
pub(crate) fn unrecorded(error: impl std::error::Error + Send + Sync + 'static) -> CallError {
    unavailable("the ledger", error)
}

/// How long storing a charge may take after the longest call.
const STORING: Duration = Duration::from_secs(10);
/// The first pause between two looks at a payment that another replica executes; it doubles.
const LOOK_FIRST: Duration = Duration::from_millis(10);
/// The longest.
const LOOK_LAST: Duration = Duration::from_millis(250);

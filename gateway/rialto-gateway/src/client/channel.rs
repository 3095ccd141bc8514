//! One channel in use: the payer's state machine, the file that keeps it, the receipts, and the
//! queue of calls that wait for money.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::Bytes;
use rand::RngCore as _;
use rialto_channels::payer::{Call, Corrective, PayError, PayerChannel, PayerSnapshot};
use rialto_channels::receipt::Receipt;
use rialto_channels::{
    Amount, B256, ChannelId, OnChainView, SettlementDomain, SignedVoucher, SigningKey, Voucher,
};
use rialto_node::Deposit;
use tokio::sync::Notify;

use super::quote::Offer;
use super::receipts::Links;
use super::store::{ChannelFile, StoredChannel};
use super::ticket::{SignedDeposit, Ticket};
use super::{ClientError, Config, ReceiptFault, StoreError};
use crate::x402::COLLECTOR;

/// A channel in use.
#[derive(Debug)]
pub(super) struct Channel {
    gateway: String,
    chain_id: u64,
    machine: Mutex<Machine>,
    /// Told whenever money may have become available.
    changed: Notify,
    file: Option<Arc<ChannelFile>>,
    /// The version that is on disk; held while one is written.
    saved: tokio::sync::Mutex<u64>,
}

#[derive(Debug)]
struct Machine {
    payer: PayerChannel,
    links: Links,
    version: u64,
    stale: bool,
}

impl Channel {
    /// Takes the channel's file, if states are kept, and continues from it. A channel that was
    /// not kept must be read from the chain first.
    pub(super) async fn open(config: &Config, offer: &Offer) -> Result<Self, ClientError> {
        let id = offer.config.id(&offer.settlement);
        let mut kept = None;
        let mut file = None;
        if let Some(dir) = &config.store {
            let opened = ChannelFile::open(dir, id, LOCK_WAIT).await?;
            kept = opened.load()?;
            file = Some(Arc::new(opened));
        }
        let known = kept.is_some();
        let (payer, last) = match kept {
            Some(kept) => {
                let payer = PayerChannel::restore(offer.settlement, kept.snapshot, config.limits);
                (payer, kept.last_receipt)
            }
            None => {
                let payer = PayerChannel::new(offer.settlement, offer.config, config.limits);
                (payer, None)
            }
        };
        Ok(Self {
            gateway: config.gateway.clone(),
            chain_id: offer.settlement.chain_id,
            machine: Mutex::new(Machine {
                payer,
                links: Links::new(last),
                version: 0,
                stale: !known,
            }),
            changed: Notify::new(),
            file,
            saved: tokio::sync::Mutex::new(0),
        })
    }

    pub(super) fn id(&self) -> ChannelId {
        self.lock().payer.id()
    }

    pub(super) fn state(&self) -> PayerSnapshot {
        self.lock().payer.state().clone()
    }

    /// Signs for one call: a voucher, and a deposit if the channel does not hold enough. Waits
    /// while a deposit of another call is under way, or while only other calls' outcomes can
    /// free what this payer allows itself.
    pub(super) async fn sign(
        self: &Arc<Self>,
        offer: &Offer,
        key: &SigningKey,
        now: u64,
    ) -> Result<Ticket, ClientError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.try_sign(offer, key, now)? {
                Some(ticket) => return Ok(ticket),
                None => changed.await,
            }
        }
    }

    fn try_sign(
        self: &Arc<Self>,
        offer: &Offer,
        key: &SigningKey,
        now: u64,
    ) -> Result<Option<Ticket>, ClientError> {
        let mut machine = self.lock();
        let payer = &mut machine.payer;
        let needed = match payer.deposit_needed(offer.amount, offer.deposit_min) {
            Ok(needed) => needed,
            Err(PayError::DepositUnderWay) => return Ok(None),
            Err(PayError::DepositAboveLimit { .. })
                if !payer.in_flight().map_err(PayError::from)?.is_zero() =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let deposit = match needed {
            Some(amount) => Some(plan_deposit(payer, offer, amount, key, now)?),
            None => None,
        };
        let plan = deposit.as_ref().map(|deposit| &deposit.plan);
        match payer.next_voucher(offer.amount, plan, key) {
            Ok((call, voucher)) => {
                machine.version += 1;
                drop(machine);
                Ok(Some(Ticket::new(Arc::clone(self), call, voucher, deposit)))
            }
            Err(error) => {
                if let Some(deposit) = deposit {
                    payer.on_deposit_failed(deposit.plan);
                }
                Err(error.into())
            }
        }
    }

    /// Signs the request for a refund: a voucher for exactly what was charged.
    ///
    /// While the outcome of an earlier call is unknown, the count may be too low. The voucher is
    /// signed all the same: it promises nothing new, and the host answers with its count.
    pub(super) fn sign_refund(
        &self,
        domain: &SettlementDomain,
        key: &SigningKey,
    ) -> Result<SignedVoucher, ClientError> {
        let mut machine = self.lock();
        machine.version += 1;
        let idle = machine.payer.in_flight().is_ok_and(|sum| sum.is_zero());
        match machine.payer.refund_voucher(key) {
            Err(PayError::CallsOpen) if idle => {
                let channel = machine.payer.id();
                let ceiling = machine.payer.state().charged;
                Ok(Voucher { channel, ceiling }.sign(domain, key))
            }
            signed => Ok(signed?),
        }
    }

    /// Adopts the host's count, if our own signature covers it.
    pub(super) fn resync(
        &self,
        state: Option<&Corrective>,
        view: &OnChainView,
    ) -> Result<(), ClientError> {
        self.change(|payer| match state {
            Some(state) => payer.resync(state, view),
            None => {
                payer.resync_from_chain(view);
                Ok(())
            }
        })?;
        Ok(())
    }

    /// Whether a call would be signed with a deposit.
    pub(super) fn needs_deposit(&self, offer: &Offer) -> bool {
        let needed = self
            .lock()
            .payer
            .deposit_needed(offer.amount, offer.deposit_min);
        !matches!(needed, Ok(None))
    }

    /// Whether the chain should be read before anything is signed.
    pub(super) fn is_stale(&self) -> bool {
        self.lock().stale
    }

    /// The chain may know of a deposit that we do not.
    pub(super) fn mark_stale(&self) {
        self.lock().stale = true;
    }

    pub(super) fn viewed(&self, view: &OnChainView) {
        self.change(|payer| payer.on_chain_view(view));
        self.lock().stale = false;
    }

    pub(super) fn refunded(&self, amount: Amount) -> Result<(), ClientError> {
        self.change(|payer| payer.on_refunded(amount))?;
        Ok(())
    }

    /// A call was charged, and this is its receipt, unless it is a replayed one, which has its
    /// place already. Both at once, because the receipt's place depends on which calls are open.
    pub(super) fn charge(
        &self,
        call: Call,
        charged: Amount,
        cumulative: Option<Amount>,
        receipt: Option<&Receipt>,
    ) -> Result<Option<ReceiptFault>, ClientError> {
        let (unexplained, fault) = {
            let mut machine = self.lock();
            machine.version += 1;
            let unexplained = machine.payer.on_charged(call, charged, cumulative);
            let alone = machine.payer.in_flight().is_ok_and(|sum| sum.is_zero());
            let fault = receipt.and_then(|receipt| machine.links.add(receipt, alone).err());
            (unexplained, fault)
        };
        self.changed.notify_waiters();
        let unexplained = unexplained?;
        if !unexplained.is_zero() {
            tracing::info!(%unexplained, "another client of this wallet was charged meanwhile");
        }
        Ok(fault)
    }

    /// Writes the state to disk, unless a newer one is there already. Calls that overlap share
    /// one write.
    pub(super) async fn save(&self) -> Result<(), ClientError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let wanted = self.lock().version;
        let mut saved = self.saved.lock().await;
        if *saved >= wanted {
            return Ok(());
        }
        let (version, record) = {
            let machine = self.lock();
            let record = StoredChannel {
                gateway: self.gateway.clone(),
                chain_id: self.chain_id,
                snapshot: machine.payer.snapshot().map_err(PayError::from)?,
                last_receipt: machine.links.last(),
            };
            (machine.version, record)
        };
        let file = Arc::clone(file);
        tokio::task::spawn_blocking(move || file.save(&record))
            .await
            .map_err(|error| StoreError::Io {
                path: "the store's task".into(),
                source: std::io::Error::other(error),
            })??;
        *saved = version;
        Ok(())
    }

    /// Changes the state and wakes the calls that wait for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut PayerChannel) -> T) -> T {
        let mut machine = self.lock();
        let result = change(&mut machine.payer);
        machine.version += 1;
        drop(machine);
        self.changed.notify_waiters();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // The state machine's methods leave it whole; a panic elsewhere does not spoil it.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plan_deposit(
    payer: &mut PayerChannel,
    offer: &Offer,
    amount: Amount,
    key: &SigningKey,
    now: u64,
) -> Result<SignedDeposit, ClientError> {
    let mut salt = [0_u8; 32];
    rand::rng().fill_bytes(&mut salt);
    let valid_before = now.saturating_add(offer.timeout_seconds);
    let plan = payer.plan_deposit(
        &offer.token,
        COLLECTOR,
        amount,
        B256::from(salt),
        valid_before,
    )?;
    let signature = match plan.sign(key) {
        Ok(signature) => signature,
        Err(error) => {
            payer.on_deposit_failed(plan);
            return Err(error.into());
        }
    };
    let wire = Deposit {
        amount: plan.amount,
        valid_after: plan.authorization.valid_after,
        valid_before: plan.authorization.valid_before,
        salt: plan.salt.into(),
        signature: Bytes::from(signature.to_bytes().to_vec()).0,
    };
    Ok(SignedDeposit { plan, wire })
}

const LOCK_WAIT: Duration = Duration::from_secs(30);

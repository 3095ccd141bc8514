//! One channel in use: the payer's state machine, the file that keeps it, the receipts, and the
//! queue of calls that wait for money.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngCore as _;
use rialto_channels::payer::{
    Call, Corrective, DepositPlan, PayError, PayerChannel, PayerSnapshot,
};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{
    Amount, B256, ChannelConfig, ChannelId, OnChainView, SettlementDomain, SignedVoucher,
    SigningKey, Voucher,
};
use tokio::sync::Notify;

use super::account::{Account, Source, believed};
use super::kept::{self, Evidence};
use super::quote::Offer;
use super::receipts::{Arrived, Links};
use super::store::places::Keep;
use super::store::{ChannelFile, StoredChannel};
use super::ticket::Ticket;
use super::wallet::{self, SignRequest, Wallet};
use super::{ClientError, Config, Purse, ReceiptFault, StoreError};
use crate::x402::COLLECTOR;

/// A channel in use.
#[derive(Debug)]
pub(super) struct Channel {
    gateway: String,
    settlement: SettlementDomain,
    config: ChannelConfig,
    /// Signs the vouchers.
    key: SigningKey,
    machine: Mutex<Machine>,
    /// Told whenever money may have become available.
    changed: Notify,
    file: Option<Arc<ChannelFile>>,
    dir: Option<PathBuf>,
    /// What is forgiven of charges that no answer told of.
    unexplained_max: Amount,
    /// What is on disk; held while it is written.
    saved: tokio::sync::Mutex<Saved>,
    /// Calls that use it now.
    calls: AtomicU32,
}

#[derive(Debug)]
struct Machine {
    payer: PayerChannel,
    account: Account,
    links: Links,
    version: u64,
    stale: bool,
    rpc_url: Option<String>,
    fault: Option<String>,
    /// Receipts that are not on disk yet.
    receipts: Vec<Arrived>,
}

/// The versions of a channel's state that are on disk.
#[derive(Debug, Default)]
struct Saved {
    written: u64,
    durable: u64,
}

/// Which channel is opened, and how.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) settlement: SettlementDomain,
    pub(super) config: ChannelConfig,
    /// Signs the vouchers.
    pub(super) key: SigningKey,
    /// Nobody else can know of it yet: the key was made just now.
    pub(super) is_new: bool,
    /// How long to wait for another program that uses it.
    pub(super) wait: Duration,
}

impl Channel {
    /// Takes the channel's file, if states are kept, and continues from it. A channel that was
    /// not kept must be read from the chain first, unless it is new.
    pub(super) async fn open(config: &Config, opening: Opening) -> Result<Self, ClientError> {
        let Opening {
            settlement,
            config: terms,
            key,
            is_new,
            wait,
        } = opening;
        let id = terms.id(&settlement);
        let mut kept = None;
        let mut file = None;
        if let Some(dir) = &config.store {
            let opened = ChannelFile::open(dir, id, wait).await?;
            kept = opened.load()?;
            file = Some(Arc::new(opened));
        }
        let stale = kept.is_none() && !is_new;
        // A channel's receipts begin with nothing charged, and no receipt before.
        let first = is_new.then_some((Amount::ZERO, B256::ZERO));
        let machine = match kept {
            Some(kept) => Machine {
                account: Account::new(stale, kept.unexplained, kept.snapshot.charged),
                payer: PayerChannel::restore(settlement, kept.snapshot, config.limits),
                links: Links::new(kept.last_receipt.or(first)),
                version: 0,
                stale,
                rpc_url: kept.rpc_url,
                fault: kept.fault,
                receipts: Vec::new(),
            },
            None => Machine {
                account: Account::new(stale, Amount::ZERO, Amount::ZERO),
                payer: PayerChannel::new(settlement, terms, config.limits),
                links: Links::new(first),
                // To be written at once where states are kept: others must see the lane.
                version: 1,
                stale,
                rpc_url: None,
                fault: None,
                receipts: Vec::new(),
            },
        };
        Ok(Self {
            gateway: config.gateway.clone(),
            settlement,
            config: terms,
            key,
            machine: Mutex::new(machine),
            changed: Notify::new(),
            file,
            dir: config.store.clone(),
            unexplained_max: config.unexplained_max,
            saved: tokio::sync::Mutex::default(),
            calls: AtomicU32::new(0),
        })
    }

    pub(super) fn id(&self) -> ChannelId {
        self.lock().payer.id()
    }

    /// The channel's terms.
    pub(super) fn config(&self) -> &ChannelConfig {
        &self.config
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.settlement.chain_id
    }

    pub(super) fn state(&self) -> PayerSnapshot {
        self.lock().payer.state().clone()
    }

    /// How the host broke its word on this channel, if it did.
    pub(super) fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// How many calls use this channel now.
    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Acquire)
    }

    pub(super) fn enter(&self) {
        self.calls.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave(&self) {
        self.calls.fetch_sub(1, Ordering::AcqRel);
    }

    /// The chain's endpoint as it was last used.
    pub(super) fn rpc_url(&self) -> Option<String> {
        self.lock().rpc_url.clone()
    }

    /// Keeps the chain's endpoint for a time when the gateway is gone.
    pub(super) fn remember_rpc(&self, url: &str) {
        let mut machine = self.lock();
        if machine.rpc_url.as_deref() != Some(url) {
            machine.rpc_url = Some(url.to_owned());
            machine.version += 1;
        }
    }

    /// Signs for one call: a voucher, and a deposit if the channel does not hold enough. Waits
    /// while a deposit of another call is under way, or while only other calls' outcomes can
    /// free what this payer allows itself. Only a deposit needs the wallet.
    pub(super) async fn sign(
        self: &Arc<Self>,
        offer: &Offer,
        wallet: &dyn Wallet,
        purse: &Purse,
        now: u64,
    ) -> Result<Ticket, ClientError> {
        let mut ticket = loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.try_sign(offer, now)? {
                Some(ticket) => break ticket,
                None => changed.await,
            }
        };
        if let Some(plan) = ticket.unsigned() {
            purse.deposit(plan.amount).await?;
            let purpose = format!(
                "deposit {} base units of {} into channel {}",
                plan.amount,
                offer.token.name,
                self.id()
            );
            let request =
                SignRequest::deposit(&offer.token, &plan.authorization, plan.digest, purpose);
            let signature = wallet::signature(wallet, &request).await?;
            ticket.sign(&signature);
        }
        Ok(ticket)
    }

    fn try_sign(self: &Arc<Self>, offer: &Offer, now: u64) -> Result<Option<Ticket>, ClientError> {
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
            Some(amount) => Some(plan_deposit(payer, offer, amount, now)?),
            None => None,
        };
        match payer.next_voucher(offer.amount, deposit.as_ref(), &self.key) {
            Ok((call, voucher)) => {
                machine.version += 1;
                drop(machine);
                let ticket = Ticket::new(Arc::clone(self), call, voucher, deposit, offer.price);
                Ok(Some(ticket))
            }
            Err(error) => {
                if let Some(plan) = deposit {
                    payer.on_deposit_failed(plan);
                }
                Err(error.into())
            }
        }
    }

    /// Signs the request for a refund: a voucher for exactly what was charged.
    ///
    /// While the outcome of an earlier call is unknown, the count may be too low. The voucher is
    /// signed all the same: it promises nothing new, and the host answers with its count.
    pub(super) fn sign_refund(&self) -> Result<SignedVoucher, ClientError> {
        let mut machine = self.lock();
        machine.version += 1;
        let idle = machine.payer.in_flight().is_ok_and(|sum| sum.is_zero());
        match machine.payer.refund_voucher(&self.key) {
            Err(PayError::CallsOpen) if idle => {
                let channel = machine.payer.id();
                let ceiling = machine.payer.state().charged;
                Ok(Voucher { channel, ceiling }.sign(&self.settlement, &self.key))
            }
            signed => Ok(signed?),
        }
    }

    /// Adopts the host's count, if our own signature covers it. Without such a proof only what was
    /// claimed is adopted, and that from the host no further than we know to have signed.
    pub(super) fn resync(
        &self,
        state: Option<&Corrective>,
        view: &OnChainView,
        source: Source,
    ) -> Result<(), ClientError> {
        let signed = self.lock().payer.state().signed_max;
        let Some(state) = state else {
            if source == Source::Hosts && view.claimed > signed {
                let claimed = view.claimed;
                return Err(ClientError::Unproven { claimed, signed });
            }
            self.change(|payer| payer.resync_from_chain(view));
            return Ok(());
        };
        // Its signature is checked before anything is adopted.
        let view = believed(view, signed.max(state.signed_max), source);
        self.change(|payer| payer.resync(state, &view))?;
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

    pub(super) fn viewed(&self, view: &OnChainView, source: Source) {
        self.change(|payer| {
            let view = believed(view, payer.state().signed_max, source);
            payer.on_chain_view(&view);
        });
        self.lock().stale = false;
    }

    pub(super) fn refunded(&self, amount: Amount) -> Result<(), ClientError> {
        self.change(|payer| payer.on_refunded(amount))?;
        Ok(())
    }

    /// A call was charged, and this is its receipt. Both at once, because the receipt's place depends on which calls
    /// are open.
    pub(super) fn charge(
        &self,
        call: Call,
        charged: Amount,
        cumulative: Option<Amount>,
        receipt: Option<Arrived>,
        price: Amount,
    ) -> Result<Option<ReceiptFault>, ClientError> {
        let (outcome, fault) = {
            let mut guard = self.lock();
            let machine = &mut *guard;
            machine.version += 1;
            let outcome = machine.payer.on_charged(call, charged, cumulative);
            let alone = machine.payer.in_flight().is_ok_and(|sum| sum.is_zero());
            // What a call costs above its price the budget learns with all else that it cannot know.
            let counted = if outcome.is_ok() {
                charged.min(price)
            } else {
                price
            };
            machine.account.count(counted);
            if alone && cumulative.is_some() {
                machine.account.learned(&machine.payer);
            }
            let links = &mut machine.links;
            let fault = receipt.as_ref().and_then(|it| links.take(it, alone).err());
            machine.receipts.extend(receipt);
            (outcome, fault)
        };
        self.changed.notify_waiters();
        let unexplained = outcome?;
        if !unexplained.is_zero() {
            tracing::info!(%unexplained, "the host counts charges that no answer told of");
        }
        Ok(fault)
    }

    /// No answer came: the call may or may not have been charged. The budget keeps its price.
    pub(super) fn lost(&self, call: Call, price: Amount) {
        self.lock().account.count(price);
        self.change(|payer| payer.on_lost(call));
    }

    /// What was charged on this channel, whichever way it became known, and the budget was not told
    /// of before.
    pub(super) fn uncounted(&self) -> Amount {
        let mut guard = self.lock();
        let machine = &mut *guard;
        machine.account.uncounted(&machine.payer)
    }

    /// More was charged than the answers said, and more than is forgiven.
    pub(super) fn unexplained(&self) -> Option<ReceiptFault> {
        let machine = self.lock();
        let unexplained = machine.account.unexplained(&machine.payer);
        let forgiven = self.unexplained_max;
        (unexplained > forgiven).then_some(ReceiptFault::Unexplained {
            unexplained,
            forgiven,
        })
    }

    /// Whether anything more may be signed for this host.
    ///
    /// # Errors
    /// [`ClientError::Broken`], with the evidence kept, when it broke its word.
    pub(super) fn refuse_broken(&self) -> Result<(), ClientError> {
        if self.fault().is_none()
            && let Some(fault) = self.unexplained()
        {
            self.condemn(&fault.to_string(), None, None)?;
        }
        let channel = self.id();
        match self.fault() {
            Some(fault) => Err(ClientError::Broken { channel, fault }),
            None => Ok(()),
        }
    }

    /// The host broke its word: keeps the evidence, and signs nothing more on this channel.
    pub(super) fn condemn(
        &self,
        fault: &str,
        receipt: Option<&SignedReceipt>,
        charged: Option<Amount>,
    ) -> Result<(), ClientError> {
        let last = {
            let mut machine = self.lock();
            machine.version += 1;
            machine.fault.get_or_insert_with(|| fault.to_owned());
            machine.links.last()
        };
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        let evidence = Evidence {
            channel: self.id(),
            gateway: &self.gateway,
            fault,
            receipt,
            last,
            charged,
        };
        let path = kept::accuse(dir, &evidence)?;
        tracing::warn!(channel.id = %self.id(), fault, evidence = %path.display(), "the host broke its word");
        Ok(())
    }

    /// Writes the state to disk, unless a newer one is there already. Calls that overlap share
    /// one write.
    ///
    /// What was signed is durable before it is sent. What was charged need not be: until it is, what was signed counts
    /// in its place, and the host's count tells the rest.
    pub(super) async fn save(&self, keep: Keep) -> Result<(), ClientError> {
        let (Some(file), Some(dir)) = (&self.file, &self.dir) else {
            self.lock().receipts.clear();
            return Ok(());
        };
        let wanted = self.lock().version;
        let mut saved = self.saved.lock().await;
        let there = match keep {
            Keep::Now => saved.durable,
            Keep::Soon => saved.written,
        };
        if there >= wanted {
            return Ok(());
        }
        let writing = self.writing(Arc::clone(file), dir.clone())?;
        let version = writing.version;
        let (outcome, receipts) = match keep {
            Keep::Now => tokio::task::spawn_blocking(|| writing.write(Keep::Now))
                .await
                .map_err(|error| StoreError::Io {
                    path: "the store's task".into(),
                    source: std::io::Error::other(error),
                })?,
            // Into memory.
            Keep::Soon => writing.write(Keep::Soon),
        };
        if let Err(error) = outcome {
            // The next write tries again; a receipt that is there twice does no harm.
            self.lock().receipts.splice(0..0, receipts);
            return Err(error.into());
        }
        saved.written = version;
        if keep == Keep::Now {
            saved.durable = version;
        }
        Ok(())
    }

    /// All that is to be written.
    fn writing(&self, file: Arc<ChannelFile>, dir: PathBuf) -> Result<Writing, ClientError> {
        let mut machine = self.lock();
        let record = StoredChannel {
            gateway: self.gateway.clone(),
            chain_id: self.settlement.chain_id,
            snapshot: machine.payer.snapshot().map_err(PayError::from)?,
            last_receipt: machine.links.last(),
            rpc_url: machine.rpc_url.clone(),
            fault: machine.fault.clone(),
            unexplained: machine.account.unexplained(&machine.payer),
        };
        Ok(Writing {
            file,
            dir,
            record,
            receipts: std::mem::take(&mut machine.receipts),
            version: machine.version,
        })
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

/// A channel's state on its way to the disk, and the receipts that are new.
struct Writing {
    file: Arc<ChannelFile>,
    dir: PathBuf,
    record: StoredChannel,
    receipts: Vec<Arrived>,
    version: u64,
}

impl Writing {
    /// Gives the receipts back, for whoever has to try again.
    fn write(self, keep: Keep) -> (Result<(), StoreError>, Vec<Arrived>) {
        let id = self.record.snapshot.id;
        let outcome = self.file.save(&self.record, keep).and_then(|()| {
            let mut receipts = self.receipts.iter();
            receipts.try_for_each(|arrived| kept::keep(&self.dir, id, arrived))
        });
        (outcome, self.receipts)
    }
}

fn plan_deposit(
    payer: &mut PayerChannel,
    offer: &Offer,
    amount: Amount,
    now: u64,
) -> Result<DepositPlan, ClientError> {
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
    Ok(plan)
}

//! What every ledger does, of one process or of a fleet: the record, without who may write when.
//!
//! Non-goals: deciding about channels. One process does that in memory and queues what came of it
//! ([`crate::Ledger`]); replicas do it in the database ([`crate::SharedLedger`]).

use std::{future::Future, ops::RangeInclusive};

use rialto_channels::{
    Address, Amount, B256, ChannelId, payee::ChannelSnapshot, receipt::SignedReceipt,
};

use crate::{
    CommitError, Day, Entry, ExactNonce, JournalLine, Ledger, PaymentRecord, ReadError,
    SharedLedger, Totals, TrialBalance,
};

/// A durable record of money. Both kinds pass the same tests.
pub trait Store: Clone + Send + Sync + 'static {
    /// Makes an entry durable (M4): whole or not at all.
    ///
    /// # Errors
    /// [`CommitError`].
    fn commit(&self, entry: Entry) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// The payment executed under this key (M5).
    ///
    /// # Errors
    /// [`ReadError`].
    fn payment(
        &self,
        key: &[u8; 32],
    ) -> impl Future<Output = Result<Option<PaymentRecord>, ReadError>> + Send;

    /// The receipt of this id.
    ///
    /// # Errors
    /// [`ReadError`].
    fn receipt(
        &self,
        id: &B256,
    ) -> impl Future<Output = Result<Option<SignedReceipt>, ReadError>> + Send;

    /// One channel.
    ///
    /// # Errors
    /// [`ReadError`].
    fn channel(
        &self,
        id: &ChannelId,
    ) -> impl Future<Output = Result<Option<ChannelSnapshot>, ReadError>> + Send;

    /// Every channel, in the order of their ids.
    ///
    /// # Errors
    /// [`ReadError`].
    fn channels(&self) -> impl Future<Output = Result<Vec<ChannelSnapshot>, ReadError>> + Send;

    /// Up to `count_max` channels in the order of their ids, from the one after `after` on.
    ///
    /// # Errors
    /// [`ReadError`].
    fn channels_after(
        &self,
        after: Option<ChannelId>,
        count_max: usize,
    ) -> impl Future<Output = Result<Vec<ChannelSnapshot>, ReadError>> + Send;

    /// Shows every receipt to `visit`, those of a channel in the order of what was charged, if
    /// nothing is charged meanwhile.
    ///
    /// # Errors
    /// [`ReadError`].
    fn visit_receipts(
        &self,
        visit: impl FnMut(SignedReceipt) + Send,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Up to `count_max` lines of the journal on these days, by day and then by channel, from the
    /// one after `after` on. A run of days may have many lines: ask again with the last one.
    ///
    /// # Errors
    /// [`ReadError`].
    fn journal(
        &self,
        days: RangeInclusive<Day>,
        after: Option<&JournalLine>,
        count_max: usize,
    ) -> impl Future<Output = Result<Vec<JournalLine>, ReadError>> + Send;

    /// What entered and left every account since the ledger's beginning.
    ///
    /// # Errors
    /// [`ReadError`].
    fn trial_balance(&self) -> impl Future<Output = Result<TrialBalance, ReadError>> + Send;

    /// Whether an `exact` authorization was used.
    ///
    /// # Errors
    /// [`ReadError`].
    fn nonce_used(
        &self,
        nonce: &ExactNonce,
    ) -> impl Future<Output = Result<bool, ReadError>> + Send;

    /// The sums for each receiver and token.
    ///
    /// # Errors
    /// [`ReadError`].
    fn totals(&self) -> impl Future<Output = Result<Vec<Totals>, ReadError>> + Send;

    /// What is recorded as settled to this receiver, in base units.
    ///
    /// # Errors
    /// [`ReadError`].
    fn settled(
        &self,
        receiver: Address,
        token: Address,
    ) -> impl Future<Output = Result<Amount, ReadError>> + Send;
}

impl Store for Ledger {
    async fn commit(&self, entry: Entry) -> Result<(), CommitError> {
        Self::commit(self, entry).await
    }

    async fn payment(&self, key: &[u8; 32]) -> Result<Option<PaymentRecord>, ReadError> {
        Self::payment(self, key)
    }

    async fn receipt(&self, id: &B256) -> Result<Option<SignedReceipt>, ReadError> {
        Self::receipt(self, id)
    }

    async fn channel(&self, id: &ChannelId) -> Result<Option<ChannelSnapshot>, ReadError> {
        Self::channel(self, id)
    }

    async fn channels(&self) -> Result<Vec<ChannelSnapshot>, ReadError> {
        Self::channels(self)
    }

    async fn channels_after(
        &self,
        after: Option<ChannelId>,
        count_max: usize,
    ) -> Result<Vec<ChannelSnapshot>, ReadError> {
        Self::channels_after(self, after, count_max)
    }

    async fn visit_receipts(
        &self,
        visit: impl FnMut(SignedReceipt) + Send,
    ) -> Result<(), ReadError> {
        Self::visit_receipts(self, visit)
    }

    async fn journal(
        &self,
        days: RangeInclusive<Day>,
        after: Option<&JournalLine>,
        count_max: usize,
    ) -> Result<Vec<JournalLine>, ReadError> {
        Self::journal(self, days, after, count_max)
    }

    async fn trial_balance(&self) -> Result<TrialBalance, ReadError> {
        Self::trial_balance(self)
    }

    async fn nonce_used(&self, nonce: &ExactNonce) -> Result<bool, ReadError> {
        Self::nonce_used(self, nonce)
    }

    async fn totals(&self) -> Result<Vec<Totals>, ReadError> {
        Self::totals(self)
    }

    async fn settled(&self, receiver: Address, token: Address) -> Result<Amount, ReadError> {
        Ok(Self::settled(self, receiver, token))
    }
}

impl Store for SharedLedger {
    async fn commit(&self, entry: Entry) -> Result<(), CommitError> {
        Self::commit(self, entry).await
    }

    async fn payment(&self, key: &[u8; 32]) -> Result<Option<PaymentRecord>, ReadError> {
        Ok(Self::payment(self, key).await?)
    }

    async fn receipt(&self, id: &B256) -> Result<Option<SignedReceipt>, ReadError> {
        Ok(Self::receipt(self, id).await?)
    }

    async fn channel(&self, id: &ChannelId) -> Result<Option<ChannelSnapshot>, ReadError> {
        Ok(Self::channel(self, id).await?)
    }

    async fn channels(&self) -> Result<Vec<ChannelSnapshot>, ReadError> {
        Ok(Self::channels(self).await?)
    }

    async fn channels_after(
        &self,
        after: Option<ChannelId>,
        count_max: usize,
    ) -> Result<Vec<ChannelSnapshot>, ReadError> {
        Ok(Self::channels_after(self, after, count_max).await?)
    }

    async fn visit_receipts(
        &self,
        visit: impl FnMut(SignedReceipt) + Send,
    ) -> Result<(), ReadError> {
        Ok(Self::visit_receipts(self, visit).await?)
    }

    async fn journal(
        &self,
        days: RangeInclusive<Day>,
        after: Option<&JournalLine>,
        count_max: usize,
    ) -> Result<Vec<JournalLine>, ReadError> {
        Ok(Self::journal(self, days, after, count_max).await?)
    }

    async fn trial_balance(&self) -> Result<TrialBalance, ReadError> {
        Ok(Self::trial_balance(self).await?)
    }

    async fn nonce_used(&self, nonce: &ExactNonce) -> Result<bool, ReadError> {
        Ok(Self::nonce_used(self, nonce).await?)
    }

    async fn totals(&self) -> Result<Vec<Totals>, ReadError> {
        Ok(Self::totals(self).await?)
    }

    async fn settled(&self, receiver: Address, token: Address) -> Result<Amount, ReadError> {
        Ok(Self::settled(self, receiver, token).await?)
    }
}

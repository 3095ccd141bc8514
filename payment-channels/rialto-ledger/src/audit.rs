//! The audit: recomputes everything from vouchers, receipts and what the chain says, and names
//! the first difference.
//!
//! An [`Audit`] is pure: it is shown every receipt, every channel and the sums, in that order, and
//! keeps one link for each channel, not the receipts. [`audit`] shows it a whole ledger of either kind.
//!
//! Non-goals: asking the chain ([`ChainFacts`] come in), and repairing what is found.

mod chain;
mod finding;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::{Address, B256, U256};
use rialto_channels::{
    Amount, ChannelId, SettlementDomain,
    payee::{ChannelSnapshot, PayeeChannel},
    receipt::SignedReceipt,
};

pub use finding::{Difference, Finding, SumDifference};

use crate::{Account, ReadError, Store, Totals, TrialBalance};
use chain::Chain;

/// What the settlement contract says, all at one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainFacts {
    /// Every channel of this host that the chain knows.
    pub channels: BTreeMap<ChannelId, ChannelFact>,
    /// What was claimed for and settled to each receiver and token, since the beginning.
    pub receivers: BTreeMap<(Address, Address), ReceiverFact>,
}

/// The contract's figures of one channel, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelFact {
    /// Everything deposited and not refunded or withdrawn, claimed funds included.
    pub balance: Amount,
    /// Claimed, cumulative.
    pub claimed: Amount,
}

/// The contract's figures of one receiver and token, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverFact {
    /// Claimed from all its channels, cumulative.
    pub claimed: Amount,
    /// Settled to it, cumulative.
    pub settled: Amount,
}

/// What an audit without a finding looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Receipts whose signature, sums and place in their chain are right.
    pub receipts: u64,
    /// Channels whose voucher, charges and chain figures are right.
    pub channels: u64,
}

/// An audit under way.
#[derive(Debug)]
pub struct Audit<'f> {
    host: Address,
    domain: SettlementDomain,
    facts: &'f ChainFacts,
    chains: HashMap<ChannelId, Chain>,
    /// Of the channels that the chain knows, those that were shown.
    seen: BTreeSet<ChannelId>,
    sums: BTreeMap<(Address, Address), Sums>,
    audited: Audited,
}

/// What receipts and channels of one receiver and token add up to.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// By receipts, on channels.
    charged: U256,
    /// By receipts, outside channels.
    exact: U256,
    /// By channels.
    claimed: U256,
    /// By channels: charged and not claimed.
    earned: U256,
    /// By channels: what is in them, claimed funds included.
    balances: U256,
    /// By channels: charged, claimed or not.
    used: U256,
}

impl<'f> Audit<'f> {
    /// An audit of a ledger whose receipts `host` signed, against the chain.
    #[must_use]
    pub fn new(host: Address, domain: SettlementDomain, facts: &'f ChainFacts) -> Self {
        Self {
            host,
            domain,
            facts,
            chains: HashMap::new(),
            seen: BTreeSet::new(),
            sums: BTreeMap::new(),
            audited: Audited::default(),
        }
    }

    /// Looks at a receipt. Show them in the order of acceptance; another order is understood, but
    /// takes memory.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn receipt(&mut self, signed: &SignedReceipt) -> Result<(), Finding> {
        let receipt = &signed.receipt;
        let found = |difference| Finding {
            channel: receipt.channel,
            receipt: Some(receipt.id),
            difference: Box::new(difference),
        };
        signed
            .verify(self.host)
            .map_err(|error| found(Difference::Receipt(error)))?;
        let sums = self
            .sums
            .entry((receipt.provider, receipt.token))
            .or_default();
        let amount = receipt.booked().to_u256();
        match receipt.channel {
            Some(channel) => {
                sums.charged = sums.charged.saturating_add(amount);
                let proved = self.facts.channels.get(&channel);
                let proved = proved.map_or(Amount::ZERO, |fact| fact.claimed);
                let chain = self.chains.entry(channel).or_default();
                chain.add(receipt, proved).map_err(found)?;
            }
            None => sums.exact = sums.exact.saturating_add(amount),
        }
        self.audited.receipts = self.audited.receipts.saturating_add(1);
        Ok(())
    }

    /// Looks at a channel, after all receipts.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn channel(&mut self, channel: &ChannelSnapshot) -> Result<(), Finding> {
        let found = |difference, receipt| Finding {
            channel: Some(channel.id),
            receipt,
            difference,
        };
        // M2: charged <= signed ceiling, and the ceiling's signature.
        PayeeChannel::restore(channel.clone(), &self.domain, 1)
            .map_err(|error| found(Box::new(Difference::Channel(error)), None))?;
        let fact = self.facts.channels.get(&channel.id);
        if fact.is_some() {
            self.seen.insert(channel.id);
        }
        let claimed = fact.map_or(Amount::ZERO, |fact| fact.claimed);
        let chain = self.chains.remove(&channel.id).unwrap_or_default();
        chain
            .end(channel, claimed)
            .map_err(|(difference, receipt)| found(difference, receipt))?;
        let stored = (channel.balance, channel.claimed);
        let on_chain = fact.map_or((Amount::ZERO, Amount::ZERO), |fact| {
            (fact.balance, fact.claimed)
        });
        if stored.0 != on_chain.0 {
            let (stored, chain) = (stored.0, on_chain.0);
            return Err(found(Box::new(Difference::Balance { stored, chain }), None));
        }
        if stored.1 != on_chain.1 {
            let (stored, chain) = (stored.1, on_chain.1);
            return Err(found(Box::new(Difference::Claimed { stored, chain }), None));
        }
        let key = (channel.config.receiver, channel.config.token);
        let sums = self.sums.entry(key).or_default();
        sums.claimed = sums.claimed.saturating_add(channel.claimed.to_u256());
        sums.earned = sums.earned.saturating_add(channel.unclaimed().to_u256());
        sums.balances = sums.balances.saturating_add(channel.balance.to_u256());
        sums.used = sums.used.saturating_add(channel.charged.to_u256());
        self.audited.channels = self.audited.channels.saturating_add(1);
        Ok(())
    }

    /// Looks at the sums and the books, after all channels.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn finish(self, totals: &[Totals], books: &TrialBalance) -> Result<Audited, Finding> {
        // By id, so that the first is always the same one.
        if let Some(channel) = self.chains.keys().min() {
            return Err(Finding::on(*channel, Difference::UnknownChannel));
        }
        for (channel, fact) in &self.facts.channels {
            if !self.seen.contains(channel) {
                let balance = fact.balance;
                return Err(Finding::on(*channel, Difference::Lost { balance }));
            }
        }
        self.check_sums(totals, books).map(|()| self.audited)
    }

    fn check_sums(&self, totals: &[Totals], books: &TrialBalance) -> Result<(), Finding> {
        if !books.is_balanced() {
            return Err(Finding::of_sums(Difference::Unbalanced));
        }
        let stored: BTreeMap<_, _> = totals
            .iter()
            .map(|totals| ((totals.receiver, totals.token), *totals))
            .collect();
        let keys = stored.keys().chain(self.sums.keys());
        let mut keys: Vec<_> = keys.chain(self.facts.receivers.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let empty = || Totals::empty(key.0, key.1);
            let totals = stored.get(key).copied().unwrap_or_else(empty);
            let sums = self.sums.get(key).copied().unwrap_or_default();
            self.check_receiver(&totals, &sums, books)?;
        }
        Ok(())
    }

    fn check_receiver(
        &self,
        totals: &Totals,
        sums: &Sums,
        books: &TrialBalance,
    ) -> Result<(), Finding> {
        let (receiver, token) = (totals.receiver, totals.token);
        let fact = self.facts.receivers.get(&(receiver, token));
        let (claimed, settled) = fact.map_or((Amount::ZERO, Amount::ZERO), |fact| {
            (fact.claimed, fact.settled)
        });
        let book = |account| books.balance(receiver, token, account);
        let exact = books.account(receiver, token, Account::Exact);
        // What never came is taken back, and was booked before.
        if exact.credit > exact.debit {
            return Err(Finding::of_sums(Difference::Sum(Box::new(SumDifference {
                what: "exact and never paid",
                receiver,
                token,
                stored: Some(exact.credit),
                found: exact.debit,
            }))));
        }
        let pairs = [
            ("charged", Some(totals.charged.to_u256()), sums.charged),
            ("exact", Some(totals.exact.to_u256()), sums.exact),
            ("claimed by channel", Some(sums.claimed), claimed.to_u256()),
            ("settled", Some(totals.settled.to_u256()), settled.to_u256()),
            ("exact in the books", Some(exact.debit), sums.exact),
            ("earned in the books", book(Account::Earned), sums.earned),
            (
                "settled in the books",
                book(Account::Settled),
                totals.settled.to_u256(),
            ),
            (
                "claimed and not settled in the books",
                book(Account::Claimed),
                sums.claimed.saturating_sub(totals.settled.to_u256()),
            ),
        ];
        // Less than nothing where payers withdrew what was charged: then there is nothing to compare.
        let deposits = sums.balances.checked_sub(sums.used);
        let deposits =
            deposits.map(|found| ("deposits in the books", book(Account::Deposits), found));
        for (what, stored, found) in pairs.into_iter().chain(deposits) {
            if stored != Some(found) {
                return Err(Finding::of_sums(Difference::Sum(Box::new(SumDifference {
                    what,
                    receiver,
                    token,
                    stored,
                    found,
                }))));
            }
        }
        Ok(())
    }
}

/// Audits a whole ledger, a page of channels at a time: recomputes everything from its vouchers and
/// receipts and from `facts`, and returns the first difference if there is one. Checks every receipt's
/// signature, some 100 microseconds each, without giving way to other tasks of its thread.
///
/// Calls that are charged meanwhile may be found half: audit a ledger at rest.
///
/// # Errors
/// [`ReadError`]; the operator's to solve.
pub async fn audit<S: Store>(
    ledger: &S,
    host: Address,
    domain: SettlementDomain,
    facts: &ChainFacts,
) -> Result<Result<Audited, Finding>, ReadError> {
    let mut audit = Audit::new(host, domain, facts);
    let mut first = Ok(());
    ledger
        .visit_receipts(|signed| {
            if first.is_ok() {
                first = audit.receipt(&signed);
            }
        })
        .await?;
    if let Err(finding) = first {
        return Ok(Err(finding));
    }
    let mut after = None;
    loop {
        let page = ledger.channels_after(after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.id);
        for channel in &page {
            if let Err(finding) = audit.channel(channel) {
                return Ok(Err(finding));
            }
        }
    }
    let (totals, books) = (ledger.totals().await?, ledger.trial_balance().await?);
    Ok(audit.finish(&totals, &books))
}

const PAGE: usize = 1_000;

impl Finding {
    fn on(channel: ChannelId, difference: Difference) -> Self {
        Self {
            channel: Some(channel),
            receipt: None::<B256>,
            difference: Box::new(difference),
        }
    }

    fn of_sums(difference: Difference) -> Self {
        Self {
            channel: None,
            receipt: None,
            difference: Box::new(difference),
        }
    }
}

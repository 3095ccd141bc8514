//! The provider's books for people: every channel and the whole journal, of a running node, a fleet
//! that it belongs to, or a data folder that no node uses; and their audit against the chain, by a
//! running node.
//!
//! Not here: how they look (the command line's part).

use std::collections::btree_map::Entry;
use std::future::Future;
use std::path::Path;

use alloy_primitives::{Address, U256};
use rialto_chain::client::ChainError;
use rialto_channels::payee::ChannelSnapshot;
use rialto_channels::{Amount, ChannelId, SettlementDomain};
use rialto_ledger::{
    Account, Audited, ChainFacts, ChannelFact, Day, Finding, Flow, JournalLine, Ledger, OpenError,
    ReadError, ReceiverFact, Store, TrialBalance, claimable,
};
use tokio::runtime::Handle;

use crate::Node;
use crate::money::Money;

/// Everything that the ledger says about money.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Every channel, in the order of their ids.
    pub channels: Vec<ChannelAccount>,
    /// What is in each account of each provider.
    pub balances: Vec<ProviderAccount>,
    /// What moved, by day and channel.
    pub journal: Vec<Moved>,
    /// Whether debits and credits are equal (M6: the sum over all accounts is constant).
    pub balanced: bool,
}

/// A channel's money, in token base units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelAccount {
    /// The channel.
    pub id: ChannelId,
    /// Who funds it.
    pub payer: Address,
    /// Who is paid.
    pub receiver: Address,
    /// In which token.
    pub token: Address,
    /// On the chain, claimed money included.
    pub balance: Amount,
    /// Charged for calls.
    pub charged: Amount,
    /// Claimed on the chain.
    pub claimed: Amount,
    /// Charged and not claimed: what is lost with the ledger.
    pub exposure: Amount,
    /// What a claim would move now.
    pub claimable: Amount,
    /// Whether the payer is taking its money out.
    pub is_withdrawing: bool,
}

/// What one account of a provider holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAccount {
    /// The receiver.
    pub receiver: Address,
    /// The token.
    pub token: Address,
    /// The account's name.
    pub account: &'static str,
    /// What entered it.
    pub debit: U256,
    /// What left it.
    pub credit: U256,
}

/// One flow of one journal line: from one account into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The day, by UTC, as `2026-11-22`.
    pub day: String,
    /// The channel; none for settlements and payments outside channels.
    pub channel: Option<ChannelId>,
    /// Whose money.
    pub receiver: Address,
    /// In which token.
    pub token: Address,
    /// The account that it left (credited).
    pub from: &'static str,
    /// The account that it entered (debited).
    pub to: &'static str,
    /// How much on that day, in token base units.
    pub amount: U256,
}

impl Node {
    /// Reads the books of this node, or of the fleet that it belongs to.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn accounts(&self) -> Result<Accounts, AccountsError> {
        match self.ledger() {
            Money::Own(ledger) => {
                let ledger = ledger.clone();
                // The ledger's reads block, and the journal may be long.
                aside(async move { read(&ledger).await }).await
            }
            Money::Shared(ledger) => read(ledger).await,
        }
    }
}

impl Node {
    /// Recomputes everything from vouchers, receipts and what the chain says now, and names the
    /// first difference. A call that is charged meanwhile may be found half: audit at rest.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn audit(&self) -> Result<Result<Audited, Finding>, AccountsError> {
        match self.ledger() {
            Money::Own(ledger) => self.audit_of(ledger.clone()).await,
            Money::Shared(ledger) => self.audit_of(ledger.clone()).await,
        }
    }

    async fn audit_of<S: Store>(
        &self,
        ledger: S,
    ) -> Result<Result<Audited, Finding>, AccountsError> {
        let facts = self.chain_facts(&ledger).await?;
        let payee = self.payee();
        let domain = SettlementDomain {
            chain_id: payee.chain_id,
            contract: payee.settlement,
        };
        let host = self.host_address();
        // Checking signatures takes its time, and calls must not wait for it.
        aside(async move { Ok(rialto_ledger::audit(&ledger, host, domain, &facts).await?) }).await
    }

    /// What the chain says of every channel and receiver of the ledger.
    async fn chain_facts(&self, ledger: &impl Store) -> Result<ChainFacts, AccountsError> {
        let client = self.chain_client();
        let mut facts = ChainFacts::default();
        let mut after = None;
        loop {
            let page = ledger.channels_after(after, CHANNELS_AT_ONCE).await?;
            let Some(last) = page.last() else {
                return Ok(facts);
            };
            after = Some(last.id);
            for channel in page {
                let view = client.channel(&channel.config).await?;
                let fact = ChannelFact {
                    balance: view.balance,
                    claimed: view.claimed,
                };
                facts.channels.insert(channel.id, fact);
                let key = (channel.config.receiver, channel.config.token);
                if let Entry::Vacant(place) = facts.receivers.entry(key) {
                    let (claimed, settled) = client.receiver_totals(key.0, key.1).await?;
                    place.insert(ReceiverFact { claimed, settled });
                }
            }
        }
    }
}

/// Runs what blocks its thread on one that may be blocked.
async fn aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, AccountsError>> + Send + 'static,
) -> Result<T, AccountsError> {
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    done.map_err(AccountsError::Stopped)?
}

impl Accounts {
    /// Reads the books in a data folder that no node uses.
    ///
    /// # Errors
    /// [`AccountsError::None`] where there is no ledger, [`AccountsError::Open`] while a node uses
    /// it.
    pub async fn of_data_dir(data_dir: &Path) -> Result<Self, AccountsError> {
        let dir = data_dir.join("ledger");
        if !dir.exists() {
            return Err(AccountsError::None);
        }
        let ledger = Ledger::open(&dir, rialto_ledger::Config::default())?;
        read(&ledger).await
    }
}

async fn read(ledger: &impl Store) -> Result<Accounts, AccountsError> {
    let channels = ledger.channels().await?;
    let mut journal = Vec::new();
    let mut last: Option<JournalLine> = None;
    loop {
        let days = Day::MIN..=Day::MAX;
        let lines = ledger.journal(days, last.as_ref(), LINES_AT_ONCE).await?;
        let Some(newest) = lines.last() else {
            break;
        };
        last = Some(*newest);
        journal.extend(lines.iter().flat_map(moved));
        if journal.len() > MOVED_MAX {
            return Err(AccountsError::TooLong);
        }
    }
    let trial = ledger.trial_balance().await?;
    Ok(Accounts {
        channels: channels.iter().map(channel).collect(),
        balanced: trial.is_balanced(),
        balances: balances(&trial),
        journal,
    })
}

fn channel(channel: &ChannelSnapshot) -> ChannelAccount {
    ChannelAccount {
        id: channel.id,
        payer: channel.config.payer,
        receiver: channel.config.receiver,
        token: channel.config.token,
        balance: channel.balance,
        charged: channel.charged,
        claimed: channel.claimed,
        exposure: channel.unclaimed(),
        claimable: claimable(channel),
        is_withdrawing: channel.withdrawal.is_some(),
    }
}

fn balances(trial: &TrialBalance) -> Vec<ProviderAccount> {
    let mut balances: Vec<ProviderAccount> = trial
        .accounts
        .iter()
        .map(|line| ProviderAccount {
            receiver: line.receiver,
            token: line.token,
            account: line.account.name(),
            debit: line.debit,
            credit: line.credit,
        })
        .collect();
    balances.sort_by_key(|line| (line.receiver, line.token, order(line.account)));
    balances
}

fn order(name: &str) -> usize {
    Account::ALL
        .iter()
        .position(|account| account.name() == name)
        .unwrap_or(Account::ALL.len())
}

fn moved(line: &JournalLine) -> Vec<Moved> {
    Flow::ALL
        .into_iter()
        .filter(|flow| !line.flows.get(*flow).is_zero())
        .map(|flow| Moved {
            day: line.day.to_string(),
            channel: line.channel,
            receiver: line.receiver,
            token: line.token,
            from: flow.from().name(),
            to: flow.to().name(),
            amount: line.flows.get(flow),
        })
        .collect()
}

/// Why the books cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// Nothing was ever recorded here.
    #[error(
        "there is no ledger in this data folder: has a node ever run here? A fleet's is in its database: ask in the data folder of a replica that runs"
    )]
    None,
    /// Another process has it, or it is damaged.
    #[error("the ledger cannot be opened")]
    Open(#[from] OpenError),
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Read(#[from] ReadError),
    /// The chain cannot be read.
    #[error("the chain cannot be read")]
    Chain(#[from] ChainError),
    /// More than is read at once.
    #[error("the journal has more than {MOVED_MAX} lines")]
    TooLong,
    /// The reading task was stopped.
    #[error("the node is stopping")]
    Stopped(#[source] tokio::task::JoinError),
}

const CHANNELS_AT_ONCE: usize = 1024;
const LINES_AT_ONCE: usize = 1024;
const MOVED_MAX: usize = 1_000_000;

//! What a wallet may spend in a day, in all and with one provider, counted over every program that
//! shares the store's folder.
//!
//! A call's price is taken off the budget before anything is signed and replaced by its charge
//! afterwards. A crash in between leaves the price counted: the budget errs on the safe side.
//!
//! Not here: the limits of one call and one deposit ([`Limits`](rialto_channels::payer::Limits)).

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::Address;
use rialto_channels::Amount;
use rialto_channels::payer::PayError;
use rialto_channels::payer::policy::{DAY_SECS, OverBudget, Policy, Spend, Spending, TopUpError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::store::places::{self, Keep, Places};
use super::store::{at, private, private_folder, sealed};
use super::{ClientError, StoreError};

/// What may be spent in a day (by UTC), in token base units; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// On all providers together.
    pub day_max: Option<Amount>,
    /// On one provider, by its payout address.
    pub provider_day_max: Option<Amount>,
    /// What may be deposited, which is not spent yet: it comes back, but only after a while.
    pub deposit_day_max: Option<Amount>,
}

impl Budget {
    fn policy(&self) -> Policy {
        Policy {
            day_max: self.day_max.unwrap_or(Amount::MAX),
            provider_day_max: self.provider_day_max.unwrap_or(Amount::MAX),
            ..Policy::UNLIMITED
        }
    }
}

/// What was spent on one day, as it is kept.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    day: u64,
    /// By provider, in token base units.
    providers: BTreeMap<Address, String>,
    /// In token base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deposited: Option<String>,
}

/// What was spent today by the wallet whose channels are kept in this folder.
///
/// # Errors
/// [`StoreError`] when the count cannot be read.
pub fn spent_today(dir: &Path) -> Result<Spending, StoreError> {
    let path = dir.join(FILE);
    let spending = parse(&path, places::read(&path)?.as_deref())?;
    Ok(if spending.day() < today() {
        Spending::new(today())
    } else {
        spending
    })
}

/// Keeps the count.
#[derive(Debug)]
pub(super) struct Purse {
    budget: Budget,
    dir: Option<PathBuf>,
    /// The count of a client that keeps nothing.
    memory: Mutex<Spending>,
}

impl Purse {
    pub(super) fn new(budget: Budget, dir: Option<PathBuf>) -> Self {
        Self {
            budget,
            dir,
            memory: Mutex::default(),
        }
    }

    /// Takes a price off the budget, if it fits.
    pub(super) async fn reserve(
        &self,
        provider: Address,
        price: Amount,
    ) -> Result<Option<Spend>, ClientError> {
        if self.budget == Budget::default() {
            return Ok(None);
        }
        let policy = self.budget.policy();
        Ok(Some(self.hold(&policy, provider, price).await??))
    }

    /// Takes a price off a budget by these rules, if it fits.
    pub(super) async fn hold(
        &self,
        policy: &Policy,
        whose: Address,
        price: Amount,
    ) -> Result<Result<Spend, OverBudget>, ClientError> {
        self.change(|spending| spending.hold(policy, whose, price, today()))
            .await
    }

    /// Replaces a reservation by what was really charged.
    pub(super) async fn settle(
        &self,
        reservation: Option<Spend>,
        charged: Amount,
    ) -> Result<(), ClientError> {
        match reservation {
            Some(spend) => self.change(|spending| spending.spent(spend, charged)).await,
            None => Ok(()),
        }
    }

    /// The same, whose holder may be dropped before anything is sent.
    pub(super) fn guard(self: &Arc<Self>, reservation: Option<Spend>) -> Reserved {
        Reserved {
            purse: Arc::clone(self),
            spend: reservation,
            sent: Arc::default(),
        }
    }

    /// Counts what was charged without having been reserved, be it above the budget or not.
    pub(super) async fn add(&self, provider: Address, charged: Amount) -> Result<(), ClientError> {
        if charged.is_zero() || self.budget == Budget::default() {
            return Ok(());
        }
        let held = self
            .change(|spending| {
                let held = spending.hold(&Policy::UNLIMITED, provider, charged, today())?;
                spending.spent(held, charged);
                Ok::<_, OverBudget>(())
            })
            .await?;
        Ok(held?)
    }

    /// Takes a deposit off what may be deposited today. It is not given back: from now on its
    /// signature may be used.
    pub(super) async fn deposit(&self, amount: Amount) -> Result<(), ClientError> {
        let Some(limit) = self.budget.deposit_day_max else {
            return Ok(());
        };
        let noted = self
            .change(|spending| {
                let mut next = spending.clone();
                // Of no amount: a new day begins with nothing deposited.
                next.deposit(Amount::ZERO, today())
                    .map_err(PayError::from)?;
                let left = limit.saturating_sub(next.deposited());
                if amount > left {
                    let needed = amount;
                    return Err(TopUpError::Limit {
                        needed,
                        limit: left,
                    });
                }
                next.deposit(amount, today()).map_err(PayError::from)?;
                *spending = next;
                Ok(())
            })
            .await?;
        Ok(noted?)
    }

    async fn change<T>(&self, change: impl FnOnce(&mut Spending) -> T) -> Result<T, ClientError> {
        let Some(dir) = &self.dir else {
            let mut spending = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(change(&mut spending));
        };
        let _lock = lock(dir, LOCK, LOCK_WAIT).await?;
        let path = dir.join(FILE);
        let (mut places, json) = Places::open(&path)?;
        let mut spending = parse(&path, json.as_deref())?;
        let result = change(&mut spending);
        write(&path, &mut places, &spending)?;
        Ok(result)
    }
}

/// What is held of a budget for a call. A call that is dropped before it was sent gives it back; of one that was sent
/// nobody knows the end, and it stays counted.
#[derive(Debug)]
pub(super) struct Reserved {
    purse: Arc<Purse>,
    spend: Option<Spend>,
    sent: Arc<AtomicBool>,
}

impl Reserved {
    /// To be set when the call is sent.
    pub(super) fn sent(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.sent)
    }

    /// Replaces it by what was really charged.
    pub(super) async fn settle(mut self, charged: Amount) -> Result<(), ClientError> {
        self.purse.settle(self.spend.take(), charged).await
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let (Some(spend), false) = (self.spend.take(), self.sent.load(Ordering::Relaxed)) else {
            return;
        };
        // Without a runtime the program ends, and the day does some time.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let purse = Arc::clone(&self.purse);
            runtime.spawn(async move {
                if let Err(error) = purse.settle(Some(spend), Amount::ZERO).await {
                    tracing::warn!(%error, "what was held for a call that was not made stays counted");
                }
            });
        }
    }
}

fn today() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / DAY_SECS)
}

fn parse(path: &Path, json: Option<&[u8]>) -> Result<Spending, StoreError> {
    let wrong = |problem: String| StoreError::Format {
        path: path.to_owned(),
        problem,
    };
    let Some(json) = json else {
        return Ok(Spending::default());
    };
    if json.is_empty() || sealed::is_torn(json) {
        // A power cut took it: what is written is not synced.
        tracing::warn!(path = %path.display(), "what was spent today is not known, and counts as nothing");
        return Ok(Spending::default());
    }
    let record: Record = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    let entries: Result<Vec<(Address, Amount)>, _> = record
        .providers
        .into_iter()
        .map(|(provider, spent)| spent.parse().map(|spent| (provider, spent)))
        .collect();
    let entries = entries.map_err(|error| wrong(error.to_string()))?;
    let deposited = record.deposited.as_deref().unwrap_or("0").parse();
    let deposited = deposited.map_err(|_| wrong("`deposited` is no amount".to_owned()))?;
    Spending::restore(record.day, deposited, entries).map_err(|error| wrong(error.to_string()))
}

/// Not synced, because a power cut costs a day's count and no money.
fn write(path: &Path, places: &mut Places, spending: &Spending) -> Result<(), StoreError> {
    let record = Record {
        day: spending.day(),
        providers: spending
            .entries()
            .map(|(provider, spent)| (provider, spent.to_string()))
            .collect(),
        deposited: (!spending.deposited().is_zero()).then(|| spending.deposited().to_string()),
    };
    let json = serde_json::to_string(&record);
    let json = json.map_err(|error| at(path, io::Error::other(error)))?;
    places.write(&json, Keep::Soon)
}

/// Takes a lock of the store's folder; waits so long for another program.
pub(super) async fn lock(dir: &Path, name: &str, wait: Duration) -> Result<File, StoreError> {
    private_folder(dir)?;
    let path = &dir.join(name);
    let fails = |source| at(path, source);
    let file = private()
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(fails)?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(fails(source)),
        }
    }
}

const FILE: &str = "spending.json";
const LOCK: &str = "spending.lock";
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Address = Address::repeat_byte(1);
    const TWO: Address = Address::repeat_byte(2);

    fn purse(dir: Option<&Path>) -> Purse {
        let budget = Budget {
            day_max: Some(Amount::new(250)),
            provider_day_max: Some(Amount::new(150)),
            deposit_day_max: Some(Amount::new(1000)),
        };
        Purse::new(budget, dir.map(Path::to_owned))
    }

    async fn check(purse: &Purse) {
        let price = Amount::new(100);
        let exceeded = |result: Result<Option<Spend>, ClientError>| match result {
            Err(ClientError::Budget(OverBudget::Day { spent, .. })) => ("day", spent.get()),
            Err(ClientError::Budget(OverBudget::Provider { spent, .. })) => ("own", spent.get()),
            other => panic!("{other:?}"),
        };
        let first = purse.reserve(ONE, price).await.unwrap();
        // Before the first call is over, its whole price counts.
        assert_eq!(exceeded(purse.reserve(ONE, price).await), ("own", 100));
        purse.settle(first, Amount::new(40)).await.unwrap();
        let second = purse.reserve(ONE, price).await.unwrap();
        purse.settle(second, price).await.unwrap();
        let third = purse.reserve(TWO, price).await.unwrap();
        assert_eq!(exceeded(purse.reserve(TWO, price).await), ("day", 240));
        purse.settle(third, Amount::ZERO).await.unwrap();
        purse.settle(None, price).await.unwrap();
        let last = purse.reserve(TWO, Amount::new(110)).await.unwrap();
        assert!(last.is_some());
        let one = Amount::new(1);
        assert_eq!(exceeded(purse.reserve(TWO, one).await), ("day", 250));
    }

    #[tokio::test]
    async fn budgets_count_prices_until_charges_are_known() {
        check(&purse(None)).await;
        let dir = tempfile::tempdir().unwrap();
        check(&purse(Some(dir.path()))).await;
        let spent: Vec<_> = spent_today(dir.path()).unwrap().entries().collect();
        assert_eq!(spent, [(ONE, Amount::new(140)), (TWO, Amount::new(110))]);
        // Another program sees the same count.
        let other = purse(Some(dir.path())).reserve(TWO, Amount::new(1)).await;
        assert!(matches!(other, Err(ClientError::Budget(_))));
    }

    #[tokio::test]
    async fn what_was_not_reserved_counts_too() {
        let purse = purse(None);
        purse.add(ONE, Amount::new(1000)).await.unwrap();
        let refused = purse.reserve(TWO, Amount::new(1)).await;
        assert!(matches!(
            refused,
            Err(ClientError::Budget(OverBudget::Day { spent, .. })) if spent == Amount::new(1000)
        ));
    }

    #[tokio::test]
    async fn deposits_of_a_day_have_a_limit_over_programs() {
        let dir = tempfile::tempdir().unwrap();
        let deposit = async |amount| purse(Some(dir.path())).deposit(Amount::new(amount)).await;
        deposit(600).await.unwrap();
        match deposit(401).await {
            Err(ClientError::Deposits(TopUpError::Limit { needed, limit })) => {
                assert_eq!((needed.get(), limit.get()), (401, 400));
            }
            other => panic!("{other:?}"),
        }
        deposit(400).await.unwrap();
        assert!(deposit(1).await.is_err());
        // What may be spent is another matter.
        let spent = purse(Some(dir.path())).reserve(ONE, Amount::new(1)).await;
        assert!(spent.unwrap().is_some());
    }

    #[tokio::test]
    async fn without_a_budget_nothing_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let purse = Purse::new(Budget::default(), Some(dir.path().to_owned()));
        assert_eq!(purse.reserve(ONE, Amount::MAX).await.unwrap(), None);
        assert!(!dir.path().join(FILE).exists());
    }
}

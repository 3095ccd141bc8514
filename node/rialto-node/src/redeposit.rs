//! Deposits that can be made again: what a reorganisation takes away, this node submits once more
//! while the payer's consent is good.
//!
//! Each is durable before anything is served on it, so that a node that was killed makes it again,
//! too. Forgotten when it lies deeper than reorganisations are expected to reach, or when its
//! consent has expired. Bounded: of too many, the smallest are not kept.
//! Not here: noticing a reorganisation (`watch`), and making deposits the first time (`deposits`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use rialto_chain::client::{AnyConsent, DepositAuthorization, Permit2Authorization, TokenPermit};
use rialto_channels::{Amount, ChannelConfig, ChannelId};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::{CallError, Deposit};
use crate::book::Slot;
use crate::catalog::chain;
use crate::reject::unavailable;
use crate::shelf::{PendingError, Shelf, decimal};

/// A deposit that was confirmed, and can be submitted again if a reorganisation takes it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Raw", try_from = "Raw")]
pub(crate) struct Submitted {
    pub(crate) channel: ChannelId,
    pub(crate) config: ChannelConfig,
    pub(crate) deposit: Deposit,
    /// The transaction that made it last.
    pub(crate) transaction: B256,
    /// Its block, when it was seen last.
    pub(crate) block: u64,
}

/// The deposits, in memory and on disk. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Deposits {
    shelf: Arc<Shelf<Submitted>>,
}

impl Deposits {
    /// Reads what an earlier process left in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PendingError> {
        Ok(Self {
            shelf: Arc::new(Shelf::open(folder)?),
        })
    }

    /// Makes a deposit durable. Blocks for a sync.
    ///
    /// # Errors
    /// [`PendingError::Io`].
    fn keep(&self, one: Submitted) -> Result<(), PendingError> {
        let name = one.name();
        if let Some((smallest, amount)) = self.smallest_of_too_many(&name) {
            if one.deposit.amount <= amount {
                tracing::warn!(channel = %one.channel, "too many deposits are young: this one is not made again if a reorganisation takes it away");
                return Ok(());
            }
            self.shelf.forget(&smallest);
        }
        self.shelf.keep(name, one)
    }

    /// What a deposit that is not kept yet would have to make room: small ones are the cheapest to
    /// lose, and to make in large numbers.
    fn smallest_of_too_many(&self, name: &str) -> Option<(String, Amount)> {
        let items = self.shelf.items();
        if items.len() < DEPOSITS_MAX || items.contains_key(name) {
            return None;
        }
        let amounts = items.iter().map(|(name, one)| (name, one.deposit.amount));
        let smallest = amounts.min_by_key(|(_, amount)| *amount);
        smallest.map(|(name, amount)| (name.clone(), amount))
    }

    /// A channel's deposits.
    fn of(&self, channel: ChannelId) -> Vec<Submitted> {
        self.shelf
            .beginning(&format!("{}-", hex::encode(channel.0)))
    }

    /// All of them.
    fn all(&self) -> Vec<Submitted> {
        self.shelf.all()
    }

    fn forget(&self, one: &Submitted) {
        self.shelf.forget(&one.name());
    }
}

impl Submitted {
    /// Names the consent, which is good for one deposit.
    fn name(&self) -> String {
        let consent = match &self.deposit.consent {
            AnyConsent::Erc3009(consent) => format!("eip3009-{}", hex::encode(consent.salt)),
            AnyConsent::Permit2(consent) => format!("permit2-{:x}", consent.nonce),
        };
        format!("{}-{consent}", hex::encode(self.channel.0))
    }
}

impl Node {
    /// A deposit was confirmed: from here on it is made again if it vanishes.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] if it cannot be made durable; nothing is served on it then.
    pub(crate) async fn keep_deposit(&self, one: Submitted) -> Result<(), CallError> {
        let deposits = self.deposits().clone();
        let kept = tokio::task::spawn_blocking(move || deposits.keep(one)).await;
        kept.map_err(|error| unavailable("the books", error))?
            .map_err(|error| unavailable("the books", error))
    }

    /// Submits a channel's deposits again that a reorganisation took away and no pool holds any
    /// more, if the payer's consent is still good. A task of its own: confirmations take their time.
    pub(crate) fn make_deposits_again(&self, slot: &Arc<Slot>) {
        let deposits = self.deposits().of(slot.id);
        if deposits.is_empty() {
            return;
        }
        let node = self.clone();
        tokio::spawn(async move {
            for one in deposits {
                if let Err(error) = node.make_deposit_again(&one).await {
                    tracing::warn!(channel = %one.channel, error = %chain(&error), "a deposit that a reorganisation took away was not made again");
                }
            }
        });
    }

    /// Submits a deposit again unless it is there, or cannot be made any more.
    async fn make_deposit_again(&self, one: &Submitted) -> Result<(), CallError> {
        let failed = |error| unavailable("the chain", error);
        let client = self.chain_client();
        let is_there = client.is_known(one.transaction).await.map_err(failed)?;
        if is_there || self.check_deposit_time(&one.deposit).is_err() {
            return Ok(());
        }
        let slot = match self.known(one.channel).await? {
            Some(slot) => slot,
            // Killed before the ledger heard of the channel.
            None => self.enter_unfunded(&one.config).await?,
        };
        let made = self.submit_again(&slot, one).await;
        if made.is_err() {
            self.book().forget_unfunded(&slot);
        }
        made
    }

    async fn submit_again(&self, slot: &Slot, one: &Submitted) -> Result<(), CallError> {
        let _order = slot.on_chain.lock().await;
        let payer = one.config.payer;
        if self.consent_used(payer, slot.id, &one.deposit).await? {
            return Ok(());
        }
        let (amount, consent) = (one.deposit.amount, &one.deposit.consent);
        let made = self.chain_client().deposit(&one.config, amount, consent);
        let made = match made.await {
            Ok(made) => made,
            // The payer's money went elsewhere, or its consent was taken back.
            Err(error) if error.revert().is_some() => {
                tracing::warn!(channel = %slot.id, error = %chain(&error), "a deposit that a reorganisation took away cannot be made again");
                return self.refresh_in_order(slot).await;
            }
            Err(error) => return Err(unavailable("the chain", error)),
        };
        tracing::info!(channel = %slot.id, transaction = %made.transaction, "a deposit that a reorganisation took away was made again");
        self.keep_deposit(Submitted {
            transaction: made.transaction,
            block: made.block,
            ..one.clone()
        })
        .await?;
        self.refresh_in_order(slot).await
    }

    /// Looks after the deposits until the node shuts down. What an earlier process left may have
    /// vanished while nobody looked: each is looked for first.
    pub(crate) async fn keep_deposits_forever(self) {
        let mut unchecked = self.deposits().all();
        let mut ticks = tokio::time::interval(LOOK_EVERY.max(self.config().payments.watch_every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = self.stopping() => return,
                () = self.look_at_deposits(&mut unchecked) => {}
            }
        }
    }

    /// One that fails does not keep the others from being looked at.
    async fn look_at_deposits(&self, unchecked: &mut Vec<Submitted>) {
        for one in std::mem::take(unchecked) {
            if let Err(error) = self.make_deposit_again(&one).await {
                tracing::warn!(channel = %one.channel, error = %chain(&error), "a deposit cannot be looked for; it is tried again");
                unchecked.push(one);
            }
        }
        let deposits = self.deposits().all();
        if deposits.is_empty() {
            return;
        }
        let head = match self.chain_client().block_number().await {
            Ok(head) => head,
            Err(error) => {
                tracing::debug!(%error, "deposits are looked at later");
                return;
            }
        };
        for one in deposits {
            if let Err(error) = self.forget_if_old(&one, head).await {
                tracing::warn!(channel = %one.channel, error = %chain(&error), "an old deposit cannot be looked for; it is tried again");
            }
        }
    }

    /// Forgets a deposit that cannot be made again, or that no reorganisation reaches.
    async fn forget_if_old(&self, one: &Submitted, head: u64) -> Result<(), CallError> {
        let reach = self.config().risk.reorg_blocks_max;
        if self.check_deposit_time(&one.deposit).is_err() {
            self.deposits().forget(one);
            return Ok(());
        }
        if one.block.saturating_add(reach) >= head {
            return Ok(());
        }
        let outcome = self.chain_client().outcome_of(one.transaction).await;
        match outcome.map_err(|error| unavailable("the chain", error))? {
            Some(outcome) if outcome.block.saturating_add(reach) < head => {
                self.deposits().forget(one);
                Ok(())
            }
            // Mined anew, on another branch.
            Some(outcome) => {
                let block = outcome.block;
                self.keep_deposit(Submitted {
                    block,
                    ..one.clone()
                })
                .await
            }
            None => self.make_deposit_again(one).await,
        }
    }
}

/// A deposit as it lies on the disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    channel: B256,
    payer: Address,
    payer_authorizer: Address,
    receiver: Address,
    receiver_authorizer: Address,
    token: Address,
    withdraw_delay: u64,
    salt: B256,
    #[serde(with = "decimal")]
    amount: Amount,
    consent: RawConsent,
    transaction: B256,
    block: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
enum RawConsent {
    Eip3009 {
        valid_after: u64,
        valid_before: u64,
        salt: B256,
        signature: Bytes,
    },
    Permit2 {
        nonce: U256,
        deadline: u64,
        signature: Bytes,
        allowance: Option<RawPermit>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPermit {
    value: U256,
    deadline: u64,
    signature: Bytes,
}

/// A permit's signature is not 65 bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a permit's signature has {0} bytes, not 65")]
struct BadPermit(usize);

impl From<Submitted> for Raw {
    fn from(one: Submitted) -> Self {
        let config = one.config;
        Self {
            channel: one.channel.0,
            payer: config.payer,
            payer_authorizer: config.payer_authorizer,
            receiver: config.receiver,
            receiver_authorizer: config.receiver_authorizer,
            token: config.token,
            withdraw_delay: config.withdraw_delay,
            salt: config.salt,
            amount: one.deposit.amount,
            consent: one.deposit.consent.into(),
            transaction: one.transaction,
            block: one.block,
        }
    }
}

impl TryFrom<Raw> for Submitted {
    type Error = BadPermit;

    fn try_from(raw: Raw) -> Result<Self, BadPermit> {
        Ok(Self {
            channel: ChannelId(raw.channel),
            config: ChannelConfig {
                payer: raw.payer,
                payer_authorizer: raw.payer_authorizer,
                receiver: raw.receiver,
                receiver_authorizer: raw.receiver_authorizer,
                token: raw.token,
                withdraw_delay: raw.withdraw_delay,
                salt: raw.salt,
            },
            deposit: Deposit {
                amount: raw.amount,
                consent: raw.consent.try_into()?,
            },
            transaction: raw.transaction,
            block: raw.block,
        })
    }
}

impl From<AnyConsent> for RawConsent {
    fn from(consent: AnyConsent) -> Self {
        match consent {
            AnyConsent::Erc3009(consent) => Self::Eip3009 {
                valid_after: consent.valid_after,
                valid_before: consent.valid_before,
                salt: consent.salt,
                signature: consent.signature.into(),
            },
            AnyConsent::Permit2(consent) => Self::Permit2 {
                nonce: consent.nonce,
                deadline: consent.deadline,
                signature: consent.signature.into(),
                allowance: consent.allowance.map(|permit| RawPermit {
                    value: permit.value,
                    deadline: permit.deadline,
                    signature: Bytes::copy_from_slice(&permit.signature),
                }),
            },
        }
    }
}

impl TryFrom<RawConsent> for AnyConsent {
    type Error = BadPermit;

    fn try_from(raw: RawConsent) -> Result<Self, BadPermit> {
        Ok(match raw {
            RawConsent::Eip3009 {
                valid_after,
                valid_before,
                salt,
                signature,
            } => Self::Erc3009(DepositAuthorization {
                valid_after,
                valid_before,
                salt,
                signature: signature.to_vec(),
            }),
            RawConsent::Permit2 {
                nonce,
                deadline,
                signature,
                allowance,
            } => Self::Permit2(Permit2Authorization {
                nonce,
                deadline,
                signature: signature.to_vec(),
                allowance: allowance.map(TokenPermit::try_from).transpose()?,
            }),
        })
    }
}

impl TryFrom<RawPermit> for TokenPermit {
    type Error = BadPermit;

    fn try_from(raw: RawPermit) -> Result<Self, BadPermit> {
        let bytes: &[u8] = &raw.signature;
        Ok(Self {
            value: raw.value,
            deadline: raw.deadline,
            signature: bytes.try_into().map_err(|_| BadPermit(bytes.len()))?,
        })
    }
}

/// How often the deposits are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Deposits that can be made again.
const DEPOSITS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn deposit(number: u64, amount: u128) -> Submitted {
        let permit2 = Permit2Authorization {
            nonce: U256::from(number),
            deadline: 9,
            signature: vec![1; 65],
            allowance: Some(TokenPermit {
                value: U256::MAX,
                deadline: 8,
                signature: [2; 65],
            }),
        };
        let eip3009 = DepositAuthorization {
            valid_after: 0,
            valid_before: u64::MAX,
            salt: B256::from(U256::from(number)),
            signature: vec![3; 65],
        };
        let consent = match number % 2 {
            0 => AnyConsent::Permit2(permit2),
            _ => AnyConsent::Erc3009(eip3009),
        };
        Submitted {
            channel: ChannelId(B256::with_last_byte(u8::try_from(number % 7).unwrap())),
            config: ChannelConfig {
                payer: Address::repeat_byte(1),
                payer_authorizer: Address::repeat_byte(2),
                receiver: Address::repeat_byte(3),
                receiver_authorizer: Address::repeat_byte(4),
                token: Address::repeat_byte(5),
                withdraw_delay: 900,
                salt: B256::repeat_byte(6),
            },
            deposit: Deposit {
                amount: Amount::new(amount),
                consent,
            },
            transaction: B256::repeat_byte(7),
            block: number,
        }
    }

    #[test]
    fn deposits_of_both_kinds_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let deposits = Deposits::open(folder.path().to_owned()).unwrap();
        for number in 1..=4 {
            deposits.keep(deposit(number, u128::MAX)).unwrap();
        }
        let moved = Submitted {
            block: 77,
            ..deposit(4, u128::MAX)
        };
        deposits.keep(moved.clone()).unwrap();
        deposits.forget(&deposit(2, 1));
        drop(deposits);
        let deposits = Deposits::open(folder.path().to_owned()).unwrap();
        let all = [deposit(1, u128::MAX), deposit(3, u128::MAX), moved.clone()];
        assert_eq!(deposits.all(), all);
        assert_eq!(deposits.of(moved.channel), [moved]);
    }

    #[test]
    fn of_too_many_the_smallest_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let deposits = Deposits::open(folder.path().to_owned()).unwrap();
        // Without the disk: what is kept is what is tested.
        for number in 1..=DEPOSITS_MAX as u64 {
            let one = deposit(number, u128::from(number) + 10);
            deposits.shelf.items().insert(one.name(), one);
        }
        let has = |one: &Submitted| deposits.shelf.has(&one.name());
        let (small, large) = (deposit(5_000, 11), deposit(5_001, 12));
        deposits.keep(small.clone()).unwrap();
        assert!(!has(&small) && has(&deposit(1, 0)));
        deposits.keep(large.clone()).unwrap();
        assert!(has(&large) && !has(&deposit(1, 0)));
        assert_eq!(deposits.all().len(), DEPOSITS_MAX);
        deposits.keep(deposit(2, 1)).unwrap();
        assert_eq!(deposits.all().len(), DEPOSITS_MAX, "it was there already");
    }
}

//! A chain with the settlement contract's rules: blocks, a pool of transactions, reorganisations.
//!
//! The rules are those of `payment-channels/contracts`, with every signature checked for real.
//! Gas, other contracts and other tokens are not modelled.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use rialto_channels::{
    Address, Amount, B256, ChainTime, ChannelConfig, ChannelId, ClaimRow, OnChainView, Signature,
    TransferAuthorization, U256, Withdrawal, digest, recover,
};

use crate::{
    parties::{DOMAIN, token},
    random::Random,
};

/// Deeper than this no reorganisation goes: the providers' policy.
pub(crate) const DEPTH_MAX: usize = 3;
/// Seconds between blocks.
pub(crate) const BLOCK_SECS: u64 = 12;

/// What anyone can ask the chain to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transaction {
    Deposit(Box<Deposit>),
    Claim(Vec<ClaimRow>),
    Settle(Address),
    Refund {
        config: ChannelConfig,
        amount: Amount,
        nonce: U256,
        signature: Signature,
    },
    Withdraw {
        config: ChannelConfig,
        amount: Amount,
    },
    Finalize(ChannelConfig),
}

/// A deposit by a signed authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deposit {
    pub(crate) config: ChannelConfig,
    pub(crate) amount: Amount,
    pub(crate) authorization: TransferAuthorization,
    pub(crate) salt: B256,
    pub(crate) signature: Signature,
}

/// One channel in the contract.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) balance: u128,
    pub(crate) claimed: u128,
    nonce: u64,
    pending: Option<(u128, u64)>,
    delay: u64,
}

/// All the money, after one block.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) wallets: BTreeMap<Address, u128>,
    pub(crate) channels: BTreeMap<ChannelId, Account>,
    earned: BTreeMap<Address, (u128, u128)>,
    used: BTreeSet<(Address, B256)>,
}

#[derive(Clone, Debug)]
struct Block {
    time: u64,
    transactions: Vec<Transaction>,
    state: State,
}

#[derive(Debug)]
pub(crate) struct Chain {
    /// The newest is last; older ones than any reorganisation reaches are forgotten.
    blocks: VecDeque<Block>,
    pool: Vec<Transaction>,
    /// The broken rule M6: refunds are paid twice.
    pub(crate) mints: bool,
}

impl Chain {
    pub(crate) fn new(time: u64, wallets: BTreeMap<Address, u128>) -> Self {
        let state = State {
            wallets,
            ..State::default()
        };
        let block = Block {
            time,
            transactions: Vec::new(),
            state,
        };
        Self {
            blocks: vec![block; DEPTH_MAX + 2].into(),
            pool: Vec::new(),
            mints: false,
        }
    }

    pub(crate) fn newest(&self) -> &State {
        &self.block(0).state
    }

    pub(crate) fn time(&self) -> u64 {
        self.block(0).time
    }

    fn block(&self, depth: usize) -> &Block {
        let last = self.blocks.len() - 1;
        &self.blocks[last - depth.min(last)]
    }

    /// Whether a deposit's nonce is used, in a block with so many on top.
    pub(crate) fn used(&self, from: Address, nonce: B256, depth: usize) -> bool {
        self.block(depth).state.used.contains(&(from, nonce))
    }

    /// The contract's word on a channel, as of a block with so many on top.
    pub(crate) fn view(&self, id: ChannelId, depth: usize) -> OnChainView {
        let block = self.block(depth);
        let read_at = ChainTime::new(block.time);
        let Some(account) = block.state.channels.get(&id) else {
            return OnChainView {
                balance: Amount::ZERO,
                claimed: Amount::ZERO,
                refund_nonce: U256::ZERO,
                withdrawal: None,
                read_at,
            };
        };
        OnChainView {
            balance: Amount::new(account.balance),
            claimed: Amount::new(account.claimed),
            refund_nonce: U256::from(account.nonce),
            withdrawal: account.pending.map(|(amount, start)| Withdrawal {
                amount: Amount::new(amount),
                finalizes_at: ChainTime::new(start + account.delay),
            }),
            read_at,
        }
    }

    /// Hands a transaction to the pool, once however often it is sent.
    pub(crate) fn submit(&mut self, transaction: Transaction) {
        if !self.pool.contains(&transaction) {
            self.pool.push(transaction);
        }
    }

    /// A block of some of the pool, in any order. What reverts is gone; some are forgotten.
    pub(crate) fn mine(&mut self, time: u64, random: &mut Random, calm: bool) {
        let (mut waiting, mut included) = (std::mem::take(&mut self.pool), Vec::new());
        let mut state = self.newest().clone();
        while let Some(transaction) = random.take(&mut waiting) {
            if !calm && random.percent(20) {
                self.pool.push(transaction);
            } else if (calm || !random.percent(3))
                && state.apply(&transaction, time, self.mints).is_some()
            {
                included.push(transaction);
            }
        }
        self.blocks.push_back(Block {
            time,
            transactions: included,
            state,
        });
        if self.blocks.len() > DEPTH_MAX + 2 {
            self.blocks.pop_front();
        }
    }

    /// What the newest block did, for people who trace a run.
    pub(crate) fn told(&self) -> String {
        let told = self.block(0).transactions.iter().map(ToString::to_string);
        told.collect::<Vec<_>>().join(", ")
    }

    /// Another branch wins: the newest blocks are made again, with what is still known of their
    /// transactions.
    pub(crate) fn reorganise(&mut self, depth: usize, random: &mut Random) {
        let mut times = Vec::new();
        for _ in 0..depth.min(DEPTH_MAX) {
            let Some(block) = self.blocks.pop_back() else {
                break;
            };
            times.push(block.time);
            for transaction in block.transactions {
                if !random.percent(25) {
                    self.pool.push(transaction);
                }
            }
        }
        while let Some(time) = times.pop() {
            self.mine(time, random, false);
        }
    }

    /// M6: the sum over all accounts is constant.
    pub(crate) fn total(&self) -> u128 {
        let state = self.newest();
        let wallets: u128 = state.wallets.values().sum();
        let open: u128 = state
            .channels
            .values()
            .map(|it| it.balance - it.claimed)
            .sum();
        let due: u128 = state
            .earned
            .values()
            .map(|(claimed, settled)| claimed - settled)
            .sum();
        wallets + open + due
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deposit(it) => write!(f, "deposit {} by {}", it.amount, it.config.payer),
            Self::Claim(rows) => rows.iter().try_for_each(|row| {
                write!(f, "claim {} of {} ", row.total_claimed, row.config.payer)
            }),
            Self::Settle(_) => f.write_str("settle"),
            Self::Refund { config, amount, .. } => write!(f, "refund {amount} to {}", config.payer),
            Self::Withdraw { config, amount } => write!(f, "withdraw {amount} to {}", config.payer),
            Self::Finalize(config) => write!(f, "finalize {}", config.payer),
        }
    }
}

impl State {
    pub(crate) fn claimed(&self, id: ChannelId) -> u128 {
        self.channels.get(&id).map_or(0, |account| account.claimed)
    }

    pub(crate) fn balance(&self, id: ChannelId) -> u128 {
        self.channels.get(&id).map_or(0, |account| account.balance)
    }

    /// `None` if the contract reverts; nothing changed then.
    fn apply(&mut self, transaction: &Transaction, time: u64, mints: bool) -> Option<()> {
        match transaction {
            Transaction::Deposit(deposit) => self.deposit(deposit, time),
            Transaction::Claim(rows) => self.claim(rows),
            Transaction::Settle(receiver) => {
                let (claimed, settled) = self.earned.get_mut(receiver)?;
                *self.wallets.entry(*receiver).or_default() += *claimed - *settled;
                *settled = *claimed;
                Some(())
            }
            Transaction::Refund {
                config,
                amount,
                nonce,
                signature,
            } => {
                let id = config.id(&DOMAIN);
                let signed = digest::refund(&DOMAIN, &id, *nonce, *amount);
                if recover(signed, signature).ok()? != config.receiver_authorizer {
                    return None;
                }
                self.refund(config.payer, id, *amount, *nonce, mints)
            }
            Transaction::Withdraw { config, amount } => {
                let account = self.channels.get_mut(&config.id(&DOMAIN))?;
                let amount = amount.get();
                let left = account.balance - account.claimed;
                if account.pending.is_some() || amount == 0 || amount > left {
                    return None;
                }
                account.pending = Some((amount, time));
                Some(())
            }
            Transaction::Finalize(config) => {
                let account = self.channels.get_mut(&config.id(&DOMAIN))?;
                let (amount, start) = account.pending?;
                if time < start + account.delay {
                    return None;
                }
                account.pending = None;
                let paid = amount.min(account.balance - account.claimed);
                account.balance -= paid;
                *self.wallets.entry(config.payer).or_default() += paid;
                Some(())
            }
        }
    }

    fn deposit(&mut self, deposit: &Deposit, time: u64) -> Option<()> {
        let (config, authorization) = (&deposit.config, &deposit.authorization);
        let id = config.id(&DOMAIN);
        let signed = digest::receive_authorization(&token(), authorization);
        let fits = config.delay_in_range()
            && authorization.from == config.payer
            && authorization.value == deposit.amount
            && authorization.nonce == digest::deposit_nonce(&id, deposit.salt)
            && !deposit.amount.is_zero()
            && authorization.valid_before > time
            && recover(signed, &deposit.signature).ok()? == config.payer;
        let wallet = self.wallets.get_mut(&config.payer)?;
        let nonce = (authorization.from, authorization.nonce);
        if !fits || *wallet < deposit.amount.get() || !self.used.insert(nonce) {
            return None;
        }
        *wallet -= deposit.amount.get();
        let account = self.channels.entry(id).or_insert(Account {
            balance: 0,
            claimed: 0,
            nonce: 0,
            pending: None,
            delay: config.withdraw_delay,
        });
        account.balance += deposit.amount.get();
        Some(())
    }

    /// One bad row reverts all of them.
    fn claim(&mut self, rows: &[ClaimRow]) -> Option<()> {
        let mut gains = Vec::new();
        for row in rows {
            let id = row.config.id(&DOMAIN);
            let total = row.total_claimed.get();
            let account = self.channels.get(&id)?;
            if total <= account.claimed {
                continue;
            }
            let authorizer = row.config.payer_authorizer;
            if row.total_claimed > row.voucher.voucher.ceiling
                || total > account.balance
                || row.voucher.voucher.channel != id
                || row.voucher.verify(&DOMAIN, authorizer).is_err()
            {
                return None;
            }
            gains.push((id, row.config.receiver, total));
        }
        for (id, receiver, total) in gains {
            let account = self.channels.get_mut(&id)?;
            let earned = self.earned.entry(receiver).or_default();
            earned.0 += total.saturating_sub(account.claimed);
            account.claimed = account.claimed.max(total);
        }
        Some(())
    }

    fn refund(
        &mut self,
        payer: Address,
        id: ChannelId,
        amount: Amount,
        nonce: U256,
        mints: bool,
    ) -> Option<()> {
        let account = self.channels.get_mut(&id)?;
        if nonce != U256::from(account.nonce) || amount.is_zero() {
            return None;
        }
        account.nonce += 1;
        let paid = amount.get().min(account.balance - account.claimed);
        account.balance -= paid;
        if let Some((waiting, start)) = account.pending.filter(|_| paid > 0) {
            account.pending = (waiting > paid).then(|| (waiting - paid, start));
        }
        *self.wallets.entry(payer).or_default() += if mints { paid * 2 } else { paid };
        Some(())
    }
}

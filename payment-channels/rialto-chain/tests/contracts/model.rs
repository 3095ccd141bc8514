//! The contract's rules once more, in Rust: what each operation must do, or be refused with.

use alloy::primitives::Bytes;
use alloy::sol_types::SolError;

use crate::abi::BatchSettlement as errors;
use crate::chain::GENESIS_BALANCE;
use crate::world::{DELAY, Who};

/// Each payer has a channel with each receiver.
pub(crate) const PAYERS: [Who; 3] = [Who::Payer, Who::Payer2, Who::Payer3];
/// Both share one receiver authorizer.
pub(crate) const RECEIVERS: [Who; 2] = [Who::Receiver, Who::Receiver2];
/// How many channels there are.
pub(crate) const CHANNELS: usize = PAYERS.len() * RECEIVERS.len();

/// How the receiver's side consents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Consented {
    /// The receiver sends the transaction.
    ByReceiver,
    /// The receiver authorizer sends it.
    ByHost,
    /// A stranger relays the authorizer's signature.
    Signed,
    /// A stranger sends it without any right.
    Not,
}

/// One claim row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) channel: usize,
    pub(crate) ceiling: u128,
    pub(crate) total: u128,
    /// Signed by a stranger instead of the session key.
    pub(crate) forged: bool,
}

/// How the payer consents to a deposit; the outcome is the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Erc3009,
    Permit2,
}

/// What a run does, step by step.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Deposit {
        channel: usize,
        amount: u128,
        by: By,
    },
    Claim {
        rows: Vec<Row>,
        how: Consented,
    },
    Settle {
        receiver: usize,
    },
    Refund {
        channel: usize,
        amount: u128,
        how: Consented,
    },
    Withdraw {
        channel: usize,
        amount: u128,
    },
    Finalize {
        channel: usize,
    },
    Wait {
        secs: u64,
    },
}

/// The exact revert data.
pub(crate) type Refused = Bytes;

/// One channel's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) balance: u128,
    pub(crate) claimed: u128,
    pub(crate) refund_nonce: u64,
    /// Amount and the model's clock at the start.
    pub(crate) pending: Option<(u128, u64)>,
}

/// What a receiver earned and was paid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Earned {
    pub(crate) claimed: u128,
    pub(crate) settled: u128,
}

/// Everything that the rules speak of.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) channels: [Channel; CHANNELS],
    pub(crate) earned: [Earned; RECEIVERS.len()],
    pub(crate) payers: [u128; PAYERS.len()],
    pub(crate) receivers: [u128; RECEIVERS.len()],
    clock: u64,
}

/// The payer of a channel.
pub(crate) fn payer_of(channel: usize) -> usize {
    channel % PAYERS.len()
}

/// The receiver of a channel.
pub(crate) fn receiver_of(channel: usize) -> usize {
    channel / PAYERS.len()
}

fn refuse<T>(error: impl SolError) -> Result<T, Refused> {
    Err(error.abi_encode().into())
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            channels: Default::default(),
            earned: Default::default(),
            payers: [GENESIS_BALANCE; PAYERS.len()],
            receivers: [GENESIS_BALANCE; RECEIVERS.len()],
            clock: 0,
        }
    }

    /// What the contract must hold (I1).
    pub(crate) fn escrow(&self) -> u128 {
        let open: u128 = self.channels.iter().map(|c| c.balance - c.claimed).sum();
        let due: u128 = self.earned.iter().map(|e| e.claimed - e.settled).sum();
        open + due
    }

    /// Does `op`, or says how the contract refuses it.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), Refused> {
        let mut next = self.clone();
        match *op {
            Op::Deposit {
                channel, amount, ..
            } => next.deposit(channel, amount)?,
            Op::Claim { ref rows, how } => next.claim(rows, how)?,
            Op::Settle { receiver } => next.settle(receiver),
            Op::Refund {
                channel,
                amount,
                how,
            } => next.refund(channel, amount, how)?,
            Op::Withdraw { channel, amount } => next.withdraw(channel, amount)?,
            Op::Finalize { channel } => next.finalize(channel)?,
            Op::Wait { secs } => next.clock += secs,
        }
        *self = next;
        Ok(())
    }

    fn deposit(&mut self, channel: usize, amount: u128) -> Result<(), Refused> {
        if amount == 0 {
            return refuse(errors::ZeroDeposit {});
        }
        self.payers[payer_of(channel)] -= amount;
        self.channels[channel].balance += amount;
        Ok(())
    }

    fn claim(&mut self, rows: &[Row], how: Consented) -> Result<(), Refused> {
        if rows.is_empty() {
            return refuse(errors::EmptyBatch {});
        }
        let sender_is = |receiver| match how {
            Consented::ByHost | Consented::Signed => true,
            Consented::ByReceiver => receiver == receiver_of(rows[0].channel),
            Consented::Not => false,
        };
        for row in rows {
            let receiver = receiver_of(row.channel);
            if !sender_is(receiver) {
                return refuse(errors::NotAuthorizedToClaim {});
            }
            let channel = &mut self.channels[row.channel];
            if row.total <= channel.claimed {
                continue;
            }
            if row.total > row.ceiling {
                return refuse(errors::ClaimExceedsCeiling {});
            }
            if row.total > channel.balance {
                return refuse(errors::ClaimExceedsBalance {});
            }
            if row.forged {
                return refuse(errors::InvalidSignature {});
            }
            self.earned[receiver].claimed += row.total - channel.claimed;
            channel.claimed = row.total;
        }
        Ok(())
    }

    fn settle(&mut self, receiver: usize) {
        let earned = &mut self.earned[receiver];
        self.receivers[receiver] += earned.claimed - earned.settled;
        earned.settled = earned.claimed;
    }

    fn refund(&mut self, channel: usize, amount: u128, how: Consented) -> Result<(), Refused> {
        if matches!(how, Consented::Not) {
            return refuse(errors::NotAuthorizedToRefund {});
        }
        if amount == 0 {
            return refuse(errors::ZeroRefund {});
        }
        let c = &mut self.channels[channel];
        c.refund_nonce += 1;
        let paid = amount.min(c.balance - c.claimed);
        c.balance -= paid;
        if let Some((waiting, start)) = c.pending.filter(|_| paid > 0) {
            c.pending = (waiting > paid).then(|| (waiting - paid, start));
        }
        self.payers[payer_of(channel)] += paid;
        Ok(())
    }

    fn withdraw(&mut self, channel: usize, amount: u128) -> Result<(), Refused> {
        let c = &mut self.channels[channel];
        if amount == 0 {
            return refuse(errors::NothingToWithdraw {});
        }
        if c.pending.is_some() {
            return refuse(errors::WithdrawalAlreadyPending {});
        }
        if amount > c.balance - c.claimed {
            return refuse(errors::WithdrawAmountExceedsAvailable {});
        }
        c.pending = Some((amount, self.clock));
        Ok(())
    }

    fn finalize(&mut self, channel: usize) -> Result<(), Refused> {
        let c = &mut self.channels[channel];
        let Some((amount, start)) = c.pending else {
            return refuse(errors::WithdrawalNotPending {});
        };
        if self.clock < start + DELAY {
            return refuse(errors::WithdrawDelayNotElapsed {});
        }
        c.pending = None;
        let paid = amount.min(c.balance - c.claimed);
        c.balance -= paid;
        self.payers[payer_of(channel)] += paid;
        Ok(())
    }
}

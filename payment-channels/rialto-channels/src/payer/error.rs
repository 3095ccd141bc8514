//! Errors of the payer, split by whose fault they are.

use crate::{Amount, AmountOverflow, SignatureError};

/// Why no voucher or deposit is signed. Nothing left this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// The offer asks more for one call than this payer allows itself.
    #[error("offer asks {amount} for one call, and the limit is {limit}")]
    AboveLimit {
        /// Asked for.
        amount: Amount,
        /// Allowed.
        limit: Amount,
    },
    /// The channel does not hold what the voucher would promise; deposit first.
    #[error("a ceiling of {ceiling} needs a deposit: the channel holds {funds}")]
    NotFunded {
        /// What the voucher would promise.
        ceiling: Amount,
        /// Balance, less a withdrawal, plus a deposit carried along.
        funds: Amount,
    },
    /// The deposit needed is above what this payer allows itself.
    #[error("a deposit of {needed} is needed, and the limit is {limit}")]
    DepositAboveLimit {
        /// Needed.
        needed: Amount,
        /// Allowed.
        limit: Amount,
    },
    /// A deposit is already on its way; wait for it.
    #[error("a deposit is already under way")]
    DepositUnderWay,
    /// Calls are in flight or uncertain; wait for them or resynchronise.
    #[error("calls are still open")]
    CallsOpen,
    /// The key is not the channel's payer authorizer (or payer, for a deposit).
    #[error("key is not the one the channel names")]
    WrongKey,
    /// Nothing is left to take back.
    #[error("nothing is left in the channel")]
    NothingLeft,
    /// Amounts whose sum leaves `uint128` (M1).
    #[error(transparent)]
    Overflow(#[from] AmountOverflow),
}

/// A payee that did what it may not: the peer's fault, to be held against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayeeFault {
    /// The charge is above the call's amount.
    #[error("charged {charged} for a call of at most {amount}")]
    Overcharged {
        /// The call's amount.
        amount: Amount,
        /// What the payee says it charged.
        charged: Amount,
    },
    /// The payee counts more than was ever signed.
    #[error("payee counts {count} charged, and {signed} was signed")]
    AboveSigned {
        /// Highest ceiling signed.
        signed: Amount,
        /// What the payee counts.
        count: Amount,
    },
}

/// Why a payee's corrective state is not adopted. The payer's own state stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResyncError {
    /// The proof is no signature of ours.
    #[error("corrective state is not proven by our own signature")]
    NotOurs(#[from] SignatureError),
    /// The count is above the ceiling that proves it.
    #[error("payee counts {charged} charged, and proves {signed}")]
    AboveProof {
        /// The payee's count.
        charged: Amount,
        /// The ceiling signed by us.
        signed: Amount,
    },
    /// The count is below what the chain says was claimed.
    #[error("payee counts {charged} charged, and has claimed {claimed}")]
    BelowClaimed {
        /// The payee's count.
        charged: Amount,
        /// Claimed on chain.
        claimed: Amount,
    },
}

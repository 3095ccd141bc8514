//! Errors of the payee that are not the peer's fault.

use crate::{Amount, ChannelId};

/// Why a charge cannot be made. Always our own bug: the reservation already covered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChargeError {
    /// The reservation is another channel's or no longer held.
    #[error("reservation is not held on this channel")]
    UnknownReservation,
    /// More than was reserved.
    #[error("charge of {actual} is above the reserved {price}")]
    AbovePrice {
        /// What was reserved.
        price: Amount,
        /// What was to be charged.
        actual: Amount,
    },
    /// More than the payer signed (M2).
    #[error("charge is above the signed ceiling")]
    AboveCeiling,
}

/// Why a stored snapshot is not believed. The operator's fault or a corrupted store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The id is not that of the terms under this settlement contract.
    #[error("snapshot {0} does not belong to its terms on this chain and contract")]
    WrongId(ChannelId),
    /// More charged than the best voucher held or the chain's claims cover (M2).
    #[error("snapshot {0} is charged above its best voucher")]
    AboveCeiling(ChannelId),
    /// The best voucher is another channel's or another key's.
    #[error("snapshot {0} holds a voucher that is not its own")]
    WrongVoucher(ChannelId),
}

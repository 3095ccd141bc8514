//! EIP-3009 authorizations: a signed transfer that anyone may submit.

use alloy_primitives::{Address, B256};

use crate::Amount;

/// The message of EIP-3009's `transferWithAuthorization` and `receiveWithAuthorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferAuthorization {
    /// Who pays and signs.
    pub from: Address,
    /// Who receives; for a deposit, the deposit collector.
    pub to: Address,
    /// How much, in base units.
    pub value: Amount,
    /// Valid strictly after this moment (chain seconds).
    pub valid_after: u64,
    /// Valid strictly before this moment (chain seconds).
    pub valid_before: u64,
    /// Used at most once per `from`; for a deposit it commits to the channel
    /// ([`crate::digest::deposit_nonce`]).
    pub nonce: B256,
}

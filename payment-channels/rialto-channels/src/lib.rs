//! Payment channels as pure state machines: the payer's side, the payee's side, the vouchers
//! that pass between them, prices and receipts.
//!
//! The protocol is the x402 v2 `batch-settlement` scheme on EVM chains: a payer funds a one-way
//! channel, signs cumulative ceilings (vouchers), and the payee charges at most what was signed.
//!
//! Non-goals: no sockets, files, clocks, randomness or wire formats. Time, keys and entropy come
//! in as arguments; what must be stored or sent goes out as plain values.
//!
//! The money rules this crate keeps, quoted where the code keeps them:
//! - M1: amounts are integers in base units, checked arithmetic only.
//! - M2: charged <= signed ceiling <= balance.
//! - M3: nothing is charged for a call that failed.
//! - M4: a voucher is durable before its answer is complete (the ledger's part; this crate hands
//!   out the snapshot to store).
//! - M5: one execution per payment id (the ledger's part; this crate never reuses a reservation).
//! - M6: the sum over all accounts is constant.
//! - M7: no key, prompt or whole voucher in a log (`Debug` of keys and signatures is redacted).

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::iter_over_hash_type
    )
)]

mod amount;
mod authorization;
mod channel;
pub mod claims;
mod confirmations;
pub mod digest;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod key;
pub mod offer_receipt;
pub mod payee;
pub mod payer;
pub mod price;
pub mod receipt;
pub mod royalty;
mod signature;
mod time;
mod typed;
mod view;
mod voucher;

pub use alloy_primitives::{Address, B256, U256};

pub use amount::{Amount, AmountOverflow, ParseAmountError};
pub use authorization::TransferAuthorization;
pub use channel::{
    CONFIG_BYTES, ChannelConfig, ChannelId, ParseChannelIdError, SettlementDomain, TokenDomain,
    WITHDRAW_DELAY_SECS_MAX, WITHDRAW_DELAY_SECS_MIN,
};
pub use confirmations::{Confirmations, ConfirmationsError, Depth};
pub use key::{KeyError, SigningKey};
pub use signature::{Signature, SignatureError, recover};
pub use time::ChainTime;
pub use view::{OnChainView, Withdrawal, view_ttl_secs};
pub use voucher::{ClaimRow, SignedVoucher, VerifiedVoucher, Voucher};

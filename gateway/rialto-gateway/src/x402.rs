//! x402 on the wire, version 2 and beside it version 1 for `exact`: what a 402 offers, what a
//! payment header says, what a settlement answers. Strict in, plain out: a header either becomes
//! the node's own types or a precise error.
//!
//! The authority is the code of the published clients (`@x402/core`, `@x402/evm`, `x402-fetch`):
//! field names and their quirks are theirs.
//!
//! Not here: whether a payment is good (`rialto-channels` decides), or HTTP routes.

pub mod discovery;
pub mod gas_sponsoring;
pub mod header;
pub mod identifier;
pub mod offer;
pub mod offer_receipt;
pub mod payment;
pub mod settlement;
pub mod version1;

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, address};

/// The settlement contract: one deterministic address on every chain, so that a payer needs to
/// trust no host for it.
pub const SETTLEMENT: Address = address!("0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");

/// The contract that collects EIP-3009 deposits for [`SETTLEMENT`], likewise the same everywhere.
pub const COLLECTOR: Address = address!("0x4020806089470a89826cB9fB1f4059150b550004");

/// The contract that collects Permit2 deposits for [`SETTLEMENT`], likewise the same everywhere.
pub const PERMIT2_COLLECTOR: Address = address!("0x4020425FAf3B746C082C2f942b4E5159887B0005");

/// Permit2, likewise the same everywhere.
pub const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");

/// The protocol version that this crate speaks; see [`version1`] for the other.
pub const VERSION: u64 = 2;

/// Which version of the protocol a payment came in, and so its answer goes out in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// `X-PAYMENT`: `exact` alone.
    One,
    /// `PAYMENT-SIGNATURE`.
    #[default]
    Two,
}

/// How a payment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Vouchers on a payment channel: `batch-settlement`.
    BatchSettlement,
    /// One token transfer for one call: `exact`.
    Exact,
}

impl Scheme {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BatchSettlement => "batch-settlement",
            Self::Exact => "exact",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "batch-settlement" => Ok(Self::BatchSettlement),
            "exact" => Ok(Self::Exact),
            _ => Err(UnknownName),
        }
    }
}

/// An EVM chain by its CAIP-2 name, `eip155:<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(pub u64);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}", self.0)
    }
}

impl FromStr for Network {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let digits = name.strip_prefix("eip155:").ok_or(UnknownName)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UnknownName);
        }
        digits.parse().map(Self).map_err(|_| UnknownName)
    }
}

/// A name that is not one of the known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known name")]
pub struct UnknownName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_caip2_names_of_evm_chains() {
        assert_eq!("eip155:84532".parse(), Ok(Network(84532)));
        assert_eq!(Network(1).to_string(), "eip155:1");
        for bad in [
            "",
            "84532",
            "eip155:",
            "eip155:+1",
            "eip155:0x1",
            "solana:1",
            "eip155:1 ",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(UnknownName), "{bad:?}");
        }
        assert_eq!(
            "eip155:99999999999999999999999".parse::<Network>(),
            Err(UnknownName)
        );
    }
}

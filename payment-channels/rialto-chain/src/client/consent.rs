//! A payer's signed consent to a deposit, by EIP-3009 or by Permit2, as the collectors take it.

use std::fmt;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolValue;

use crate::contracts::Addresses;

/// Consent that one of the collectors checks and carries out.
pub trait DepositConsent: fmt::Debug + Send + Sync {
    /// The collector, and the consent as it decodes it.
    fn collected(&self, contracts: &Addresses) -> (Address, Bytes);
}

/// Consent of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyConsent {
    /// By EIP-3009.
    Erc3009(DepositAuthorization),
    /// By Permit2.
    Permit2(Permit2Authorization),
}

/// EIP-3009 `receiveWithAuthorization` for the collector.
#[derive(Clone, PartialEq, Eq)]
pub struct DepositAuthorization {
    /// Valid strictly after this moment (chain seconds).
    pub valid_after: u64,
    /// Valid strictly before this moment (chain seconds).
    pub valid_before: u64,
    /// Makes the nonce unique: `keccak256(abi.encode(channel id, salt))`.
    pub salt: B256,
    /// The payer's signature; 65 bytes, or what its contract account wants.
    pub signature: Vec<u8>,
}

/// A Permit2 `PermitWitnessTransferFrom` for the collector, whose witness is the channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Permit2Authorization {
    /// Unordered: any that was not used before.
    pub nonce: U256,
    /// Valid up to and including this moment (chain seconds).
    pub deadline: u64,
    /// The payer's signature; 65 bytes, or what its contract account wants.
    pub signature: Vec<u8>,
    /// What gives Permit2 its allowance first, so that the payer needs no gas for it.
    pub allowance: Option<TokenPermit>,
}

/// An EIP-2612 permit for Permit2, signed by the payer for the token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPermit {
    /// The allowance, in base units.
    pub value: U256,
    /// Valid up to and including this moment (chain seconds).
    pub deadline: u64,
    /// `r || s || v`.
    pub signature: [u8; 65],
}

impl DepositConsent for AnyConsent {
    fn collected(&self, contracts: &Addresses) -> (Address, Bytes) {
        match self {
            Self::Erc3009(authorization) => authorization.collected(contracts),
            Self::Permit2(authorization) => authorization.collected(contracts),
        }
    }
}

impl DepositConsent for DepositAuthorization {
    fn collected(&self, contracts: &Addresses) -> (Address, Bytes) {
        let fields = (
            U256::from(self.valid_after),
            U256::from(self.valid_before),
            U256::from_be_bytes(self.salt.0),
            Bytes::copy_from_slice(&self.signature),
        );
        (contracts.collector, fields.abi_encode_params().into())
    }
}

impl DepositConsent for Permit2Authorization {
    fn collected(&self, contracts: &Addresses) -> (Address, Bytes) {
        let allowance = self.allowance.as_ref().map(TokenPermit::encoded);
        let fields = (
            self.nonce,
            U256::from(self.deadline),
            Bytes::copy_from_slice(&self.signature),
            allowance.unwrap_or_default(),
        );
        (
            contracts.permit2_collector,
            fields.abi_encode_params().into(),
        )
    }
}

impl TokenPermit {
    fn encoded(&self) -> Bytes {
        let (words, v) = self.signature.split_at(64);
        let (r, s) = words.split_at(32);
        let v = v.first().copied().unwrap_or_default();
        let fields = (
            self.value,
            U256::from(self.deadline),
            U256::from(v),
            B256::from_slice(r),
            B256::from_slice(s),
        );
        fields.abi_encode_params().into()
    }
}

impl fmt::Debug for DepositAuthorization {
    /// Without the signature (M7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DepositAuthorization")
            .field("valid_after", &self.valid_after)
            .field("valid_before", &self.valid_before)
            .field("salt", &self.salt)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit2Authorization {
    /// Without the signatures (M7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit2Authorization")
            .field("nonce", &self.nonce)
            .field("deadline", &self.deadline)
            .field("allowance", &self.allowance)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenPermit {
    /// Without the signature (M7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPermit")
            .field("value", &self.value)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

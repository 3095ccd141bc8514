//! What a channel is: its terms, its identity and the EIP-712 domains it lives in.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolValue;

use crate::digest;
use crate::typed::settlement;

/// The shortest withdrawal delay the settlement contract accepts, in seconds.
pub const WITHDRAW_DELAY_SECS_MIN: u64 = 900;
/// The longest withdrawal delay the settlement contract accepts, in seconds.
pub const WITHDRAW_DELAY_SECS_MAX: u64 = 2_592_000;

/// Identity of a channel: the EIP-712 digest of its [`ChannelConfig`], so it binds the chain,
/// the contract and every term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub B256);

impl fmt::Display for ChannelId {
    /// `0x` and 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for ChannelId {
    type Err = ParseChannelIdError;

    /// Parses `0x` and exactly 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").ok_or(ParseChannelIdError)?;
        // The decoder would skip a second prefix.
        if digits.len() != HEX_DIGITS {
            return Err(ParseChannelIdError);
        }
        digits.parse().map(Self).map_err(|_| ParseChannelIdError)
    }
}

/// A text that is not a channel id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("channel id is not 0x and 64 hexadecimal digits")]
pub struct ParseChannelIdError;

/// The settlement contract on one chain; every digest about channels is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SettlementDomain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of the batch-settlement contract.
    pub contract: Address,
}

impl SettlementDomain {
    /// The EIP-712 domain separator (name `x402 Batch Settlement`, version `1`).
    #[must_use]
    pub fn separator(&self) -> B256 {
        digest::settlement_separator(self)
    }
}

/// A token contract with EIP-712 signatures (EIP-3009, EIP-2612).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenDomain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of the token.
    pub token: Address,
    /// The token's EIP-712 name, for example `USDC`.
    pub name: String,
    /// The token's EIP-712 version, for example `2`.
    pub version: String,
}

/// The terms of a channel, fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelConfig {
    /// Who funds the channel and gets back what is left.
    pub payer: Address,
    /// Whose key signs vouchers: a session key, or the payer itself.
    pub payer_authorizer: Address,
    /// Who is paid.
    pub receiver: Address,
    /// Whose key signs claims and refunds for the receiver; it cannot redirect funds.
    pub receiver_authorizer: Address,
    /// The token paid with.
    pub token: Address,
    /// Seconds a one-sided withdrawal waits, [`WITHDRAW_DELAY_SECS_MIN`] to
    /// [`WITHDRAW_DELAY_SECS_MAX`] (on chain a `uint40`).
    pub withdraw_delay: u64,
    /// Tells channels with equal terms apart.
    pub salt: B256,
}

impl ChannelConfig {
    /// The channel's identity under this settlement contract.
    ///
    /// A delay outside `uint40` is outside the protocol; callers refuse it by
    /// [`ChannelConfig::delay_in_range`] before they look at the id.
    #[must_use]
    pub fn id(&self, domain: &SettlementDomain) -> ChannelId {
        digest::channel_id(domain, self)
    }

    /// The terms as bytes: the ABI encoding of the settlement contract's struct.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CONFIG_BYTES] {
        let mut bytes = [0; CONFIG_BYTES];
        // Its encoding has one length: seven words.
        let encoded = settlement::ChannelConfig::from(self).abi_encode();
        bytes.copy_from_slice(&encoded);
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes); nothing for bytes of any other form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CONFIG_BYTES]) -> Option<Self> {
        let read = settlement::ChannelConfig::abi_decode_validate(bytes).ok()?;
        let config = Self {
            payer: read.payer,
            payer_authorizer: read.payerAuthorizer,
            receiver: read.receiver,
            receiver_authorizer: read.receiverAuthorizer,
            token: read.token,
            withdraw_delay: read.withdrawDelay.to(),
            salt: read.salt,
        };
        (config.to_bytes() == *bytes).then_some(config)
    }

    /// Whether the contract accepts this withdrawal delay.
    #[must_use]
    pub fn delay_in_range(&self) -> bool {
        (WITHDRAW_DELAY_SECS_MIN..=WITHDRAW_DELAY_SECS_MAX).contains(&self.withdraw_delay)
    }
}

/// The bytes of a channel's terms.
pub const CONFIG_BYTES: usize = 7 * 32;
const HEX_DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_they_were_written() {
        let config = ChannelConfig {
            payer: Address::repeat_byte(1),
            payer_authorizer: Address::repeat_byte(2),
            receiver: Address::repeat_byte(3),
            receiver_authorizer: Address::repeat_byte(4),
            token: Address::repeat_byte(5),
            withdraw_delay: WITHDRAW_DELAY_SECS_MIN,
            salt: B256::repeat_byte(6),
        };
        let bytes = config.to_bytes();
        assert_eq!(ChannelConfig::from_bytes(&bytes), Some(config));
        for padding in [0, 32, 64, 96, 128, 160] {
            let mut other = bytes;
            other[padding] = 1;
            assert_eq!(ChannelConfig::from_bytes(&other), None, "{padding}");
        }
    }

    #[test]
    fn an_id_is_one_prefix_and_64_digits() {
        let id = ChannelId(B256::repeat_byte(0xab));
        assert_eq!(id.to_string().parse(), Ok(id));
        let check = |text: String| {
            assert_eq!(
                text.parse::<ChannelId>(),
                Err(ParseChannelIdError),
                "{text}"
            );
        };
        check(format!("0x{id}"));
        check("ab".repeat(32));
        check(format!("0x0x{}", "ab".repeat(31)));
        check(format!("0x{}", "ab".repeat(31)));
        check(format!("0x{}", "zz".repeat(32)));
    }
}

//! EIP-712 digests of everything that is signed, and the two plain hashes beside them.
//!
//! Checked against golden vectors of the deployed contract and the published clients
//! (`tests/vectors.rs`).

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Keccak256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};

use crate::{
    Amount, ChannelConfig, ChannelId, SettlementDomain, TokenDomain, TransferAuthorization,
    typed::{settlement, token},
};

/// What a payer authorizer signs: a cumulative ceiling on one channel.
#[must_use]
pub fn voucher(domain: &SettlementDomain, channel: &ChannelId, ceiling: Amount) -> B256 {
    static TYPE: LazyLock<B256> = LazyLock::new(type_hash::<settlement::Voucher>);
    let typed = settlement::Voucher {
        channelId: channel.0,
        maxClaimableAmount: ceiling.get(),
    };
    signing_hash(&typed, &TYPE, &settlement_separator(domain))
}

/// What a receiver authorizer signs to give `amount` back to the payer. `nonce` is the
/// contract's `refundNonce` of the channel.
#[must_use]
pub fn refund(domain: &SettlementDomain, channel: &ChannelId, nonce: U256, amount: Amount) -> B256 {
    settlement::Refund {
        channelId: channel.0,
        nonce,
        amount: amount.get(),
    }
    .eip712_signing_hash(&settlement_domain(domain))
}

/// One row of a signed claim batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimEntry {
    /// The channel claimed on.
    pub channel: ChannelId,
    /// The ceiling of the voucher submitted.
    pub ceiling: Amount,
    /// The cumulative amount claimed after this row.
    pub total_claimed: Amount,
}

/// What a receiver authorizer signs so that anyone can submit its claims.
#[must_use]
pub fn claim_batch(domain: &SettlementDomain, claims: &[ClaimEntry]) -> B256 {
    let claims = claims
        .iter()
        .map(|entry| settlement::ClaimEntry {
            channelId: entry.channel.0,
            maxClaimableAmount: entry.ceiling.get(),
            totalClaimed: entry.total_claimed.get(),
        })
        .collect();
    settlement::ClaimBatch { claims }.eip712_signing_hash(&settlement_domain(domain))
}

/// What a payer signs to let `to` pull funds (EIP-3009 `ReceiveWithAuthorization`): deposits.
#[must_use]
pub fn receive_authorization(domain: &TokenDomain, message: &TransferAuthorization) -> B256 {
    token::ReceiveWithAuthorization {
        from: message.from,
        to: message.to,
        value: message.value.to_u256(),
        validAfter: U256::from(message.valid_after),
        validBefore: U256::from(message.valid_before),
        nonce: message.nonce,
    }
    .eip712_signing_hash(&token_domain(domain))
}

/// What a payer signs to pay `to` directly (EIP-3009 `TransferWithAuthorization`): `exact`.
#[must_use]
pub fn transfer_authorization(domain: &TokenDomain, message: &TransferAuthorization) -> B256 {
    token::TransferWithAuthorization {
        from: message.from,
        to: message.to,
        value: message.value.to_u256(),
        validAfter: U256::from(message.valid_after),
        validBefore: U256::from(message.valid_before),
        nonce: message.nonce,
    }
    .eip712_signing_hash(&token_domain(domain))
}

/// What a token owner signs to approve a spender without gas (EIP-2612 `Permit`).
#[must_use]
pub fn permit(
    domain: &TokenDomain,
    owner: Address,
    spender: Address,
    value: U256,
    nonce: U256,
    deadline: U256,
) -> B256 {
    token::Permit {
        owner,
        spender,
        value,
        nonce,
        deadline,
    }
    .eip712_signing_hash(&token_domain(domain))
}

/// The EIP-3009 nonce of a deposit: `keccak256(abi.encode(channelId, salt))`. It ties the
/// payer's one signature to every term of the channel.
#[must_use]
pub fn deposit_nonce(channel: &ChannelId, salt: B256) -> B256 {
    let [mut head, tail] = [channel.0.to_vec(), salt.to_vec()];
    head.extend(tail);
    keccak256(head)
}

pub(crate) fn channel_id(domain: &SettlementDomain, config: &ChannelConfig) -> ChannelId {
    let typed = settlement::ChannelConfig::from(config);
    static TYPE: LazyLock<B256> = LazyLock::new(type_hash::<settlement::ChannelConfig>);
    ChannelId(signing_hash(&typed, &TYPE, &settlement_separator(domain)))
}

/// As [`Eip712Domain::separator`], with what is the same for all chains hashed once.
pub(crate) fn settlement_separator(domain: &SettlementDomain) -> B256 {
    static SAME: LazyLock<[B256; 3]> = LazyLock::new(|| {
        let any = settlement_domain(&SettlementDomain {
            chain_id: 0,
            contract: Address::ZERO,
        });
        [any.type_hash(), keccak256(NAME), keccak256(VERSION)]
    });
    let mut hasher = Keccak256::new();
    for hash in SAME.iter() {
        hasher.update(hash);
    }
    hasher.update(U256::from(domain.chain_id).to_be_bytes::<32>());
    hasher.update(domain.contract.into_word());
    hasher.finalize()
}

/// The hash of a structure's type, to be kept: it costs as much as all the rest of a digest.
pub(crate) fn type_hash<S: SolStruct>() -> B256 {
    keccak256(S::eip712_encode_type().as_bytes())
}

/// As [`SolStruct::eip712_signing_hash`], with the hash of the type and the separator given.
pub(crate) fn signing_hash<S: SolStruct>(value: &S, type_hash: &B256, separator: &B256) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(type_hash);
    hasher.update(value.eip712_encode_data());
    let value = hasher.finalize();
    let mut hasher = Keccak256::new();
    hasher.update(MAGIC);
    hasher.update(separator);
    hasher.update(value);
    hasher.finalize()
}

fn settlement_domain(domain: &SettlementDomain) -> Eip712Domain {
    Eip712Domain::new(
        Some(NAME.into()),
        Some(VERSION.into()),
        Some(U256::from(domain.chain_id)),
        Some(domain.contract),
        None,
    )
}

fn token_domain(domain: &TokenDomain) -> Eip712Domain {
    Eip712Domain::new(
        Some(domain.name.clone().into()),
        Some(domain.version.clone().into()),
        Some(U256::from(domain.chain_id)),
        Some(domain.token),
        None,
    )
}

const NAME: &str = "x402 Batch Settlement";
const VERSION: &str = "1";
/// What every digest of typed data starts with.
const MAGIC: [u8; 2] = [0x19, 0x01];
#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    /// The type hashes are constants of the token standards.
    #[test]
    fn token_types_are_those_of_the_standards() {
        let check = |hash: B256, expected| assert_eq!(hash, expected);
        check(
            keccak256(token::TransferWithAuthorization::eip712_encode_type().as_bytes()),
            b256!("0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267"),
        );
        check(
            keccak256(token::ReceiveWithAuthorization::eip712_encode_type().as_bytes()),
            b256!("0xd099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8"),
        );
        check(
            keccak256(token::Permit::eip712_encode_type().as_bytes()),
            b256!("0x6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9"),
        );
    }

    #[test]
    fn what_is_kept_changes_no_digest() {
        let domain = SettlementDomain {
            chain_id: 84_532,
            contract: Address::repeat_byte(7),
        };
        let slow = settlement_domain(&domain);
        assert_eq!(settlement_separator(&domain), slow.separator());
        let channel = ChannelId(B256::repeat_byte(9));
        let typed = settlement::Voucher {
            channelId: channel.0,
            maxClaimableAmount: 77,
        };
        let expected = typed.eip712_signing_hash(&slow);
        assert_eq!(voucher(&domain, &channel, Amount::new(77)), expected);
    }

    #[test]
    fn every_field_of_a_permit_is_signed() {
        let domain = TokenDomain {
            chain_id: 1,
            token: Address::repeat_byte(1),
            name: "USDC".into(),
            version: "2".into(),
        };
        let (owner, spender) = (Address::repeat_byte(2), Address::repeat_byte(3));
        let [one, two, three] = [1, 2, 3].map(U256::from);
        let digests = [
            permit(&domain, owner, spender, one, two, three),
            permit(&domain, spender, owner, one, two, three),
            permit(&domain, owner, spender, two, two, three),
            permit(&domain, owner, spender, one, one, three),
            permit(&domain, owner, spender, one, two, two),
            permit(
                &TokenDomain {
                    version: "1".into(),
                    ..domain
                },
                owner,
                spender,
                one,
                two,
                three,
            ),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(
                !digests[..index].contains(digest),
                "digest {index} is not its own"
            );
        }
    }
}

//! The transaction that a wallet sends by itself: a call of a contract, without money, paid by fee
//! (EIP-1559). A payer needs it only against a provider that does not answer.
//!
//! Not here: deposits (the host submits them), contract creation, access lists.

use alloy_primitives::{Address, B256, keccak256};
use alloy_rlp::{Encodable, Header};
use rialto_channels::Signature;
use serde_json::{Value, json};

/// A call of a contract, unsigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    /// In wei for each unit of gas.
    pub(super) tip_max: u128,
    /// In wei for each unit of gas, the tip included.
    pub(super) fee_max: u128,
    pub(super) gas_max: u64,
    pub(super) to: Address,
    pub(super) data: Vec<u8>,
}

impl Transaction {
    /// What the sender signs.
    pub(super) fn digest(&self) -> B256 {
        keccak256(enveloped(self.fields()))
    }

    /// The bytes for `eth_sendRawTransaction`.
    pub(super) fn signed(&self, signature: &Signature) -> Vec<u8> {
        let bytes = signature.to_bytes();
        let (r, rest) = bytes.split_at(WORD);
        let (s, v) = rest.split_at(WORD);
        let mut fields = self.fields();
        (v == [V_ODD]).encode(&mut fields);
        significant(r).encode(&mut fields);
        significant(s).encode(&mut fields);
        enveloped(fields)
    }

    /// For a wallet that wants to show what it signs.
    pub(super) fn shown(&self) -> Value {
        json!({
            "type": "0x2",
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "maxPriorityFeePerGas": self.tip_max.to_string(),
            "maxFeePerGas": self.fee_max.to_string(),
            "gas": self.gas_max,
            "to": self.to.to_checksum(None),
            "value": "0",
            "data": alloy_primitives::hex::encode_prefixed(&self.data),
            "accessList": [],
        })
    }

    fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(self.data.len().saturating_add(FIELDS_BYTES));
        self.chain_id.encode(&mut fields);
        self.nonce.encode(&mut fields);
        self.tip_max.encode(&mut fields);
        self.fee_max.encode(&mut fields);
        self.gas_max.encode(&mut fields);
        self.to.as_slice().encode(&mut fields);
        0_u64.encode(&mut fields); // value
        self.data.as_slice().encode(&mut fields);
        fields.push(EMPTY_LIST);
        fields
    }
}

fn enveloped(fields: Vec<u8>) -> Vec<u8> {
    let header = Header {
        list: true,
        payload_length: fields.len(),
    };
    let mut envelope = vec![TYPE_EIP1559];
    header.encode(&mut envelope);
    envelope.extend(fields);
    envelope
}

/// RLP writes integers without leading zeros.
fn significant(word: &[u8]) -> &[u8] {
    let zeros = word.iter().take_while(|byte| **byte == 0).count();
    word.get(zeros..).unwrap_or_default()
}

const WORD: usize = 32;
const V_ODD: u8 = 28;
const TYPE_EIP1559: u8 = 2;
const EMPTY_LIST: u8 = 0xc0;
/// More than all fields but the data ever take.
const FIELDS_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use rialto_channels::{SigningKey, recover};

    use super::*;

    #[test]
    fn every_field_is_signed_and_the_signature_is_the_senders() {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap();
        let plain = Transaction {
            chain_id: 84532,
            nonce: 1,
            tip_max: 1_000_000,
            fee_max: 2_000_000,
            gas_max: 100_000,
            to: Address::repeat_byte(7),
            data: vec![1; 60],
        };
        let digest = plain.digest();
        let signature = key.sign(digest);
        assert_eq!(recover(digest, &signature), Ok(key.address()));
        let raw = plain.signed(&signature);
        assert_eq!(raw[0], TYPE_EIP1559);
        for changed in [
            Transaction {
                chain_id: 1,
                ..plain.clone()
            },
            Transaction {
                nonce: 2,
                ..plain.clone()
            },
            Transaction {
                tip_max: 2,
                ..plain.clone()
            },
            Transaction {
                fee_max: 3,
                ..plain.clone()
            },
            Transaction {
                gas_max: 4,
                ..plain.clone()
            },
            Transaction {
                to: Address::ZERO,
                ..plain.clone()
            },
            Transaction {
                data: vec![],
                ..plain.clone()
            },
        ] {
            assert_ne!(changed.digest(), digest, "{changed:?}");
        }
    }

    #[test]
    fn integers_have_no_leading_zeros() {
        assert_eq!(significant(&[0, 0, 7, 0]), [7, 0]);
        assert_eq!(significant(&[0; 4]), [0_u8; 0]);
    }
}

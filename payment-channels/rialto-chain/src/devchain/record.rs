//! The entries of the block log and their encoding.
//!
//! A record is everything needed to repeat one step of the chain on replay: a block with its
//! transactions as they arrived, a development override, or a change of the clock. Integers are
//! little-endian; there is no padding; unknown kinds are errors.

use alloy::consensus::TxEnvelope;
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::primitives::{Address, B256, Bytes, U256};

/// One step of the chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// A block: its time, the transactions with their senders, and the hash that must come out.
    Block {
        timestamp: u64,
        hash: B256,
        transactions: Vec<SenderAndTransaction>,
    },
    /// A development override of the state.
    Override(Override),
    /// The chain's clock is this many seconds ahead of the wall clock from here on.
    Clock { ahead_secs: i64 },
}

/// A transaction whose signature was checked when it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SenderAndTransaction {
    pub(super) sender: Address,
    pub(super) envelope: TxEnvelope,
}

/// A change of state that no transaction makes: `anvil_setCode` and its kin.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Override {
    Balance(Address, U256),
    Nonce(Address, u64),
    Code(Address, Bytes),
    Slot(Address, U256, U256),
}

/// A record that passed its checksum but does not decode: written by another version.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("record ends early")]
    Short,
    #[error("record has bytes left over")]
    Long,
    #[error("unknown record kind {0}")]
    Kind(u8),
    #[error("transaction does not decode")]
    Transaction(#[source] alloy::eips::eip2718::Eip2718Error),
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Block {
                timestamp,
                hash,
                transactions,
            } => {
                out.push(KIND_BLOCK);
                out.extend(timestamp.to_le_bytes());
                out.extend(hash);
                for tx in transactions {
                    let raw = tx.envelope.encoded_2718();
                    out.extend(tx.sender);
                    out.extend((raw.len() as u64).to_le_bytes());
                    out.extend(raw);
                }
            }
            Self::Override(change) => change.encode(&mut out),
            Self::Clock { ahead_secs } => {
                out.push(KIND_CLOCK);
                out.extend(ahead_secs.to_le_bytes());
            }
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input(bytes);
        let kind = input.array::<1>()?[0];
        let record = match kind {
            KIND_BLOCK => {
                let timestamp = u64::from_le_bytes(input.array()?);
                let hash = B256::from(input.array::<32>()?);
                let mut transactions = Vec::new();
                while !input.0.is_empty() {
                    transactions.push(decode_transaction(&mut input)?);
                }
                Self::Block {
                    timestamp,
                    hash,
                    transactions,
                }
            }
            KIND_CLOCK => Self::Clock {
                ahead_secs: i64::from_le_bytes(input.array()?),
            },
            KIND_BALANCE => Self::Override(Override::Balance(input.address()?, input.word()?)),
            KIND_NONCE => {
                let address = input.address()?;
                let nonce = u64::from_le_bytes(input.array()?);
                Self::Override(Override::Nonce(address, nonce))
            }
            KIND_CODE => {
                let address = input.address()?;
                let code = Bytes::copy_from_slice(std::mem::take(&mut input.0));
                Self::Override(Override::Code(address, code))
            }
            KIND_SLOT => Self::Override(Override::Slot(
                input.address()?,
                input.word()?,
                input.word()?,
            )),
            other => return Err(DecodeError::Kind(other)),
        };
        if input.0.is_empty() {
            Ok(record)
        } else {
            Err(DecodeError::Long)
        }
    }
}

impl Override {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Balance(address, value) => {
                out.push(KIND_BALANCE);
                out.extend(address);
                out.extend(value.to_be_bytes::<32>());
            }
            Self::Nonce(address, nonce) => {
                out.push(KIND_NONCE);
                out.extend(address);
                out.extend(nonce.to_le_bytes());
            }
            Self::Code(address, code) => {
                out.push(KIND_CODE);
                out.extend(address);
                out.extend(code);
            }
            Self::Slot(address, key, value) => {
                out.push(KIND_SLOT);
                out.extend(address);
                out.extend(key.to_be_bytes::<32>());
                out.extend(value.to_be_bytes::<32>());
            }
        }
    }
}

fn decode_transaction(input: &mut Input<'_>) -> Result<SenderAndTransaction, DecodeError> {
    let sender = input.address()?;
    let length = u64::from_le_bytes(input.array()?);
    let length = usize::try_from(length).map_err(|_| DecodeError::Short)?;
    let mut raw = input.take(length)?;
    let envelope = TxEnvelope::decode_2718(&mut raw).map_err(DecodeError::Transaction)?;
    Ok(SenderAndTransaction { sender, envelope })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    fn address(&mut self) -> Result<Address, DecodeError> {
        Ok(Address::from(self.array::<20>()?))
    }

    /// A 256-bit integer, big-endian as the EVM has it.
    fn word(&mut self) -> Result<U256, DecodeError> {
        Ok(U256::from_be_bytes(self.array::<32>()?))
    }
}

const KIND_BLOCK: u8 = 1;
const KIND_CLOCK: u8 = 2;
const KIND_BALANCE: u8 = 3;
const KIND_NONCE: u8 = 4;
const KIND_CODE: u8 = 5;
const KIND_SLOT: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_round_trip() {
        let address = Address::repeat_byte(7);
        let records = [
            Record::Block {
                timestamp: 9,
                hash: B256::repeat_byte(1),
                transactions: Vec::new(),
            },
            Record::Clock { ahead_secs: -3 },
            Record::Override(Override::Balance(address, U256::MAX)),
            Record::Override(Override::Nonce(address, u64::MAX)),
            Record::Override(Override::Code(address, Bytes::from_static(&[0x60, 0]))),
            Record::Override(Override::Slot(address, U256::from(1), U256::from(2))),
        ];
        for record in records {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            assert!(
                matches!(record, Record::Override(Override::Code(..)))
                    || Record::decode(&bytes[..bytes.len() - 1]).is_err()
            );
        }
    }

    #[test]
    fn unknown_kinds_and_extra_bytes_are_errors() {
        assert!(matches!(Record::decode(&[9]), Err(DecodeError::Kind(9))));
        let mut bytes = Record::Clock { ahead_secs: 1 }.encode();
        bytes.push(0);
        assert!(matches!(Record::decode(&bytes), Err(DecodeError::Long)));
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics_and_never_guesses(bytes: Vec<u8>) {
            if let Ok(record) = Record::decode(&bytes) {
                proptest::prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}

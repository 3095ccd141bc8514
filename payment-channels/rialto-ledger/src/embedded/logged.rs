//! How one entry lies in a frame of the log. Its parts are records as the tables keep them, so
//! that moving them there copies bytes and encodes nothing.
//!
//! An entry is a tag and its parts; each part but those of fixed length starts with its length
//! (4 bytes, little-endian; 0 for a part that is absent):
//! - 1, channel: the channel's record;
//! - 2, charge: the channel's record or none, the payment's record, its answer or none. An answer
//!   starts with its number and the bytes of all answers before it, 8 bytes each, big-endian;
//! - 3, nonce: token, payer, nonce;
//! - 4, movement: its key as in the tables, the amount in 16 bytes, big-endian.

use std::ops::Range;

use rialto_channels::payee::ChannelSnapshot;

use crate::{
    Config, PaymentRecord, StoredAnswer,
    codec::{self, AnswerRow, ChannelRow, LEN_BYTES, Malformed, RecordRow},
};

/// Token, payer and nonce of an `exact` authorization.
pub(super) type NonceKey = [u8; 72];
/// Kind, transaction, receiver and token of a movement.
pub(super) type MovementKey = [u8; 73];

/// Where an entry's parts are in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    Channel(Range<usize>),
    Charge {
        channel: Option<Range<usize>>,
        record: Range<usize>,
        answer: Option<Range<usize>>,
    },
    Nonce(NonceKey),
    Movement(MovementKey, u128),
}

/// What the answers before one add up to, over the ledger's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AnswersMark {
    /// How many.
    pub(super) count: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

pub(super) fn put_channel(
    frame: &mut Vec<u8>,
    snapshot: &ChannelSnapshot,
) -> Result<Parts, Malformed> {
    frame.push(CHANNEL);
    codec::append(frame, &ChannelRow::from(snapshot)).map(Parts::Channel)
}

/// Writes a charge; `mark` counts its answer if it has one.
pub(super) fn put_charge(
    frame: &mut Vec<u8>,
    snapshot: Option<&ChannelSnapshot>,
    payment: &PaymentRecord,
    answer: Option<&StoredAnswer>,
    mark: &mut AnswersMark,
) -> Result<Parts, Malformed> {
    frame.push(CHARGE);
    let channel = match snapshot {
        Some(snapshot) => Some(codec::append(frame, &ChannelRow::from(snapshot))?),
        None => absent(frame),
    };
    let record = codec::append(frame, &RecordRow::new(payment.key, &payment.receipt))?;
    let answer = match answer {
        Some(answer) => Some(put_answer(frame, answer, mark)?),
        None => absent(frame),
    };
    Ok(Parts::Charge {
        channel,
        record,
        answer,
    })
}

pub(super) fn put_nonce(frame: &mut Vec<u8>, key: NonceKey) -> Parts {
    frame.push(NONCE);
    frame.extend(key);
    Parts::Nonce(key)
}

pub(super) fn put_movement(frame: &mut Vec<u8>, key: MovementKey, amount: u128) -> Parts {
    frame.push(MOVEMENT);
    frame.extend(key);
    frame.extend(amount.to_be_bytes());
    Parts::Movement(key, amount)
}

/// The entry at `at`, and where the next one is.
pub(super) fn parse(frame: &[u8], at: usize) -> Result<(Parts, usize), Malformed> {
    let mut reader = Reader { frame, at };
    let parts = match reader.take(1)? {
        [CHANNEL] => Parts::Channel(reader.part()?.ok_or(NO_ENTRY)?),
        [CHARGE] => Parts::Charge {
            channel: reader.part()?,
            record: reader.part()?.ok_or(NO_ENTRY)?,
            answer: reader.part()?,
        },
        [NONCE] => Parts::Nonce(reader.array()?),
        [MOVEMENT] => Parts::Movement(reader.array()?, u128::from_be_bytes(reader.array()?)),
        _ => return Err(NO_ENTRY),
    };
    Ok((parts, reader.at))
}

/// A stored answer, with what came before it.
pub(super) fn read_answer(bytes: &[u8]) -> Result<(AnswersMark, StoredAnswer), Malformed> {
    let row = bytes.get(MARK_BYTES..).ok_or(NO_ANSWER)?;
    let answer = codec::decode::<AnswerRow>(row)?.into();
    Ok((answer_mark(bytes)?, answer))
}

/// What came before a stored answer.
pub(super) fn answer_mark(bytes: &[u8]) -> Result<AnswersMark, Malformed> {
    let mut reader = Reader {
        frame: bytes,
        at: 0,
    };
    Ok(AnswersMark {
        count: u64::from_be_bytes(reader.array()?),
        bytes: u64::from_be_bytes(reader.array()?),
    })
}

/// A stored answer as the tables keep it; `mark` counts it.
pub(super) fn answer_bytes(
    answer: &StoredAnswer,
    mark: &mut AnswersMark,
) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Vec::with_capacity(MARK_BYTES + LEN_BYTES + answer.body.len());
    bytes.extend(mark.count.to_be_bytes());
    bytes.extend(mark.bytes.to_be_bytes());
    bytes.extend(codec::encode(&AnswerRow::from(answer))?);
    mark.add(bytes.len());
    Ok(bytes)
}

impl AnswersMark {
    /// Whether the answer with `before` before it is among the newest ones within both limits,
    /// if this is what all answers add up to. The oldest are dropped first.
    pub(super) fn keeps(self, before: Self, config: &Config) -> bool {
        let count = self.count.saturating_sub(before.count);
        let bytes = self.bytes.saturating_sub(before.bytes);
        count <= config.answers_max && bytes <= config.answers_bytes_max
    }

    /// Counts an answer of `len` bytes, its mark included.
    pub(super) fn add(&mut self, len: usize) {
        self.count = self.count.saturating_add(1);
        let len = len.saturating_sub(MARK_BYTES);
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len);
    }
}

fn put_answer(
    frame: &mut Vec<u8>,
    answer: &StoredAnswer,
    mark: &mut AnswersMark,
) -> Result<Range<usize>, Malformed> {
    let bytes = answer_bytes(answer, mark)?;
    let len = u32::try_from(bytes.len()).map_err(|_| NO_ANSWER)?;
    frame.extend(len.to_le_bytes());
    let start = frame.len();
    frame.extend(bytes);
    Ok(start..frame.len())
}

fn absent(frame: &mut Vec<u8>) -> Option<Range<usize>> {
    frame.extend([0; LEN_BYTES]);
    None
}

struct Reader<'f> {
    frame: &'f [u8],
    at: usize,
}

impl<'f> Reader<'f> {
    fn take(&mut self, len: usize) -> Result<&'f [u8], Malformed> {
        let end = self.at.checked_add(len).ok_or(NO_ENTRY)?;
        let bytes = self.frame.get(self.at..end).ok_or(NO_ENTRY)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| NO_ENTRY)
    }

    fn part(&mut self) -> Result<Option<Range<usize>>, Malformed> {
        let len = usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| NO_ENTRY)?;
        let start = self.at;
        self.take(len)?;
        Ok((len > 0).then_some(start..self.at))
    }
}

const CHANNEL: u8 = 1;
const CHARGE: u8 = 2;
const NONCE: u8 = 3;
const MOVEMENT: u8 = 4;
const MARK_BYTES: usize = 16;
const NO_ENTRY: Malformed = Malformed("entry of the log");
const NO_ANSWER: Malformed = Malformed("answer");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the disk returns, reading it is an error and never a panic.
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, at in 0..64_usize) {
            let _ = parse(&bytes, at);
            let _ = read_answer(&bytes);
            let _ = answer_mark(&bytes);
        }
    }

    #[test]
    fn what_is_written_is_parsed() {
        let mut frame = vec![9; 5];
        let nonce = put_nonce(&mut frame, [3; 72]);
        let next = frame.len();
        let movement = put_movement(&mut frame, [4; 73], 77);
        assert_eq!(parse(&frame, 5), Ok((nonce, next)));
        assert_eq!(parse(&frame, next), Ok((movement, frame.len())));
        assert_eq!(parse(&frame, frame.len()), Err(NO_ENTRY));
        assert_eq!(parse(&frame[..next - 1], 5), Err(NO_ENTRY));
    }
}

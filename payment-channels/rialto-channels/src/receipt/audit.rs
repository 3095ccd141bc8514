//! A consumer's audit of one channel: are these receipts one unbroken chain of one host?
//!
//! Not here: whether the chain is complete on the chain's side, which needs claims to compare.

use alloy_primitives::{Address, B256};

use super::{ReceiptError, SignedReceipt};
use crate::{Amount, ChannelId};

/// What an unbroken chain of receipts adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The channel that all of them are on.
    pub channel: ChannelId,
    /// How many there are.
    pub receipts: usize,
    /// Cumulative charge before the first.
    pub before: Amount,
    /// Cumulative charge after the last.
    pub after: Amount,
    /// What the first names as the one before it; zero if the chain starts here.
    pub previous: B256,
    /// Digest of the last.
    pub last: B256,
}

/// Checks that `host` signed every receipt, that the amounts of each add up, and that each
/// directly follows the one before it.
///
/// The list may start anywhere in the channel's life, and is in the order of the charges.
///
/// # Errors
/// [`ChainError`] for the first receipt that breaks the chain, by its index in the list.
pub fn verify_chain(receipts: &[SignedReceipt], host: Address) -> Result<Audited, ChainError> {
    let (first, rest) = receipts.split_first().ok_or(ChainError::Empty)?;
    let mut audited = start(first, host)?;
    for (signed, index) in rest.iter().zip(1..) {
        let receipt = &signed.receipt;
        let bad = |reason| ChainError::Receipt { index, reason };
        signed.verify(host).map_err(bad)?;
        let digest = receipt.digest();
        if receipt.channel != Some(audited.channel) {
            return Err(ChainError::OtherChannel { index });
        }
        if digest == audited.last {
            return Err(ChainError::Twice { index });
        }
        if receipt.previous != audited.last {
            return Err(ChainError::Gap {
                index,
                named: receipt.previous,
                expected: audited.last,
            });
        }
        if receipt.before != audited.after {
            return Err(ChainError::Count {
                index,
                before: receipt.before,
                expected: audited.after,
            });
        }
        audited.after = receipt.after;
        audited.last = digest;
        audited.receipts = audited.receipts.saturating_add(1);
    }
    Ok(audited)
}

fn start(first: &SignedReceipt, host: Address) -> Result<Audited, ChainError> {
    let bad = |reason| ChainError::Receipt { index: 0, reason };
    first.verify(host).map_err(bad)?;
    let receipt = &first.receipt;
    Ok(Audited {
        channel: receipt
            .channel
            .ok_or(ChainError::OtherChannel { index: 0 })?,
        receipts: 1,
        before: receipt.before,
        after: receipt.after,
        previous: receipt.previous,
        last: receipt.digest(),
    })
}

/// Where a list of receipts is no chain, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Nothing to check.
    #[error("there is no receipt to check")]
    Empty,
    /// One is not the host's, or does not add up by itself.
    #[error("receipt {index} is no good")]
    Receipt {
        /// Its place in the list, from zero.
        index: usize,
        /// Why.
        #[source]
        reason: ReceiptError,
    },
    /// One is on another channel, or outside channels.
    #[error("receipt {index} is not on the channel of the first: check each channel by itself")]
    OtherChannel {
        /// Its place in the list, from zero.
        index: usize,
    },
    /// One is in the list twice in a row.
    #[error("receipt {index} is the one before it once more: remove the copy")]
    Twice {
        /// Its place in the list, from zero.
        index: usize,
    },
    /// One names another receipt as the one before it: some are missing, or the host forked the
    /// chain, which [`super::conflict()`] can prove.
    #[error("receipt {index} follows {named}, and the one before it in the list is {expected}")]
    Gap {
        /// Its place in the list, from zero.
        index: usize,
        /// What it names.
        named: B256,
        /// The digest of the one before it.
        expected: B256,
    },
    /// One does not start at the count at which the one before it ended: the host's fault.
    #[error("receipt {index} starts at a count of {before}, and {expected} was charged before it")]
    Count {
        /// Its place in the list, from zero.
        index: usize,
        /// Where it starts.
        before: Amount,
        /// Where the one before it ended.
        expected: Amount,
    },
}

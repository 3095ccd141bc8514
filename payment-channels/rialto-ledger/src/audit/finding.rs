//! What an audit finds.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use rialto_channels::{Amount, ChannelId, payee::RestoreError, receipt::ReceiptError};

/// The first difference between what is stored and what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Finding {
    /// On which channel, if it is about one.
    pub channel: Option<ChannelId>,
    /// In which receipt, if it is about one.
    pub receipt: Option<B256>,
    /// What differs.
    #[source]
    pub difference: Box<Difference>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channel) = &self.channel {
            // In full: whoever reads this looks it up.
            write!(f, "channel {}: ", channel.0)?;
        }
        if let Some(receipt) = &self.receipt {
            write!(f, "receipt {receipt}: ")?;
        }
        self.difference.fmt(f)
    }
}

/// What can differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A receipt by itself: its signature, its price, its sum.
    #[error(transparent)]
    Receipt(ReceiptError),
    /// Two receipts follow the same one, or both are the first: one call was charged twice, or
    /// two processes wrote.
    #[error("another receipt has the same predecessor")]
    Fork,
    /// A receipt starts below the end of the one before it, or above it without the chain's proof.
    #[error("starts at {before}, the receipt before it ends at {end}")]
    Gap {
        /// The receipt's own start.
        before: Amount,
        /// The end of its predecessor.
        end: Amount,
    },
    /// The receipt that this one follows is not stored.
    #[error("the receipt before it, with digest {previous}, is missing")]
    Missing {
        /// The digest that it names.
        previous: B256,
    },
    /// The channel contradicts itself: its id, its voucher, or M2.
    #[error(transparent)]
    Channel(RestoreError),
    /// The channel's charges are not those of its receipts.
    #[error("{stored} is stored as charged, the receipts end at {receipts}")]
    Charged {
        /// By the channel.
        stored: Amount,
        /// By its last receipt.
        receipts: Amount,
    },
    /// The channel names another last receipt.
    #[error(
        "the stored last receipt has digest {stored}, the chain of receipts ends at {receipts}"
    )]
    LastReceipt {
        /// By the channel.
        stored: B256,
        /// By its receipts.
        receipts: B256,
    },
    /// The chain holds another balance.
    #[error("balance {stored} is stored, the chain says {chain}")]
    Balance {
        /// By the channel.
        stored: Amount,
        /// By the chain.
        chain: Amount,
    },
    /// The chain knows another claimed amount.
    #[error("{stored} is stored as claimed, the chain says {chain}")]
    Claimed {
        /// By the channel.
        stored: Amount,
        /// By the chain.
        chain: Amount,
    },
    /// There are receipts of a channel that is not stored.
    #[error("there are receipts, and no state")]
    UnknownChannel,
    /// The chain knows a channel that is not stored.
    #[error("the chain knows it, with balance {balance}, and no state is stored")]
    Lost {
        /// By the chain.
        balance: Amount,
    },
    /// Debits and credits differ (M6).
    #[error("the books do not balance")]
    Unbalanced,
    /// A sum is not what it is made of.
    #[error(transparent)]
    Sum(Box<SumDifference>),
}

/// A sum that is not what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}, receiver {receiver}, token {token}: {} is stored, {found} is found",
    stored.map_or_else(|| "less than nothing".to_owned(), |sum| sum.to_string())
)]
pub struct SumDifference {
    /// Which sum.
    pub what: &'static str,
    /// Whose.
    pub receiver: Address,
    /// In which token.
    pub token: Address,
    /// What is stored, in base units; `None` for an account where more left than entered.
    pub stored: Option<U256>,
    /// What receipts, channels or the chain add up to.
    pub found: U256,
}

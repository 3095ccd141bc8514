//! Why a call, a quote or a refund did not come about, by what the caller can do next.

use std::io;
use std::path::PathBuf;

use rialto_channels::Amount;
use rialto_channels::payer::{PayError, PayeeFault, ResyncError};
use rialto_channels::receipt::ReceiptError;
use serde_json::Value;

use crate::x402::header::{DecodeError, EncodeError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The gateway cannot be reached, or the answer broke off. A call that was sent stays
    /// uncertain until the host's count is known again.
    #[error("the gateway cannot be reached")]
    Transport(#[source] reqwest::Error),
    /// The gateway said no; nothing was charged.
    #[error("{message} ({code}, HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The gateway's stable code.
        code: String,
        /// For people.
        message: String,
        /// The next thing to do, if the gateway says.
        hint: Option<String>,
        /// The service's own error, if it refused.
        details: Option<Box<Value>>,
    },
    /// The payment was refused; nothing was charged.
    #[error("the payment was refused: {message} ({code})")]
    Payment {
        /// The protocol's stable code.
        code: String,
        /// For people.
        message: String,
    },
    /// The call costs more than this client may pay.
    #[error("the call costs {price}, and the limit is {limit}")]
    TooDear {
        /// The price.
        price: Amount,
        /// The limit.
        limit: Amount,
    },
    /// The host offers no way to pay that this client may use.
    #[error("the host's offer cannot be used: {0}")]
    Offer(String),
    /// This payer's own limits or the channel's state forbid it.
    #[error(transparent)]
    Pay(#[from] PayError),
    /// The host's count of charges is not proven.
    #[error("the host's account of this channel is not proven")]
    Resync(#[from] ResyncError),
    /// The host charged what it may not.
    #[error("the host broke its word")]
    Fault(#[from] PayeeFault),
    /// The chain cannot be read.
    #[error("the chain cannot be read: {0}")]
    Chain(String),
    /// The channels' states cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway answered something that is not its protocol.
    #[error("the gateway's answer cannot be read: {0}")]
    Protocol(String),
}

impl From<DecodeError> for ClientError {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<EncodeError> for ClientError {
    fn from(error: EncodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Why a channel's state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it cannot be used.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another program holds the channel for longer than we wait.
    #[error("another program uses the channel: {path} is locked")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// A file is not a channel's state of this format.
    #[error("{path} is not a channel's state: {problem}; move it away to start from the chain")]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// What is wrong with a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// A paid answer came without one.
    #[error("the host sent no receipt")]
    Missing,
    /// It cannot be read.
    #[error("the receipt cannot be read: {0}")]
    Unreadable(String),
    /// Its signature or its sums are wrong.
    #[error(transparent)]
    Invalid(#[from] ReceiptError),
    /// It states something else than what happened.
    #[error("the receipt's `{field}` is not what happened")]
    Untrue {
        /// Which statement.
        field: &'static str,
    },
    /// It does not continue the channel's receipts.
    #[error("the receipt does not follow the channel's receipt before it")]
    Unlinked,
}

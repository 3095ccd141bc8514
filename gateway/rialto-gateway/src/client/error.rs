//! Why a call, a quote or a refund did not come about, by what the caller can do next.

use std::io;
use std::path::PathBuf;

use alloy_primitives::Address;
use rialto_channels::payer::policy::{OverBudget, TopUpError};
use rialto_channels::payer::{PayError, PayeeFault, ResyncError};
use rialto_channels::receipt::ReceiptError;
use rialto_channels::royalty::Royalty;
use rialto_channels::{Amount, ChainTime, ChannelId};
use serde_json::Value;

use super::allowance::OverAllowance;
use super::bounded::ReadError;
use super::wallet::WalletError;
use crate::x402::header::{DecodeError, EncodeError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The gateway cannot be reached, or the answer broke off. A call that was sent stays
    /// uncertain until the host's count is known again.
    #[error("the gateway cannot be reached")]
    Transport(#[source] reqwest::Error),
    /// The answer ended before its end. A call that was sent stays uncertain until the host's count is
    /// known again.
    #[error("the answer broke off")]
    Unfinished,
    /// Its reader left before anything came.
    #[error("nobody waits for the answer any more")]
    Left,
    /// The gateway's document is longer than may be read.
    #[error("the gateway's answer is longer than {limit} bytes, the most that is read of it")]
    DocumentTooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The service's answer is longer than may be read. The call may have been charged.
    #[error("the service's answer is longer than {limit} bytes, the most that is read of it")]
    AnswerTooLong {
        /// The limit, in bytes: [`Config::answer_bytes_max`](super::Config::answer_bytes_max).
        limit: u64,
    },
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
    /// The call would exceed what may be spent today.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// The call would exceed what the one on whose behalf it is made may spend today; nothing was signed.
    #[error(transparent)]
    Allowance(#[from] OverAllowance),
    /// A deposit would exceed what may be deposited today; nothing was signed.
    #[error(transparent)]
    Deposits(#[from] TopUpError),
    /// The money is on another chain than it should be; nothing was signed.
    #[error("the money is on chain {found}, and it should be on chain {expected}")]
    WrongChain {
        /// The chain that was allowed or offered.
        expected: u64,
        /// The chain that the offer or the RPC endpoint names.
        found: u64,
    },
    /// The host broke its word on this channel: nothing more is signed for it.
    #[error("the provider of channel {channel} broke its word: {fault}")]
    Broken {
        /// The channel, with money of ours in it.
        channel: ChannelId,
        /// What it did.
        fault: String,
    },
    /// The wallet did not sign; nothing was charged.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// No channel of this id is kept here.
    #[error("no channel {0} is kept here")]
    UnknownChannel(ChannelId),
    /// No withdrawal was begun.
    #[error("no withdrawal is under way on channel {0}")]
    NotWithdrawing(ChannelId),
    /// A withdrawal cannot be finished yet.
    #[error("the withdrawal can be finished at {finalizes_at}, and the chain's clock says {now}")]
    TooEarly {
        /// From when on.
        finalizes_at: ChainTime,
        /// The newest block's time.
        now: ChainTime,
    },
    /// A transaction's fee is above what this client may pay; nothing was signed.
    #[error("the fee would be up to {needed} wei, and the limit is {limit}")]
    FeeTooHigh {
        /// What the endpoint asks for at most, in wei.
        needed: u128,
        /// The limit, in wei.
        limit: u128,
    },
    /// The wallet cannot pay a transaction's fee.
    #[error("the wallet {wallet} holds {held} wei, and the fee is up to {needed} wei")]
    NoGas {
        /// The wallet.
        wallet: Address,
        /// What it holds of the chain's own coin.
        held: u128,
        /// What the transaction may cost.
        needed: u128,
    },
    /// The host's offer pays somebody else than manifest and provider say; nothing was signed.
    #[error(
        "the offer for `{service}` pays {found}, but {} must be paid: {expected}; do not pay this host",
        who_must_be_paid(.royalty)
    )]
    WrongReceiver {
        /// The service.
        service: String,
        /// Whom the offer pays.
        found: Address,
        /// Who has to be paid.
        expected: Address,
        /// What the manifest promises to the service's author.
        royalty: Option<Royalty>,
    },
    /// The host offers no way to pay that this client may use.
    #[error("the host's offer cannot be used: {0}")]
    Offer(String),
    /// This payer's own limits or the channel's state forbid it.
    #[error(transparent)]
    Pay(#[from] PayError),
    /// The host, or an endpoint of its choice, says that more was claimed than this payer knows to
    /// have signed, and shows no signature; nothing was signed.
    #[error(
        "the host says that {claimed} was claimed, and {signed} is the most that was signed here"
    )]
    Unproven {
        /// What it says.
        claimed: Amount,
        /// The highest ceiling that is known here.
        signed: Amount,
    },
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

fn who_must_be_paid(royalty: &Option<Royalty>) -> String {
    match royalty {
        Some(royalty) => format!(
            "the splitter of its royalty ({} to {})",
            royalty.share, royalty.publisher
        ),
        None => "its provider".to_owned(),
    }
}

impl From<ReadError> for ClientError {
    /// Of a gateway's document.
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Broken(error) => Self::Transport(error),
            ReadError::Unfinished => Self::Unfinished,
            ReadError::TooLong { limit } => Self::DocumentTooLong { limit },
        }
    }
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
    /// A channel's session key cannot be used.
    #[error("cannot use a channel's session key")]
    Key(#[source] rialto_node::keys::KeyError),
    /// A file is not a list of the local door's keys.
    #[error(
        "{path} is not a list of keys: {problem}; mend it, or move it away, which revokes them all"
    )]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
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
    /// It charges more than was quoted.
    #[error("the receipt charges {charged}, and {quoted} was quoted")]
    AboveQuote {
        /// The price as quoted.
        quoted: Amount,
        /// The charge.
        charged: Amount,
    },
    /// More was charged on the channel than the host's answers said.
    #[error(
        "the host counts {unexplained} as charged that no answer told of, and {forgiven} is forgiven"
    )]
    Unexplained {
        /// In token base units, since the channel was opened.
        unexplained: Amount,
        /// What this payer forgives.
        forgiven: Amount,
    },
    /// It does not continue the channel's receipts.
    #[error("the receipt does not follow the channel's receipt before it")]
    Unlinked,
}

impl ReceiptFault {
    /// Whether the host said something untrue, so that it is not to be paid any more. A receipt
    /// that is missing or torn may be a mishap on the way.
    #[must_use]
    pub fn is_breach(&self) -> bool {
        match self {
            Self::Missing | Self::Unreadable(_) => false,
            Self::Invalid(_)
            | Self::Untrue { .. }
            | Self::AboveQuote { .. }
            | Self::Unexplained { .. }
            | Self::Unlinked => true,
        }
    }
}

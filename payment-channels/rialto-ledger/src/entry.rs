//! What goes into the ledger and what comes out.

use alloy_primitives::{Address, B256};
use rialto_channels::{Amount, payee::ChannelSnapshot, receipt::SignedReceipt};

/// One thing to make durable. An entry is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "entries are moved into a queue once, not stored"
)]
pub enum Entry {
    /// A channel's state, without a charge: a deposit, a claim, a withdrawal was seen.
    Channel(ChannelSnapshot),
    /// A charged call. `snapshot` is the channel after it, or `None` for a payment outside
    /// channels (`exact`). What a provider pays itself is kept and not counted.
    Charge {
        /// The channel after the charge.
        snapshot: Option<ChannelSnapshot>,
        /// The payment.
        payment: PaymentRecord,
    },
    /// An `exact` payment's nonce, taken before the work it pays for; refused if it was taken.
    Nonce(ExactNonce),
    /// Claimed on chain for a receiver.
    Claimed(Movement),
    /// Settled on chain to a receiver.
    Settled(Movement),
    /// Refunded on chain from a receiver's channel.
    Refunded(Movement),
    /// An `exact` payment that is booked and can never come: its receipt's id in the place of a
    /// transaction, and whose, in which token and how much as the receipt says. Refused for a receipt
    /// that is not stored or says otherwise.
    Unpaid(Movement),
}

/// A payment that was executed, under the key that makes a repetition recognisable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRecord {
    /// Identity of the payment (M5: one execution per payment id).
    pub key: [u8; 32],
    /// What was done and charged.
    pub receipt: SignedReceipt,
    /// The answer, for a caller that asks again; absent if too large or no longer kept.
    pub answer: Option<StoredAnswer>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// The identity of an EIP-3009 authorization: usable once per token and payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactNonce {
    /// The token.
    pub token: Address,
    /// Who signed.
    pub payer: Address,
    /// The authorization's nonce.
    pub nonce: B256,
}

/// Money that moved on chain for one receiver, by one transaction, or did not ([`Entry::Unpaid`]).
/// Recorded once however often it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Hash of the transaction.
    pub transaction: B256,
    /// Whose money.
    pub receiver: Address,
    /// In which token.
    pub token: Address,
    /// How much in all by this transaction, in base units.
    pub amount: Amount,
}

/// What the ledger's entries add up to for one receiver and token, in base units. For audits:
/// rule M6 (the sum over all accounts is constant) relates it to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The receiver.
    pub receiver: Address,
    /// The token.
    pub token: Address,
    /// Charged on channels.
    pub charged: Amount,
    /// Charged outside channels (`exact`), whatever of it never came ([`Entry::Unpaid`]).
    pub exact: Amount,
    /// Claimed on chain.
    pub claimed: Amount,
    /// Settled on chain.
    pub settled: Amount,
    /// Given back to payers by agreement.
    pub refunded: Amount,
}

impl Totals {
    pub(crate) fn empty(receiver: Address, token: Address) -> Self {
        let zero = Amount::ZERO;
        Self {
            receiver,
            token,
            charged: zero,
            exact: zero,
            claimed: zero,
            settled: zero,
            refunded: zero,
        }
    }
}

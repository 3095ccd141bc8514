//! What travels between payers and the payee: plain values, no wire format.

use std::fmt;

use rialto_channels::{
    Amount, B256, ChannelConfig, ChannelId, SignedVoucher, payer::Corrective,
    receipt::SignedReceipt,
};

use crate::chain::Deposit;

/// A message and where it goes. The payee sends to the payer that asked.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Call(Box<CallRequest>),
    Refund(Box<RefundRequest>),
    Answer {
        payer: usize,
        call: u64,
        answer: Box<Answer>,
    },
}

/// A call as it arrives; nothing in it is believed.
#[derive(Clone, Debug)]
pub(crate) struct CallRequest {
    pub(crate) payer: usize,
    /// The payer's own number of the call, for the answer.
    pub(crate) call: u64,
    pub(crate) config: ChannelConfig,
    pub(crate) channel: ChannelId,
    pub(crate) voucher: SignedVoucher,
    pub(crate) payment_id: Option<String>,
    /// Names what is asked for.
    pub(crate) request: B256,
    pub(crate) deposit: Option<Deposit>,
}

#[derive(Clone, Debug)]
pub(crate) struct RefundRequest {
    pub(crate) payer: usize,
    pub(crate) call: u64,
    pub(crate) config: ChannelConfig,
    pub(crate) voucher: SignedVoucher,
    pub(crate) asked: Option<Amount>,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxed as a whole where it is a part of a message"
)]
pub(crate) enum Answer {
    /// The work, the receipt for it, and the payee's count if it says so.
    Done {
        receipt: SignedReceipt,
        count: Option<Amount>,
    },
    /// Nothing was charged, and the payer's state does not matter.
    Failed,
    /// The payer's count is off: the payee's, and its proof.
    Refused(Option<Corrective>),
    Refunded(Amount),
}

impl fmt::Display for Message {
    /// What a person who traces a run wants to know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(it) => {
                let (ceiling, deposit) =
                    (it.voucher.voucher.ceiling, it.deposit.map(|it| it.amount));
                write!(f, "call {}-{} to {ceiling}", it.payer, it.call)?;
                deposit.map_or(Ok(()), |amount| write!(f, ", deposit {amount}"))
            }
            Self::Refund(it) => write!(f, "refund {}-{} of {:?}", it.payer, it.call, it.asked),
            Self::Answer {
                payer,
                call,
                answer,
            } => write!(f, "answer {payer}-{call}: {answer}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { receipt, count } => {
                let it = &receipt.receipt;
                write!(
                    f,
                    "{} + {} = {}, count {count:?}",
                    it.before, it.charged, it.after
                )
            }
            Self::Failed => f.write_str("failed"),
            Self::Refused(None) => f.write_str("refused"),
            Self::Refused(Some(it)) => write!(f, "refused, {} of {}", it.charged, it.signed_max),
            Self::Refunded(amount) => write!(f, "refunded {amount}"),
        }
    }
}

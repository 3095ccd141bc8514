//! The payment header into the node's own types: strict, with a path to whatever does not fit.
//!
//! Two kinds of refusal, because callers do different things next: a header that is not a payment
//! at all ([`PaymentHeaderError::Malformed`], HTTP 400) and a payment in a form that this host does
//! not take ([`PaymentHeaderError::Unacceptable`], HTTP 402 with the offers again).
//!
//! Not here: whether the payment covers the call, or was signed by the right key.

mod consent;
mod facilitated;
pub(super) mod fields;
mod matching;
mod version1;
mod wire;

use alloy_primitives::Address;
use rialto_channels::Amount;
use rialto_node::{ChannelPayment, ExactPayment, RefundRequest};
use serde_json::{Map, Value};

pub(crate) use facilitated::{Asked, FacilitatorRequest};
pub use matching::Mismatch;
pub use version1::parse_version1;
pub use wire::{ChannelConfigWire, DepositWire, PaymentPayload, VoucherWire};

use super::{Network, Scheme, VERSION, Version, gas_sponsoring, header, identifier, offer_receipt};

/// A payment that a client presents.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The offer that the client says it accepts.
    pub accepted: Accepted,
    /// The payment itself.
    pub means: Means,
    /// How its answer is to be told.
    pub manner: Manner,
}

/// How a payment's answer is to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// In which version of the protocol.
    pub version: Version,
    /// Whether the client knows the `offer-receipt` extension, and so is signed a receipt of it.
    pub offer_receipt: bool,
}

/// What the client presents.
#[derive(Debug, Clone)]
pub enum Means {
    /// A voucher, perhaps with a deposit.
    Channel(Box<ChannelPayment>),
    /// One transfer.
    Exact(Box<ExactPayment>),
    /// A request for the unspent balance; no call is made.
    Refund(Box<RefundRequest>),
}

/// The offer that a client says it accepts: its consent.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// How it pays.
    pub scheme: Scheme,
    /// On which chain.
    pub network: Network,
    /// The most that the client agreed to be charged for this call, in token base units.
    pub amount: Amount,
    /// In which token.
    pub asset: Address,
    /// To whom.
    pub pay_to: Address,
    /// The scheme's terms as the client saw them.
    pub extra: Map<String, Value>,
}

/// Reads a `PAYMENT-SIGNATURE` header.
///
/// # Errors
/// [`PaymentHeaderError`], always the client's fault.
pub fn parse(bytes: &[u8]) -> Result<Presented, PaymentHeaderError> {
    let payload: PaymentPayload = header::decode(bytes)?;
    from_payload(payload)
}

/// Reads a payment that is already JSON.
///
/// # Errors
/// [`PaymentHeaderError`], always the client's fault.
pub fn from_payload(payload: PaymentPayload) -> Result<Presented, PaymentHeaderError> {
    if payload.x402_version != VERSION {
        return Err(PaymentHeaderError::Malformed {
            path: "x402Version".to_owned(),
            problem: format!("this host speaks version {VERSION}"),
        });
    }
    let accepted = payload.accepted.parse()?;
    let extensions = payload.extensions.unwrap_or_default();
    let id = identifier::find(&extensions).map_err(|error| PaymentHeaderError::Malformed {
        path: "extensions.payment-identifier.info.id".to_owned(),
        problem: error.to_string(),
    })?;
    let manner = Manner {
        version: Version::Two,
        offer_receipt: extensions.contains_key(offer_receipt::KEY),
    };
    let mut means = match accepted.scheme {
        Scheme::BatchSettlement => wire::channel_means(payload.payload, id)?,
        Scheme::Exact => Means::Exact(Box::new(wire::exact(payload.payload, id)?)),
    };
    if let Means::Channel(payment) = &mut means {
        gas_sponsoring::attach(payment, &extensions)?;
    }
    Ok(Presented {
        accepted,
        means,
        manner,
    })
}

/// Why a payment header was refused.
#[derive(Debug, thiserror::Error)]
pub enum PaymentHeaderError {
    /// Too long, not base64, or not JSON of the expected shape.
    #[error(transparent)]
    Header(#[from] header::DecodeError),
    /// A field does not fit; `path` says which.
    #[error("{path}: {problem}")]
    Malformed {
        /// From the payment's root, joined by points.
        path: String,
        /// What is expected there.
        problem: String,
    },
    /// A well-formed payment of a kind that this host does not take.
    #[error("{message}")]
    Unacceptable {
        /// The protocol's stable error code.
        code: &'static str,
        /// For people.
        message: String,
    },
}

#[cfg(test)]
mod tests;

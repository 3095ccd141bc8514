//! The payment header of x402 version 1: `exact` by EIP-3009, without the offer it accepts.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::malformed;
use super::{Accepted, Manner, Means, PaymentHeaderError, Presented, wire};
use crate::x402::{Scheme, Version, header, version1};

/// The envelope of a version 1 payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentPayloadV1 {
    #[serde(rename = "x402Version")]
    pub(crate) x402_version: u64,
    pub(crate) scheme: String,
    pub(crate) network: String,
    pub(crate) payload: Value,
}

/// Reads an `X-PAYMENT` header. It does not name its token: the signature is good for one token
/// alone, so `token` is taken for accepted and the node finds out.
///
/// # Errors
/// [`PaymentHeaderError`], always the client's fault.
pub fn parse_version1(bytes: &[u8], token: Address) -> Result<Presented, PaymentHeaderError> {
    from_payload(header::decode(bytes)?, token)
}

/// Reads a version 1 payment that is already JSON.
pub(crate) fn from_payload(
    payload: PaymentPayloadV1,
    token: Address,
) -> Result<Presented, PaymentHeaderError> {
    if payload.x402_version != version1::VERSION {
        return Err(malformed("x402Version", "expected 1 in this header"));
    }
    if payload.scheme != Scheme::Exact.as_str() {
        return Err(PaymentHeaderError::Unacceptable {
            code: "unsupported_scheme",
            message: "scheme: version 1 knows `exact` only".to_owned(),
        });
    }
    let network =
        version1::network(&payload.network).ok_or_else(|| PaymentHeaderError::Unacceptable {
            code: "invalid_network",
            message: "network: not one of version 1's names, such as `base`".to_owned(),
        })?;
    let exact = wire::exact(payload.payload, None)?;
    Ok(Presented {
        accepted: Accepted {
            scheme: Scheme::Exact,
            network,
            amount: exact.authorization.value,
            asset: token,
            pay_to: exact.authorization.to,
            extra: Map::new(),
        },
        means: Means::Exact(Box::new(exact)),
        manner: Manner {
            version: Version::One,
            offer_receipt: false,
        },
    })
}

//! A 402: what this route costs, how to pay, and why the last payment was not taken.
//!
//! Nearly free to answer: no signature, no store, no chain. When it corrects a payer it must not
//! carry a `PAYMENT-RESPONSE`: clients prefer that header and would not catch up.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header as http_header};
use rialto_node::{ChannelView, PaymentError, Terms};
use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::x402::header::{self, HEADER_BYTES_USUAL};
use crate::x402::offer::{PaymentRequired, Resource};
use crate::x402::payment::{Mismatch, PaymentHeaderError};
use crate::x402::settlement::{ChannelState, Settlement, VoucherState};
use crate::x402::{
    Network, VERSION, discovery, gas_sponsoring, identifier, offer_receipt, version1,
};

/// A 402 in the making.
#[derive(Debug)]
pub(crate) struct Demand {
    required: PaymentRequired,
    message: String,
    hint: &'static str,
    settlement: Option<Settlement>,
}

/// The code of a 402 that answers a request without a payment.
pub(crate) const CODE_REQUIRED: &str = "payment_required";

const HINT_PAY: &str = "pay one of `accepts` and send it as the PAYMENT-SIGNATURE header; \
    `rialto call` and any x402 client do that";
const HINT_AGAIN: &str = "sign a new payment for one of `accepts`; nothing was charged";
const HINT_RESYNC: &str = "adopt the state in accepts[0].extra of the PAYMENT-REQUIRED header after \
    checking your own signature in it, then pay again; nothing was charged";

impl Demand {
    /// Nothing was offered yet.
    pub(crate) fn unpaid(terms: &Terms, resource: Resource, takes_raw_bytes: bool) -> Self {
        let mut required = PaymentRequired::new(terms, resource, CODE_REQUIRED);
        let mut extensions = Map::new();
        extensions.insert(identifier::KEY.to_owned(), identifier::declaration());
        extensions.insert(
            discovery::KEY.to_owned(),
            discovery::declaration(takes_raw_bytes),
        );
        if terms.payee.deposits.permit2 {
            let declaration = gas_sponsoring::declaration();
            extensions.insert(gas_sponsoring::KEY.to_owned(), declaration);
        }
        required.extensions = Some(extensions);
        Self {
            required,
            message: format!(
                "this call costs {} base units of {}",
                terms.price, terms.payee.token_name
            ),
            hint: HINT_PAY,
            settlement: None,
        }
    }

    /// What is offered, so far.
    pub(crate) fn required(&self) -> &PaymentRequired {
        &self.required
    }

    /// For people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What is offered, and what came of a payment that was refused.
    pub(crate) fn into_parts(self) -> (PaymentRequired, Option<Settlement>) {
        (self.required, self.settlement)
    }

    /// In answer to a question about the price; see [`PaymentRequired::for_auditors`].
    pub(crate) fn for_auditors(mut self) -> Self {
        self.required = self.required.for_auditors();
        self
    }

    /// Adds the host's signature of each offer.
    pub(crate) fn signed(mut self, offers: Value) -> Self {
        self.required
            .extensions
            .get_or_insert_with(Map::new)
            .insert(offer_receipt::KEY.to_owned(), offers);
        self
    }

    /// The offer that the client accepted is not one of this route's.
    pub(crate) fn mismatch(self, mismatch: &Mismatch) -> Self {
        self.refuse(mismatch.code(), mismatch.to_string())
    }

    /// The node refused the payment.
    pub(crate) fn refused(self, error: PaymentError, network: Network) -> Self {
        let message = error.to_string();
        match error {
            PaymentError::Required => self,
            PaymentError::Invalid { code, .. } => self.refuse(code, message),
            PaymentError::Resync { code, channel } => self.resync(code, message, &channel),
            PaymentError::Settlement { code, message } => {
                let mut demand = self.refuse(code, message);
                demand.settlement = Some(Settlement::refused(code, &demand.message, network));
                demand
            }
        }
    }

    /// A payment header that could not be used: a 402 when another payment would do, otherwise a
    /// problem.
    pub(crate) fn header(self, error: PaymentHeaderError) -> Result<Self, Problem> {
        match error {
            PaymentHeaderError::Unacceptable { code, message } => Ok(self.refuse(code, message)),
            error @ (PaymentHeaderError::Header(_) | PaymentHeaderError::Malformed { .. }) => {
                Err(Problem::malformed_payment(&error.to_string()))
            }
        }
    }

    /// The body: version 1's 402 where the chain has a name in version 1, whose clients read
    /// nothing else; with version 2's, which is in the header too, beside it for people.
    fn body(&self) -> Value {
        let accepts = version1::accepts(&self.required);
        if accepts.is_empty() {
            return json!(self.required);
        }
        json!({
            "x402Version": version1::VERSION,
            "error": self.required.error,
            "accepts": accepts,
            "resource": self.required.resource,
            "extensions": self.required.extensions,
            "version2": {"x402Version": VERSION, "accepts": self.required.accepts},
        })
    }

    fn refuse(mut self, code: &str, message: String) -> Self {
        self.required.error = Some(code.to_owned());
        self.message = message;
        self.hint = HINT_AGAIN;
        self
    }

    fn resync(self, code: &str, message: String, channel: &ChannelView) -> Self {
        let mut demand = self.refuse(code, message);
        demand.hint = HINT_RESYNC;
        let state = json!(ChannelState::new(channel));
        demand.required.extend_channel_offer("channelState", &state);
        if let Some(voucher) = VoucherState::new(channel) {
            demand
                .required
                .extend_channel_offer("voucherState", &json!(voucher));
        }
        demand
    }
}

impl IntoResponse for Demand {
    fn into_response(mut self) -> Response {
        let header = match encode_short(&mut self.required) {
            Ok(header) => header,
            Err(error) => return Problem::internal(&error).into_response(),
        };
        let mut body = self.body();
        body["detail"] = json!({
            "code": self.required.error,
            "message": self.message,
            "hint": self.hint,
        });
        let mut response = (StatusCode::PAYMENT_REQUIRED, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::PAYMENT_REQUIRED, header);
        headers.insert(
            http_header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        );
        if let Some(settlement) = &self.settlement {
            insert(headers, header::PAYMENT_RESPONSE, settlement);
        }
        response
    }
}

/// Adds a header, or leaves it out with a log line: an answer that was paid for must not fail
/// because of one.
pub(crate) fn insert<T: serde::Serialize>(
    headers: &mut http::HeaderMap,
    name: &'static str,
    value: &T,
) {
    match header::encode(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(error) => tracing::error!(%error, name, "a header was left out"),
    }
}

/// The extensions that a payer acts on: they stay when a 402 has to be short.
const KEPT: [&str; 2] = [identifier::KEY, gas_sponsoring::KEY];

/// Encodes the 402, without the descriptive parts if they would make it longer than clients take.
fn encode_short(required: &mut PaymentRequired) -> Result<HeaderValue, header::EncodeError> {
    let whole = header::encode(required);
    if whole.as_ref().is_ok_and(|h| h.len() <= HEADER_BYTES_USUAL) {
        return whole;
    }
    if let Some(resource) = &mut required.resource {
        resource.description = None;
    }
    if let Some(extensions) = &mut required.extensions {
        extensions.retain(|name, _: &mut Value| KEPT.contains(&name.as_str()));
    }
    header::encode(required)
}

#[cfg(test)]
mod tests;

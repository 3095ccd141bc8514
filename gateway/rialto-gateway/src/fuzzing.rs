//! What fuzz targets call: the decoders of this crate that read what a peer sent, each with the
//! properties that must hold for all it accepts. A broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the loop
//! that makes inputs (`fuzz/`).

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use rialto_channels::SettlementDomain;
use rialto_channels::receipt::SignedReceipt;
use rialto_node::Arguments;
use serde_json::{Value, json};

pub use crate::client::fuzzing::{payment_required, payment_response};

use crate::arguments;
use crate::record::ReceiptRecord;
use crate::testing::terms;
use crate::x402::SETTLEMENT;
use crate::x402::header::{HEADER_BYTES_MAX, decode, encode};
use crate::x402::identifier;
use crate::x402::offer::offers;
use crate::x402::payment::{
    ChannelConfigWire, DepositWire, FacilitatorRequest, Means, PaymentPayload, Presented,
    VoucherWire, from_payload, parse, parse_version1,
};

/// A payment header of either version, or, where the input begins as JSON does, what is in one: what
/// is taken is what the same payment, written by our own client, is taken for.
pub fn payment(data: &[u8]) {
    let token = terms().payee.token;
    let header = if data.starts_with(b"{") {
        let Ok(value) = serde_json::from_slice::<Value>(data) else {
            return;
        };
        let Ok(header) = encode(&value) else {
            return;
        };
        header.as_bytes().to_vec()
    } else {
        data.to_vec()
    };
    for presented in [parse(&header), parse_version1(&header, token)]
        .into_iter()
        .flatten()
    {
        assert!(header.len() <= HEADER_BYTES_MAX);
        check(&presented);
    }
}

fn check(presented: &Presented) {
    let terms = terms();
    // Any answer will do; it must be one.
    drop(presented.matches(&terms));
    let (config, voucher, deposit) = match &presented.means {
        Means::Channel(payment) => {
            if let Some(id) = &payment.payment_id {
                assert!(identifier::is_valid(id));
            }
            (&payment.config, &payment.voucher, payment.deposit.as_ref())
        }
        Means::Refund(request) => {
            assert!(request.amount.is_none_or(|amount| !amount.is_zero()));
            (&request.config, &request.voucher, None)
        }
        Means::Exact(payment) => {
            assert!(!payment.signature.is_empty());
            return;
        }
    };
    let domain = SettlementDomain {
        chain_id: terms.payee.chain_id,
        contract: SETTLEMENT,
    };
    if let Ok(verified) = voucher.verify(&domain, config.payer_authorizer) {
        assert_eq!(verified.ceiling(), voucher.voucher.ceiling);
    }
    let mut payload = json!({
        "type": "voucher",
        "channelConfig": ChannelConfigWire::new(config),
        "voucher": VoucherWire::new(voucher),
    });
    if let Some(deposit) = deposit {
        assert!(!deposit.amount.is_zero());
        payload["type"] = json!("deposit");
        payload["deposit"] = json!(DepositWire::new(deposit, config, voucher.voucher.channel));
    }
    let accepted = offers(&terms)
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("a priced route has offers"));
    let written = PaymentPayload {
        x402_version: crate::x402::VERSION,
        payload,
        accepted,
        extensions: None,
    };
    match from_payload(written).map(|again| again.means) {
        Ok(Means::Channel(again)) => {
            assert_eq!(again.config, *config);
            assert_eq!(again.voucher, *voucher);
            assert_eq!(again.deposit.is_some(), deposit.is_some());
        }
        other => panic!("what was taken is refused when we write it: {other:?}"),
    }
}

/// What another server asks this host as its facilitator: read whole, or refused with a reason.
pub fn facilitator(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<FacilitatorRequest>(data) else {
        return;
    };
    let name = request.network_name();
    assert!(name.chars().count() <= 256);
    match request.parse() {
        Ok(asked) => assert_eq!(asked.network_name, name),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A receipt as JSON: what is read is what is written again, with the digest that was signed.
pub fn receipt(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<ReceiptRecord>(data) else {
        drop(decode::<ReceiptRecord>(data));
        return;
    };
    let Ok(signed) = SignedReceipt::try_from(record) else {
        return;
    };
    let written = ReceiptRecord::from(&signed);
    assert_eq!(written.digest, signed.receipt.digest());
    match SignedReceipt::try_from(written.clone()) {
        Ok(again) => assert_eq!(again, signed),
        Err(error) => panic!("our own receipt is refused: {error}"),
    }
    if signed.verify(signed.receipt.provider).is_ok() {
        let mut altered = signed;
        altered.receipt.issued_at = !altered.receipt.issued_at;
        assert!(altered.verify(altered.receipt.provider).is_err());
    }
}

/// A request's body, after a byte that picks its content type: arguments that hold the body and no
/// more, or a refusal.
pub fn form(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let mut headers = HeaderMap::new();
    let content_type = match kind % 6 {
        0..=2 => Some("multipart/form-data; boundary=b"),
        3 => Some("application/json"),
        4 => Some("application/x-www-form-urlencoded"),
        _ => None,
    };
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    } else if let Some((line, _)) = body.split_at_checked(body.len().min(32))
        && let Ok(value) = HeaderValue::from_bytes(line)
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let bytes = Bytes::copy_from_slice(body);
    let Ok(arguments) = at_once(arguments::read(&headers, &bytes, kind % 2 == 0)) else {
        return;
    };
    match arguments {
        Arguments::Json(json) | Arguments::Raw(json) => assert_eq!(json, bytes),
        Arguments::Parts(parts) => {
            let held: usize = parts.iter().map(|p| p.name.len() + p.content.len()).sum();
            assert!(held <= bytes.len());
            assert!(parts.iter().all(|part| !part.name.is_empty()));
        }
    }
}

/// Runs a future whose input is all there, so that it never waits for anything.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("a body that is all there is still waited for");
}

const POLLS_MAX: usize = 100_000;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_are_what_was_written() {
        replay::seeds("payment", payment);
    }

    #[test]
    fn requests_to_a_facilitator_are_read_whole() {
        replay::seeds("facilitator", facilitator);
    }

    #[test]
    fn offers_keep_within_the_clients_limits() {
        replay::seeds("payment_required", payment_required);
    }

    #[test]
    fn settlements_survive() {
        replay::seeds("payment_response", payment_response);
    }

    #[test]
    fn receipts_survive() {
        replay::seeds("receipt", receipt);
    }

    #[test]
    fn bodies_become_arguments_or_refusals() {
        replay::seeds("form", form);
    }
}

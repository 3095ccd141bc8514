//! What a 402 says in each case, and what it must not say.

use alloy_primitives::{B256, U256};
use axum::body::to_bytes;
use rialto_channels::{Amount, ChannelConfig, ChannelId, SigningKey, Voucher};

use super::*;
use crate::testing::{PROVIDER, terms};
use crate::x402::SETTLEMENT;

fn resource() -> Resource {
    Resource {
        url: "http://127.0.0.1:8402/services/embed/embed".to_owned(),
        description: Some("Turns texts into vectors.".to_owned()),
        mime_type: Some("application/json".to_owned()),
        service_name: Some("embed".to_owned()),
    }
}

fn demand() -> Demand {
    Demand::unpaid(&terms(), resource(), false)
}

async fn read(demand: Demand) -> (http::HeaderMap, PaymentRequired, Value) {
    let response = demand.into_response();
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    let headers = response.headers().clone();
    let required = header::decode(headers[header::PAYMENT_REQUIRED].as_bytes()).unwrap();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (headers, required, serde_json::from_slice(&body).unwrap())
}

fn view() -> ChannelView {
    let payer = SigningKey::from_bytes(&[9; 32]).unwrap();
    let domain = rialto_channels::SettlementDomain {
        chain_id: 84532,
        contract: SETTLEMENT,
    };
    let config = ChannelConfig {
        payer: payer.address(),
        payer_authorizer: payer.address(),
        receiver: PROVIDER,
        receiver_authorizer: PROVIDER,
        token: terms().payee.token,
        withdraw_delay: 900,
        salt: B256::ZERO,
    };
    let voucher = Voucher {
        channel: config.id(&domain),
        ceiling: Amount::new(1700),
    };
    ChannelView {
        id: ChannelId(config.id(&domain).0),
        config,
        balance: Amount::new(10_000),
        claimed: Amount::ZERO,
        charged: Amount::new(700),
        in_flight: Amount::ZERO,
        ceiling: Some((voucher.ceiling, voucher.sign(&domain, &payer).signature)),
        withdrawal_finalizes_at: None,
        refund_nonce: U256::ZERO,
    }
}

#[tokio::test]
async fn an_unpaid_request_is_told_both_ways_to_pay() {
    let (headers, required, body) = read(demand()).await;
    assert_eq!(headers[http_header::CACHE_CONTROL], "no-store");
    assert!(!headers.contains_key(header::PAYMENT_RESPONSE));
    assert!(headers[header::PAYMENT_REQUIRED].len() < HEADER_BYTES_USUAL);
    assert_eq!(required.x402_version, 2);
    let schemes: Vec<_> = required.accepts.iter().map(|a| a.scheme.as_str()).collect();
    assert_eq!(schemes, ["batch-settlement", "exact"]);
    let amounts: Vec<_> = required.accepts.iter().map(|a| a.amount.as_str()).collect();
    assert_eq!(amounts, ["1000", "100"]);
    assert_eq!(body["version2"]["accepts"], json!(required.accepts));
    assert_eq!(body["x402Version"], 1);
    assert_eq!(body["accepts"][0]["maxAmountRequired"], "100");
    assert_eq!(body["error"], "payment_required");
    assert!(body["detail"]["hint"].is_string());
}

#[tokio::test]
async fn a_corrective_402_shows_the_states_and_no_settlement() {
    let view = view();
    let code = "invalid_batch_settlement_evm_cumulative_amount_mismatch";
    let error = PaymentError::Resync {
        code,
        channel: Box::new(view.clone()),
    };
    let (headers, required, _) = read(demand().refused(error, Network(84532))).await;
    assert!(!headers.contains_key(header::PAYMENT_RESPONSE));
    assert_eq!(required.error.as_deref(), Some(code));
    let offer = required
        .offer(crate::x402::Scheme::BatchSettlement)
        .unwrap();
    let state: ChannelState =
        serde_json::from_value(offer.extra("channelState").unwrap().clone()).unwrap();
    assert_eq!(state, ChannelState::new(&view));
    assert_eq!(state.charged_cumulative_amount.as_deref(), Some("700"));
    assert_eq!(
        offer.extra("voucherState").unwrap()["signedMaxClaimable"],
        "1700"
    );
    // The terms stay as they were: other terms would open another channel.
    assert_eq!(offer.extra("withdrawDelay"), Some(&json!(900)));
}

#[tokio::test]
async fn a_settlement_that_failed_is_told_as_one() {
    let error = PaymentError::Settlement {
        code: "invalid_x",
        message: "reverted".to_owned(),
    };
    let (headers, required, _) = read(demand().refused(error, Network(84532))).await;
    let settlement: Settlement =
        header::decode(headers[header::PAYMENT_RESPONSE].as_bytes()).unwrap();
    assert!(!settlement.success);
    assert_eq!(settlement.transaction, "");
    assert_eq!(settlement.error_reason.as_deref(), Some("invalid_x"));
    assert_eq!(required.error.as_deref(), Some("invalid_x"));
}

#[tokio::test]
async fn a_long_description_does_not_make_the_header_too_long() {
    let mut resource = resource();
    resource.description = Some("x".repeat(20_000));
    let (headers, required, _) = read(Demand::unpaid(&terms(), resource, true)).await;
    assert!(headers[header::PAYMENT_REQUIRED].len() < HEADER_BYTES_USUAL);
    assert_eq!(required.accepts.len(), 2);
}

#[test]
fn calls_that_overlap_hide_the_cumulative_charge() {
    let of_call = |view: &ChannelView, known: u128| {
        ChannelState::of_call(view, Amount::new(100), Amount::new(known)).charged_cumulative_amount
    };
    let mut view = view();
    assert_eq!(of_call(&view, 600).as_deref(), Some("700"));
    // A payer that counts lost calls as charged learns the truth.
    assert_eq!(of_call(&view, 601).as_deref(), Some("700"));
    assert_eq!(of_call(&view, 599), None, "signed before another charge");
    view.in_flight = Amount::new(100);
    assert_eq!(of_call(&view, 600), None, "another call is in flight");
    assert!(ChannelState::new(&view).charged_cumulative_amount.is_some());
}

//! What the published packages send is read; everything else is refused without a panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{PROVIDER, captured, terms};

fn wanted(scheme: &str) -> Value {
    json!({
        "scheme": scheme,
        "network": "eip155:84532",
        "asset": terms().payee.token,
        "amount": "0",
        "payTo": PROVIDER,
        "maxTimeoutSeconds": 0,
        "extra": {"receiverAuthorizer": PROVIDER, "withdrawDelay": 900},
    })
}

fn asked(payload: &Value, wanted: &Value) -> Value {
    json!({
        "x402Version": 2,
        "paymentPayload": {"x402Version": 2, "accepted": wanted, "payload": payload},
        "paymentRequirements": wanted,
    })
}

fn read(body: &Value) -> Result<Asked, PaymentHeaderError> {
    let request: FacilitatorRequest = shape_at("body", body.clone())?;
    request.parse()
}

fn action(payload: &Value) -> Action {
    let body = asked(payload, &wanted("batch-settlement"));
    read(&body).unwrap().request.action
}

/// A server's claim of the captured channel, as `@x402/evm` writes it.
fn claim() -> Value {
    let payload = &captured()["payment"]["payload"];
    json!({
        "voucher": {
            "channel": payload["channelConfig"],
            "maxClaimableAmount": payload["voucher"]["maxClaimableAmount"],
        },
        "signature": payload["voucher"]["signature"],
        "totalClaimed": "700",
    })
}

fn code(error: &PaymentHeaderError) -> &'static str {
    match error {
        PaymentHeaderError::Unacceptable { code, .. } => code,
        PaymentHeaderError::Header(_) | PaymentHeaderError::Malformed { .. } => "malformed",
    }
}

#[test]
fn each_action_is_told_from_the_others() {
    let deposit = captured()["payment"]["payload"].clone();
    let Action::Channel(payment) = action(&deposit) else {
        panic!("not a deposit")
    };
    assert!(payment.deposit.is_some());
    let mut refund = deposit.clone();
    refund["type"] = json!("refund");
    assert!(matches!(action(&refund), Action::RefundRequest(_)));

    let signature = deposit["voucher"]["signature"].clone();
    let claims = json!({
        "type": "claim", "claims": [claim()], "claimAuthorizerSignature": signature,
    });
    let Action::Claim(claims) = action(&claims) else {
        panic!("not a claim")
    };
    assert_eq!(claims.rows[0].total_claimed.get(), 700);
    let id = claims.rows[0].voucher.voucher.channel.to_string();
    assert_eq!(id, captured()["channel_id"]);

    refund["amount"] = json!("300");
    refund["refundNonce"] = json!("4");
    refund["claims"] = json!([claim()]);
    refund["refundAuthorizerSignature"] = signature.clone();
    refund["claimAuthorizerSignature"] = signature;
    let Action::Refund { refund, claims } = action(&refund) else {
        panic!("not a refund")
    };
    assert_eq!((refund.amount.get(), refund.nonce), (300, U256::from(4)));
    assert_eq!(claims.unwrap().rows.len(), 1);
}

#[test]
fn it_signs_for_nobody_and_keeps_to_what_was_agreed() {
    let check = |body: &Value, expected: &str| {
        let error = read(body).unwrap_err();
        assert_eq!(code(&error), expected, "{error}");
    };
    let batch = wanted("batch-settlement");
    let unsigned = json!({"type": "claim", "claims": [claim()]});
    check(
        &asked(&unsigned, &batch),
        "invalid_batch_settlement_evm_authorizer_not_configured",
    );
    let many = json!({"type": "claim", "claims": vec![claim(); CLAIMS_MAX + 1]});
    check(&asked(&many, &batch), "malformed");
    let deposit = captured()["payment"]["payload"].clone();
    let mut other = asked(&deposit, &batch);
    other["paymentPayload"]["accepted"]["scheme"] = json!("exact");
    check(&other, "invalid_scheme");
    let mut other = asked(&deposit, &batch);
    other["paymentPayload"]["accepted"]["network"] = json!("eip155:1");
    check(&other, "invalid_network");
    check(&asked(&deposit, &wanted("upto")), "unsupported_scheme");
    let mut version = asked(&deposit, &batch);
    version["paymentPayload"]["x402Version"] = json!(3);
    check(&version, "malformed");
}

proptest! {
    #[test]
    fn no_single_change_makes_the_reader_panic(
        field in prop::sample::select(vec![
            "/paymentPayload", "/paymentPayload/payload", "/paymentPayload/payload/claims",
            "/paymentPayload/payload/claims/0", "/paymentPayload/payload/claims/0/voucher",
            "/paymentPayload/payload/claims/0/signature", "/paymentPayload/payload/type",
            "/paymentRequirements", "/paymentRequirements/extra", "/paymentRequirements/network",
            "/paymentPayload/payload/claimAuthorizerSignature", "/x402Version",
        ]),
        value in prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            "0x[0-9a-f]{0,140}".prop_map(Value::from),
            Just(json!([])),
            Just(json!({})),
        ],
    ) {
        let payload = json!({
            "type": "claim", "claims": [claim()], "claimAuthorizerSignature": "0x00",
        });
        let mut body = asked(&payload, &wanted("batch-settlement"));
        *body.pointer_mut(field).unwrap() = value;
        let _ = read(&body);
    }
}

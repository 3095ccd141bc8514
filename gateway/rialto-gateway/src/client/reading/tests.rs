//! Answers as a gateway gives them, and answers that none should give.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::*;
use crate::testing::terms;
use crate::x402::offer::Resource;

fn required(code: &str) -> PaymentRequired {
    let resource = Resource {
        url: "http://h/services/s/m".to_owned(),
        description: None,
        mime_type: None,
        service_name: None,
    };
    PaymentRequired::new(&terms(), resource, code)
}

fn state(charged: Option<&str>) -> ChannelState {
    ChannelState {
        channel_id: "0x00".to_owned(),
        balance: "10000".to_owned(),
        total_claimed: "100".to_owned(),
        withdraw_requested_at: 0,
        refund_nonce: "2".to_owned(),
        charged_cumulative_amount: charged.map(str::to_owned),
    }
}

fn reply(required: &PaymentRequired) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(PAYMENT_REQUIRED, header::encode(required).unwrap());
    Reply {
        status: StatusCode::PAYMENT_REQUIRED,
        headers,
        body: Bytes::from_static(br#"{"detail": {"message": "because"}}"#),
        items: None,
        broke_off: None,
    }
}

#[test]
fn a_corrective_402_carries_its_proof() {
    let mut required = required(CODES_RESYNC[0]);
    required.extend_channel_offer("channelState", &json!(state(Some("700"))));
    let without = reading_of(&required);
    assert!(matches!(without, Correction::Resync(None, _)));
    let voucher = VoucherState {
        signed_max_claimable: "1700".to_owned(),
        signature: captured_signature(),
    };
    required.extend_channel_offer("voucherState", &json!(voucher));
    match reading_of(&required) {
        Correction::Resync(Some(corrective), seen) => {
            assert_eq!(corrective.charged, Amount::new(700));
            assert_eq!(corrective.signed_max, Amount::new(1700));
            let view = said(&seen).unwrap();
            assert_eq!(view.balance, Amount::new(10_000));
            assert_eq!(view.claimed, Amount::new(100));
        }
        other @ (Correction::Resync(..) | Correction::Reread | Correction::Refused(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn other_codes_and_failed_settlements_are_final() {
    let check = |reply: &Reply, expected: &str| match correction(reply).unwrap() {
        Correction::Refused(ClientError::Payment { code, message }) => {
            assert_eq!(format!("{code}: {message}"), expected);
        }
        other @ (Correction::Resync(..) | Correction::Reread | Correction::Refused(_)) => {
            panic!("{other:?}")
        }
    };
    check(
        &reply(&required("invalid_network")),
        "invalid_network: because",
    );
    let balance = reply(&required(CODE_EXCEEDS_BALANCE));
    assert!(matches!(correction(&balance).unwrap(), Correction::Reread));
    let mut settled = reply(&required(CODES_RESYNC[0]));
    let failed = Settlement::refused("reverted", "no money", crate::x402::Network(1));
    let failed = header::encode(&failed).unwrap();
    settled.headers.insert(PAYMENT_RESPONSE, failed);
    check(&settled, "reverted: no money");
}

#[test]
fn unreadable_states_are_protocol_errors() {
    let mut required = required(CODES_RESYNC[1]);
    required.extend_channel_offer("channelState", &json!({"balance": 5}));
    assert!(matches!(
        correction(&reply(&required)),
        Err(ClientError::Protocol(_))
    ));
    let mut broken = state(None);
    broken.balance = "-1".to_owned();
    assert!(said(&broken).is_err());
}

fn reading_of(required: &PaymentRequired) -> Correction {
    correction(&reply(required)).unwrap()
}

fn captured_signature() -> String {
    let captured = crate::testing::captured();
    let signature = &captured["payment"]["payload"]["voucher"]["signature"];
    signature.as_str().unwrap().to_owned()
}

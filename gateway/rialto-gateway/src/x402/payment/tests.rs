//! The captured payment decodes to what was sent; everything else is refused without a panic.

mod permit2;

use proptest::prelude::*;
use rialto_channels::SettlementDomain;
use rialto_node::AnyConsent;
use serde_json::{Value, json};

use super::*;
use crate::testing::{captured, terms};
use crate::x402::SETTLEMENT;
use crate::x402::settlement::Settlement;

fn payment() -> Value {
    captured()["payment"].clone()
}

fn read(payment: &Value) -> Result<Presented, PaymentHeaderError> {
    parse(header::encode(payment).unwrap().as_bytes())
}

/// The captured payment with the value at `pointer` replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut payment = payment();
    *payment.pointer_mut(pointer).unwrap() = value;
    payment
}

fn channel_payment(presented: Presented) -> Box<ChannelPayment> {
    match presented.means {
        Means::Channel(payment) => payment,
        Means::Exact(_) | Means::Refund(_) => panic!("not a channel payment"),
    }
}

#[test]
fn the_captured_deposit_decodes_and_its_signature_is_good() {
    let presented = read(&payment()).unwrap();
    assert_eq!(presented.matches(&terms()), Ok(()));
    assert_eq!(presented.accepted.amount, Amount::new(1000));
    let channel = channel_payment(presented);
    let domain = SettlementDomain {
        chain_id: 84532,
        contract: SETTLEMENT,
    };
    assert_eq!(channel.config.id(&domain), channel.channel);
    assert_eq!(channel.channel.to_string(), captured()["channel_id"]);
    let authorizer = channel.config.payer_authorizer;
    assert!(channel.voucher.verify(&domain, authorizer).is_ok());
    let deposit = channel.deposit.unwrap();
    assert_eq!(deposit.amount, Amount::new(10_000));
    let AnyConsent::Erc3009(consent) = &deposit.consent else {
        panic!("{:?}", deposit.consent);
    };
    assert_eq!(consent.valid_before, 1_795_294_719);
    assert_eq!(consent.signature.len(), 65);
    assert_eq!(channel.payment_id, None);
}

#[test]
fn what_we_write_is_what_we_read() {
    let channel = channel_payment(read(&payment()).unwrap());
    let wire = json!({
        "type": "deposit",
        "channelConfig": ChannelConfigWire::new(&channel.config),
        "voucher": VoucherWire::new(&channel.voucher),
        "deposit": DepositWire::new(
            channel.deposit.as_ref().unwrap(),
            &channel.config,
            channel.channel,
        ),
    });
    assert_eq!(wire, payment()["payload"]);
}

#[test]
fn a_captured_settlement_is_ours_too() {
    let value = captured()["settlement"].clone();
    let settlement: Settlement = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(json!(settlement), value);
}

#[test]
fn vouchers_and_refunds_need_no_deposit() {
    let mut voucher = with("/payload/type", json!("voucher"));
    voucher["payload"]
        .as_object_mut()
        .unwrap()
        .remove("deposit");
    voucher["extensions"] = json!({"payment-identifier":
        {"info": {"required": false, "id": "pay_0123456789abcdef"}, "schema": {}}});
    let channel = channel_payment(read(&voucher).unwrap());
    assert_eq!(channel.deposit.map(|d| d.amount), None);
    assert_eq!(channel.payment_id.as_deref(), Some("pay_0123456789abcdef"));

    let mut refund = voucher;
    refund["payload"]["type"] = json!("refund");
    for (amount, expected) in [(Value::Null, None), (json!("70"), Some(Amount::new(70)))] {
        refund["payload"]["amount"] = amount;
        match read(&refund).unwrap().means {
            Means::Refund(request) => assert_eq!(request.amount, expected),
            Means::Channel(_) | Means::Exact(_) => panic!("not a refund"),
        }
    }
}

#[test]
fn headroom_is_not_used_up_by_a_price_that_went_up() {
    // The price that the client was told, where it says it: the amount is headroom above it.
    let mut told = payment();
    for (price, fits) in [("100", true), ("101", true), ("99", false), ("many", false)] {
        told["accepted"]["extra"]["price"] = json!(price);
        let field = read(&told)
            .unwrap()
            .matches(&terms())
            .map_err(|it| it.field);
        assert_eq!(field, if fits { Ok(()) } else { Err("price") }, "{price}");
    }
}

#[test]
fn exact_by_eip3009_is_taken_and_permit2_is_not() {
    let mut exact = with("/accepted/scheme", json!("exact"));
    exact["accepted"]["amount"] = json!("100");
    exact["payload"] = json!({
        "signature": format!("0x{}", "11".repeat(65)),
        "authorization": {
            "from": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "to": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "value": "100", "validAfter": "0", "validBefore": "1795294719",
            "nonce": format!("0x{}", "22".repeat(32)),
        },
    });
    let presented = read(&exact).unwrap();
    assert_eq!(presented.matches(&terms()), Ok(()));
    assert!(matches!(presented.means, Means::Exact(_)));

    exact["accepted"]["amount"] = json!("101");
    let dearer = read(&exact).unwrap();
    assert_eq!(dearer.matches(&terms()).unwrap_err().field, "amount");

    exact["payload"] = json!({"signature": "0x11", "permit2Authorization": {}});
    assert!(matches!(
        read(&exact),
        Err(PaymentHeaderError::Unacceptable {
            code: "unsupported_payload_type",
            ..
        })
    ));
}

#[test]
fn malformed_payments_name_the_field() {
    let check = |pointer: &str, value: Value, expected: &str| {
        let error = read(&with(pointer, value)).unwrap_err().to_string();
        assert!(error.contains(expected), "{pointer}: {error}");
    };
    check("/x402Version", json!(1), "x402Version");
    check("/payload/type", json!("gift"), "payload.type");
    check("/payload", json!([]), "payload");
    check("/payload/deposit", Value::Null, "payload.deposit: missing");
    check(
        "/payload/deposit/amount",
        json!("0"),
        "payload.deposit.amount",
    );
    check(
        "/payload/deposit/amount",
        json!("-5"),
        "payload.deposit.amount",
    );
    check("/payload/deposit/amount", json!(5), "payload");
    check(
        "/payload/channelConfig/payer",
        json!("0x12"),
        "channelConfig.payer",
    );
    check(
        "/payload/channelConfig/payer",
        json!("0x0x12"),
        "channelConfig.payer",
    );
    check(
        "/payload/channelConfig/salt",
        json!("0x"),
        "channelConfig.salt",
    );
    check("/payload/channelConfig/withdrawDelay", json!(-1), "payload");
    check(
        "/payload/voucher/channelId",
        json!("febc"),
        "voucher.channelId",
    );
    check(
        "/payload/voucher/maxClaimableAmount",
        json!("1e3"),
        "maxClaimableAmount",
    );
    let too_much = "340282366920938463463374607431768211456";
    check(
        "/payload/voucher/maxClaimableAmount",
        json!(too_much),
        "maxClaimableAmount",
    );
    check(
        "/payload/voucher/signature",
        json!("0xzz"),
        "voucher.signature",
    );
    check("/accepted/network", json!("base"), "accepted.network");
    check("/accepted/amount", json!("1.5"), "accepted.amount");
    check("/accepted", json!({}), "scheme");
    let seconds = "/payload/deposit/authorization/erc3009Authorization/validBefore";
    check(seconds, json!("soon"), "validBefore");
}

#[test]
fn signatures_that_cannot_be_one_are_payments_refused() {
    let short = format!("0x{}", "11".repeat(64));
    // s above half the group's order.
    let high = format!("0x{}{}1b", "11".repeat(32), "f0".repeat(32));
    for signature in [short, high, "0x".to_owned()] {
        let error = read(&with("/payload/voucher/signature", json!(signature))).unwrap_err();
        assert!(
            matches!(
                error,
                PaymentHeaderError::Unacceptable {
                    code: "invalid_batch_settlement_evm_voucher_signature",
                    ..
                }
            ),
            "{error}"
        );
    }
    let scheme = read(&with("/accepted/scheme", json!("upto"))).unwrap_err();
    assert!(matches!(
        scheme,
        PaymentHeaderError::Unacceptable {
            code: "unsupported_scheme",
            ..
        }
    ));
}

#[test]
fn an_invalid_identifier_is_not_ignored() {
    let mut payment = payment();
    payment["extensions"] = json!({"payment-identifier": {"info": {"id": "short"}}});
    assert!(matches!(
        read(&payment),
        Err(PaymentHeaderError::Malformed { .. })
    ));
}

#[test]
fn other_terms_do_not_match_and_echoed_states_do() {
    let field = |pointer: &str, value: Value| {
        let presented = read(&with(pointer, value)).unwrap();
        presented.matches(&terms()).err().map(|m| m.field)
    };
    let other = json!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    assert_eq!(
        field("/accepted/network", json!("eip155:1")),
        Some("network")
    );
    assert_eq!(field("/accepted/asset", other.clone()), Some("asset"));
    assert_eq!(field("/accepted/payTo", other), Some("payTo"));
    assert_eq!(field("/accepted/amount", json!("99")), Some("amount"));
    assert_eq!(
        field("/accepted/extra/withdrawDelay", json!(901)),
        Some("withdrawDelay")
    );
    assert_eq!(field("/accepted/extra/name", json!("EURC")), Some("name"));
    // The price fell, or the client signs less headroom: its ceiling still covers the price.
    assert_eq!(field("/accepted/amount", json!("100")), None);
    let mut echoed = payment();
    echoed["accepted"]["extra"]["channelState"] = json!({"balance": "1"});
    echoed["accepted"]["payTo"] =
        json!("0xF39FD6E51AAD88F6F4CE6AB8827279CFFFB92266".replace("0XF", "0xF"));
    assert_eq!(read(&echoed).unwrap().matches(&terms()), Ok(()));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "0x[0-9a-f]{0,70}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in a JSON value, as pointers.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    if let Value::Object(map) = value {
        for (key, inner) in map {
            pointers(inner, &format!("{at}/{key}"), all);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_json_makes_the_decoder_panic(value in any_json()) {
        let _ = read(&value);
    }

    #[test]
    fn no_single_change_makes_the_decoder_panic(
        place in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let mut payment = payment();
        let mut all = Vec::new();
        pointers(&payment, "", &mut all);
        let pointer: &String = place.get(&all);
        *payment.pointer_mut(pointer).unwrap() = value;
        let _ = read(&payment);
    }

    #[test]
    fn an_amount_is_digits_or_refused(text in "\\PC{0,50}") {
        let accepted = fields::amount("a", &text).is_ok();
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        prop_assert!(digits || !accepted);
    }
}

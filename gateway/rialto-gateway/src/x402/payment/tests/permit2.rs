//! Deposits by Permit2: what was signed has to be the deposit, and a permit has to be for it.

use rialto_node::{AnyConsent, DepositMethods, Permit2Authorization};
use serde_json::{Value, json};

use super::{channel_payment, payment, read};
use crate::testing::terms;
use crate::x402::gas_sponsoring;
use crate::x402::offer::offers;
use crate::x402::payment::{
    ChannelConfigWire, DepositWire, Means, PaymentHeaderError, VoucherWire,
};

const NONCE: &str =
    "115792089237316195423570985008687907853269984665640564039457584007913129639935";

/// The captured payment with a deposit by Permit2 instead of EIP-3009.
fn by_permit2() -> Value {
    let mut payment = payment();
    let config = &payment["payload"]["channelConfig"];
    let (payer, token) = (config["payer"].clone(), config["token"].clone());
    let channel = payment["payload"]["voucher"]["channelId"].clone();
    let amount = payment["payload"]["deposit"]["amount"].clone();
    payment["payload"]["deposit"]["authorization"] = json!({"permit2Authorization": {
        "from": payer,
        "permitted": {"token": token, "amount": amount},
        "spender": "0x4020425FAf3B746C082C2f942b4E5159887B0005",
        "nonce": NONCE,
        "deadline": "1795294719",
        "witness": {"channelId": channel},
        "signature": format!("0x{}", "11".repeat(65)),
    }});
    payment
}

fn with(pointer: &str, value: Value) -> Value {
    let mut payment = by_permit2();
    *payment.pointer_mut(pointer).unwrap() = value;
    payment
}

fn consent(payment: &Value) -> Permit2Authorization {
    let channel = channel_payment(read(payment).unwrap());
    match channel.deposit.unwrap().consent {
        AnyConsent::Permit2(consent) => consent,
        AnyConsent::Erc3009(consent) => panic!("{consent:?}"),
    }
}

#[test]
fn permit2_is_read_and_written() {
    let payment = by_permit2();
    let consent = consent(&payment);
    assert_eq!(consent.nonce.to_string(), NONCE);
    assert_eq!(consent.deadline, 1_795_294_719);
    assert_eq!(consent.allowance, None);
    let channel = channel_payment(read(&payment).unwrap());
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
    assert_eq!(wire, payment["payload"]);
}

#[test]
fn what_was_signed_is_the_deposit() {
    const AT: &str = "/payload/deposit/authorization/permit2Authorization";
    let stranger = json!("0x1111111111111111111111111111111111111111");
    let check = |field: &str, value: Value, expected: &str| {
        let error = read(&with(&format!("{AT}{field}"), value)).unwrap_err();
        let PaymentHeaderError::Unacceptable { code, .. } = error else {
            panic!("{field}: {error}");
        };
        assert_eq!(code, format!("invalid_batch_settlement_evm_{expected}"));
    };
    check("/from", stranger.clone(), "permit2_invalid_signature");
    check("/spender", stranger.clone(), "permit2_invalid_spender");
    check("/permitted/token", stranger, "token_mismatch");
    check("/permitted/amount", json!("1"), "permit2_amount_mismatch");
    let other = json!(format!("0x{}", "33".repeat(32)));
    check("/witness/channelId", other, "channel_id_mismatch");

    for bad in ["", "-1", "0x1", "1.5", &format!("{NONCE}0")] {
        let error = read(&with(&format!("{AT}/nonce"), json!(bad))).unwrap_err();
        assert!(error.to_string().contains("nonce: expected"), "{error}");
    }
    let mut both = by_permit2();
    both["payload"]["deposit"]["authorization"]["erc3009Authorization"] =
        payment()["payload"]["deposit"]["authorization"]["erc3009Authorization"].clone();
    let error = read(&both).unwrap_err().to_string();
    assert!(error.contains("expected one of"), "{error}");
}

#[test]
fn a_permit_comes_with_the_deposit() {
    let sponsored = |change: fn(&mut Value)| {
        let mut payment = by_permit2();
        let config = &payment["payload"]["channelConfig"];
        let mut info = json!({
            "from": config["payer"],
            "asset": config["token"],
            "spender": "0x000000000022D473030F116dDEE9F6B43aC78BA3",
            "amount": payment["payload"]["deposit"]["amount"],
            "nonce": "0",
            "deadline": "1795294719",
            "signature": format!("0x{}", "22".repeat(65)),
            "version": "1",
        });
        change(&mut info);
        payment["extensions"] = json!({ gas_sponsoring::KEY: { "info": info } });
        payment
    };
    let permit = consent(&sponsored(|_| {})).allowance.unwrap();
    assert_eq!(permit.deadline, 1_795_294_719);
    assert_eq!(permit.signature, [0x22; 65]);
    // A client that signs no permit echoes what the 402 declared.
    let mut echoed = by_permit2();
    echoed["extensions"] = json!({ gas_sponsoring::KEY: gas_sponsoring::declaration() });
    assert_eq!(consent(&echoed).allowance, None);

    let check = |change: fn(&mut Value), expected: &str| {
        let error = read(&sponsored(change)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        |info| info["from"] = json!("0x1111111111111111111111111111111111111111"),
        "info.from: expected 0x",
    );
    check(
        |info| info["spender"] = json!("0x1111111111111111111111111111111111111111"),
        "info.spender: expected 0x000000000022D473030F116dDEE9F6B43aC78BA3",
    );
    check(
        |info| info["asset"] = json!("0x1111111111111111111111111111111111111111"),
        "info.asset: expected 0x",
    );
    check(
        |info| info["amount"] = json!("1"),
        "info.amount: expected the deposit's amount",
    );
    check(
        |info| info["signature"] = json!("0x22"),
        "info.signature: expected 65 bytes",
    );
    check(|info| info["deadline"] = json!("soon"), "info.deadline");
}

#[test]
fn each_method_of_deposits_has_an_offer() {
    let mut terms = terms();
    let methods = |terms: &rialto_node::Terms| -> Vec<String> {
        let offers = offers(terms);
        let batch = offers.iter().filter(|o| o.scheme == "batch-settlement");
        batch
            .map(|o| {
                o.extra("assetTransferMethod")
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(methods(&terms), ["eip3009"]);
    let mut accepted = by_permit2();
    accepted["accepted"]["extra"]["assetTransferMethod"] = json!("permit2");
    let presented = read(&accepted).unwrap();
    assert!(matches!(presented.means, Means::Channel(_)));
    let mismatch = presented.matches(&terms).unwrap_err();
    assert_eq!(mismatch.field, "assetTransferMethod");
    terms.payee.deposits = DepositMethods {
        eip3009: true,
        permit2: true,
    };
    assert_eq!(methods(&terms), ["eip3009", "permit2"]);
    assert_eq!(presented.matches(&terms), Ok(()));
}

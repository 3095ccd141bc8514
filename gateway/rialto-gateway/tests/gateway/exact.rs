//! `exact` payments in both versions of the protocol, payment ids, and the host's own statements.

use reqwest::{Response, StatusCode};
use rialto_channels::offer_receipt::{StandardOffer, StandardReceipt};
use rialto_channels::{Address, B256, Signature, SigningKey, recover};
use rialto_gateway::x402::header::{
    self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, RIALTO_REPLAYED, X_PAYMENT,
    X_PAYMENT_RESPONSE,
};
use serde_json::{Value, json};

use crate::mesh::{Mesh, addition};
use crate::payer::{tokens, transfer};

const ROUTE: &str = "/services/types/add";

/// One call of `types.add` with these headers.
async fn send(mesh: &Mesh, left: u32, headers: &[(&str, &Value)]) -> Response {
    let body = addition(left, 1);
    let mut request = mesh.http.post(mesh.path(ROUTE));
    for (name, payment) in headers {
        request = request.header(*name, header::encode(payment).unwrap());
    }
    let request = request.header("content-type", body.content_type);
    request.body(body.bytes).send().await.unwrap()
}

async fn required(mesh: &Mesh) -> (Value, Value) {
    let response = mesh.http.get(mesh.path(ROUTE)).send().await.unwrap();
    let header = response.headers()[PAYMENT_REQUIRED].clone();
    let in_header = header::decode(header.as_bytes()).unwrap();
    (in_header, response.json().await.unwrap())
}

fn version1(payload: &Value) -> Value {
    json!({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload})
}

async fn version2(mesh: &Mesh, payload: &Value, id: Option<&str>) -> Value {
    let (required, _) = required(mesh).await;
    let mut payment = json!({
        "x402Version": 2,
        "accepted": required["accepts"][1],
        "payload": payload,
    });
    if let Some(id) = id {
        payment["extensions"] = json!({"payment-identifier": {"info": {"id": id}}});
    }
    payment
}

fn settled(response: &Response, name: &str) -> Value {
    header::decode(response.headers()[name].as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_402_is_both_versions_and_version_1_pays() {
    let mesh = Mesh::start().await;
    let receiver = mesh.node.payee().receiver;
    let (in_header, body) = required(&mesh).await;
    assert_eq!(in_header["x402Version"], 2);
    assert_eq!(body["x402Version"], 1);
    assert_eq!(body["version2"]["accepts"], in_header["accepts"]);
    assert_eq!(body["extensions"], in_header["extensions"]);
    assert_eq!(body["detail"]["code"], "payment_required");
    let offers = body["accepts"].as_array().unwrap();
    assert_eq!(offers.len(), 1, "version 1 knows `exact` alone");
    assert_eq!(offers[0]["network"], "base-sepolia");
    assert_eq!(offers[0]["maxAmountRequired"], "100");
    assert_eq!(offers[0]["resource"], mesh.path(ROUTE));

    let key = mesh.key(0);
    let before = (
        tokens(&mesh, key.address()).await,
        tokens(&mesh, receiver).await,
    );
    let payment = version1(&transfer(&mesh, &key, receiver, 100, 1));
    let paid = send(&mesh, 1, &[(X_PAYMENT, &payment)]).await;
    assert_eq!(paid.status(), StatusCode::OK);
    let settlement = settled(&paid, X_PAYMENT_RESPONSE);
    assert_eq!(settlement["success"], true);
    assert_eq!(settlement["network"], "base-sepolia");
    assert_eq!(settlement["payer"], key.address().to_checksum(None));
    assert!(settlement["transaction"].as_str().unwrap().len() == 66);
    assert!(!paid.headers().contains_key(PAYMENT_RESPONSE));
    assert_eq!(paid.text().await.unwrap(), "2");

    let again = send(&mesh, 1, &[(X_PAYMENT, &payment)]).await;
    assert_eq!(again.headers()[RIALTO_REPLAYED], "true");
    let other = send(&mesh, 2, &[(X_PAYMENT, &payment)]).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    let after = (
        tokens(&mesh, key.address()).await,
        tokens(&mesh, receiver).await,
    );
    assert_eq!(after, (before.0 - 100, before.1 + 100), "paid once");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_payments_that_do_not_fit_are_refused() {
    let mesh = Mesh::start().await;
    let receiver = mesh.node.payee().receiver;
    let key = mesh.key(0);
    let good = version1(&transfer(&mesh, &key, receiver, 100, 1));
    let before = tokens(&mesh, receiver).await;
    let mut network = good.clone();
    network["network"] = json!("base");
    let mut unknown = good.clone();
    unknown["network"] = json!("eip155:84532");
    let mut scheme = good.clone();
    scheme["scheme"] = json!("batch-settlement");
    let cheap = version1(&transfer(&mesh, &key, receiver, 99, 2));
    let astray = version1(&transfer(&mesh, &key, key.address(), 100, 3));
    for (payment, code) in [
        (network, "invalid_network"),
        (unknown, "invalid_network"),
        (scheme, "unsupported_scheme"),
        (cheap, "invalid_payment_requirements"),
        (astray, "invalid_payment_requirements"),
    ] {
        let refused = send(&mesh, 1, &[(X_PAYMENT, &payment)]).await;
        assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED, "{code}");
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["error"], code);
        assert_eq!(body["accepts"][0]["scheme"], "exact", "offered again");
    }
    let both = version2(&mesh, &transfer(&mesh, &key, receiver, 100, 4), None).await;
    let both = send(&mesh, 1, &[(X_PAYMENT, &good), (PAYMENT_SIGNATURE, &both)]).await;
    assert_eq!(both.status(), StatusCode::BAD_REQUEST);
    let mut wrong = good.clone();
    wrong["x402Version"] = json!(2);
    let wrong = send(&mesh, 1, &[(X_PAYMENT, &wrong)]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(tokens(&mesh, receiver).await, before, "nothing was paid");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_id_names_one_transfer_and_one_call() {
    let mesh = Mesh::start().await;
    let receiver = mesh.node.payee().receiver;
    let key = mesh.key(0);
    let before = tokens(&mesh, receiver).await;
    let first = transfer(&mesh, &key, receiver, 100, 1);
    let second = transfer(&mesh, &key, receiver, 100, 2);
    let id = Some("pay_0123456789abcdef");
    let named = version2(&mesh, &first, id).await;
    let check = async |payment: Value, left: u32, status: u16, replayed: bool| {
        let answer = send(&mesh, left, &[(PAYMENT_SIGNATURE, &payment)]).await;
        assert_eq!(answer.status().as_u16(), status, "{payment}");
        assert_eq!(answer.headers().contains_key(RIALTO_REPLAYED), replayed);
        answer
    };
    let paid = check(named.clone(), 1, 200, false).await;
    let receipt = paid.headers()["rialto-receipt"].clone();
    let replay = check(named.clone(), 1, 200, true).await;
    assert_eq!(replay.headers()["rialto-receipt"], receipt);
    // The same name for another request, for another transfer, and the same transfer by another name.
    check(named, 2, 409, false).await;
    check(version2(&mesh, &second, id).await, 1, 409, false).await;
    let renamed = version2(&mesh, &first, Some("pay_fedcba9876543210")).await;
    check(renamed, 1, 409, false).await;
    check(version2(&mesh, &first, None).await, 1, 409, false).await;
    assert_eq!(tokens(&mesh, receiver).await, before + 100, "paid once");
    // Another payer's id of the same text is its own.
    let other = transfer(&mesh, &mesh.key(1), receiver, 100, 1);
    check(version2(&mesh, &other, id).await, 1, 200, false).await;
    check(version2(&mesh, &second, None).await, 1, 200, false).await;
    assert_eq!(tokens(&mesh, receiver).await, before + 300);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_at_once_is_one_call() {
    let mesh = Mesh::start().await;
    let receiver = mesh.node.payee().receiver;
    let key = mesh.key(0);
    let before = tokens(&mesh, receiver).await;
    let id = Some("pay_0123456789abcdef");
    let payments = [
        version2(&mesh, &transfer(&mesh, &key, receiver, 100, 1), id).await,
        version2(&mesh, &transfer(&mesh, &key, receiver, 100, 2), id).await,
    ];
    let [one, two] = &payments;
    let (one, two) = ([(PAYMENT_SIGNATURE, one)], [(PAYMENT_SIGNATURE, two)]);
    let (one, two) = tokio::join!(send(&mesh, 1, &one), send(&mesh, 1, &two));
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(tokens(&mesh, receiver).await, before + 100, "paid once");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_and_receipts_carry_the_hosts_signature() {
    let mesh = Mesh::start().await;
    let host = mesh.node.host_address();
    let (first, _) = required(&mesh).await;
    let (again, _) = required(&mesh).await;
    let offers = &first["extensions"]["offer-receipt"]["info"]["offers"];
    assert_eq!(
        offers, &again["extensions"]["offer-receipt"]["info"]["offers"],
        "signed once"
    );
    for (index, accepted) in first["accepts"].as_array().unwrap().iter().enumerate() {
        let offer = &offers[index];
        assert_eq!(offer["acceptIndex"], index);
        let payload = &offer["payload"];
        for field in ["scheme", "network", "asset", "payTo", "amount"] {
            assert_eq!(payload[field], accepted[field], "{field}");
        }
        let text = |field: &str| payload[field].as_str().unwrap().to_owned();
        let statement = StandardOffer {
            resource_url: text("resourceUrl"),
            scheme: text("scheme"),
            network: text("network"),
            asset: text("asset"),
            pay_to: text("payTo"),
            amount: text("amount"),
            valid_until: payload["validUntil"].as_u64().unwrap(),
        };
        assert_eq!(statement.resource_url, mesh.path(ROUTE));
        assert_eq!(signer(&statement.digest(), &offer["signature"]), host);
    }

    let key = mesh.key(0);
    let pay = async |nonce: u8, echo: bool| {
        let payload = transfer(&mesh, &key, mesh.node.payee().receiver, 100, nonce);
        let mut payment = version2(&mesh, &payload, None).await;
        if echo {
            payment["extensions"] = first["extensions"].clone();
        }
        let answer = send(&mesh, 1, &[(PAYMENT_SIGNATURE, &payment)]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        settled(&answer, PAYMENT_RESPONSE)
    };
    let unasked = pay(1, false).await;
    assert!(unasked.get("extensions").is_none());
    let settlement = pay(2, true).await;
    let receipt = &settlement["extensions"]["offer-receipt"]["info"]["receipt"];
    let text = |field: &str| receipt["payload"][field].as_str().unwrap().to_owned();
    let statement = StandardReceipt {
        network: text("network"),
        resource_url: text("resourceUrl"),
        payer: text("payer"),
        issued_at: receipt["payload"]["issuedAt"].as_u64().unwrap(),
        transaction: text("transaction"),
    };
    assert_eq!(statement.transaction, settlement["transaction"]);
    assert_eq!(statement.payer, key.address().to_checksum(None));
    assert_eq!(signer(&statement.digest(), &receipt["signature"]), host);
    mesh.end().await;
}

fn signer(digest: &B256, signature: &Value) -> Address {
    let digits = signature.as_str().unwrap().trim_start_matches("0x");
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    recover(*digest, &Signature::parse(&bytes).unwrap()).unwrap()
}

/// A key that nobody funded.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_without_money_is_refused_before_the_work() {
    let mesh = Mesh::start().await;
    let poor = SigningKey::from_bytes(&[0x42; 32]).unwrap();
    let payload = transfer(&mesh, &poor, mesh.node.payee().receiver, 100, 1);
    let refused = send(&mesh, 1, &[(X_PAYMENT, &version1(&payload))]).await;
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"], "insufficient_funds");
    mesh.end().await;
}

/// A metered method: `exact` is a fixed sum, so the ceiling is quoted, and paid whatever was used.
#[tokio::test(flavor = "multi_thread")]
async fn a_metered_call_costs_its_ceiling_by_transfer() {
    let mesh = Mesh::start().await;
    let (route, receiver, key) = (
        "/services/types/length",
        mesh.node.payee().receiver,
        mesh.key(0),
    );
    let asked = mesh.http.post(mesh.path(route)).body(vec![7_u8; 3000]);
    let asked = asked.header("content-type", "application/octet-stream");
    let refused = asked.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    let required = header::decode(refused.headers()[PAYMENT_REQUIRED].as_bytes()).unwrap();
    let required: Value = required;
    let offer = &required["accepts"][1];
    assert_eq!(
        (&offer["scheme"], &offer["amount"]),
        (&json!("exact"), &json!("700"))
    );

    let pay = async |value: u128, nonce: u8| {
        let mut accepted = offer.clone();
        accepted["amount"] = json!(value.to_string());
        let payment = json!({
            "x402Version": 2,
            "accepted": accepted,
            "payload": transfer(&mesh, &key, receiver, value, nonce),
        });
        let payment = header::encode(&payment).unwrap();
        let request = asked
            .try_clone()
            .unwrap()
            .header(PAYMENT_SIGNATURE, payment);
        request.send().await.unwrap()
    };
    let before = tokens(&mesh, receiver).await;
    // What the meter would say is not what is quoted.
    let cheap = pay(57, 1).await;
    assert_eq!(cheap.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(tokens(&mesh, receiver).await, before);

    let paid = pay(700, 2).await;
    assert_eq!(paid.status(), StatusCode::OK);
    let receipt: Value = header::decode(paid.headers()["rialto-receipt"].as_bytes()).unwrap();
    let id = receipt["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(paid.text().await.unwrap(), "3000");
    assert_eq!(tokens(&mesh, receiver).await, before + 700);
    let receipt = mesh.node.receipt(id).await.unwrap().unwrap().receipt;
    let sums = [receipt.price, receipt.charged, receipt.after].map(rialto_channels::Amount::get);
    assert_eq!(sums, [700; 3], "the receipt says what was paid");
    assert_eq!(receipt.usage.output_bytes, 4, "and what was used");
    mesh.end().await;
}

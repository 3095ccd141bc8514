//! Payments that are no good: each refused with its code, none charged.

use reqwest::Response;
use rialto_channels::{
    Amount, B256, ChannelConfig, SettlementDomain, SignedVoucher, SigningKey, Voucher,
};
use rialto_gateway::x402::header::{
    self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, RIALTO_REPLAYED,
};
use rialto_gateway::x402::offer::PaymentRequired;
use rialto_gateway::x402::payment::{ChannelConfigWire, VoucherWire};
use serde_json::{Value, json};

use crate::mesh::{Mesh, addition};

/// A payer that builds its payments by hand.
pub(crate) struct Forger {
    pub(crate) mesh: Mesh,
    key: SigningKey,
    config: ChannelConfig,
    domain: SettlementDomain,
    accepted: Value,
}

impl Forger {
    /// Opens a channel honestly: one call of 100 is charged, the balance is 10,000 or so.
    async fn new() -> Self {
        Self::on(Mesh::start().await).await
    }

    pub(crate) async fn on(mesh: Mesh) -> Self {
        let client = mesh.client(0);
        let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
        client.call(&quote, &addition(1, 1)).await.unwrap();
        let url = mesh.path("/services/types/add");
        let response = mesh.http.get(url).send().await.unwrap();
        let header = response.headers()[PAYMENT_REQUIRED].clone();
        let required: PaymentRequired = header::decode(header.as_bytes()).unwrap();
        let config = mesh.node.channels().remove(0).config;
        let payee = mesh.node.payee();
        let domain = SettlementDomain {
            chain_id: payee.chain_id,
            contract: payee.settlement,
        };
        Self {
            key: mesh.key(0),
            config,
            domain,
            accepted: json!(required.accepts[0]),
            mesh,
        }
    }

    fn balance(&self) -> u128 {
        self.mesh.node.channels().remove(0).balance.get()
    }

    pub(crate) fn voucher(&self, ceiling: u128) -> SignedVoucher {
        let channel = self.config.id(&self.domain);
        Voucher {
            channel,
            ceiling: Amount::new(ceiling),
        }
        .sign(&self.domain, &self.key)
    }

    pub(crate) fn payment(&self, voucher: &SignedVoucher) -> Value {
        json!({
            "x402Version": 2,
            "payload": {
                "type": "voucher",
                "channelConfig": ChannelConfigWire::new(&self.config),
                "voucher": VoucherWire::new(voucher),
            },
            "accepted": self.accepted,
        })
    }

    pub(crate) async fn send(&self, payment: &Value, left: u32) -> Response {
        let url = self.mesh.path("/services/types/add");
        let header = header::encode(payment).unwrap();
        let body = addition(left, 1);
        let request = self.mesh.http.post(url).header(PAYMENT_SIGNATURE, header);
        let request = request.header("content-type", body.content_type);
        request.body(body.bytes).send().await.unwrap()
    }

    /// Expects a refusal of this code, with no charge.
    async fn refused(&self, payment: &Value, status: u16, code: &str) -> Value {
        let before = self.mesh.charged();
        let response = self.send(payment, 1).await;
        let found = response.status().as_u16();
        assert!(!response.headers().contains_key(PAYMENT_RESPONSE), "{code}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(found, status, "{code}: {body}");
        let named = body["error"]["code"].as_str().or(body["error"].as_str());
        assert_eq!(named, Some(code), "{body}");
        assert_eq!(self.mesh.charged(), before, "{code}");
        body
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_that_do_not_cover_the_call_are_refused() {
    let forger = Forger::new().await;
    let mismatch = "invalid_batch_settlement_evm_cumulative_amount_mismatch";
    let below = "invalid_batch_settlement_evm_cumulative_below_claimed";
    for (low, code) in [(0, below), (100, mismatch), (199, mismatch)] {
        let low = forger.payment(&forger.voucher(low));
        let body = forger.refused(&low, 402, code).await;
        let extra = &body["version2"]["accepts"][0]["extra"];
        assert_eq!(extra["channelState"]["chargedCumulativeAmount"], "100");
        assert!(extra["voucherState"]["signature"].is_string());
    }
    let over = forger.payment(&forger.voucher(forger.balance() + 1));
    let exceeds = "invalid_batch_settlement_evm_cumulative_exceeds_balance";
    forger.refused(&over, 402, exceeds).await;
    let exact = forger.payment(&forger.voucher(200));
    assert_eq!(forger.send(&exact, 1).await.status().as_u16(), 200);
    forger.mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_foreign_vouchers_are_refused() {
    let mut forger = Forger::new().await;
    let signature = "invalid_batch_settlement_evm_voucher_signature";
    let good = forger.payment(&forger.voucher(1100));

    let stranger = SigningKey::from_bytes(&[0x42; 32]).unwrap();
    let channel = forger.config.id(&forger.domain);
    let ceiling = Amount::new(1100);
    let forged = Voucher { channel, ceiling }.sign(&forger.domain, &stranger);
    forger
        .refused(&forger.payment(&forged), 402, signature)
        .await;

    let elsewhere = SettlementDomain {
        chain_id: 1,
        ..forger.domain
    };
    let foreign = Voucher { channel, ceiling }.sign(&elsewhere, &forger.key);
    forger
        .refused(&forger.payment(&foreign), 402, signature)
        .await;

    // The same signature with the other s: valid to a careless verifier, and another voucher's name.
    let mut high = good.clone();
    high["payload"]["voucher"]["signature"] = json!(high_s(&forger.voucher(1100)));
    forger.refused(&high, 402, signature).await;

    let mut network = good.clone();
    network["accepted"]["network"] = json!("eip155:1");
    forger.refused(&network, 402, "invalid_network").await;

    let mut other_id = good.clone();
    other_id["payload"]["voucher"]["channelId"] = json!(B256::repeat_byte(7));
    let id_mismatch = "invalid_batch_settlement_evm_channel_id_mismatch";
    forger.refused(&other_id, 402, id_mismatch).await;

    let receiver = "invalid_batch_settlement_evm_receiver_mismatch";
    forger.config.receiver = forger.key.address();
    forger
        .refused(&forger.payment(&forger.voucher(1100)), 402, receiver)
        .await;
    forger.mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_payment_is_charged_once() {
    let forger = Forger::new().await;
    let mut named = forger.payment(&forger.voucher(1100));
    named["extensions"] = json!({"payment-identifier": {"info": {"id": "pay_0123456789abcdef"}}});
    let first = forger.send(&named, 1).await;
    assert_eq!(first.status().as_u16(), 200);
    assert!(!first.headers().contains_key(RIALTO_REPLAYED));
    let receipt = first.headers()["rialto-receipt"].clone();
    assert_eq!(first.text().await.unwrap(), "2");
    let again = forger.send(&named, 1).await;
    assert_eq!(again.headers()[RIALTO_REPLAYED], "true");
    assert_eq!(again.headers()["rialto-receipt"], receipt);
    assert_eq!(again.text().await.unwrap(), "2");
    assert_eq!(forger.mesh.charged(), Amount::new(200));
    let other = forger.send(&named, 2).await;
    assert_eq!(other.status().as_u16(), 409);
    let body: Value = other.json().await.unwrap();
    assert_eq!(body["error"]["code"], "payment_conflict");
    assert_eq!(forger.mesh.charged(), Amount::new(200));

    // Without a name one voucher may pay for other requests while it has headroom, and the same
    // request is still answered once.
    let unnamed = forger.payment(&forger.voucher(1200));
    for (left, charged) in [(5, 300), (6, 400), (5, 400)] {
        let answer = forger.send(&unnamed, left).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(forger.mesh.charged(), Amount::new(charged));
    }
    forger.mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_no_payment_are_400_and_never_5xx() {
    let mesh = Mesh::start().await;
    let url = mesh.path("/services/types/add");
    let encode = |value: Value| header::encode(&value).unwrap().to_str().unwrap().to_owned();
    let headers = [
        String::new(),
        "not base64!".to_owned(),
        "-_-_".to_owned(),
        "AAAA".to_owned(),
        encode(json!(null)),
        encode(json!([])),
        encode(json!({})),
        encode(json!({"x402Version": 2})),
        encode(json!({"x402Version": 1, "payload": {}, "accepted": {}})),
        encode(json!({"x402Version": 2, "payload": "x", "accepted": "y"})),
        "W".repeat(9000),
        encode(deep(200)),
    ];
    for header in headers {
        let request = mesh.http.post(&url).header(PAYMENT_SIGNATURE, &header);
        let response = request.body("{}").send().await.unwrap();
        assert_eq!(response.status().as_u16(), 400, "{header:.60}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "payment_malformed", "{header:.60}");
    }
    let twice = mesh.http.post(&url).header(PAYMENT_SIGNATURE, "e30=");
    let twice = twice
        .header(PAYMENT_SIGNATURE, "e30=")
        .send()
        .await
        .unwrap();
    assert_eq!(twice.status().as_u16(), 400);
    mesh.end().await;
}

/// A deep nest of arrays, which a careless decoder follows to the end of its stack.
fn deep(levels: u32) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// The signature with `s` replaced by the group's order less `s`.
fn high_s(voucher: &SignedVoucher) -> String {
    use rialto_channels::U256;
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    )
    .unwrap();
    let mut bytes = voucher.signature.to_bytes();
    let s = U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    bytes[64] = if bytes[64] == 27 { 28 } else { 27 };
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

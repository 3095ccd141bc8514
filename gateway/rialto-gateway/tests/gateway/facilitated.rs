//! This host as other servers' facilitator: payments to strangers, on the host's gas.

use rialto_channels::digest::{
    ClaimEntry, claim_batch, deposit_nonce, receive_authorization, refund,
};
use rialto_channels::{
    Address, Amount, B256, ChannelConfig, ChannelId, SettlementDomain, SigningKey,
    TransferAuthorization, U256, Voucher,
};
use rialto_gateway::Config;
use rialto_gateway::x402::payment::{ChannelConfigWire, VoucherWire};
use serde_json::{Value, json};

use crate::mesh::Mesh;
use crate::payer::{token, tokens, transfer};

/// Another server: it is paid by its own key, which also signs its claims.
struct Stranger {
    mesh: Mesh,
    server: SigningKey,
    payer: SigningKey,
}

impl Stranger {
    async fn new(change: impl FnOnce(&mut rialto_node::Config)) -> Self {
        let mesh = Mesh::with_node(Config::default(), change).await;
        Self {
            server: mesh.key(1),
            payer: mesh.key(0),
            mesh,
        }
    }

    fn receiver(&self) -> Address {
        self.server.address()
    }

    fn wanted(&self, scheme: &str, amount: &str) -> Value {
        let payee = self.mesh.node.payee();
        json!({
            "scheme": scheme,
            "network": "eip155:84532",
            "asset": payee.token,
            "amount": amount,
            "payTo": self.receiver(),
            "maxTimeoutSeconds": 60,
            "extra": {
                "name": payee.token_name,
                "version": payee.token_version,
                "receiverAuthorizer": self.receiver(),
                "withdrawDelay": 900,
            },
        })
    }

    async fn post(&self, what: &str, payload: &Value, wanted: &Value) -> (u16, Value) {
        let body = json!({
            "x402Version": 2,
            "paymentPayload": {"x402Version": 2, "accepted": wanted, "payload": payload},
            "paymentRequirements": wanted,
        });
        self.post_raw(what, &body).await
    }

    async fn post_raw(&self, what: &str, body: &Value) -> (u16, Value) {
        let url = self.mesh.path(&format!("/facilitator/{what}"));
        let answer = self.mesh.http.post(url).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Expects a verdict against the payment, from both doors, and no money to move.
    async fn refused(&self, payload: &Value, wanted: &Value, code: &str) {
        let before = tokens(&self.mesh, self.payer.address()).await;
        let (status, verdict) = self.post("verify", payload, wanted).await;
        assert_eq!(
            (status, &verdict["isValid"]),
            (200, &json!(false)),
            "{verdict}"
        );
        assert_eq!(verdict["invalidReason"], code, "{verdict}");
        let (status, settled) = self.post("settle", payload, wanted).await;
        assert_eq!(
            (status, &settled["success"]),
            (200, &json!(false)),
            "{settled}"
        );
        assert_eq!(settled["errorReason"], code, "{settled}");
        assert_eq!(settled["transaction"], "");
        assert_eq!(settled["network"], "eip155:84532");
        assert_eq!(tokens(&self.mesh, self.payer.address()).await, before);
    }

    fn domain(&self) -> SettlementDomain {
        let payee = self.mesh.node.payee();
        SettlementDomain {
            chain_id: payee.chain_id,
            contract: payee.settlement,
        }
    }

    fn channel(&self) -> ChannelConfig {
        ChannelConfig {
            payer: self.payer.address(),
            payer_authorizer: self.payer.address(),
            receiver: self.receiver(),
            receiver_authorizer: self.receiver(),
            token: self.mesh.node.payee().token,
            withdraw_delay: 900,
            salt: B256::ZERO,
        }
    }

    fn id(&self) -> ChannelId {
        self.channel().id(&self.domain())
    }

    fn voucher(&self, kind: &str, ceiling: u128) -> Value {
        let voucher = Voucher {
            channel: self.id(),
            ceiling: Amount::new(ceiling),
        };
        json!({
            "type": kind,
            "channelConfig": ChannelConfigWire::new(&self.channel()),
            "voucher": VoucherWire::new(&voucher.sign(&self.domain(), &self.payer)),
        })
    }

    fn deposit(&self, ceiling: u128, amount: u128) -> Value {
        let salt = B256::repeat_byte(3);
        let message = TransferAuthorization {
            from: self.payer.address(),
            to: self.mesh.node.chain().collector,
            value: Amount::new(amount),
            valid_after: 0,
            valid_before: self.mesh.node.chain_now().get() + 3600,
            nonce: deposit_nonce(&self.id(), salt),
        };
        let digest = receive_authorization(&token(&self.mesh), &message);
        let mut payload = self.voucher("deposit", ceiling);
        payload["deposit"] = json!({
            "amount": amount.to_string(),
            "authorization": {"erc3009Authorization": {
                "validAfter": "0",
                "validBefore": message.valid_before.to_string(),
                "salt": salt,
                "signature": self.payer.sign(digest).to_hex(),
            }},
        });
        payload
    }

    /// The server's claim of `total` under a voucher of `ceiling`, signed by it.
    fn claim(&self, ceiling: u128, total: u128) -> (Value, String) {
        let entry = ClaimEntry {
            channel: self.id(),
            ceiling: Amount::new(ceiling),
            total_claimed: Amount::new(total),
        };
        let signature = self.server.sign(claim_batch(&self.domain(), &[entry]));
        let voucher = self.voucher("voucher", ceiling);
        let row = json!({
            "voucher": {
                "channel": voucher["channelConfig"],
                "maxClaimableAmount": ceiling.to_string(),
            },
            "signature": voucher["voucher"]["signature"],
            "totalClaimed": total.to_string(),
        });
        (row, signature.to_hex())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_payment_is_checked_and_made_once() {
    let stranger = Stranger::new(|_| {}).await;
    let (_, supported) = stranger.mesh.get("/facilitator/supported").await;
    let kinds: Vec<_> = supported["kinds"].as_array().unwrap().iter().collect();
    let named = |version: u64, scheme: &str| {
        kinds
            .iter()
            .any(|kind| kind["x402Version"] == version && kind["scheme"] == scheme)
    };
    assert!(named(2, "exact") && named(2, "batch-settlement") && named(1, "exact"));
    let host = stranger.mesh.node.host_address().to_checksum(None);
    assert_eq!(supported["signers"]["eip155:*"][0], host);

    let wanted = stranger.wanted("exact", "250");
    let pay = |nonce, value| {
        transfer(
            &stranger.mesh,
            &stranger.payer,
            stranger.receiver(),
            value,
            nonce,
        )
    };
    let payload = pay(1, 250);
    let before = tokens(&stranger.mesh, stranger.receiver()).await;
    let (_, verdict) = stranger.post("verify", &payload, &wanted).await;
    assert_eq!(verdict["isValid"], true, "{verdict}");
    let payer = stranger.payer.address().to_checksum(None);
    assert_eq!(verdict["payer"], payer);
    assert_eq!(
        tokens(&stranger.mesh, stranger.receiver()).await,
        before,
        "only checked"
    );
    let (_, settled) = stranger.post("settle", &payload, &wanted).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(
        (&settled["payer"], &settled["amount"]),
        (&json!(payer), &json!("250"))
    );
    assert_eq!(
        tokens(&stranger.mesh, stranger.receiver()).await,
        before + 250
    );

    let used = "invalid_exact_evm_nonce_already_used";
    stranger.refused(&payload, &wanted, used).await;
    let value = "invalid_exact_evm_payload_authorization_value_mismatch";
    stranger.refused(&pay(2, 249), &wanted, value).await;
    let astray = transfer(
        &stranger.mesh,
        &stranger.payer,
        stranger.payer.address(),
        250,
        3,
    );
    let recipient = "invalid_exact_evm_payload_recipient_mismatch";
    stranger.refused(&astray, &wanted, recipient).await;
    let mut forged = pay(4, 250);
    forged["authorization"]["nonce"] = json!(B256::repeat_byte(5));
    let signature = "invalid_exact_evm_payload_signature";
    stranger.refused(&forged, &wanted, signature).await;
    let mut token = wanted.clone();
    token["asset"] = json!(stranger.receiver());
    let requirements = "invalid_payment_requirements";
    stranger.refused(&pay(6, 250), &token, requirements).await;
    let mut name = wanted.clone();
    name["extra"]["name"] = json!("EURC");
    let mismatch = "invalid_exact_evm_token_name_mismatch";
    stranger.refused(&pay(7, 250), &name, mismatch).await;
    stranger.mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_has_a_facilitator_too() {
    let stranger = Stranger::new(|_| {}).await;
    let payload = transfer(&stranger.mesh, &stranger.payer, stranger.receiver(), 70, 1);
    let wanted = json!({
        "scheme": "exact",
        "network": "base-sepolia",
        "maxAmountRequired": "70",
        "resource": "https://stranger.example/line",
        "description": "",
        "mimeType": "text/plain",
        "payTo": stranger.receiver(),
        "maxTimeoutSeconds": 60,
        "asset": stranger.mesh.node.payee().token,
        "extra": {"name": "USDC", "version": "2"},
    });
    let body = json!({
        "x402Version": 1,
        "paymentPayload": {
            "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload,
        },
        "paymentRequirements": wanted,
    });
    let before = tokens(&stranger.mesh, stranger.receiver()).await;
    let (status, verdict) = stranger.post_raw("verify", &body).await;
    assert_eq!(
        (status, &verdict["isValid"]),
        (200, &json!(true)),
        "{verdict}"
    );
    let (_, settled) = stranger.post_raw("settle", &body).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(settled["network"], "base-sepolia");
    assert_eq!(
        tokens(&stranger.mesh, stranger.receiver()).await,
        before + 70
    );
    let mut other = body.clone();
    other["paymentPayload"]["network"] = json!("base");
    let (_, verdict) = stranger.post_raw("verify", &other).await;
    assert_eq!(verdict["invalidReason"], "invalid_network");
    stranger.mesh.end().await;
}

#[expect(clippy::too_many_lines, reason = "one life, step after step")]
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_channel_lives_its_whole_life() {
    let stranger = Stranger::new(|_| {}).await;
    let wanted = stranger.wanted("batch-settlement", "500");
    let (payer, receiver) = (stranger.payer.address(), stranger.receiver());
    let before = (
        tokens(&stranger.mesh, payer).await,
        tokens(&stranger.mesh, receiver).await,
    );
    let early = stranger.voucher("voucher", 500);
    let missing = "invalid_batch_settlement_evm_channel_not_found";
    let (_, verdict) = stranger.post("verify", &early, &wanted).await;
    assert_eq!(verdict["invalidReason"], missing);

    let exceeds = "invalid_batch_settlement_evm_cumulative_exceeds_balance";
    stranger
        .refused(&stranger.deposit(5001, 5000), &wanted, exceeds)
        .await;
    let deposit = stranger.deposit(500, 5000);
    let (_, verdict) = stranger.post("verify", &deposit, &wanted).await;
    assert_eq!(verdict["isValid"], true, "{verdict}");
    assert_eq!(verdict["extra"]["balance"], "0");
    let (_, settled) = stranger.post("settle", &deposit, &wanted).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(settled["amount"], "5000");
    assert_eq!(settled["extra"]["channelState"]["balance"], "5000");
    let twice = "invalid_batch_settlement_evm_deposit_simulation_failed";
    stranger.refused(&deposit, &wanted, twice).await;

    let (_, verdict) = stranger
        .post("verify", &stranger.voucher("voucher", 900), &wanted)
        .await;
    assert_eq!(verdict["isValid"], true, "{verdict}");
    assert_eq!(verdict["extra"]["channelId"], stranger.id().to_string());
    let mut other_authorizer = wanted.clone();
    other_authorizer["extra"]["receiverAuthorizer"] = json!(payer);
    let mismatch = "invalid_batch_settlement_evm_receiver_authorizer_mismatch";
    let (_, verdict) = stranger.post("verify", &early, &other_authorizer).await;
    assert_eq!(verdict["invalidReason"], mismatch);

    let nothing = "invalid_batch_settlement_evm_nothing_to_settle";
    let pay_out = json!({"type": "settle", "receiver": receiver, "token": wanted["asset"]});
    let (_, settled) = stranger.post("settle", &pay_out, &wanted).await;
    assert_eq!(settled["errorReason"], nothing);
    let (row, signature) = stranger.claim(900, 700);
    let unsigned = json!({"type": "claim", "claims": [row]});
    let (_, settled) = stranger.post("settle", &unsigned, &wanted).await;
    let not_configured = "invalid_batch_settlement_evm_authorizer_not_configured";
    assert_eq!(
        settled["errorReason"], not_configured,
        "it signs for nobody"
    );
    let claim = json!({
        "type": "claim", "claims": [row], "claimAuthorizerSignature": signature,
    });
    let (_, settled) = stranger.post("settle", &claim, &wanted).await;
    assert_eq!(settled["success"], true, "{settled}");
    let (_, again) = stranger.post("settle", &claim, &wanted).await;
    let simulation = "invalid_batch_settlement_evm_claim_simulation_failed";
    assert_eq!(again["errorReason"], simulation, "no gas for nothing");
    let below = "invalid_batch_settlement_evm_cumulative_below_claimed";
    let (_, verdict) = stranger
        .post("verify", &stranger.voucher("voucher", 700), &wanted)
        .await;
    assert_eq!(verdict["invalidReason"], below);
    let (_, settled) = stranger.post("settle", &pay_out, &wanted).await;
    assert_eq!(
        (&settled["success"], &settled["amount"]),
        (&json!(true), &json!("700"))
    );

    let (row, claim_signature) = stranger.claim(1000, 1000);
    let amount = Amount::new(3000);
    let digest = refund(&stranger.domain(), &stranger.id(), U256::ZERO, amount);
    let mut give_back = stranger.voucher("refund", 1000);
    give_back["amount"] = json!("3000");
    give_back["refundNonce"] = json!("0");
    give_back["claims"] = json!([row]);
    give_back["claimAuthorizerSignature"] = json!(claim_signature);
    give_back["refundAuthorizerSignature"] = json!(stranger.server.sign(digest).to_hex());
    let (_, settled) = stranger.post("settle", &give_back, &wanted).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(settled["amount"], "3000");
    let state = &settled["extra"]["channelState"];
    assert_eq!(
        (&state["balance"], &state["totalClaimed"]),
        (&json!("2000"), &json!("1000"))
    );
    assert_eq!(state["refundNonce"], "1");
    let (_, settled) = stranger.post("settle", &pay_out, &wanted).await;
    assert_eq!(settled["amount"], "300");
    let after = (
        tokens(&stranger.mesh, payer).await,
        tokens(&stranger.mesh, receiver).await,
    );
    // M6: 1000 still lie in the channel.
    assert_eq!(after, (before.0 - 5000 + 3000, before.1 + 1000));
    stranger.mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_says_for_whom_and_how_often() {
    let closed = Stranger::new(|config| config.facilitator.enabled = Some(false)).await;
    assert_eq!(closed.mesh.get("/facilitator/supported").await.0, 404);
    let wanted = closed.wanted("exact", "250");
    assert_eq!(closed.post("verify", &json!({}), &wanted).await.0, 404);
    assert_eq!(closed.post("settle", &json!({}), &wanted).await.0, 404);
    closed.mesh.end().await;

    let limited = Stranger::new(|config| {
        config.facilitator.receivers = vec![Address::repeat_byte(9)];
    })
    .await;
    let payload = transfer(&limited.mesh, &limited.payer, limited.receiver(), 250, 1);
    limited
        .refused(
            &payload,
            &limited.wanted("exact", "250"),
            "receiver_not_allowed",
        )
        .await;
    limited.mesh.end().await;

    let dear = Stranger::new(|config| {
        config.facilitator.amount_min = Amount::new(251);
        config.facilitator.settlements_per_minute = 2;
    })
    .await;
    let wanted = dear.wanted("exact", "250");
    let payload = transfer(&dear.mesh, &dear.payer, dear.receiver(), 250, 1);
    dear.refused(&payload, &wanted, "amount_below_minimum")
        .await;
    let wanted = dear.wanted("exact", "251");
    let payload = transfer(&dear.mesh, &dear.payer, dear.receiver(), 251, 2);
    assert_eq!(
        dear.post("settle", &payload, &wanted).await.1["success"],
        true
    );
    let (status, settled) = dear.post("settle", &payload, &wanted).await;
    assert_eq!(
        (status, &settled["errorReason"]),
        (429, &json!("facilitator_busy"))
    );
    dear.mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_are_400_and_never_5xx() {
    let stranger = Stranger::new(|_| {}).await;
    let exact = stranger.wanted("exact", "250");
    let batch = stranger.wanted("batch-settlement", "250");
    for (payload, wanted) in [
        (json!({}), &exact),
        (json!({}), &batch),
        (json!({"type": "claim"}), &batch),
        (json!({"type": "claim", "claims": []}), &batch),
        (
            json!({"type": "settle", "receiver": 1, "token": "x"}),
            &batch,
        ),
        (json!({"type": "refund", "refundNonce": {}}), &batch),
        (json!("x"), &exact),
    ] {
        for what in ["verify", "settle"] {
            let (status, answer) = stranger.post(what, &payload, wanted).await;
            assert_eq!(status, 400, "{payload}: {answer}");
        }
    }
    let (status, answer) = stranger.post_raw("verify", &json!({"x": 1})).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("body_malformed"))
    );
    let mut network = exact.clone();
    network["network"] = json!("eip155:1");
    let payload = transfer(&stranger.mesh, &stranger.payer, stranger.receiver(), 250, 1);
    let (status, verdict) = stranger.post("verify", &payload, &network).await;
    assert_eq!(status, 200);
    assert_eq!(
        verdict["invalidReason"],
        "invalid_exact_evm_network_mismatch"
    );

    let (_, all) = stranger.mesh.get("/discovery/resources").await;
    let total = all["pagination"]["total"].as_u64().unwrap();
    assert_eq!(all["items"].as_array().unwrap().len() as u64, total);
    let page = "/facilitator/discovery/resources?type=http&limit=1&offset=1";
    let (_, part) = stranger.mesh.get(page).await;
    assert_eq!(part["items"], json!([all["items"][1]]));
    let (_, none) = stranger.mesh.get("/discovery/resources?type=mcp").await;
    assert_eq!(none["pagination"]["total"], 0);
    assert_eq!(
        stranger.mesh.get("/discovery/resources?limit=x").await.0,
        400
    );
    stranger.mesh.end().await;
}

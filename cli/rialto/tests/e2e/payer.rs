//! A payer that says whatever a test wants it to say: payments are built by hand, field by field,
//! so that each can be made wrong in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_channels::digest::{deposit_nonce, receive_authorization};
use rialto_channels::{
    Address, Amount, B256, ChannelConfig, ChannelId, SettlementDomain, SigningKey, TokenDomain,
    TransferAuthorization, Voucher,
};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

/// One payer and its channel with a mesh.
pub(crate) struct Payer {
    pub(crate) key: SigningKey,
    pub(crate) domain: SettlementDomain,
    pub(crate) config: ChannelConfig,
    offer: Value,
    collector: Address,
    gateway: String,
}

/// What the gateway said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The stable code: of the 402's header, or of the error body.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) receipt: Option<Value>,
    pub(crate) body: Value,
}

impl Payer {
    /// Reads the offer of a method and describes a channel for it.
    pub(crate) async fn new(mesh: &Mesh, key: &str, salt: u64) -> Result<Self> {
        let key = SigningKey::from_hex(key)?;
        let url = format!("{}/services/hostile/echo", mesh.gateway());
        let answer = reqwest::Client::new()
            .post(url)
            .json(&json!({ "text": "a" }))
            .send()
            .await?;
        let required = decode(
            answer
                .headers()
                .get("payment-required")
                .context("no PAYMENT-REQUIRED")?
                .as_bytes(),
        )?;
        let offer = required["accepts"][0].clone();
        let text = |pointer: &str| {
            offer
                .pointer(pointer)
                .and_then(Value::as_str)
                .context(pointer.to_owned())
        };
        let config = ChannelConfig {
            payer: key.address(),
            payer_authorizer: key.address(),
            receiver: text("/payTo")?.parse()?,
            receiver_authorizer: text("/extra/receiverAuthorizer")?.parse()?,
            token: text("/asset")?.parse()?,
            withdraw_delay: offer["extra"]["withdrawDelay"]
                .as_u64()
                .context("withdrawDelay")?,
            salt: B256::from(alloy_primitives::U256::from(salt)),
        };
        let chain_id = mesh.ready()["chain_id"].as_u64().context("chain_id")?;
        Ok(Self {
            key,
            domain: SettlementDomain {
                chain_id,
                contract: mesh.text("/addresses/settlement").parse()?,
            },
            config,
            offer,
            collector: mesh.text("/addresses/collector").parse()?,
            gateway: mesh.gateway().to_owned(),
        })
    }

    pub(crate) fn channel(&self) -> ChannelId {
        self.config.id(&self.domain)
    }

    /// A good voucher.
    pub(crate) fn voucher(&self, ceiling: u128) -> Value {
        self.voucher_by(&self.key, &self.domain, self.channel(), ceiling)
    }

    /// A voucher signed by any key, for any chain, on any channel.
    pub(crate) fn voucher_by(
        &self,
        key: &SigningKey,
        domain: &SettlementDomain,
        channel: ChannelId,
        ceiling: u128,
    ) -> Value {
        let signed = Voucher {
            channel,
            ceiling: Amount::new(ceiling),
        }
        .sign(domain, key);
        json!({
            "channelId": channel.to_string(),
            "maxClaimableAmount": ceiling.to_string(),
            "signature": signed.signature.to_hex(),
        })
    }

    /// A payment by this voucher.
    pub(crate) fn payment(&self, voucher: Value) -> Value {
        json!({
            "x402Version": 2,
            "accepted": self.offer,
            "payload": { "type": "voucher", "channelConfig": self.config_json(), "voucher": voucher },
        })
    }

    /// A payment with a deposit signed by the wallet; `salt` makes it unique.
    pub(crate) fn deposit(&self, voucher: Value, amount: u128, salt: u64) -> Result<Value> {
        let salt = B256::from(alloy_primitives::U256::from(salt));
        let valid_before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3_600;
        let authorization = TransferAuthorization {
            from: self.config.payer,
            to: self.collector,
            value: Amount::new(amount),
            valid_after: 0,
            valid_before,
            nonce: deposit_nonce(&self.channel(), salt),
        };
        let token = TokenDomain {
            chain_id: self.domain.chain_id,
            token: self.config.token,
            name: self.offer["extra"]["name"]
                .as_str()
                .context("name")?
                .to_owned(),
            version: self.offer["extra"]["version"]
                .as_str()
                .context("version")?
                .to_owned(),
        };
        let signature = self.key.sign(receive_authorization(&token, &authorization));
        let mut payment = self.payment(voucher);
        payment["payload"]["type"] = json!("deposit");
        payment["payload"]["deposit"] = json!({
            "amount": amount.to_string(),
            "authorization": { "erc3009Authorization": {
                "validAfter": "0",
                "validBefore": valid_before.to_string(),
                "salt": salt.to_string(),
                "signature": signature.to_hex(),
            }},
        });
        Ok(payment)
    }

    /// Calls a method of the hostile service with this payment.
    pub(crate) async fn call(
        &self,
        method: &str,
        parameters: &Value,
        payment: &Value,
    ) -> Result<Reply> {
        self.call_service("hostile", method, parameters, payment)
            .await
    }

    /// Calls a method of any service with this payment.
    pub(crate) async fn call_service(
        &self,
        service: &str,
        method: &str,
        parameters: &Value,
        payment: &Value,
    ) -> Result<Reply> {
        let header = STANDARD.encode(payment.to_string());
        let request = reqwest::Client::new()
            .post(format!("{}/services/{service}/{method}", self.gateway))
            .header("payment-signature", header)
            .json(parameters);
        Reply::read(request.send().await?).await
    }

    /// What the host says it charged on the channel, in base units; nothing for an unknown one.
    pub(crate) async fn charged(&self) -> Result<u128> {
        let answer = reqwest::get(format!("{}/channels/{}", self.gateway, self.channel())).await?;
        if answer.status().as_u16() == 404 {
            return Ok(0);
        }
        let view: Value = answer.json().await?;
        Ok(view["charged"].as_str().context("charged")?.parse()?)
    }

    fn config_json(&self) -> Value {
        let config = &self.config;
        json!({
            "payer": config.payer.to_string(),
            "payerAuthorizer": config.payer_authorizer.to_string(),
            "receiver": config.receiver.to_string(),
            "receiverAuthorizer": config.receiver_authorizer.to_string(),
            "token": config.token.to_string(),
            "withdrawDelay": config.withdraw_delay,
            "salt": config.salt.to_string(),
        })
    }
}

impl Reply {
    pub(crate) async fn read(answer: reqwest::Response) -> Result<Self> {
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| decode(value.as_bytes()))
                .transpose()
        };
        let required = header("payment-required")?;
        let receipt = header("rialto-receipt")?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let code = match &required {
            Some(required) => of(&required["error"]),
            None => of(&body["error"]["code"]),
        };
        Ok(Self {
            status,
            code,
            message: text,
            receipt,
            body,
        })
    }
}

fn decode(header: &[u8]) -> Result<Value> {
    Ok(serde_json::from_slice(&STANDARD.decode(header)?)?)
}

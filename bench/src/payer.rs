//! A payer whose signatures are made before they are needed: channels with vouchers in stock, so that
//! the host is measured and not the signing of its callers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use rialto_channels::digest::{deposit_nonce, receive_authorization};
use rialto_channels::{
    Address, Amount, B256, ChannelConfig, SettlementDomain, SignedVoucher, SigningKey, TokenDomain,
    TransferAuthorization, U256, Voucher,
};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::exchange::{Call, Connection, address};

/// One wallet and what a method asks for.
#[derive(Debug)]
pub(crate) struct Payer {
    key: SigningKey,
    domain: SettlementDomain,
    collector: Address,
    offer: Value,
    /// What one call is offered for, in base units.
    amount: u128,
}

/// One channel and its stock of vouchers.
#[derive(Debug)]
pub(crate) struct Channel {
    payer: Arc<Payer>,
    config: ChannelConfig,
    /// The last ceiling signed, in base units.
    ceiling: u128,
    stock: VecDeque<HeaderValue>,
    /// Vouchers signed while the clock ran, because the stock was empty.
    pub(crate) signed_late: u64,
}

impl Payer {
    /// Asks what `call` costs and by which terms.
    ///
    /// # Errors
    /// The mesh does not offer it on a channel.
    pub(crate) async fn new(mesh: &Mesh, call: &Call) -> Result<Arc<Self>> {
        let mut connection = Connection::open(address(mesh.gateway())?).await?;
        let answer = connection.send(call.request(None)?).await?;
        let header = answer.headers.get("payment-required");
        let header = header.context("no PAYMENT-REQUIRED")?;
        let required: Value = serde_json::from_slice(&STANDARD.decode(header.as_bytes())?)?;
        let offer = required["accepts"][0].clone();
        let amount = text(&offer, "/amount")?.parse()?;
        Ok(Arc::new(Self {
            key: SigningKey::from_hex(mesh.test_key(0))?,
            domain: SettlementDomain {
                chain_id: mesh.ready()["chain_id"].as_u64().context("chain_id")?,
                contract: mesh.text("/addresses/settlement").parse()?,
            },
            collector: mesh.text("/addresses/collector").parse()?,
            offer,
            amount,
        }))
    }

    /// The domain that vouchers are signed for.
    pub(crate) fn domain(&self) -> &SettlementDomain {
        &self.domain
    }

    /// Opens a channel with money for `calls` calls by making the first one.
    ///
    /// # Errors
    /// The deposit or the call is refused.
    pub(crate) async fn open(
        self: &Arc<Self>,
        connection: &mut Connection,
        call: &Call,
        salt: u64,
        calls: u32,
    ) -> Result<Channel> {
        let mut channel = self.channel(salt)?;
        let deposit = self.amount * u128::from(calls);
        let payment = channel.deposit(deposit)?;
        let answer = connection.send(call.request(Some(payment))?).await?;
        answer.success().context("the deposit was refused")?;
        Ok(channel)
    }

    /// A channel that holds no money.
    ///
    /// # Errors
    /// The offer lacks a term.
    pub(crate) fn channel(self: &Arc<Self>, salt: u64) -> Result<Channel> {
        Ok(Channel {
            payer: Arc::clone(self),
            config: self.config(salt)?,
            ceiling: 0,
            stock: VecDeque::new(),
            signed_late: 0,
        })
    }

    fn config(&self, salt: u64) -> Result<ChannelConfig> {
        let offer = &self.offer;
        Ok(ChannelConfig {
            payer: self.key.address(),
            payer_authorizer: self.key.address(),
            receiver: text(offer, "/payTo")?.parse()?,
            receiver_authorizer: text(offer, "/extra/receiverAuthorizer")?.parse()?,
            token: text(offer, "/asset")?.parse()?,
            withdraw_delay: offer["extra"]["withdrawDelay"]
                .as_u64()
                .context("withdrawDelay")?,
            salt: B256::from(U256::from(salt)),
        })
    }
}

impl Channel {
    /// Signs until `count` vouchers are in stock.
    ///
    /// # Errors
    /// A header cannot be written, which no voucher causes.
    pub(crate) fn stock_up(&mut self, count: usize) -> Result<()> {
        while self.stock.len() < count {
            let payment = self.payment()?;
            self.stock.push_back(payment);
        }
        Ok(())
    }

    /// The next payment, from the stock while it lasts.
    ///
    /// # Errors
    /// As [`stock_up`](Self::stock_up).
    pub(crate) fn next(&mut self) -> Result<HeaderValue> {
        if let Some(payment) = self.stock.pop_front() {
            return Ok(payment);
        }
        self.signed_late += 1;
        self.payment()
    }

    /// The next voucher, for measurements of its check alone.
    pub(crate) fn voucher(&mut self) -> SignedVoucher {
        self.ceiling += self.payer.amount;
        let voucher = Voucher {
            channel: self.config.id(&self.payer.domain),
            ceiling: Amount::new(self.ceiling),
        };
        voucher.sign(&self.payer.domain, &self.payer.key)
    }

    /// Its terms.
    pub(crate) fn config(&self) -> &ChannelConfig {
        &self.config
    }

    fn payment(&mut self) -> Result<HeaderValue> {
        let payload = self.payload();
        header(&self.payer.offer, &payload)
    }

    fn payload(&mut self) -> Value {
        let signed = self.voucher();
        let config = &self.config;
        json!({
            "type": "voucher",
            "channelConfig": {
                "payer": config.payer.to_string(),
                "payerAuthorizer": config.payer_authorizer.to_string(),
                "receiver": config.receiver.to_string(),
                "receiverAuthorizer": config.receiver_authorizer.to_string(),
                "token": config.token.to_string(),
                "withdrawDelay": config.withdraw_delay,
                "salt": config.salt.to_string(),
            },
            "voucher": {
                "channelId": signed.voucher.channel.to_string(),
                "maxClaimableAmount": signed.voucher.ceiling.to_string(),
                "signature": signed.signature.to_hex(),
            },
        })
    }

    fn deposit(&mut self, amount: u128) -> Result<HeaderValue> {
        let payer = Arc::clone(&self.payer);
        let salt = self.config.salt;
        let valid_before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3_600;
        let authorization = TransferAuthorization {
            from: self.config.payer,
            to: payer.collector,
            value: Amount::new(amount),
            valid_after: 0,
            valid_before,
            nonce: deposit_nonce(&self.config.id(&payer.domain), salt),
        };
        let token = TokenDomain {
            chain_id: payer.domain.chain_id,
            token: self.config.token,
            name: text(&payer.offer, "/extra/name")?.to_owned(),
            version: text(&payer.offer, "/extra/version")?.to_owned(),
        };
        let signature = payer
            .key
            .sign(receive_authorization(&token, &authorization));
        let mut payload = self.payload();
        payload["type"] = json!("deposit");
        payload["deposit"] = json!({
            "amount": amount.to_string(),
            "authorization": { "erc3009Authorization": {
                "validAfter": "0",
                "validBefore": valid_before.to_string(),
                "salt": salt.to_string(),
                "signature": signature.to_hex(),
            }},
        });
        header(&payer.offer, &payload)
    }
}

fn header(offer: &Value, payload: &Value) -> Result<HeaderValue> {
    let payment = json!({ "x402Version": 2, "accepted": offer, "payload": payload });
    Ok(HeaderValue::try_from(STANDARD.encode(payment.to_string()))?)
}

fn text<'a>(offer: &'a Value, pointer: &str) -> Result<&'a str> {
    offer
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("the offer has no {pointer}"))
}

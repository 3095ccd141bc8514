//! A payer that signs its transfers by hand.

use rialto_channels::digest::transfer_authorization;
use rialto_channels::{
    Address, Amount, B256, SettlementDomain, SigningKey, TokenDomain, TransferAuthorization,
    Voucher,
};
use rialto_gateway::x402::header::{self, PAYMENT_REQUIRED};
use rialto_gateway::x402::payment::{ChannelConfigWire, VoucherWire};
use serde_json::{Value, json};

use crate::mesh::Mesh;

/// The node's token as a signer sees it.
pub(crate) fn token(mesh: &Mesh) -> TokenDomain {
    let payee = mesh.node.payee();
    TokenDomain {
        chain_id: payee.chain_id,
        token: payee.token,
        name: payee.token_name.clone(),
        version: payee.token_version.clone(),
    }
}

/// What an `exact` payment's `payload` is; `nonce` makes it a transfer of its own.
pub(crate) fn transfer(
    mesh: &Mesh,
    key: &SigningKey,
    to: Address,
    value: u128,
    nonce: u8,
) -> Value {
    let authorization = TransferAuthorization {
        from: key.address(),
        to,
        value: Amount::new(value),
        valid_after: 0,
        valid_before: mesh.node.chain_now().get() + 3600,
        nonce: B256::repeat_byte(nonce),
    };
    let signature = key.sign(transfer_authorization(&token(mesh), &authorization));
    json!({
        "signature": signature.to_hex(),
        "authorization": {
            "from": authorization.from,
            "to": authorization.to,
            "value": authorization.value.to_string(),
            "validAfter": "0",
            "validBefore": authorization.valid_before.to_string(),
            "nonce": authorization.nonce,
        },
    })
}

/// The header of a payment for one more call, on the only channel that there is.
pub(crate) async fn voucher(mesh: &Mesh, key: &SigningKey, url: &str) -> String {
    let asked = mesh.http.get(url).send().await.unwrap();
    let required: Value = header::decode(asked.headers()[PAYMENT_REQUIRED].as_bytes()).unwrap();
    let channel = mesh.node.channels().remove(0);
    let payee = mesh.node.payee();
    let domain = SettlementDomain {
        chain_id: payee.chain_id,
        contract: payee.settlement,
    };
    let offered: u128 = required["accepts"][0]["amount"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let voucher = Voucher {
        channel: channel.config.id(&domain),
        ceiling: Amount::new(channel.charged.get() + offered),
    };
    let payment = json!({
        "x402Version": 2,
        "payload": {
            "type": "voucher",
            "channelConfig": ChannelConfigWire::new(&channel.config),
            "voucher": VoucherWire::new(&voucher.sign(&domain, key)),
        },
        "accepted": required["accepts"][0],
    });
    let header = header::encode(&payment).unwrap();
    header.to_str().unwrap().to_owned()
}

/// An account's tokens.
pub(crate) async fn tokens(mesh: &Mesh, account: Address) -> u128 {
    mesh.node.token_balance(account).await.unwrap().get()
}

//! The parties of the tests and what they sign, by the pure crate's own digests.

use alloy::primitives::{Address, B256};
use rialto_chain::client::{ChainClient, DepositAuthorization, Deposited};
use rialto_chain::contracts::{
    DEV_CHAIN_ID, DEV_TOKEN, DEV_TOKEN_NAME, DEV_TOKEN_VERSION, ERC3009_DEPOSIT_COLLECTOR,
};
use rialto_chain::devchain::DEV_ACCOUNTS;
use rialto_channels::{
    Amount, ChannelConfig, ClaimRow, SigningKey, TokenDomain, TransferAuthorization, Voucher,
    digest,
};

/// Sends the host's transactions and signs for the receivers.
pub(crate) const HOST: usize = 0;
pub(crate) const PAYER: usize = 1;
/// The session key that signs the payer's vouchers.
pub(crate) const SESSION: usize = 2;
pub(crate) const RECEIVER: usize = 3;
pub(crate) const STRANGER: usize = 4;

pub(crate) const DELAY_SECS: u64 = 900;

pub(crate) fn key(index: usize) -> SigningKey {
    SigningKey::from_bytes(&DEV_ACCOUNTS[index].key.0).unwrap()
}

pub(crate) fn address(index: usize) -> Address {
    DEV_ACCOUNTS[index].address
}

/// A channel from the payer to the receiver; salts tell channels apart.
pub(crate) fn channel(salt: u8) -> ChannelConfig {
    ChannelConfig {
        payer: address(PAYER),
        payer_authorizer: address(SESSION),
        receiver: address(RECEIVER),
        receiver_authorizer: address(HOST),
        token: DEV_TOKEN,
        withdraw_delay: DELAY_SECS,
        salt: B256::with_last_byte(salt),
    }
}

/// The payer's consent to deposit `amount`, good for an hour.
pub(crate) async fn consent(
    client: &ChainClient,
    config: &ChannelConfig,
    amount: Amount,
    salt: u8,
) -> DepositAuthorization {
    let salt = B256::with_last_byte(salt);
    let message = TransferAuthorization {
        from: address(PAYER),
        to: ERC3009_DEPOSIT_COLLECTOR,
        value: amount,
        valid_after: 0,
        valid_before: client.now().await.unwrap().get() + 3_600,
        nonce: digest::deposit_nonce(&config.id(&client.domain()), salt),
    };
    let digest = digest::receive_authorization(&token_domain(), &message);
    DepositAuthorization {
        valid_after: message.valid_after,
        valid_before: message.valid_before,
        salt,
        signature: key(PAYER).sign(digest).to_bytes().to_vec(),
    }
}

/// Deposits with a fresh consent.
pub(crate) async fn fund(client: &ChainClient, config: &ChannelConfig, amount: u128) -> Deposited {
    let amount = Amount::new(amount);
    let consent = consent(client, config, amount, 0).await;
    client.deposit(config, amount, &consent).await.unwrap()
}

/// A row with the session key's voucher.
pub(crate) fn row(
    client: &ChainClient,
    config: ChannelConfig,
    ceiling: u128,
    total_claimed: u128,
) -> ClaimRow {
    let voucher = Voucher {
        channel: config.id(&client.domain()),
        ceiling: Amount::new(ceiling),
    };
    ClaimRow {
        config,
        voucher: voucher.sign(&client.domain(), &key(SESSION)),
        total_claimed: Amount::new(total_claimed),
    }
}

pub(crate) fn token_domain() -> TokenDomain {
    TokenDomain {
        chain_id: DEV_CHAIN_ID,
        token: DEV_TOKEN,
        name: DEV_TOKEN_NAME.to_owned(),
        version: DEV_TOKEN_VERSION.to_owned(),
    }
}

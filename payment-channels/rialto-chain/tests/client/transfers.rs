//! Whether a signed transfer can still come: what proves that it never will, and how deep.

use alloy::network::EthereumWallet;
use alloy::primitives::{Address, B256};
use alloy::providers::ProviderBuilder;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use rialto_chain::client::{ChainClient, TransferFate, TransferProspect};
use rialto_chain::contracts::{DEV_CHAIN_ID, DEV_TOKEN, DEV_TOKEN_NAME, DEV_TOKEN_VERSION};
use rialto_chain::devchain::DEV_ACCOUNTS;
use rialto_channels::{Amount, TransferAuthorization, digest};

use crate::chain::Chain;
use crate::people::{HOST, PAYER, RECEIVER, STRANGER, address, key, token_domain};

on_both!(
    a_nonce_that_went_elsewhere_ends_a_transfer,
    a_cancelled_transfer_never_comes,
    an_expired_transfer_never_comes,
);

alloy::sol! {
    struct CancelAuthorization { address authorizer; bytes32 nonce; }

    #[sol(rpc)]
    interface Cancels {
        function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external;
    }
}

async fn authorization(host: &ChainClient, nonce: u8) -> TransferAuthorization {
    TransferAuthorization {
        from: address(PAYER),
        to: address(RECEIVER),
        value: Amount::new(250),
        valid_after: 0,
        valid_before: host.now().await.unwrap().get() + 600,
        nonce: B256::repeat_byte(nonce),
    }
}

async fn make(host: &ChainClient, authorization: &TransferAuthorization) -> B256 {
    let digest = digest::transfer_authorization(&token_domain(), authorization);
    let signature = key(PAYER).sign(digest).to_bytes();
    let made = host.transfer_with_authorization(authorization, &signature);
    made.await.unwrap()
}

async fn cancel(chain: &Chain, nonce: B256) {
    let domain: Eip712Domain = eip712_domain! {
        name: DEV_TOKEN_NAME, version: DEV_TOKEN_VERSION, chain_id: DEV_CHAIN_ID,
        verifying_contract: DEV_TOKEN,
    };
    let authorizer: Address = address(PAYER);
    let digest = CancelAuthorization { authorizer, nonce }.eip712_signing_hash(&domain);
    let signature = key(PAYER).sign(digest).to_bytes();
    let signer = PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[STRANGER].key).unwrap();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::new(signer))
        .connect_http(chain.url.parse().unwrap());
    let token = Cancels::new(DEV_TOKEN, provider);
    let sent = token.cancelAuthorization(authorizer, nonce, signature.into());
    let receipt = sent.send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
}

async fn a_nonce_that_went_elsewhere_ends_a_transfer(chain: Chain) {
    let host = chain.client(HOST).await;
    let since = host.block_number().await.unwrap();
    let made = authorization(&host, 7).await;
    let lost = TransferAuthorization {
        value: Amount::new(251),
        ..made
    };
    let prospect = async |transfer, since, deep| {
        let prospect = host.transfer_prospect(&transfer, since, deep);
        prospect.await.unwrap()
    };
    assert_eq!(prospect(lost, since, 1).await, TransferProspect::Open);
    let transaction = make(&host, &made).await;
    let used_at = host.block_number().await.unwrap();
    assert_eq!(
        prospect(made, since, 1).await,
        TransferProspect::Made(transaction)
    );
    // A reorganisation could still give the nonce back.
    assert_eq!(prospect(lost, since, 3).await, TransferProspect::Open);
    assert_eq!(prospect(lost, since, 1).await, TransferProspect::Spent);
    chain.mine().await;
    assert_eq!(prospect(lost, since, 3).await, TransferProspect::Open);
    chain.mine().await;
    assert_eq!(prospect(lost, since, 3).await, TransferProspect::Spent);
    // What is not found proves nothing.
    let later = used_at + 1;
    assert_eq!(prospect(made, later, 1).await, TransferProspect::Untold);
    assert_eq!(prospect(lost, later, 1).await, TransferProspect::Untold);
    assert_eq!(prospect(lost, u64::MAX, 1).await, TransferProspect::Untold);
}

async fn a_cancelled_transfer_never_comes(chain: Chain) {
    let host = chain.client(HOST).await;
    let transfer = authorization(&host, 8).await;
    cancel(&chain, transfer.nonce).await;
    let fate = host.transfer_fate(&transfer).await.unwrap();
    assert_eq!(fate, TransferFate::Spent);
    let prospect = async |deep| host.transfer_prospect(&transfer, 0, deep).await.unwrap();
    assert_eq!(prospect(1).await, TransferProspect::Spent);
    assert_eq!(prospect(2).await, TransferProspect::Open);
    chain.mine().await;
    assert_eq!(prospect(2).await, TransferProspect::Spent);
}

async fn an_expired_transfer_never_comes(chain: Chain) {
    let host = chain.client(HOST).await;
    let transfer = authorization(&host, 9).await;
    let prospect = async |deep| host.transfer_prospect(&transfer, 0, deep).await.unwrap();
    assert_eq!(prospect(1).await, TransferProspect::Open);
    chain.advance(600).await;
    assert_eq!(prospect(1).await, TransferProspect::Expired);
    // In the block before it was good, and a reorganisation could put it there.
    assert_eq!(prospect(2).await, TransferProspect::Open);
    chain.mine().await;
    assert_eq!(prospect(2).await, TransferProspect::Expired);
    // More blocks than there are.
    assert_eq!(prospect(u64::MAX).await, TransferProspect::Open);
    let made = authorization(&host, 10).await;
    let transaction = make(&host, &made).await;
    chain.advance(600).await;
    let ended = host.transfer_prospect(&made, 0, 1).await.unwrap();
    assert_eq!(ended, TransferProspect::Made(transaction));
}

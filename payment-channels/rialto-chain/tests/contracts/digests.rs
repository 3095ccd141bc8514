//! Ids and digests: the contract, the golden vectors, alloy and `rialto-channels` agree on all.

use alloy::primitives::{Address, B256, U256, Uint};
use alloy::sol_types::SolStruct;
use rialto_channels::{Amount, ChannelId, SettlementDomain, digest};
use serde_json::Value;

use crate::abi::BatchSettlement::ChannelConfig;
use crate::abi::typed;
use crate::chain::{CHAIN_ID, Chain};
use crate::world::{
    COLLECTOR, Consent, SETTLEMENT, TOKEN, Who, batch_digest, config, id, row, settlement_domain,
    token_domain,
};

on_both!(
    every_field_changes_the_id,
    digests_equal_two_other_implementations,
    token_domain_and_type_hashes,
    domain_is_described,
);

/// I11: the id binds the whole config.
async fn every_field_changes_the_id(chain: Chain) {
    let base = config(Who::Payer, Who::Receiver);
    let other = Who::Stranger.address();
    let variants = [
        base.clone(),
        ChannelConfig {
            payer: other,
            ..base.clone()
        },
        ChannelConfig {
            payerAuthorizer: other,
            ..base.clone()
        },
        ChannelConfig {
            payerAuthorizer: Address::ZERO,
            ..base.clone()
        },
        ChannelConfig {
            receiver: other,
            ..base.clone()
        },
        ChannelConfig {
            receiverAuthorizer: other,
            ..base.clone()
        },
        ChannelConfig {
            token: other,
            ..base.clone()
        },
        ChannelConfig {
            withdrawDelay: Uint::from(901),
            ..base.clone()
        },
        ChannelConfig {
            salt: B256::with_last_byte(1),
            ..base
        },
    ];
    let mut ids = std::collections::BTreeSet::new();
    for variant in &variants {
        let found = chain
            .settlement()
            .getChannelId(variant.clone())
            .call()
            .await
            .unwrap();
        assert_eq!(found, id(variant));
        ids.insert(found);
    }
    assert_eq!(ids.len(), variants.len());
}

/// Over several values: the contract, alloy's EIP-712 and `rialto-channels`.
async fn digests_equal_two_other_implementations(chain: Chain) {
    let settlement = chain.settlement();
    let domain = SettlementDomain {
        chain_id: CHAIN_ID,
        contract: SETTLEMENT,
    };
    assert_eq!(domain.separator(), settlement_domain().separator());
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (n, ceiling) in [0, 1, 1_000_000, u128::from(u64::MAX), u128::MAX]
        .into_iter()
        .enumerate()
    {
        let salt = B256::with_last_byte(u8::try_from(n).unwrap());
        let config = ChannelConfig {
            salt,
            ..config(Who::Payer2, Who::Receiver2)
        };
        let channel = as_channels_config(&config).id(&domain);
        assert_eq!(channel, ChannelId(id(&config)));

        let voucher = settlement
            .getVoucherDigest(channel.0, ceiling)
            .call()
            .await
            .unwrap();
        assert_eq!(
            voucher,
            digest::voucher(&domain, &channel, Amount::new(ceiling))
        );
        let nonce = U256::MAX >> n;
        let refund = settlement
            .getRefundDigest(channel.0, nonce, ceiling)
            .call()
            .await
            .unwrap();
        assert_eq!(
            refund,
            digest::refund(&domain, &channel, nonce, Amount::new(ceiling))
        );
        let consent = Consent::new(ceiling, 7);
        assert_eq!(
            consent.nonce(&config),
            digest::deposit_nonce(&channel, B256::from(consent.salt))
        );

        rows.push(row(&config, Who::Session, ceiling, ceiling / 2));
        entries.push(digest::ClaimEntry {
            channel,
            ceiling: Amount::new(ceiling),
            total_claimed: Amount::new(ceiling / 2),
        });
        let batch = settlement
            .getClaimBatchDigest(rows.clone())
            .call()
            .await
            .unwrap();
        assert_eq!(batch, digest::claim_batch(&domain, &entries));
        assert_eq!(batch, batch_digest(&rows));
    }
    let empty = settlement
        .getClaimBatchDigest(Vec::new())
        .call()
        .await
        .unwrap();
    assert_eq!(empty, digest::claim_batch(&domain, &[]));
}

async fn token_domain_and_type_hashes(chain: Chain) {
    let token = chain.token();
    let separator = token.DOMAIN_SEPARATOR().call().await.unwrap();
    assert_eq!(separator, token_domain().separator());

    let hash = token
        .TRANSFER_WITH_AUTHORIZATION_TYPEHASH()
        .call()
        .await
        .unwrap();
    assert_eq!(
        hash,
        type_hash(&typed::TransferWithAuthorization::eip712_root_type())
    );
    let hash = token
        .RECEIVE_WITH_AUTHORIZATION_TYPEHASH()
        .call()
        .await
        .unwrap();
    assert_eq!(
        hash,
        type_hash(&typed::ReceiveWithAuthorization::eip712_root_type())
    );
    let hash = token.CANCEL_AUTHORIZATION_TYPEHASH().call().await.unwrap();
    assert_eq!(
        hash,
        type_hash(&typed::CancelAuthorization::eip712_root_type())
    );
    let hash = token.PERMIT_TYPEHASH().call().await.unwrap();
    assert_eq!(hash, type_hash(&typed::Permit::eip712_root_type()));

    let settlement = chain.settlement();
    let hash = settlement.CHANNEL_CONFIG_TYPEHASH().call().await.unwrap();
    assert_eq!(hash, type_hash(&typed::ChannelConfig::eip712_root_type()));
    let hash = settlement.VOUCHER_TYPEHASH().call().await.unwrap();
    assert_eq!(hash, type_hash(&typed::Voucher::eip712_root_type()));
    let hash = settlement.REFUND_TYPEHASH().call().await.unwrap();
    assert_eq!(hash, type_hash(&typed::Refund::eip712_root_type()));
    let hash = settlement.CLAIM_ENTRY_TYPEHASH().call().await.unwrap();
    assert_eq!(hash, type_hash(&typed::ClaimEntry::eip712_root_type()));
    let hash = settlement.CLAIM_BATCH_TYPEHASH().call().await.unwrap();
    assert_eq!(hash, type_hash(&typed::ClaimBatch::eip712_encode_type()));
}

async fn domain_is_described(chain: Chain) {
    let settlement = chain.settlement();
    let domain = settlement.eip712Domain().call().await.unwrap();
    assert_eq!(domain.fields, [0x0f]);
    assert_eq!(domain.name, "x402 Batch Settlement");
    assert_eq!(domain.version, "1");
    assert_eq!(domain.chainId, U256::from(CHAIN_ID));
    assert_eq!(domain.verifyingContract, SETTLEMENT);
    assert_eq!(domain.salt, B256::ZERO);
    assert!(domain.extensions.is_empty());
    let shortest: u64 = settlement.MIN_WITHDRAW_DELAY().call().await.unwrap().to();
    let longest: u64 = settlement.MAX_WITHDRAW_DELAY().call().await.unwrap().to();
    assert_eq!((shortest, longest), (900, 2_592_000));
    let known = chain
        .collector()
        .x402BatchSettlement()
        .call()
        .await
        .unwrap();
    assert_eq!(known, SETTLEMENT);

    let genesis: Value =
        serde_json::from_str(include_str!("../../../contracts/artifacts/genesis.json")).unwrap();
    let at = |name: &str| -> Address {
        genesis["addresses"][name]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(at("BatchSettlement"), SETTLEMENT);
    assert_eq!(at("Erc3009DepositCollector"), COLLECTOR);
    assert_eq!(at("DevToken"), TOKEN);
}

fn type_hash(encoded_type: &str) -> B256 {
    alloy::primitives::keccak256(encoded_type)
}

/// The same config as `rialto-channels` takes it.
fn as_channels_config(config: &ChannelConfig) -> rialto_channels::ChannelConfig {
    rialto_channels::ChannelConfig {
        payer: config.payer,
        payer_authorizer: config.payerAuthorizer,
        receiver: config.receiver,
        receiver_authorizer: config.receiverAuthorizer,
        token: config.token,
        withdraw_delay: config.withdrawDelay.to(),
        salt: config.salt,
    }
}

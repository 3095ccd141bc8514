//! Deposits by Permit2 and royalties, through the client.

use alloy::primitives::{Bytes, U256};
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use rialto_chain::client::{ChainClient, Permit2Authorization, TokenPermit};
use rialto_chain::contracts::{DEV_CHAIN_ID, PERMIT2, PERMIT2_DEPOSIT_COLLECTOR, SPLITTER_FACTORY};
use rialto_channels::royalty::{Royalty, Share};
use rialto_channels::{Amount, ChannelConfig, digest};
use serde_json::json;

use crate::chain::{Chain, Kind};
use crate::people::{
    HOST, PAYER, RECEIVER, STRANGER, address, channel, fund, key, row, token_domain,
};

on_both!(
    payers_deposit_by_permit2,
    royalties_reach_publisher_and_provider
);

mod typed {
    alloy::sol! {
        struct TokenPermissions { address token; uint256 amount; }
        struct DepositWitness { bytes32 channelId; }
        struct PermitWitnessTransferFrom {
            TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline;
            DepositWitness witness;
        }
    }
}

const USDC_1M: u128 = 1_000_000_000_000;

fn consent(
    client: &ChainClient,
    config: &ChannelConfig,
    amount: Amount,
    nonce: U256,
) -> Permit2Authorization {
    let domain: Eip712Domain =
        eip712_domain! { name: "Permit2", chain_id: DEV_CHAIN_ID, verifying_contract: PERMIT2, };
    let message = typed::PermitWitnessTransferFrom {
        permitted: typed::TokenPermissions {
            token: config.token,
            amount: amount.to_u256(),
        },
        spender: PERMIT2_DEPOSIT_COLLECTOR,
        nonce,
        deadline: U256::from(u64::MAX),
        witness: typed::DepositWitness {
            channelId: config.id(&client.domain()).0,
        },
    };
    let signature = key(PAYER).sign(message.eip712_signing_hash(&domain));
    Permit2Authorization {
        nonce,
        deadline: u64::MAX,
        signature: signature.to_bytes().to_vec(),
        allowance: None,
    }
}

/// Without gas: the payer signs a permit and a transfer, and the host sends both at once.
async fn payers_deposit_by_permit2(chain: Chain) {
    let host = chain.client(HOST).await;
    let (config, amount) = (channel(0), Amount::new(1_000));
    let nonce = U256::MAX - U256::from(7);
    let plain = consent(&host, &config, amount, nonce);
    assert_eq!(
        host.permit2_allowance(address(PAYER)).await.unwrap(),
        U256::ZERO
    );
    let refused = host.simulate_deposit(&config, amount, &plain).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.revert(), Some("ERC20InsufficientAllowance"));

    let permit = key(PAYER).sign(digest::permit(
        &token_domain(),
        address(PAYER),
        PERMIT2,
        amount.to_u256(),
        U256::ZERO,
        U256::from(u64::MAX),
    ));
    let with_permit = Permit2Authorization {
        allowance: Some(TokenPermit {
            value: amount.to_u256(),
            deadline: u64::MAX,
            signature: permit.to_bytes(),
        }),
        ..plain
    };
    assert!(
        !host
            .permit2_nonce_used(address(PAYER), nonce)
            .await
            .unwrap()
    );
    host.simulate_deposit(&config, amount, &with_permit)
        .await
        .unwrap();
    let deposited = host.deposit(&config, amount, &with_permit).await.unwrap();
    assert_eq!(deposited.balance, amount);
    assert!(
        host.permit2_nonce_used(address(PAYER), nonce)
            .await
            .unwrap()
    );
    let next = nonce + U256::from(1);
    assert!(!host.permit2_nonce_used(address(PAYER), next).await.unwrap());
    let again = host.deposit(&config, amount, &with_permit).await;
    assert_eq!(again.unwrap_err().revert(), Some("InvalidNonce"));

    let other = consent(&host, &channel(1), amount, next);
    let moved = host.deposit(&config, amount, &other).await.unwrap_err();
    assert_eq!(moved.revert(), Some("InvalidSigner"));
    let held = host.token_balance(address(PAYER)).await.unwrap();
    assert_eq!(held, Amount::new(USDC_1M - 1_000));
}

/// The splitter is put in its place when there is something to release, dust included. On anvil the
/// factory has to be put there first.
async fn royalties_reach_publisher_and_provider(chain: Chain) {
    let host = chain.client(HOST).await;
    if chain.kind == Kind::Anvil {
        let gone = json!([SPLITTER_FACTORY, Bytes::new()]);
        chain.rpc("anvil_setCode", gone).await;
    }
    let royalty = Royalty {
        publisher: address(STRANGER),
        share: Share::from_bps(333).unwrap(),
    };
    let (provider, token) = (address(RECEIVER), channel(0).token);
    let splitter = royalty.receiver(provider);
    let config = ChannelConfig {
        receiver: splitter,
        ..channel(0)
    };
    let idle = host.release(&royalty, provider, token).await.unwrap();
    assert_eq!(idle, None, "nothing is due");
    assert!(!host.has_code(splitter).await.unwrap());

    fund(&host, &config, 1_000).await;
    let mut claimed = 0;
    for total in [100_u128, 101, 102, 120, 499, 500, 777, 1_000] {
        host.claim(&[row(&host, config, 1_000, total)])
            .await
            .unwrap();
        let settled = host.settle(splitter, token).await.unwrap();
        assert_eq!(settled.amount, Amount::new(total - claimed));
        claimed = total;
        let released = host.release(&royalty, provider, token).await.unwrap();
        let released = released.expect("something is due");
        let (publisher, provider_part) = royalty.share.split(Amount::new(total));
        let held = |account| host.token_balance(account);
        let start = Amount::new(USDC_1M);
        assert_eq!(
            held(royalty.publisher).await.unwrap().checked_sub(start),
            Ok(publisher)
        );
        assert_eq!(
            held(provider).await.unwrap().checked_sub(start),
            Ok(provider_part)
        );
        assert!(released.publisher <= publisher && released.provider <= provider_part);
    }
    assert!(!host.deploy_splitter(&royalty, provider).await.unwrap());
    let own = Royalty {
        publisher: provider,
        ..royalty
    };
    assert_eq!(host.release(&own, provider, token).await.unwrap(), None);
}

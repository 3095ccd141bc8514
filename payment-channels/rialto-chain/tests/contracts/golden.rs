//! What an unmodified x402 client signed for a channel of this contract: digests and signatures.

use alloy::primitives::{B256, Bytes, Signature, U256, Uint, b256};

use crate::abi::BatchSettlement::{ChannelConfig, Voucher, VoucherClaim};
use crate::chain::Chain;
use crate::world::{Consent, TOKEN, Who, refund_digest, settlement_domain};

on_both!(golden_vectors_hold);

// What an unmodified x402 client signed on chain 84532; the payer is development account 1.
const CHANNEL: B256 = b256!("febc525b75382b9294257d9872dba8a07a41de6c2c528db6806cc2e1245332f8");
const DOMAIN: B256 = b256!("fdef80764086b1e0fc6ba99f0cb9aa1d59109fda7c23d60334c89d2de44dffce");
const VOUCHER_1000: B256 =
    b256!("4615dd78c339125fa6d3266cb151579dda460059cb10887bb3ce68352ce61a43");
const REFUND_0_2300: B256 =
    b256!("74cd5dccd665068b6e7f528d26bf15720691290e9970279712f430f3f62a6650");
const BATCH_1000_700: B256 =
    b256!("450175b2cc04489ab1b8279bd52642ae8a15eef236be7c6a543949486048fd83");
const DEPOSIT_SALT: B256 =
    b256!("de96056966431d8ba73e1b38cf1e1fa4bdddadbbcea4ab0b4e9a4fba8366bcb1");
const DEPOSIT_NONCE: B256 =
    b256!("07c1592b6cae9bb0184435070c871d45efc3096b5c4d94698f3f527211719c8e");
const VOUCHER_SIGNATURE: &str = "0x3be7981ec744a58cdd9e241d07fad377efcf5bd56ad33bce86dc828aef9527cf676891e41b85e4508a02498e53bc4411da296b1895b872a9446789cafda063431b";
const DEPOSIT_SIGNATURE: &str = "0x5d9189ddd81530d7dbd08d18bf1c174a16280d33cae3d477763092a8e3d7656f034d2b17936db29a1e833a4c92fb3f752a4e9b060c3eba82b84044440d49ab801c";
const DEPOSIT_VALID_BEFORE: u64 = 1_795_294_719;

fn golden_config() -> ChannelConfig {
    let (payer, receiver) = (Who::Payer.address(), Who::Relay.address());
    ChannelConfig {
        payer,
        payerAuthorizer: payer,
        receiver,
        receiverAuthorizer: receiver,
        token: TOKEN,
        withdrawDelay: Uint::from(900),
        salt: B256::ZERO,
    }
}

/// The digests, and what the client's own signatures open.
async fn golden_vectors_hold(chain: Chain) {
    let settlement = chain.settlement();
    let config = golden_config();
    let voucher = Voucher {
        channel: config.clone(),
        maxClaimableAmount: 1000,
    };
    let signature: Bytes = VOUCHER_SIGNATURE.parse().unwrap();
    let rows = vec![VoucherClaim {
        voucher,
        signature,
        totalClaimed: 700,
    }];

    assert_eq!(
        settlement
            .getChannelId(config.clone())
            .call()
            .await
            .unwrap(),
        CHANNEL
    );
    assert_eq!(
        settlement
            .getVoucherDigest(CHANNEL, 1000)
            .call()
            .await
            .unwrap(),
        VOUCHER_1000
    );
    let refund = settlement
        .getRefundDigest(CHANNEL, U256::ZERO, 2300)
        .call()
        .await
        .unwrap();
    assert_eq!(refund, REFUND_0_2300);
    assert_eq!(refund_digest(&config, 0, 2300), REFUND_0_2300);
    let batch = settlement
        .getClaimBatchDigest(rows.clone())
        .call()
        .await
        .unwrap();
    assert_eq!(batch, BATCH_1000_700);
    assert_eq!(settlement_domain().separator(), DOMAIN);

    // The recorded deposit has expired since; its signature has not.
    let recorded = Consent {
        amount: 10_000,
        valid_after: 0,
        valid_before: DEPOSIT_VALID_BEFORE,
        salt: DEPOSIT_SALT.into(),
    };
    assert_eq!(recorded.nonce(&config), DEPOSIT_NONCE);
    let signature: Signature = DEPOSIT_SIGNATURE.parse().unwrap();
    let signer = signature
        .recover_address_from_prehash(&recorded.digest(&config))
        .unwrap();
    assert_eq!(signer, config.payer);
    chain.deposit(&config, Who::Payer, 10_000, 1).await;
    chain
        .send(settlement.claim(rows).from(Who::Relay.address()))
        .await;
    assert_eq!(chain.channel(&config).await, (10_000, 700));
}

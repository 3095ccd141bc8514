//! Hostile tokens and collectors, and several calls in one.

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::{SolCall, SolValue};

use crate::abi::BatchSettlement::{self, ChannelConfig};
use crate::abi::HostileToken;
use crate::chain::{Chain, GENESIS_BALANCE, events, reverts};
use crate::world::{SETTLEMENT, TOKEN, Who, batch_digest, config, id, refund_digest, row};

on_both!(
    no_function_is_entered_twice,
    token_cannot_reenter_on_any_way_out,
    failed_transfers_fail_loudly,
    several_calls_in_one,
    failure_in_several_calls_reverts_all,
);

const PLAIN: u8 = 0;
const SILENT: u8 = 1;
const ANSWERS_FALSE: u8 = 2;
const REVERTS: u8 = 3;
const REENTERS: u8 = 4;

fn deliver(amount: u64, target: Address, call: Vec<u8>) -> Bytes {
    (U256::from(amount), target, Bytes::from(call))
        .abi_encode_params()
        .into()
}

/// The calldata of every guarded function, good enough to get past the guard.
fn guarded_calls(config: &ChannelConfig, collector: Address) -> Vec<Vec<u8>> {
    let config = config.clone();
    let rows = vec![row(&config, Who::Session, 1, 1)];
    let batch_signature = Who::Host.sign(batch_digest(&rows));
    let refund_signature = Who::Host.sign(refund_digest(&config, 0, 1));
    vec![
        BatchSettlement::depositCall {
            config: config.clone(),
            amount: 1,
            collector,
            collectorData: deliver(1, Address::ZERO, Vec::new()),
        }
        .abi_encode(),
        BatchSettlement::claimCall {
            voucherClaims: rows.clone(),
        }
        .abi_encode(),
        BatchSettlement::claimWithSignatureCall {
            voucherClaims: rows,
            authorizerSignature: batch_signature,
        }
        .abi_encode(),
        BatchSettlement::settleCall {
            receiver: config.receiver,
            token: config.token,
        }
        .abi_encode(),
        BatchSettlement::initiateWithdrawCall {
            config: config.clone(),
            amount: 1,
        }
        .abi_encode(),
        BatchSettlement::finalizeWithdrawCall {
            config: config.clone(),
        }
        .abi_encode(),
        BatchSettlement::refundCall {
            config: config.clone(),
            amount: 1,
        }
        .abi_encode(),
        BatchSettlement::refundWithSignatureCall {
            config,
            amount: 1,
            nonce: U256::ZERO,
            receiverAuthorizerSignature: refund_signature,
        }
        .abi_encode(),
    ]
}

/// A channel in a fresh hostile token; its receiver and receiver authorizer is the host.
async fn hostile_channel(chain: &Chain) -> (ChannelConfig, Address) {
    let (token, collector) = chain.hostile().await;
    let config = ChannelConfig {
        token,
        ..config(Who::Payer, Who::Host)
    };
    let data = deliver(1000, Address::ZERO, Vec::new());
    chain
        .send(
            chain
                .settlement()
                .deposit(config.clone(), 1000, collector, data),
        )
        .await;
    (config, collector)
}

/// I10, from within a collector.
async fn no_function_is_entered_twice(chain: Chain) {
    let (config, collector) = hostile_channel(&chain).await;
    for call in guarded_calls(&config, collector) {
        let wrapped = BatchSettlement::multicallCall {
            data: vec![call.clone().into()],
        };
        for call in [call, wrapped.abi_encode()] {
            let data = deliver(1, SETTLEMENT, call);
            let deposit = chain
                .settlement()
                .deposit(config.clone(), 1, collector, data);
            reverts(deposit, BatchSettlement::ReentrancyGuardReentrantCall {}).await;
        }
    }
    // Reading is free.
    let read = BatchSettlement::channelsCall {
        channelId: id(&config),
    }
    .abi_encode();
    let data = deliver(1, SETTLEMENT, read);
    chain
        .send(
            chain
                .settlement()
                .deposit(config.clone(), 1, collector, data),
        )
        .await;
    assert_eq!(chain.channel(&config).await, (1001, 0));
}

/// I10, from within the token's transfer.
async fn token_cannot_reenter_on_any_way_out(chain: Chain) {
    let (config, _) = hostile_channel(&chain).await;
    chain.claim(vec![row(&config, Who::Session, 10, 10)]).await;
    let payer = Who::Payer.address();
    chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(config.clone(), 10)
                .from(payer),
        )
        .await;
    chain.advance(1000).await;

    let token = HostileToken::new(config.token, chain.provider.clone());
    let settle = BatchSettlement::settleCall {
        receiver: config.receiver,
        token: config.token,
    };
    let inner = Bytes::from(settle.abi_encode());
    chain.send(token.setMode(REENTERS, SETTLEMENT, inner)).await;
    let caught = || BatchSettlement::ReentrancyGuardReentrantCall {};
    let settlement = chain.settlement();
    reverts(settlement.settle(config.receiver, config.token), caught()).await;
    reverts(
        settlement.refund(config.clone(), 1).from(config.receiver),
        caught(),
    )
    .await;
    reverts(
        settlement.finalizeWithdraw(config.clone()).from(payer),
        caught(),
    )
    .await;

    chain
        .send(token.setMode(PLAIN, Address::ZERO, Bytes::new()))
        .await;
    chain
        .send(settlement.finalizeWithdraw(config.clone()).from(payer))
        .await;
    chain
        .send(settlement.settle(config.receiver, config.token))
        .await;
    let held = token.balanceOf(SETTLEMENT).call().await.unwrap();
    assert_eq!(held, U256::from(980), "I1");
}

async fn failed_transfers_fail_loudly(chain: Chain) {
    let (config, _) = hostile_channel(&chain).await;
    chain.claim(vec![row(&config, Who::Session, 10, 10)]).await;
    let token = HostileToken::new(config.token, chain.provider.clone());
    let set = |mode| chain.send(token.setMode(mode, Address::ZERO, Bytes::new()));
    let settle = || chain.settlement().settle(config.receiver, config.token);

    set(ANSWERS_FALSE).await;
    let failed = BatchSettlement::SafeERC20FailedOperation {
        token: config.token,
    };
    reverts(settle(), failed).await;
    set(REVERTS).await;
    reverts(
        settle(),
        HostileToken::Refused {
            code: U256::from(7),
        },
    )
    .await;
    set(SILENT).await;
    chain.send(settle()).await;
    assert_eq!(
        token.balanceOf(config.receiver).call().await.unwrap(),
        U256::from(10)
    );
}

async fn several_calls_in_one(chain: Chain) {
    let a = config(Who::Payer, Who::Receiver);
    chain.deposit(&a, Who::Payer, 1000, 1).await;
    let rows = vec![row(&a, Who::Session, 300, 300)];
    let settle = BatchSettlement::settleCall {
        receiver: a.receiver,
        token: TOKEN,
    };
    let read = BatchSettlement::channelsCall { channelId: id(&a) };
    let data = vec![
        BatchSettlement::claimCall {
            voucherClaims: rows,
        }
        .abi_encode()
        .into(),
        settle.abi_encode().into(),
        read.abi_encode().into(),
    ];
    let call = || chain.settlement().multicall(data.clone()).from(a.receiver);
    let answers = call().call().await.unwrap();
    assert_eq!(answers.len(), 3);
    assert!(answers[0].is_empty());
    assert_eq!(answers[2], (1000_u128, 300_u128).abi_encode());
    let receipt = chain.send(call()).await;
    let sender = events::<BatchSettlement::Claimed>(&receipt)[0].sender;
    assert_eq!(sender, a.receiver, "the caller stays who it is");
    assert_eq!(chain.balance(a.receiver).await, GENESIS_BALANCE + 300);
}

async fn failure_in_several_calls_reverts_all(chain: Chain) {
    let a = config(Who::Payer, Who::Receiver);
    chain.deposit(&a, Who::Payer, 1000, 1).await;
    let refund = |amount| -> Bytes {
        BatchSettlement::refundCall {
            config: a.clone(),
            amount,
        }
        .abi_encode()
        .into()
    };
    let host = Who::Host.address();
    let named = chain
        .settlement()
        .multicall(vec![refund(1), refund(0)])
        .from(host);
    reverts(named, BatchSettlement::ZeroRefund {}).await;
    let nameless = vec![refund(1), Bytes::from_static(&[1, 2, 3, 4])];
    let nameless = chain.settlement().multicall(nameless).from(host);
    reverts(nameless, BatchSettlement::FailedCall {}).await;
    assert_eq!(chain.channel(&a).await, (1000, 0));
}

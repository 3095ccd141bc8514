//! Refunds: the receiver's side gives unclaimed escrow back at once.

use alloy::primitives::{Bytes, U256};

use crate::abi::BatchSettlement::{self, ChannelConfig};
use crate::chain::{Chain, GENESIS_BALANCE, emitted, events, reverts};
use crate::world::{DELAY, Who, config, id, refund_digest, row};

on_both!(
    gives_back_at_most_what_is_unclaimed,
    emptied_channel_closes,
    only_the_receiver_side_refunds,
    each_refund_uses_up_a_nonce,
    signed_refund_runs_once,
    signature_covers_channel_nonce_and_amount,
    lowers_a_pending_withdrawal,
);

async fn funded(chain: &Chain) -> ChannelConfig {
    let config = config(Who::Payer, Who::Receiver);
    chain.deposit(&config, Who::Payer, 1000, 1).await;
    config
}

async fn nonce(chain: &Chain, config: &ChannelConfig) -> u64 {
    chain
        .settlement()
        .refundNonce(id(config))
        .call()
        .await
        .unwrap()
        .to()
}

fn refunded(config: &ChannelConfig, by: Who, amount: u128) -> BatchSettlement::Refunded {
    BatchSettlement::Refunded {
        channelId: id(config),
        sender: by.address(),
        amount,
    }
}

async fn gives_back_at_most_what_is_unclaimed(chain: Chain) {
    let a = funded(&chain).await;
    chain.claim(vec![row(&a, Who::Session, 100, 100)]).await;
    let some = chain
        .settlement()
        .refund(a.clone(), 300)
        .from(Who::Receiver.address());
    emitted(&chain.send(some).await, &[refunded(&a, Who::Receiver, 300)]);
    assert_eq!(chain.channel(&a).await, (700, 100));
    let rest = chain
        .settlement()
        .refund(a.clone(), u128::MAX)
        .from(Who::Host.address());
    let receipt = chain.send(rest).await;
    emitted(&receipt, &[refunded(&a, Who::Host, 600)]);
    assert_eq!(
        events::<BatchSettlement::ChannelClosed>(&receipt),
        [],
        "it was claimed from"
    );
    assert_eq!(chain.channel(&a).await, (100, 100));
    assert_eq!(
        chain.balance(Who::Payer.address()).await,
        GENESIS_BALANCE - 100
    );
}

async fn emptied_channel_closes(chain: Chain) {
    let a = funded(&chain).await;
    let all = chain
        .settlement()
        .refund(a.clone(), 1000)
        .from(Who::Host.address());
    let receipt = chain.send(all).await;
    let closed = BatchSettlement::ChannelClosed {
        channelId: id(&a),
        config: a,
    };
    emitted(&receipt, &[closed]);
}

async fn only_the_receiver_side_refunds(chain: Chain) {
    let a = funded(&chain).await;
    for who in [
        Who::Payer,
        Who::Session,
        Who::Receiver2,
        Who::Host2,
        Who::Stranger,
    ] {
        let call = chain.settlement().refund(a.clone(), 1).from(who.address());
        reverts(call, BatchSettlement::NotAuthorizedToRefund {}).await;
    }
    let call = chain.settlement().refund(a, 0).from(Who::Host.address());
    reverts(call, BatchSettlement::ZeroRefund {}).await;
}

/// I7, also when nothing is left to give.
async fn each_refund_uses_up_a_nonce(chain: Chain) {
    let a = funded(&chain).await;
    chain.claim(vec![row(&a, Who::Session, 900, 900)]).await;
    for (n, logs) in [(1, 2), (2, 0), (3, 0)] {
        let call = chain
            .settlement()
            .refund(a.clone(), 100)
            .from(Who::Host.address());
        assert_eq!(chain.send(call).await.logs().len(), logs);
        assert_eq!(nonce(&chain, &a).await, n);
    }
    assert_eq!(chain.channel(&a).await, (900, 900));
}

async fn signed_refund_runs_once(chain: Chain) {
    let a = funded(&chain).await;
    let signature = Who::Host.sign(refund_digest(&a, 0, 250));
    let call = || {
        let settlement = chain.settlement();
        let call = settlement.refundWithSignature(a.clone(), 250, U256::ZERO, signature.clone());
        call.from(Who::Stranger.address())
    };
    emitted(
        &chain.send(call()).await,
        &[refunded(&a, Who::Stranger, 250)],
    );
    assert_eq!(
        chain.balance(Who::Payer.address()).await,
        GENESIS_BALANCE - 750
    );
    assert_eq!(
        chain.balance(Who::Stranger.address()).await,
        GENESIS_BALANCE,
        "I6"
    );
    reverts(call(), BatchSettlement::InvalidRefundNonce {}).await;

    // A direct refund takes the next nonce away from a signature that waits.
    let next = Who::Host.sign(refund_digest(&a, 1, 250));
    let direct = chain
        .settlement()
        .refund(a.clone(), 1)
        .from(Who::Receiver.address());
    chain.send(direct).await;
    let late = chain
        .settlement()
        .refundWithSignature(a, 250, U256::from(1), next);
    reverts(late, BatchSettlement::InvalidRefundNonce {}).await;
}

async fn signature_covers_channel_nonce_and_amount(chain: Chain) {
    let a = funded(&chain).await;
    let b = config(Who::Payer2, Who::Receiver);
    chain.deposit(&b, Who::Payer2, 1000, 1).await;
    let refund = |config: &ChannelConfig, amount, nonce: u64, signature: Bytes| {
        let settlement = chain.settlement();
        settlement.refundWithSignature(config.clone(), amount, U256::from(nonce), signature)
    };
    let digest = refund_digest(&a, 0, 250);
    let good = Who::Host.sign(digest);
    let invalid = || BatchSettlement::InvalidSignature {};
    reverts(refund(&a, 251, 0, good.clone()), invalid()).await;
    reverts(refund(&b, 250, 0, good.clone()), invalid()).await;
    reverts(
        refund(&a, 250, 0, Who::Host.sign(refund_digest(&a, 1, 250))),
        invalid(),
    )
    .await;
    for who in [Who::Receiver, Who::Payer, Who::Session, Who::Stranger] {
        reverts(refund(&a, 250, 0, who.sign(digest)), invalid()).await;
    }
    reverts(refund(&a, 250, 0, Bytes::new()), invalid()).await;
    let early = refund(&a, 250, 1, Who::Host.sign(refund_digest(&a, 1, 250)));
    reverts(early, BatchSettlement::InvalidRefundNonce {}).await;
    let zero = refund(&a, 0, 0, Who::Host.sign(refund_digest(&a, 0, 0)));
    reverts(zero, BatchSettlement::ZeroRefund {}).await;
    chain.send(refund(&a, 250, 0, good)).await;
}

async fn lowers_a_pending_withdrawal(chain: Chain) {
    let a = funded(&chain).await;
    let (payer, host) = (Who::Payer.address(), Who::Host.address());
    let pending = async || {
        chain
            .settlement()
            .pendingWithdrawals(id(&a))
            .call()
            .await
            .unwrap()
    };
    chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(a.clone(), 500)
                .from(payer),
        )
        .await;
    let started_at = pending().await.initiatedAt;
    chain
        .send(chain.settlement().refund(a.clone(), 200).from(host))
        .await;
    assert_eq!(
        (pending().await.amount, pending().await.initiatedAt),
        (300, started_at)
    );
    chain
        .send(chain.settlement().refund(a.clone(), 300).from(host))
        .await;
    assert_eq!(pending().await.amount, 0);
    assert!(pending().await.initiatedAt.is_zero());
    chain.advance(DELAY).await;
    let end = chain.settlement().finalizeWithdraw(a.clone()).from(payer);
    reverts(end, BatchSettlement::WithdrawalNotPending {}).await;
    assert_eq!(chain.channel(&a).await, (500, 0));
}

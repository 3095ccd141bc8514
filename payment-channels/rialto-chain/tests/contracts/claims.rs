//! Claims and settlement: what the payer signed, at most, and to the receiver only.

use alloy::primitives::Bytes;

use crate::abi::BatchSettlement::{self, ChannelConfig, VoucherClaim};

use crate::chain::{Chain, GENESIS_BALANCE, emitted, reverts};
use crate::world::{TOKEN, Who, batch_digest, id, row};

on_both!(
    either_receiver_side_claims,
    stale_rows_are_skipped,
    ceiling_and_balance_bound_a_row,
    only_the_receiver_side_claims,
    one_signature_claims_for_many_receivers,
    one_bad_row_reverts_all,
    anyone_settles_to_the_receiver
);

fn claimed(config: &ChannelConfig, by: Who, more: u128, total: u128) -> BatchSettlement::Claimed {
    BatchSettlement::Claimed {
        channelId: id(config),
        sender: by.address(),
        claimAmount: more,
        newTotalClaimed: total,
    }
}

async fn either_receiver_side_claims(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let b = chain.funded(Who::Payer2, Who::Receiver, 1000).await;
    let by_host = chain.claim(vec![row(&a, Who::Session, 300, 200)]).await;
    emitted(&by_host, &[claimed(&a, Who::Host, 200, 200)]);
    let rows = vec![
        row(&a, Who::Session, 300, 300),
        row(&b, Who::Session, 50, 50),
    ];
    let call = chain.settlement().claim(rows).from(Who::Receiver.address());
    let by_receiver = chain.send(call).await;
    let expected = [
        claimed(&a, Who::Receiver, 100, 300),
        claimed(&b, Who::Receiver, 50, 50),
    ];
    emitted(&by_receiver, &expected);
    assert_eq!(chain.channel(&a).await, (1000, 300));
    assert_eq!(chain.channel(&b).await, (1000, 50));
    assert_eq!(chain.receiver(Who::Receiver).await, (350, 0), "I5");
    assert_eq!(
        chain.balance(Who::Receiver.address()).await,
        GENESIS_BALANCE
    );
}

/// A row that takes nothing new is no error, however bad the rest of it is.
async fn stale_rows_are_skipped(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    chain.claim(vec![row(&a, Who::Session, 500, 500)]).await;
    let forged = VoucherClaim {
        signature: Bytes::new(),
        ..row(&a, Who::Stranger, 1, 500)
    };
    let rows = vec![
        row(&a, Who::Session, 500, 500),
        forged,
        row(&a, Who::Session, 400, 0),
    ];
    let receipt = chain.claim(rows).await;
    assert_eq!(receipt.logs().len(), 0);
    assert_eq!(chain.channel(&a).await, (1000, 500), "I3");
}

/// I2 and I4.
async fn ceiling_and_balance_bound_a_row(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let claim = |r| chain.settlement().claim(vec![r]).from(Who::Host.address());
    let over = claim(row(&a, Who::Session, 300, 301));
    reverts(over, BatchSettlement::ClaimExceedsCeiling {}).await;
    let over = claim(row(&a, Who::Session, 2000, 1001));
    reverts(over, BatchSettlement::ClaimExceedsBalance {}).await;
    chain.send(claim(row(&a, Who::Session, 2000, 1000))).await;
    assert_eq!(chain.channel(&a).await, (1000, 1000));
}

async fn only_the_receiver_side_claims(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let rows = vec![row(&a, Who::Session, 300, 300)];
    for who in [
        Who::Payer,
        Who::Session,
        Who::Receiver2,
        Who::Host2,
        Who::Stranger,
    ] {
        let call = chain.settlement().claim(rows.clone()).from(who.address());
        reverts(call, BatchSettlement::NotAuthorizedToClaim {}).await;
    }
    let call = chain
        .settlement()
        .claim(Vec::new())
        .from(Who::Host.address());
    reverts(call, BatchSettlement::EmptyBatch {}).await;
    let call = chain
        .settlement()
        .claimWithSignature(Vec::new(), Bytes::new());
    reverts(call, BatchSettlement::EmptyBatch {}).await;
}

async fn one_signature_claims_for_many_receivers(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let b = chain.funded(Who::Payer, Who::Receiver2, 1000).await;
    let rows = vec![row(&a, Who::Session, 10, 10), row(&b, Who::Session, 30, 20)];
    let signature = Who::Host.sign(batch_digest(&rows));
    let call = chain
        .settlement()
        .claimWithSignature(rows, signature)
        .from(Who::Stranger.address());
    let receipt = chain.send(call).await;
    let expected = [
        claimed(&a, Who::Stranger, 10, 10),
        claimed(&b, Who::Stranger, 20, 20),
    ];
    emitted(&receipt, &expected);
    assert_eq!(chain.receiver(Who::Receiver).await, (10, 0));
    assert_eq!(chain.receiver(Who::Receiver2).await, (20, 0));
}

async fn one_bad_row_reverts_all(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let b = chain.funded(Who::Payer2, Who::Receiver, 5).await;
    let rows = vec![row(&a, Who::Session, 10, 10), row(&b, Who::Session, 6, 6)];
    let call = chain.settlement().claim(rows).from(Who::Host.address());
    reverts(call, BatchSettlement::ClaimExceedsBalance {}).await;
    assert_eq!(chain.channel(&a).await, (1000, 0));
}

/// I6.
async fn anyone_settles_to_the_receiver(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    chain.claim(vec![row(&a, Who::Session, 300, 300)]).await;
    let settle = || {
        let call = chain.settlement().settle(Who::Receiver.address(), TOKEN);
        chain.send(call.from(Who::Stranger.address()))
    };
    let settled = BatchSettlement::Settled {
        receiver: Who::Receiver.address(),
        token: TOKEN,
        sender: Who::Stranger.address(),
        amount: 300,
    };
    emitted(&settle().await, &[settled]);
    assert_eq!(
        chain.balance(Who::Receiver.address()).await,
        GENESIS_BALANCE + 300
    );
    assert_eq!(
        chain.balance(Who::Stranger.address()).await,
        GENESIS_BALANCE
    );
    assert_eq!(chain.receiver(Who::Receiver).await, (300, 300));
    assert_eq!(settle().await.logs().len(), 0, "nothing is due");
}

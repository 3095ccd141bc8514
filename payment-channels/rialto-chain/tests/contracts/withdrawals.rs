//! Withdrawals: the payer gets unclaimed escrow back without anyone's help, after the delay.

use alloy::primitives::{B256, Uint};

use crate::abi::BatchSettlement::{self, ChannelConfig};
use crate::chain::{Chain, GENESIS_BALANCE, emitted, events, reverts};
use crate::world::{DELAY, Who, config, id, row};

on_both!(
    payer_takes_everything_back,
    session_key_withdraws_for_the_payer,
    only_the_payer_side_starts,
    only_one_at_a_time_and_not_too_much,
    only_the_payer_side_ends,
    delay_is_kept,
    claims_in_the_window_come_first,
    nothing_left_pays_nothing,
);

async fn funded(chain: &Chain) -> ChannelConfig {
    let config = config(Who::Payer, Who::Receiver);
    chain.deposit(&config, Who::Payer, 1000, 1).await;
    config
}

async fn pending(chain: &Chain, config: &ChannelConfig) -> (u128, u64) {
    let w = chain
        .settlement()
        .pendingWithdrawals(id(config))
        .call()
        .await
        .unwrap();
    (w.amount, w.initiatedAt.to())
}

async fn payer_takes_everything_back(chain: Chain) {
    let a = funded(&chain).await;
    let payer = Who::Payer.address();
    let start = chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(a.clone(), 1000)
                .from(payer),
        )
        .await;
    let started_at = chain.now().await;
    let initiated = BatchSettlement::WithdrawInitiated {
        channelId: id(&a),
        amount: 1000,
        finalizeAfter: Uint::from(started_at + DELAY),
    };
    emitted(&start, &[initiated]);
    assert_eq!(pending(&chain, &a).await, (1000, started_at));
    assert_eq!(chain.balance(payer).await, GENESIS_BALANCE - 1000, "I8");

    chain.advance(DELAY).await;
    let end = chain
        .send(chain.settlement().finalizeWithdraw(a.clone()).from(payer))
        .await;
    let finalized = BatchSettlement::WithdrawFinalized {
        channelId: id(&a),
        sender: payer,
        amount: 1000,
    };
    emitted(&end, &[finalized]);
    let closed = BatchSettlement::ChannelClosed {
        channelId: id(&a),
        config: a.clone(),
    };
    emitted(&end, &[closed]);
    assert_eq!(chain.balance(payer).await, GENESIS_BALANCE);
    assert_eq!(pending(&chain, &a).await, (0, 0));
    assert_eq!(chain.channel(&a).await, (0, 0));
}

/// I6: a session key may start and end it, and gets nothing.
async fn session_key_withdraws_for_the_payer(chain: Chain) {
    let a = funded(&chain).await;
    let session = Who::Session.address();
    chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(a.clone(), 400)
                .from(session),
        )
        .await;
    chain.advance(DELAY).await;
    let end = chain
        .send(chain.settlement().finalizeWithdraw(a.clone()).from(session))
        .await;
    assert_eq!(events::<BatchSettlement::ChannelClosed>(&end), []);
    assert_eq!(chain.balance(session).await, GENESIS_BALANCE);
    assert_eq!(
        chain.balance(Who::Payer.address()).await,
        GENESIS_BALANCE - 600
    );
    assert_eq!(chain.channel(&a).await, (600, 0));
}

async fn only_the_payer_side_starts(chain: Chain) {
    let a = funded(&chain).await;
    for who in [Who::Receiver, Who::Host, Who::Stranger, Who::Payer2] {
        let call = chain
            .settlement()
            .initiateWithdraw(a.clone(), 1)
            .from(who.address());
        reverts(call, BatchSettlement::InvalidChannel {}).await;
    }
}

async fn only_one_at_a_time_and_not_too_much(chain: Chain) {
    let a = funded(&chain).await;
    let start = |amount| {
        chain
            .settlement()
            .initiateWithdraw(a.clone(), amount)
            .from(Who::Payer.address())
    };
    reverts(start(0), BatchSettlement::NothingToWithdraw {}).await;
    reverts(
        start(1001),
        BatchSettlement::WithdrawAmountExceedsAvailable {},
    )
    .await;
    chain.claim(vec![row(&a, Who::Session, 100, 100)]).await;
    reverts(
        start(901),
        BatchSettlement::WithdrawAmountExceedsAvailable {},
    )
    .await;
    chain.send(start(900)).await;
    reverts(start(1), BatchSettlement::WithdrawalAlreadyPending {}).await;
}

async fn only_the_payer_side_ends(chain: Chain) {
    let a = funded(&chain).await;
    let end = |who: Who| {
        chain
            .settlement()
            .finalizeWithdraw(a.clone())
            .from(who.address())
    };
    reverts(end(Who::Payer), BatchSettlement::WithdrawalNotPending {}).await;
    let start = chain
        .settlement()
        .initiateWithdraw(a.clone(), 10)
        .from(Who::Payer.address());
    chain.send(start).await;
    chain.advance(DELAY).await;
    for who in [Who::Receiver, Who::Host, Who::Stranger, Who::Payer2] {
        reverts(
            end(who),
            BatchSettlement::NotAuthorizedToFinalizeWithdraw {},
        )
        .await;
    }
    chain.send(end(Who::Payer)).await;
    reverts(end(Who::Payer), BatchSettlement::WithdrawalNotPending {}).await;
}

/// I8, with a longer delay than the shortest; another channel's wait does not count.
async fn delay_is_kept(chain: Chain) {
    let delay = 86_400;
    let a = ChannelConfig {
        withdrawDelay: Uint::from(delay),
        salt: B256::with_last_byte(1),
        ..funded(&chain).await
    };
    chain.deposit(&a, Who::Payer, 1000, 1).await;
    let payer = Who::Payer.address();
    chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(a.clone(), 1000)
                .from(payer),
        )
        .await;
    let end = || chain.settlement().finalizeWithdraw(a.clone()).from(payer);
    reverts(end(), BatchSettlement::WithdrawDelayNotElapsed {}).await;
    chain.advance(delay - 60).await;
    reverts(end(), BatchSettlement::WithdrawDelayNotElapsed {}).await;
    chain.advance(60).await;
    chain.send(end()).await;
}

async fn claims_in_the_window_come_first(chain: Chain) {
    let a = funded(&chain).await;
    let payer = Who::Payer.address();
    chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(a.clone(), 1000)
                .from(payer),
        )
        .await;
    chain.claim(vec![row(&a, Who::Session, 700, 700)]).await;
    chain.advance(DELAY).await;
    let end = chain
        .send(chain.settlement().finalizeWithdraw(a.clone()).from(payer))
        .await;
    let finalized = BatchSettlement::WithdrawFinalized {
        channelId: id(&a),
        sender: payer,
        amount: 300,
    };
    emitted(&end, &[finalized]);
    assert_eq!(events::<BatchSettlement::ChannelClosed>(&end), []);
    assert_eq!(chain.channel(&a).await, (700, 700));
    // Too late: nothing is left to claim from.
    let late = chain
        .settlement()
        .claim(vec![row(&a, Who::Session, 1000, 701)]);
    reverts(
        late.from(Who::Host.address()),
        BatchSettlement::ClaimExceedsBalance {},
    )
    .await;
}

async fn nothing_left_pays_nothing(chain: Chain) {
    let a = funded(&chain).await;
    let payer = Who::Payer.address();
    chain
        .send(
            chain
                .settlement()
                .initiateWithdraw(a.clone(), 1)
                .from(payer),
        )
        .await;
    chain.claim(vec![row(&a, Who::Session, 1000, 1000)]).await;
    chain.advance(DELAY).await;
    let end = chain
        .send(chain.settlement().finalizeWithdraw(a.clone()).from(payer))
        .await;
    assert_eq!(
        events::<BatchSettlement::WithdrawFinalized>(&end)[0].amount,
        0
    );
    assert_eq!(end.logs().len(), 1, "no transfer");
    assert_eq!(pending(&chain, &a).await, (0, 0));
}

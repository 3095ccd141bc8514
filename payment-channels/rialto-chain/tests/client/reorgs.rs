//! Blocks that are taken back: what the client notices, and what it never believed.

use rialto_chain::client::{BlockRef, ChainClient, ChannelEvent, Fate, Trail};
use rialto_channels::{Amount, Confirmations, Depth};
use serde_json::{Value, json};

use crate::chain::{Chain, Kind};
use crate::people::{DELAY_SECS, HOST, PAYER, RECEIVER, SESSION, address, channel, fund, row};

on_both!(
    a_block_is_known_by_its_hash,
    a_deposit_that_vanishes_is_doubted,
    what_is_read_between_two_looks_is_looked_after,
    every_depth_within_the_trail_is_rolled_back,
    a_deeper_one_puts_everything_in_doubt,
    a_shorter_chain_is_waited_for_and_then_believed,
    large_deposits_count_when_they_lie_deep,
    claims_and_settlements_that_vanish_are_made_again,
    withdrawals_are_seen_at_once,
);

async fn mark(chain: &Chain) -> Value {
    chain.rpc("evm_snapshot", json!([])).await
}

/// Takes back everything since the mark, and mines as many blocks of another branch.
async fn reorganise(chain: &Chain, mark: Value, blocks: u64) {
    assert_eq!(chain.rpc("evm_revert", json!([mark])).await, json!(true));
    if chain.kind == Kind::Anvil {
        // Else it may mine again what was taken back: the other branch knows nothing of it.
        chain.rpc("anvil_dropAllTransactions", json!([])).await;
    }
    // Another time makes other blocks, as other transactions would.
    chain.rpc("evm_increaseTime", json!([7])).await;
    for _ in 0..blocks {
        chain.mine().await;
    }
}

async fn trail(client: &ChainClient) -> Trail {
    let next = client.block_number().await.unwrap();
    let mut trail = Trail::new(next, 64);
    let first = client.follow(&mut trail).await.unwrap();
    assert!(first.doubted.is_empty() && first.taken_back.is_none());
    trail
}

async fn a_block_is_known_by_its_hash(chain: Chain) {
    let client = chain.client(HOST).await;
    let before = mark(&chain).await;
    chain.mine().await;
    let number = client.block_number().await.unwrap();
    let hash = client.block_hash(number).await.unwrap();
    assert!(hash.is_some());
    assert_eq!(client.block_hash(number + 1).await.unwrap(), None);
    reorganise(&chain, before, 0).await;
    assert_eq!(client.block_hash(number).await.unwrap(), None);
    chain.mine().await;
    let other = client.block_hash(number).await.unwrap();
    assert!(other.is_some() && other != hash);
}

async fn a_deposit_that_vanishes_is_doubted(chain: Chain) {
    let client = chain.client(HOST).await;
    let id = channel(0).id(&client.domain());
    let mut trail = trail(&client).await;
    let before = mark(&chain).await;
    fund(&client, &channel(0), 5).await;
    let seen = client.follow(&mut trail).await.unwrap();
    assert!(matches!(
        seen.events[..],
        [rialto_chain::client::Event {
            event: ChannelEvent::Deposited { channel, .. },
            ..
        }] if channel == id
    ));
    assert!(seen.taken_back.is_none());

    reorganise(&chain, before, 3).await;
    let seen = client.follow(&mut trail).await.unwrap();
    assert_eq!(seen.doubted, [id].into());
    assert!(
        seen.events.is_empty() && seen.taken_back.is_some() && !seen.all_doubted,
        "{seen:?}"
    );
    let view = client.channel(&channel(0)).await.unwrap();
    assert!(view.balance.is_zero());
    // Once is enough.
    let seen = client.follow(&mut trail).await.unwrap();
    assert!(seen.doubted.is_empty() && seen.taken_back.is_none());
    // The same deposit is made again on the new branch, and seen there.
    fund(&client, &channel(0), 5).await;
    let seen = client.follow(&mut trail).await.unwrap();
    assert_eq!(seen.events.len(), 1);
}

async fn what_is_read_between_two_looks_is_looked_after(chain: Chain) {
    let client = chain.client(HOST).await;
    let id = channel(0).id(&client.domain());
    let mut trail = trail(&client).await;
    let before = mark(&chain).await;
    fund(&client, &channel(0), 5).await;
    let sight = client.sight(&channel(0)).await.unwrap();
    assert_eq!(sight.view.balance, Amount::new(5));
    trail.note(sight.block, id);
    let other = channel(1).id(&client.domain());
    trail.note(
        BlockRef {
            number: sight.block.number + 90,
            ..sight.block
        },
        other,
    );
    // Gone before the trail ever saw its block.
    reorganise(&chain, before, 2).await;
    let seen = client.follow(&mut trail).await.unwrap();
    assert_eq!(
        seen.doubted,
        [id].into(),
        "the later one waits for its block"
    );

    let sight = client.sight(&channel(0)).await.unwrap();
    trail.note(sight.block, id);
    let seen = client.follow(&mut trail).await.unwrap();
    assert!(seen.doubted.is_empty());
}

async fn every_depth_within_the_trail_is_rolled_back(chain: Chain) {
    let client = chain.client(HOST).await;
    let mut trail = trail(&client).await;
    for depth in [1, 2, 5, 20, 60] {
        let before = mark(&chain).await;
        let config = channel(depth);
        fund(&client, &config, 9).await;
        for _ in 1..depth {
            chain.mine().await;
            if depth < 6 {
                client.follow(&mut trail).await.unwrap();
            }
        }
        client.follow(&mut trail).await.unwrap();
        reorganise(&chain, before, u64::from(depth) + 1).await;
        let seen = client.follow(&mut trail).await.unwrap();
        let id = config.id(&client.domain());
        assert_eq!(seen.doubted, [id].into(), "depth {depth}");
        assert!(
            seen.taken_back
                .is_some_and(|blocks| blocks >= u64::from(depth))
        );
        assert!(!seen.all_doubted);
    }
}

async fn a_deeper_one_puts_everything_in_doubt(chain: Chain) {
    let client = chain.client(HOST).await;
    for _ in 0..3 {
        chain.mine().await;
    }
    let before = mark(&chain).await;
    chain.mine().await;
    let mut trail = Trail::new(client.block_number().await.unwrap(), 4);
    client.follow(&mut trail).await.unwrap();
    fund(&client, &channel(0), 5).await;
    client.follow(&mut trail).await.unwrap();
    reorganise(&chain, before, 4).await;
    let seen = client.follow(&mut trail).await.unwrap();
    assert!(seen.all_doubted);
    let seen = client.follow(&mut trail).await.unwrap();
    assert!(!seen.all_doubted && seen.taken_back.is_none());
}

async fn a_shorter_chain_is_waited_for_and_then_believed(chain: Chain) {
    let client = chain.client(HOST).await;
    let id = channel(0).id(&client.domain());
    let mut trail = trail(&client).await;
    let before = mark(&chain).await;
    fund(&client, &channel(0), 5).await;
    chain.mine().await;
    client.follow(&mut trail).await.unwrap();
    reorganise(&chain, before, 0).await;
    let mut looks = 0;
    loop {
        looks += 1;
        let seen = client.follow(&mut trail).await.unwrap();
        if !seen.doubted.is_empty() {
            assert_eq!(seen.doubted, [id].into());
            break;
        }
        assert!(looks < 20, "never believed");
    }
    assert!(
        looks > 3,
        "an endpoint that lags for a moment is no reorganisation"
    );
}

async fn large_deposits_count_when_they_lie_deep(chain: Chain) {
    let step = |from, blocks| Depth {
        from: Amount::new(from),
        blocks,
    };
    let mut config = chain.config(HOST);
    config.depths = Confirmations::new(vec![step(100, 3), step(1_000, 5)]).unwrap();
    let client = ChainClient::connect(config).await.unwrap();
    let counted = async |salt| {
        let sight = client.sight(&channel(salt)).await;
        sight.unwrap().view.balance.get()
    };
    fund(&client, &channel(0), 99).await;
    assert_eq!(counted(0).await, 99);
    fund(&client, &channel(1), 150).await;
    let sight = client.sight(&channel(1)).await.unwrap();
    assert_eq!(sight.newest, Amount::new(150));
    assert_eq!(sight.view.balance, Amount::new(99));
    // Small ones in a row are a large one.
    fund(&client, &channel(2), 1_500).await;
    assert_eq!(counted(1).await, 99);
    chain.mine().await;
    assert_eq!(counted(1).await, 150, "three blocks hold it");
    assert_eq!(counted(2).await, 99);
    chain.mine().await;
    assert_eq!(counted(2).await, 999);
    chain.mine().await;
    chain.mine().await;
    assert_eq!(counted(2).await, 1_500);
}

async fn claims_and_settlements_that_vanish_are_made_again(chain: Chain) {
    let client = chain.client(HOST).await;
    let config = channel(0);
    fund(&client, &config, 100).await;
    let mut trail = trail(&client).await;
    let before = mark(&chain).await;
    let rows = [row(&client, config, 60, 40)];
    let claimed = client.claim(&rows).await.unwrap();
    let settled = client.settle(config.receiver, config.token).await.unwrap();
    assert_eq!(settled.amount, Amount::new(40));
    let first = claimed.done[0].clone();
    let id = config.id(&client.domain());
    assert_eq!(first.claimed, [(id, Amount::new(40))]);
    client.follow(&mut trail).await.unwrap();

    reorganise(&chain, before, 4).await;
    let seen = client.follow(&mut trail).await.unwrap();
    assert_eq!(seen.doubted, [id].into());
    assert_eq!(client.outcome_of(first.transaction).await.unwrap(), None);
    assert!(client.channel(&config).await.unwrap().claimed.is_zero());
    let again = client.claim(&rows).await.unwrap();
    assert_eq!(again.done[0].claimed, first.claimed);
    let settled = client.settle(config.receiver, config.token).await.unwrap();
    assert_eq!(settled.amount, Amount::new(40));
    let paid = client.outcome_of(settled.transaction.unwrap()).await;
    let paid = paid.unwrap().unwrap();
    assert_eq!(paid.settled, [(address(RECEIVER), Amount::new(40))]);
    let sent = rialto_chain::client::Sent {
        nonce: 0,
        hashes: vec![paid.transaction],
    };
    assert_eq!(client.fate(&sent).await.unwrap(), Fate::Mined(paid));
}

async fn withdrawals_are_seen_at_once(chain: Chain) {
    let mut config = chain.config(HOST);
    // Early even where nothing else counts before many blocks.
    config.confirmations = 12;
    let watcher = ChainClient::connect(config).await.unwrap();
    let mut trail = trail(&watcher).await;
    fund(&chain.client(HOST).await, &channel(0), 100).await;
    watcher.follow(&mut trail).await.unwrap();
    let payer = chain.client(SESSION).await;
    payer
        .initiate_withdraw(&channel(0), Amount::new(100))
        .await
        .unwrap();
    let seen = watcher.follow(&mut trail).await.unwrap();
    let ChannelEvent::WithdrawInitiated {
        amount,
        finalizes_at,
        ..
    } = seen.events[0].event
    else {
        panic!("{seen:?}");
    };
    assert_eq!(amount, Amount::new(100));
    assert_eq!(finalizes_at.get(), seen.now.get() + DELAY_SECS);
    assert_ne!(address(SESSION), address(PAYER));
}

//! What was settled to a receiver, by whomever, as found after the fact.

use rialto_chain::client::{ChainClient, ChannelEvent};
use rialto_chain::contracts::DEV_TOKEN;
use rialto_channels::Amount;

use crate::chain::Chain;
use crate::people::{HOST, RECEIVER, STRANGER, address, channel, fund, row};

on_both!(settlements_are_found_by_receiver_and_block);

async fn claim(host: &ChainClient, total: u128) {
    let row = row(host, channel(0), 1_000, total);
    let claimed = host.claim(&[row]).await.unwrap();
    assert_eq!(claimed.claimed[0].1, Amount::new(total));
}

async fn settlements_are_found_by_receiver_and_block(chain: Chain) {
    let host = chain.client(HOST).await;
    let stranger = chain.client(STRANGER).await;
    fund(&host, &channel(0), 1_000).await;
    let (receiver, token) = (address(RECEIVER), DEV_TOKEN);
    let mut expected = Vec::new();
    let mut blocks = Vec::new();
    for total in [100, 150] {
        claim(&host, total).await;
        let settled = stranger.settle(receiver, token).await.unwrap();
        expected.push((settled.transaction.unwrap(), settled.amount));
        blocks.push(host.block_number().await.unwrap());
    }
    assert_eq!(expected[1].1, Amount::new(50));
    let settled_at = async |number| {
        host.settled_at(receiver, token, number)
            .await
            .unwrap()
            .get()
    };
    assert_eq!(settled_at(blocks[0] - 1).await, 0);
    assert_eq!(settled_at(blocks[0]).await, 100);
    assert_eq!(settled_at(blocks[1]).await, 150);
    let found = async |whose, token, first, last| {
        let found = host.settlements(whose, token, first, last);
        found.await.unwrap()
    };
    let (first, last) = (blocks[0], blocks[1]);
    assert_eq!(found(receiver, token, 0, last).await, expected);
    assert_eq!(found(receiver, token, first, first).await, expected[..1]);
    assert_eq!(found(receiver, token, first + 1, last).await, expected[1..]);
    assert_eq!(found(receiver, receiver, 0, last).await, []);
    assert_eq!(found(address(HOST), token, 0, last).await, []);
    // The same that following the chain shows.
    let (events, _) = host.events(first).await.unwrap();
    let settled = events
        .iter()
        .filter(|event| matches!(event.event, ChannelEvent::Settled { .. }));
    assert_eq!(settled.count(), 2);
}

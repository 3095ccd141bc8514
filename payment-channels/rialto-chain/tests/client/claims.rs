//! Claims in batches, with rows that would spoil them.

use rialto_channels::{Amount, Signature};

use crate::chain::Chain;
use crate::people::{HOST, STRANGER, address, channel, fund, key, row};

on_both!(bad_rows_do_not_spoil_the_batch, large_batches_are_parted);

async fn bad_rows_do_not_spoil_the_batch(chain: Chain) {
    let host = chain.client(HOST).await;
    let mut rows = Vec::new();
    for salt in 0..9 {
        fund(&host, &channel(salt), 100).await;
        rows.push(row(&host, channel(salt), 90, 80));
    }
    // More than the channel holds; more than the voucher allows; forged; not ours to claim.
    rows[2] = row(&host, channel(2), 500, 101);
    rows[3].total_claimed = Amount::new(91);
    let forged = key(STRANGER).sign(alloy::primitives::B256::ZERO).to_bytes();
    rows[7].voucher.signature = Signature::parse(&forged).unwrap();
    let mut foreign = channel(8);
    foreign.receiver_authorizer = address(STRANGER);
    rows[8] = row(&host, foreign, 1, 1);

    let outcome = host.claim(&rows).await.unwrap();
    assert_eq!(outcome.transactions.len(), 1);
    let dropped: Vec<_> = outcome
        .dropped
        .iter()
        .map(|row| (row.channel, row.reason.as_str()))
        .collect();
    let id = |index: usize| rows[index].voucher.voucher.channel;
    let expected = [
        (id(2), "ClaimExceedsBalance"),
        (id(3), "ClaimExceedsCeiling"),
        (id(7), "InvalidSignature"),
        (id(8), "NotAuthorizedToClaim"),
    ];
    assert_eq!(dropped, expected);
    let claimed: Vec<_> = [0, 1, 4, 5, 6]
        .map(|index| (id(index), Amount::new(80)))
        .to_vec();
    assert_eq!(outcome.claimed, claimed);

    let only_bad = host.claim(&rows[2..4]).await.unwrap();
    assert_eq!(only_bad.transactions.len(), 0);
    assert_eq!(only_bad.dropped.len(), 2);
    assert_eq!(host.claim(&[]).await.unwrap(), Default::default());
}

async fn large_batches_are_parted(chain: Chain) {
    let host = chain.client(HOST).await;
    let mut rows = Vec::new();
    for salt in 0..103 {
        fund(&host, &channel(salt), 10).await;
        rows.push(row(&host, channel(salt), 10, 1));
    }
    let outcome = host.claim(&rows).await.unwrap();
    assert_eq!(outcome.transactions.len(), 2);
    assert_eq!(outcome.claimed.len(), 103);
    let settled = host
        .settle(rows[0].config.receiver, rows[0].config.token)
        .await;
    assert_eq!(settled.unwrap().amount, Amount::new(103));
}

//! Where the money is after refunds, restarts of a client, and collection.

use rialto_channels::Amount;
use rialto_gateway::client::{self, PayingClient, stored_channels};

use crate::mesh::{Mesh, addition};

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_client_learns_what_it_was_charged() {
    let mesh = Mesh::start().await;
    let first = mesh.client(0);
    let quote = first.quote("types", "add", &addition(1, 1)).await.unwrap();
    for i in 0..3 {
        first.call(&quote, &addition(i, 1)).await.unwrap();
    }
    drop(first);
    let cold = mesh.client(0);
    let answer = cold.call(&quote, &addition(5, 5)).await.unwrap();
    assert_eq!(answer.body, "10");
    assert_eq!(answer.deposit, None);
    assert_eq!(answer.channel.unwrap().charged, Amount::new(400));
    assert_eq!(mesh.charged(), Amount::new(400));
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_state_is_taken_up_again() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let client = || {
        let mut config = client::Config::new(&mesh.url);
        config.store = Some(dir.path().to_owned());
        PayingClient::new(config, mesh.key(0)).unwrap()
    };
    let first = client();
    let quote = first.quote("types", "add", &addition(1, 1)).await.unwrap();
    first.call(&quote, &addition(1, 1)).await.unwrap();
    drop(first);
    let kept = stored_channels(dir.path()).unwrap().remove(0);
    assert_eq!(kept.snapshot.charged, Amount::new(100));
    assert_eq!(kept.snapshot.uncertain, Amount::ZERO);
    assert_eq!(kept.gateway, mesh.url);

    let answer = client().call(&quote, &addition(2, 2)).await.unwrap();
    assert_eq!(answer.receipt_fault, None);
    assert_eq!(answer.channel.unwrap().charged, Amount::new(200));
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_base_unit_is_somewhere() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let payer = client.payer();
    let receiver = mesh.node.payee().receiver;
    let before = mesh.node.token_balance(payer).await.unwrap();
    let earned = mesh.node.token_balance(receiver).await.unwrap();
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    let first = client.call(&quote, &addition(1, 1)).await.unwrap();
    client.call(&quote, &addition(1, 2)).await.unwrap();
    let (deposited, _) = first.deposit.unwrap();

    let part = client.refund(Some(Amount::new(50))).await.unwrap();
    assert_eq!(part.amount, Amount::new(50));
    client.call(&quote, &addition(1, 3)).await.unwrap();
    // A cold client may ask as well: it is told the count, with its own signature as proof.
    let rest = mesh.client(0).refund(None).await.unwrap();
    assert!(!rest.transaction.is_empty());
    let spent = Amount::new(300);
    let returned = part.amount.checked_add(rest.amount).unwrap();
    assert_eq!(returned, deposited.checked_sub(spent).unwrap());

    mesh.node.collect().await.unwrap();
    let after = mesh.node.token_balance(payer).await.unwrap();
    assert_eq!(after, before.checked_sub(spent).unwrap());
    let paid = mesh.node.token_balance(receiver).await.unwrap();
    assert_eq!(paid, earned.checked_add(spent).unwrap());

    // The channel is empty; the next call funds it again.
    let again = client.call(&quote, &addition(2, 2)).await.unwrap();
    assert!(again.deposit.is_some());
    assert_eq!(again.body, "4");
    mesh.end().await;
}

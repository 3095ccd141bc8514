//! Answered calls whose transfer the chain refuses: no answer without the transfer, nothing tried
//! behind the caller's back, and nothing that never comes stays in the books.

use alloy_primitives::U256;
use rialto_node::{Accounts, CallError, ExactPayment, PaymentError};
use rialto_testkit::proxy::Fault;
use serde_json::json;

use crate::exact::request;
use crate::world::World;

/// Transfers run through it before they are sent.
const ESTIMATE: &str = "eth_estimateGas";
const PRICE: u64 = 100;

/// The call is answered, and the chain is away before the transfer.
async fn answered_and_not_paid(world: &World, payment: &ExactPayment) {
    world.proxy.next(ESTIMATE, usize::MAX, Fault::Status(503));
    let away = world.node.call(request(payment, "echo", 5)).await;
    assert!(
        matches!(away, Err(CallError::Unavailable { .. })),
        "{away:?}"
    );
    assert_eq!(exact(world).await, (PRICE, 0), "booked");
    assert_eq!(world.left_behind(), 1);
}

async fn refused(world: &World, payment: &ExactPayment) -> &'static str {
    match world.node.call(request(payment, "echo", 5)).await {
        Err(CallError::Payment(PaymentError::Settlement { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

/// What was ever booked outside channels, and what of it was taken back.
async fn exact(world: &World) -> (u64, u64) {
    let Accounts {
        balances, balanced, ..
    } = world.node.accounts().await.unwrap();
    assert!(balanced);
    let line = balances.iter().find(|line| line.account == "exact");
    let to_u64 = |amount: U256| u64::try_from(amount).unwrap();
    line.map_or((0, 0), |line| (to_u64(line.debit), to_u64(line.credit)))
}

async fn taken_back_once(world: &World) {
    world
        .until("it is over", async || world.left_behind() == 0)
        .await;
    assert_eq!(exact(world).await, (PRICE, PRICE));
    world.node.audit().await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_the_transfer_however_often_it_is_asked_for() {
    let world = World::start(|_| ()).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    answered_and_not_paid(&world, &payment).await;
    let purse = world.empty_purse().await;
    world.proxy.heal();
    for _ in 0..2 {
        let code = refused(&world, &payment).await;
        assert_eq!(code, "invalid_exact_evm_transaction_failed");
    }
    // The transfer may still come, and stays booked.
    assert_eq!((world.left_behind(), exact(&world).await), (1, (PRICE, 0)));
    world.fill_purse(purse).await;
    // Not behind the caller's back: with the chain's next blocks nothing is paid.
    // Without channels, only such a look asks a contract.
    let looks = world.proxy.count("eth_call");
    world
        .until("the host has looked at it again", async || {
            world.proxy.count("eth_call") > looks + 1
        })
        .await;
    assert_eq!(world.earned().await, before);
    let answered = world.node.call(request(&payment, "echo", 5)).await;
    let answered = answered.unwrap();
    assert!(answered.replayed, "not executed again");
    assert_eq!(answered.body, "\"xxxxx\"".as_bytes());
    assert_eq!(answered.transaction.unwrap().1.get(), u128::from(PRICE));
    assert_eq!(world.earned().await, before + u128::from(PRICE));
    assert_eq!((world.left_behind(), exact(&world).await), (0, (PRICE, 0)));
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

/// The nonce names the transfer: another one under it must not buy the answer.
#[tokio::test(flavor = "multi_thread")]
async fn another_transfer_under_the_nonce_pays_for_nothing() {
    let world = World::start(|_| ()).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    answered_and_not_paid(&world, &payment).await;
    world.proxy.heal();
    for (to_itself, value) in [(true, PRICE), (false, PRICE - 1), (false, 0)] {
        let other = world.signed_again(&payment, to_itself, value.into());
        let refused = world.node.call(request(&other, "echo", 5)).await;
        assert!(
            matches!(refused, Err(CallError::Conflict(_))),
            "{refused:?}"
        );
    }
    world
        .until("the transfer of the call is made", async || {
            world.earned().await == before + u128::from(PRICE)
        })
        .await;
    let answered = world.node.call(request(&payment, "echo", 5)).await;
    assert_eq!(answered.unwrap().body, "\"xxxxx\"".as_bytes());
    world
        .until("it is over", async || world.left_behind() == 0)
        .await;
    assert_eq!(exact(&world).await, (PRICE, 0));
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_went_elsewhere_takes_the_payment_out_of_the_books() {
    let world = World::start(|config| config.risk.final_after = 4).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    answered_and_not_paid(&world, &payment).await;
    // The same nonce, to another, of another sum.
    world.spend_nonce(&payment).await;
    world.proxy.heal();
    let code = refused(&world, &payment).await;
    assert_eq!(code, "invalid_exact_evm_nonce_already_used");
    // A reorganisation could still give the nonce back.
    assert_eq!((world.left_behind(), exact(&world).await), (1, (PRICE, 0)));
    for _ in 0..3 {
        world.rpc("evm_mine", json!([])).await;
    }
    taken_back_once(&world).await;
    // Asked for again, it is not answered, and not taken back again.
    refused(&world, &payment).await;
    taken_back_once(&world).await;
    assert_eq!(world.earned().await, before);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_payment_is_taken_out_of_the_books_once_over_crashes() {
    let world = World::start(|config| config.risk.final_after = 3).await;
    let payment = world.transfer(1).await;
    answered_and_not_paid(&world, &payment).await;
    let purse = world.empty_purse().await;
    world.proxy.heal();
    refused(&world, &payment).await;
    // Nobody asks again: it expires while no node runs.
    let (chain, seconds) = (world.chain.clone(), 601);
    let world = world
        .restart(async |_| {
            for (method, params) in [
                ("evm_increaseTime", json!([seconds])),
                ("evm_mine", json!([])),
            ] {
                chain.request(method, params).await.unwrap();
            }
        })
        .await;
    let pending = std::fs::read_dir(world.data_dir().join("pending")).unwrap();
    let file = pending.map(|file| file.unwrap().path()).next().unwrap();
    let item = std::fs::read(&file).unwrap();
    assert_eq!(
        refused(&world, &payment).await,
        "invalid_exact_evm_transaction_failed"
    );
    assert_eq!(exact(&world).await, (PRICE, 0), "not deep enough yet");
    for _ in 0..2 {
        world.rpc("evm_mine", json!([])).await;
    }
    taken_back_once(&world).await;
    // As if it had crashed between the books and forgetting it.
    let world = world
        .restart(async |_| std::fs::write(&file, &item).unwrap())
        .await;
    taken_back_once(&world).await;
    // With the money back it is too late: the books stay true.
    world.fill_purse(purse).await;
    refused(&world, &payment).await;
    taken_back_once(&world).await;
    world.node.shutdown().await;
}

/// A crash between the answer and the transfer, and the payer takes the chance.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_uses_a_crash_to_cancel_gets_no_answer() {
    let world = World::start(|_| ()).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    answered_and_not_paid(&world, &payment).await;
    let world = world.restart(async |_| ()).await;
    assert_eq!(world.left_behind(), 1);
    world.spend_nonce(&payment).await;
    world.proxy.heal();
    taken_back_once(&world).await;
    refused(&world, &payment).await;
    assert_eq!(world.earned().await, before);
    taken_back_once(&world).await;
    world.node.shutdown().await;
}

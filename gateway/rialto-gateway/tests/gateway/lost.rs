//! Answers that get lost on the way: the call is made and charged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rialto_channels::Amount;
use rialto_gateway::client::{self, ClientError, PayingClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{Mesh, addition};

/// Passes bytes on, one connection a request, and cuts those answers that `lose` picks.
async fn flaky_proxy(
    target: String,
    lose: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let lose = Arc::new(lose);
    let paid = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let (target, lose, paid) = (target.clone(), Arc::clone(&lose), Arc::clone(&paid));
            tokio::spawn(async move { pass(from, &target, &*lose, &paid).await });
        }
    });
    url
}

async fn pass(
    mut from: TcpStream,
    target: &str,
    lose: &(impl Fn(usize) -> bool + Send + Sync),
    paid: &AtomicUsize,
) {
    let mut to = TcpStream::connect(target).await.unwrap();
    let mut request = vec![0; 64 * 1024];
    let mut answer = vec![0; 64 * 1024];
    loop {
        // Requests here are small: one read has the whole of one.
        let Ok(count @ 1..) = from.read(&mut request).await else {
            return;
        };
        let text = String::from_utf8_lossy(&request[..count]).to_ascii_lowercase();
        to.write_all(&request[..count]).await.unwrap();
        let Ok(count @ 1..) = to.read(&mut answer).await else {
            return;
        };
        if text.contains("payment-signature") && lose(paid.fetch_add(1, Ordering::SeqCst)) {
            return; // The host has answered; the client sees a cut connection.
        }
        if from.write_all(&answer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_fetched_again_and_charged_once() {
    let mesh = Mesh::start().await;
    let target = mesh.url.strip_prefix("http://").unwrap().to_owned();
    let proxy = flaky_proxy(target, |paid| paid % 3 != 2).await;
    let client = PayingClient::new(client::Config::new(proxy), mesh.key(0)).unwrap();
    let quote = client.quote("types", "add", &addition(0, 0)).await.unwrap();
    for i in 0..5 {
        let answer = client.call(&quote, &addition(i, 1)).await.unwrap();
        assert_eq!(answer.body, (i + 1).to_string());
        assert!(answer.replayed);
        assert_eq!(answer.receipt_fault, None);
        assert_eq!(mesh.charged(), Amount::new(100 * u128::from(i + 1)));
    }
    let state = client.channels().await.remove(0);
    assert_eq!(state.charged, Amount::new(500));
    assert_eq!(state.uncertain, Amount::ZERO);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_answer_lost_for_good_the_counts_agree_again() {
    let mesh = Mesh::start().await;
    let target = mesh.url.strip_prefix("http://").unwrap().to_owned();
    let proxy = flaky_proxy(target, |paid| (1..5).contains(&paid)).await;
    let client = PayingClient::new(client::Config::new(proxy), mesh.key(0)).unwrap();
    let quote = client.quote("types", "add", &addition(0, 0)).await.unwrap();
    client.call(&quote, &addition(0, 1)).await.unwrap();
    let lost = client.call(&quote, &addition(0, 2)).await;
    assert!(matches!(lost, Err(ClientError::Transport(_))), "{lost:?}");
    let state = client.channels().await.remove(0);
    assert!(!state.uncertain.is_zero());
    assert_eq!(mesh.charged(), Amount::new(200));

    let next = client.call(&quote, &addition(0, 3)).await.unwrap();
    assert_eq!(next.body, "3");
    let state = client.channels().await.remove(0);
    assert_eq!(state.charged, Amount::new(300));
    assert_eq!(state.uncertain, Amount::ZERO);
    assert_eq!(mesh.charged(), Amount::new(300));
    mesh.end().await;
}

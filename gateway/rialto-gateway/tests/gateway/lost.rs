//! Answers that get lost on the way: the call is made and charged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rialto_channels::Amount;
use rialto_gateway::client::{self, ClientError, PayingClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{Mesh, addition};

/// What becomes of a paid request.
#[derive(Clone, Copy)]
enum Way {
    Through,
    /// The host answers, and the client sees a cut connection.
    AnswerCut,
    /// The host does not see it, and the client is told that it is busy.
    Busy,
}

/// Passes bytes on, one connection a request, and cuts those answers that `lose` picks.
async fn flaky_proxy(
    target: String,
    lose: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> String {
    proxy(target, move |paid| match lose(paid) {
        true => Way::AnswerCut,
        false => Way::Through,
    })
    .await
}

/// Passes bytes on, one connection a request; paid ones go the way that `way` says.
async fn proxy(target: String, way: impl Fn(usize) -> Way + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let way = Arc::new(way);
    let paid = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let (target, way, paid) = (target.clone(), Arc::clone(&way), Arc::clone(&paid));
            tokio::spawn(async move { pass(from, &target, &*way, &paid).await });
        }
    });
    url
}

async fn pass(
    mut from: TcpStream,
    target: &str,
    way: &(impl Fn(usize) -> Way + Send + Sync),
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
        let way = match text.contains("payment-signature") {
            true => way(paid.fetch_add(1, Ordering::SeqCst)),
            false => Way::Through,
        };
        if matches!(way, Way::Busy) {
            from.write_all(BUSY).await.unwrap();
            return;
        }
        to.write_all(&request[..count]).await.unwrap();
        let Ok(count @ 1..) = to.read(&mut answer).await else {
            return;
        };
        if matches!(way, Way::AnswerCut) {
            return;
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

/// As the mesh's client does: one attempt, and repetitions of what was paid for and lost.
fn repeating(gateway: String) -> client::Config {
    client::Config {
        attempts: 1,
        repeats: 2,
        ..client::Config::new(gateway)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_for_is_asked_for_again_where_it_was_sent() {
    let mesh = Mesh::start().await;
    let target = mesh.url.strip_prefix("http://").unwrap().to_owned();
    let proxy = flaky_proxy(target, |paid| paid % 3 != 2).await;
    let client = PayingClient::new(repeating(proxy), mesh.key(0)).unwrap();
    let quote = client.quote("types", "add", &addition(0, 0)).await.unwrap();
    for i in 0..3 {
        let answer = client.call(&quote, &addition(i, 1)).await.unwrap();
        assert!(answer.replayed);
        assert_eq!(mesh.charged(), Amount::new(100 * u128::from(i + 1)));
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_too_busy_to_say_may_have_charged() {
    let mesh = Mesh::start().await;
    let target = mesh.url.strip_prefix("http://").unwrap().to_owned();
    let way = |paid| match paid {
        1 => Way::AnswerCut,
        2 | 3 => Way::Busy,
        _ => Way::Through,
    };
    let client = PayingClient::new(repeating(proxy(target, way).await), mesh.key(0)).unwrap();
    let quote = client.quote("types", "add", &addition(0, 0)).await.unwrap();
    client.call(&quote, &addition(0, 1)).await.unwrap();
    let busy = client.call(&quote, &addition(0, 2)).await;
    assert!(
        matches!(busy, Err(ClientError::Refused { status: 503, .. })),
        "{busy:?}"
    );
    assert_eq!(mesh.charged(), Amount::new(200));
    let state = client.channels().await.remove(0);
    assert!(!state.uncertain.is_zero(), "nobody knows what became of it");
    let next = client.call(&quote, &addition(0, 3)).await.unwrap();
    assert_eq!(next.body, "3");
    assert_eq!(mesh.charged(), Amount::new(300));
    mesh.end().await;
}

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 0\r\nconnection: close\r\n\r\n";

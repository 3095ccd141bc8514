//! Streams that are paid for: what was delivered is charged, once, whoever ends them.

use std::time::Duration;

use rialto_channels::Amount;
use rialto_node::metrics::Value as Number;
use rialto_node::{
    Arguments, CallError, CallOutcome, CallRequest, CallStream, ChannelPayment, Config, Payment,
    StreamEnd, StreamPart,
};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::world::World;

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);
/// A call, and each KiB of the answer that was begun.
const PRICE: &str = "call = \"100\"\nper_output_kib = \"7\"\nmax = \"1000\"\n";
const CALL: u128 = 100;
const KIB: u128 = 7;

async fn world(change: impl FnOnce(&mut Config)) -> World {
    World::start(|config| {
        let folder = config.services_dir.join("stream");
        std::fs::create_dir_all(&folder).unwrap();
        let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let component = built.join("stream/component.wasm");
        std::fs::copy(component, folder.join("component.wasm")).unwrap();
        let mut manifest = "name = \"stream\"\nversion = \"0.1.0\"\n\
             description = \"Streams for tests.\"\nlicense = \"Apache-2.0\"\n[grants]\n\
             wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n\
             [limits]\ntime_ms_max = 25000\n"
            .to_owned();
        for method in ["count", "endless", "late", "crash", "refuse", "large"] {
            manifest.push_str(&format!("[prices.{method}]\n{PRICE}"));
        }
        std::fs::write(folder.join("service.toml"), manifest).unwrap();
        // One guest at a time: a stream that is over has left its place.
        config.sandbox.calls_max = 1;
        change(config);
    })
    .await
}

fn request(method: &str, body: Value, payment: Payment) -> CallRequest {
    let body = body.to_string();
    CallRequest {
        service: "stream".to_owned(),
        method: method.to_owned(),
        body_digest: Sha256::digest(&body).into(),
        body_bytes: body.len() as u64,
        price_max: Amount::new(1_000),
        arguments: Arguments::Json(body.into()),
        payment,
        lineage: rialto_node::Lineage::default(),
    }
}

fn channel(payment: &ChannelPayment) -> Payment {
    Payment::Channel(Box::new(payment.clone()))
}

impl World {
    async fn open(
        &self,
        method: &str,
        body: Value,
        payment: &ChannelPayment,
    ) -> Result<CallStream, CallError> {
        let request = request(method, body, channel(payment));
        self.node.stream(request).await
    }

    /// A voucher for one call more than is charged, on a channel that the first one opens.
    async fn next_payment(&self, salt: u8) -> ChannelPayment {
        let Some(view) = self.node.channel(self.id(salt)) else {
            return self.payment(salt, 10_000, Some(100_000)).await;
        };
        let ceiling = view.charged.get() + 10_000;
        self.payment(salt, ceiling, None).await
    }

    /// Waits until a method's calls have ended in these ways, as the operator is told; `ok` comes first,
    /// and is there before the first call.
    async fn counted(&self, method: &str, calls: &[(&str, u64)], charged: u128) {
        let so = async || {
            let value = |metric: &str, outcome: Option<&str>| {
                let metrics = self.node.metrics();
                let metric = metrics.into_iter().find(|it| it.name == metric).unwrap();
                let points = metric.points.into_iter();
                let of_method = points.filter(|point| {
                    let has =
                        |label, value: &str| point.labels.contains(&(label, value.to_owned()));
                    has("service", "stream")
                        && has("method", method)
                        && outcome.is_none_or(|outcome| has("outcome", outcome))
                });
                let whole = of_method.map(|point| match point.value {
                    Number::Whole(count) => count,
                    other @ (Number::Seconds(_) | Number::Histogram(_)) => panic!("{other:?}"),
                });
                whole.sum::<u64>()
            };
            let all = calls.iter().map(|(_, count)| count).sum::<u64>();
            value("rialto.calls", None) == all
                && calls
                    .iter()
                    .all(|(outcome, count)| value("rialto.calls", Some(outcome)) == *count)
                && u128::from(value("rialto.earnings.charged", None)) == charged
                && value("rialto.calls.in_flight", None) == 0
        };
        let what = format!("{method} is counted: {calls:?}, charged {charged}");
        self.until(&what, so).await;
    }

    fn charged(&self, salt: u8) -> u128 {
        self.view(salt).charged.get()
    }

    /// Nothing is held any more, and the guest's place is free.
    async fn settled(&self, salt: u8) {
        let idle = async || self.view(salt).in_flight.is_zero();
        self.until("the reservation ends", idle).await;
        let free = request("words", json!({ "text": "a b" }), Payment::None);
        let answer = timeout(PATIENCE, self.node.call(free)).await.unwrap();
        assert_eq!(answer.unwrap().body, r#"["a ","b"]"#);
    }
}

async fn item(stream: &mut CallStream) -> String {
    match stream.next().await {
        Some(StreamPart::Item(json)) => String::from_utf8(json.to_vec()).unwrap(),
        other => panic!("no item: {other:?}"),
    }
}

async fn drain(stream: &mut CallStream) -> (Vec<String>, StreamEnd) {
    let mut items = Vec::new();
    loop {
        match stream.next().await {
            Some(StreamPart::Item(json)) => {
                items.push(String::from_utf8(json.to_vec()).unwrap());
            }
            Some(StreamPart::End(end)) => {
                assert!(stream.next().await.is_none(), "nothing follows the end");
                return (items, end);
            }
            None => panic!("no end after {items:?}"),
        }
    }
}

/// The receipt says what was charged, and its hash is that of the text.
fn check(outcome: &CallOutcome, text: &str, charged: u128) {
    assert_eq!(outcome.body, text);
    assert_eq!(outcome.charged, Amount::new(charged));
    let receipt = &outcome.receipt.as_ref().unwrap().receipt;
    assert_eq!(receipt.charged, Amount::new(charged));
    assert_eq!(receipt.response.0, <[u8; 32]>::from(Sha256::digest(text)));
    assert_eq!(receipt.usage.output_bytes, text.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_stream_is_charged_once_and_replayed_either_way() {
    let world = world(|_| {}).await;
    let payment = world.next_payment(1).await;
    let body = || json!({ "items": 3, "bytes": 1_000 });
    let mut stream = world.open("large", body(), &payment).await.unwrap();
    let (items, end) = drain(&mut stream).await;
    assert_eq!(items.len(), 3);
    assert!(end.failure.is_none());
    let outcome = end.outcome.unwrap();
    let text = format!("[{}]", items.join(","));
    check(&outcome, &text, CALL + 3 * KIB);
    assert!(!outcome.replayed);
    assert_eq!(outcome.channel.as_ref().unwrap().charged, outcome.charged);
    world.settled(1).await;

    let again = request("large", body(), channel(&payment));
    let replayed = world.node.call(again).await.unwrap();
    check(&replayed, &text, CALL + 3 * KIB);
    assert!(replayed.replayed);
    let mut stream = world.open("large", body(), &payment).await.unwrap();
    let (items_again, end) = drain(&mut stream).await;
    assert_eq!(items_again, items);
    assert!(end.failure.is_none() && end.outcome.unwrap().replayed);
    assert_eq!(world.charged(1), CALL + 3 * KIB, "charged once");
    let calls = [("ok", 1), ("replayed", 2)];
    world.counted("large", &calls, CALL + 3 * KIB).await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_pays_for_what_it_took() {
    let world = world(|_| {}).await;
    let payment = world.next_payment(1).await;
    let body = || json!({ "items": 40, "bytes": 1_000 });
    let mut stream = world.open("large", body(), &payment).await.unwrap();
    let items = [item(&mut stream).await, item(&mut stream).await];
    assert_eq!(
        world.view(1).in_flight,
        Amount::new(1_000),
        "the ceiling is held"
    );
    drop(stream);
    world.settled(1).await;
    assert_eq!(world.charged(1), CALL + 2 * KIB);

    // The same payment runs nothing: it fetches what was delivered.
    let mut stream = world.open("large", body(), &payment).await.unwrap();
    let (items_again, end) = drain(&mut stream).await;
    assert_eq!(items_again, items);
    assert!(matches!(
        end.failure,
        Some(CallError::StreamEnded { items: 2 })
    ));
    let text = format!("[{}", items.join(","));
    check(&end.outcome.unwrap(), &text, CALL + 2 * KIB);
    let again = request("large", body(), channel(&payment));
    let refused = world.node.call(again).await.unwrap_err();
    assert!(
        matches!(refused, CallError::StreamEnded { items: 2 }),
        "{refused}"
    );
    let other = request(
        "large",
        json!({ "items": 1, "bytes": 1 }),
        channel(&payment),
    );
    world.node.call(other).await.unwrap();
    assert_eq!(world.charged(1), CALL + 2 * KIB + CALL + KIB);
    let calls = [("ok", 1), ("replayed", 1), ("stream_ended", 2)];
    world.counted("large", &calls, world.charged(1)).await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_took_nothing_pays_nothing() {
    let world = world(|_| {}).await;
    let payment = world.next_payment(1).await;
    // An hour before the first item.
    let body = json!({ "pause_ms": 3_600_000 });
    let stream = world.open("endless", body, &payment).await.unwrap();
    drop(stream);
    world.settled(1).await;
    assert_eq!(world.charged(1), 0);
    world.counted("endless", &[("stream_ended", 1)], 0).await;
    // Nor one that goes while it waits for the method.
    let body = json!({ "to": 1, "pause_ms": 3_600_000 });
    let opening = world.open("late", body, &payment);
    assert!(timeout(Duration::from_millis(100), opening).await.is_err());
    world.settled(1).await;
    assert_eq!(world.charged(1), 0);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_breaks_off_is_paid_by_the_meter_alone() {
    let world = world(|_| {}).await;
    for (method, items) in [("crash", vec!["1", "2"]), ("refuse", vec!["1", "2", "3"])] {
        let before = world
            .node
            .channel(world.id(1))
            .map_or(0, |_| world.charged(1));
        let payment = world.next_payment(1).await;
        let body = || json!({ "after": items.len() });
        let mut stream = world.open(method, body(), &payment).await.unwrap();
        let (got, end) = drain(&mut stream).await;
        assert_eq!(got, items);
        let failure = end.failure.unwrap();
        assert!(matches!(failure, CallError::Service(_)), "{failure}");
        let text = format!("[{}", items.join(","));
        check(&end.outcome.unwrap(), &text, KIB);
        world.settled(1).await;
        assert_eq!(world.charged(1), before + KIB);
        let mut stream = world.open(method, body(), &payment).await.unwrap();
        let (got, end) = drain(&mut stream).await;
        assert_eq!(got, items);
        assert!(end.failure.is_some() && end.outcome.unwrap().replayed);
        assert_eq!(world.charged(1), before + KIB, "{method} is charged once");
    }
    // Without an item nothing was delivered.
    let before = world.charged(1);
    let payment = world.next_payment(1).await;
    let mut stream = world
        .open("crash", json!({ "after": 0 }), &payment)
        .await
        .unwrap();
    let (got, end) = drain(&mut stream).await;
    assert!(got.is_empty() && end.outcome.is_none());
    world.settled(1).await;
    assert_eq!(world.charged(1), before);
    // The service's own error says how it ended; what was delivered before it is charged.
    let crashes = [("trapped", 2), ("replayed", 1)];
    world.counted("crash", &crashes, KIB).await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_is_cut_and_pays_for_what_it_took() {
    let world = world(|config| config.sandbox.stall_ms_max = 100).await;
    let payment = world.next_payment(1).await;
    let mut stream = world
        .open("endless", json!({ "pause_ms": 0 }), &payment)
        .await
        .unwrap();
    assert_eq!(item(&mut stream).await, "1");
    world.settled(1).await;
    assert_eq!(world.charged(1), CALL + KIB);
    // What was on its way is not delivered any more.
    let (items, end) = drain(&mut stream).await;
    assert!(items.is_empty(), "{items:?}");
    assert!(matches!(
        end.failure,
        Some(CallError::StreamEnded { items: 1 })
    ));
    check(&end.outcome.unwrap(), "[1", CALL + KIB);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_payment_waits_while_its_stream_goes_on() {
    let world = world(|_| {}).await;
    let payment = world.next_payment(1).await;
    let body = || json!({ "pause_ms": 0 });
    let mut stream = world.open("endless", body(), &payment).await.unwrap();
    let first = item(&mut stream).await;
    let mut again = Box::pin(world.open("endless", body(), &payment));
    assert!(
        timeout(Duration::from_millis(50), &mut again)
            .await
            .is_err()
    );
    drop(stream);
    let mut replay = timeout(PATIENCE, again).await.unwrap().unwrap();
    let (items, end) = drain(&mut replay).await;
    assert_eq!(items, [first]);
    assert!(end.outcome.unwrap().replayed);
    assert_eq!(world.charged(1), CALL + KIB);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_pays_for_the_whole_stream_before_its_items_go_out() {
    let world = world(|_| {}).await;
    let earned = world.earned().await;
    let mut payment = world.transfer(1).await;
    payment = world.signed_again(&payment, false, 1_000);
    let exact = Payment::Exact(Box::new(payment));
    let body = json!({ "to": 2 });
    let asked = request("count", body.clone(), exact.clone());
    let mut stream = world.node.stream(asked).await.unwrap();
    assert_eq!(world.earned().await, earned + 1_000);
    let (items, end) = drain(&mut stream).await;
    assert_eq!(items.len(), 2);
    let text = format!("[{}]", items.join(","));
    check(&end.outcome.unwrap(), &text, 1_000);
    // One that breaks off is not paid for.
    let payment = world.signed_again(&world.transfer(2).await, false, 1_000);
    let asked = request(
        "crash",
        json!({ "after": 2 }),
        Payment::Exact(Box::new(payment)),
    );
    let failed = world.node.stream(asked).await.unwrap_err();
    assert!(matches!(failed, CallError::Service(_)), "{failed}");
    assert_eq!(world.earned().await, earned + 1_000);
    world.node.shutdown().await;
}

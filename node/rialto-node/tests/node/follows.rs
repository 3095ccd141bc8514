//! Services that take what others stream: each pays for what it took, whoever ends it.

use rialto_node::metrics::Value as Number;
use rialto_node::{CallError, CallOutcome, ChannelPayment, ServiceCallError, StreamPart};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hires::{call, child, install, request, told};
use crate::world::World;

/// The follower's own price, and what it may spend.
const OWN: u128 = 50;
const SPEND: u128 = 2_000;
/// A call of the other's, and each KiB of the answer that was begun.
const CALL: u128 = 100;
const KIB: u128 = 7;
const MAX: u128 = 300;

/// `follower` follows `counter`, and `hostile`, which streams nothing.
async fn start() -> World {
    World::start(|config| {
        let mut follower = "calls = [\"counter\", \"hostile\"]\n".to_owned();
        for method in ["follow", "follow-and-fail", "relay", "leave-open", "count", "say"] {
            let price = format!("[prices.{method}]\ncall = \"{OWN}\"\nspend_max = \"{SPEND}\"\n");
            follower.push_str(&price);
        }
        install(&config.services_dir, "follower", "follower", &follower);
        let front = format!(
            "calls = [\"follower\", \"counter\"]\n[prices.follow]\ncall = \"{OWN}\"\nspend_max = \"{}\"\n",
            OWN + SPEND
        );
        install(&config.services_dir, "front", "follower", &front);
        let mut counter = String::new();
        for method in ["count", "words", "crash", "refuse", "endless", "large"] {
            let price = format!(
                "[prices.{method}]\ncall = \"{CALL}\"\nper_output_kib = \"{KIB}\"\nmax = \"{MAX}\"\n"
            );
            counter.push_str(&price);
        }
        install(&config.services_dir, "counter", "stream", &counter);
    })
    .await
}

impl World {
    async fn pays(&self) -> ChannelPayment {
        match self.node.channel(self.id(1)) {
            None => self.payment(1, OWN + SPEND, Some(100_000)).await,
            Some(view) => {
                let ceiling = view.charged.get() + OWN + SPEND;
                self.payment(1, ceiling, None).await
            }
        }
    }

    async fn follow(&self, what: Value) -> Result<CallOutcome, CallError> {
        let payment = self.pays().await;
        call(self, ("follower", "follow"), &what, payment).await
    }

    /// Calls of a method that its service has begun.
    fn calls_of(&self, service: &str, method: &str) -> u64 {
        let metrics = self.node.metrics().into_iter();
        let calls = metrics.filter(|it| it.name == "rialto.calls");
        let points = calls.flat_map(|it| it.points).filter(|point| {
            let has = |label, value: &str| point.labels.contains(&(label, value.to_owned()));
            has("service", service) && has("method", method)
        });
        let counts = points.map(|point| match point.value {
            Number::Whole(count) => count,
            other @ (Number::Seconds(_) | Number::Histogram(_)) => panic!("{other:?}"),
        });
        counts.sum()
    }
}

fn counter(method: &str, arguments: &Value, take: Option<u32>) -> Value {
    json!({
        "service": "counter", "method": method, "arguments": arguments.to_string(), "take": take,
    })
}

fn step(number: u32) -> String {
    format!("{{\"number\":{number},\"text\":\"step {number}\"}}")
}

/// The receipt of the only call below, which says what was given and what it cost.
async fn check_below(world: &World, outcome: &CallOutcome, given: &str, charged: u128) {
    let bill = &outcome.receipt.as_ref().unwrap().receipt;
    assert_eq!(outcome.charged.get(), OWN + charged);
    let hires = &bill.usage.hires;
    assert_eq!((hires.calls, hires.spent.get()), (1, charged));
    let below = world.node.receipts_below(bill.id).await.unwrap();
    assert_eq!(below.len(), 1);
    assert_eq!(below[0].verify(world.node.chain().host), Ok(()));
    let below = &below[0].receipt;
    assert_eq!(
        (below.charged.get(), below.id),
        (charged, child(bill.id, 0))
    );
    assert_eq!((below.parent, below.payer), (Some(bill.id), below.provider));
    assert_eq!(below.response.0, <[u8; 32]>::from(Sha256::digest(given)));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_stream_is_taken_and_costs_what_a_call_does() {
    let world = start().await;
    let followed = counter("count", &json!({ "to": 3 }), None);
    let payment = world.pays().await;
    let outcome = call(&world, ("follower", "follow"), &followed, payment.clone());
    let outcome = outcome.await.unwrap();
    let cost = CALL + KIB;
    let expected = [
        format!("{} left", SPEND - MAX),
        step(1),
        step(2),
        step(3),
        format!("for {cost}"),
        format!("{} left", SPEND - cost),
    ];
    assert_eq!(told(&outcome), expected);
    let list = format!("[{},{},{}]", step(1), step(2), step(3));
    check_below(&world, &outcome, &list, cost).await;
    let again = call(&world, ("follower", "follow"), &followed, payment).await;
    assert!(again.unwrap().replayed);
    assert_eq!(world.calls_of("counter", "count"), 1);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_early_costs_what_was_taken() {
    let world = start().await;
    let body = json!({ "items": 1_000_000, "bytes": 1_000 });
    let outcome = world
        .follow(counter("large", &body, Some(2)))
        .await
        .unwrap();
    let cost = CALL + 2 * KIB;
    let told_now = told(&outcome);
    assert_eq!(told_now.len(), 5);
    assert_eq!(told_now[3], format!("for {cost}"));
    let item = format!("\"{}\"", "x".repeat(1_000));
    check_below(&world, &outcome, &format!("[{item},{item}"), cost).await;
    // Of which nothing is taken nothing is owed.
    let outcome = world.follow(counter("count", &json!({ "to": 3 }), Some(0)));
    let outcome = outcome.await.unwrap();
    assert_eq!(
        told(&outcome)[1..],
        ["for 0".to_owned(), format!("{SPEND} left")]
    );
    assert_eq!(outcome.charged.get(), OWN);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_costs_what_was_made_until_then() {
    let world = start().await;
    let outcome = world.follow(counter("crash", &json!({ "after": 2 }), None));
    let outcome = outcome.await.unwrap();
    let told_now = told(&outcome);
    assert_eq!(told_now[1..3], ["1", "2"]);
    assert!(told_now[3].starts_with("broke off: "), "{told_now:?}");
    assert_eq!(
        told_now[4],
        format!("for {KIB}"),
        "without the price of a call"
    );
    check_below(&world, &outcome, "[1,2", KIB).await;
    let outcome = world.follow(counter("refuse", &json!({ "after": 0 }), None));
    let told_now = told(&outcome.await.unwrap());
    assert!(
        told_now[1].contains("it was refused: \"no more than 0\""),
        "{told_now:?}"
    );
    assert_eq!(told_now[2..], ["for 0".to_owned(), format!("{SPEND} left")]);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

/// What the guest does not end is ended with its call.
#[tokio::test(flavor = "multi_thread")]
async fn few_streams_are_open_at_a_time_and_none_after_the_call() {
    let world = start().await;
    let arguments = json!({ "pause_ms": 0 }).to_string();
    let asked = json!({
        "service": "counter", "method": "endless", "arguments": arguments, "times": 5,
    });
    let payment = world.pays().await;
    let outcome = call(&world, ("follower", "leave_open"), &asked, payment);
    let outcome = outcome.await.unwrap();
    let told_now = told(&outcome);
    assert_eq!(told_now[..4], ["1", "1", "1", "1"]);
    assert!(told_now[4].contains("end one"), "{told_now:?}");
    assert_eq!(told_now[5], format!("{} left", SPEND - 4 * MAX));
    assert_eq!(outcome.charged.get(), OWN + 4 * (CALL + KIB));
    let bill = &outcome.receipt.as_ref().unwrap().receipt;
    let below = world.node.receipts_below(bill.id).await.unwrap();
    let charged: u128 = below.iter().map(|it| it.receipt.charged.get()).sum();
    assert_eq!((below.len(), charged), (4, 4 * (CALL + KIB)));
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_stream_costs_its_reader_what_it_took_of_both() {
    let world = start().await;
    let asked = |to: u32| {
        let arguments = json!({ "to": to }).to_string();
        json!({ "service": "counter", "method": "count", "arguments": arguments })
    };
    let payment = world.pays().await;
    let open = request(("follower", "relay"), &asked(2), payment);
    let mut stream = world.node.stream(open).await.unwrap();
    let mut items = Vec::new();
    let end = loop {
        match stream.next().await.unwrap() {
            StreamPart::Item(item) => items.push(serde_json::from_slice::<String>(&item).unwrap()),
            StreamPart::End(end) => break end,
        }
    };
    assert_eq!(items, [step(1), step(2)]);
    let outcome = end.outcome.unwrap();
    let list = format!("[{},{}]", step(1), step(2));
    check_below(&world, &outcome, &list, CALL + KIB).await;
    let whole = world.view(1).charged.get();
    // Its reader leaves.
    let open = request(("follower", "relay"), &asked(1_000_000), world.pays().await);
    let mut stream = world.node.stream(open).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(stream.next().await, Some(StreamPart::Item(_))));
    }
    drop(stream);
    let charged = async || world.view(1).charged.get() == whole + OWN + CALL + KIB;
    world.until("what was taken is charged", charged).await;
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

/// What the one in the middle had others do is known before its own bill is.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_streams_is_billed_from_the_last_to_the_first() {
    let world = start().await;
    let counted = json!({ "to": 1_000_000 }).to_string();
    let relayed = json!({ "service": "counter", "method": "count", "arguments": counted });
    let asked = json!({
        "service": "follower", "method": "relay", "arguments": relayed.to_string(), "take": 2,
    });
    let payment = world.payment(1, 2 * OWN + SPEND, Some(100_000)).await;
    let outcome = call(&world, ("front", "follow"), &asked, payment);
    let outcome = outcome.await.unwrap();
    let cost = OWN + CALL + KIB;
    let told_now = told(&outcome);
    assert_eq!(told_now[2], json!(step(2)).to_string());
    assert_eq!(told_now[3], format!("for {cost}"));
    let given = format!("[{},{}", json!(step(1)), json!(step(2)));
    check_below(&world, &outcome, &given, cost).await;
    let middle = child(outcome.receipt.as_ref().unwrap().receipt.id, 0);
    let below = world.node.receipts_below(middle).await.unwrap();
    assert_eq!(below.len(), 1);
    assert_eq!(below[0].receipt.charged.get(), CALL + KIB);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_taken_before_is_not_made_again() {
    let world = start().await;
    let payment = world.pays().await;
    for take in [2, 2, 3] {
        let asked = counter("count", &json!({ "to": 1_000_000 }), Some(take));
        let failed = call(
            &world,
            ("follower", "follow_and_fail"),
            &asked,
            payment.clone(),
        );
        let failed = failed.await.unwrap_err();
        let is_it = matches!(&failed, CallError::Service(ServiceCallError::Trapped(_)));
        assert!(is_it, "{failed}");
    }
    // Whoever asks for something else with the third has another call made.
    assert_eq!(world.calls_of("counter", "count"), 2);
    assert_eq!(world.view(1).charged.get(), 0);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_stream_is_its_one_item() {
    let world = start().await;
    let echo = json!({
        "service": "hostile", "method": "echo", "arguments": "{\"text\":\"hi\"}",
    });
    let outcome = world.follow(echo).await.unwrap();
    assert_eq!(
        told(&outcome)[1..3],
        ["\"hi\"".to_owned(), "for 100".to_owned()]
    );
    check_below(&world, &outcome, "\"hi\"", 100).await;
    let unknown = json!({ "service": "counter", "method": "none", "arguments": "{}" });
    let refused = world.follow(unknown).await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Service(ServiceCallError::Refused { error })
            if error.windows(13).any(|it| it == b"has no method")),
        "{refused:?}"
    );
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_followed_by_their_types() {
    let world = start().await;
    let take = |to: u32, take: u32| json!({ "to": to, "take": take });
    let counted = |arguments: Value| {
        let world = &world;
        async move {
            let payment = world.pays().await;
            call(world, ("follower", "count"), &arguments, payment).await
        }
    };
    let outcome = counted(take(1_000, 2)).await.unwrap();
    assert_eq!(told(&outcome), ["1: step 1", "2: step 2"]);
    check_below(
        &world,
        &outcome,
        &format!("[{},{}", step(1), step(2)),
        CALL + KIB,
    )
    .await;
    let outcome = counted(take(1, 2)).await.unwrap();
    assert_eq!(told(&outcome), ["1: step 1", "no more"]);
    for (text, pieces) in [
        ("a b c", Ok(["a ", "b ", "c"])),
        ("", Err("`text` is empty")),
    ] {
        let payment = world.pays().await;
        let said = call(
            &world,
            ("follower", "say"),
            &json!({ "text": text }),
            payment,
        )
        .await;
        match (said, pieces) {
            (Ok(outcome), Ok(pieces)) => assert_eq!(told(&outcome), pieces),
            (Err(CallError::Service(ServiceCallError::Refused { error })), Err(why)) => {
                assert_eq!(error, json!(why).to_string());
            }
            (other, _) => panic!("{other:?}"),
        }
    }
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

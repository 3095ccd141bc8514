//! Responses of `wasi:http` that are paid for: whole ones as ever, and what was delivered of the others.

use std::time::Duration;

use rialto_channels::Amount;
use rialto_node::{
    Arguments, CallError, CallOutcome, CallRequest, CallStream, ChannelPayment, Config, Payment,
    Response, StreamEnd, StreamPart,
};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::world::World;

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);
const CALL: u128 = 100;
const KIB: u128 = 7;

async fn world(change: impl FnOnce(&mut Config)) -> World {
    World::start(|config| {
        let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let component = built.join("http/component.wasm");
        let priced = "[prices.handle]\ncall = \"100\"\nper_output_kib = \"7\"\nmax = \"1000\"\n";
        for (name, prices) in [("site", ""), ("shop", priced)] {
            let folder = config.services_dir.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(&component, folder.join("component.wasm")).unwrap();
            let manifest = format!(
                "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"For tests.\"\n\
                 license = \"Apache-2.0\"\n[grants]\nhttp = []\n\
                 wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n\
                 [limits]\ntime_ms_max = 25000\n{prices}"
            );
            std::fs::write(folder.join("service.toml"), manifest).unwrap();
        }
        // One guest at a time: a response that is over has left its place.
        config.sandbox.calls_max = 1;
        change(config);
    })
    .await
}

fn request(service: &str, path: &str, payment: Payment) -> CallRequest {
    let body = json!({ "method": "GET", "path": path, "body": "" }).to_string();
    CallRequest {
        service: service.to_owned(),
        method: "handle".to_owned(),
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
    async fn respond(&self, path: &str, payment: &ChannelPayment) -> Result<Response, CallError> {
        let request = request("shop", path, channel(payment));
        self.node.respond(request).await
    }

    /// A response that is handed out while it is written.
    async fn begun(&self, path: &str, payment: &ChannelPayment) -> CallStream {
        match self.respond(path, payment).await.unwrap() {
            Response::Streams { head, body } => {
                let head: Value = serde_json::from_slice(&head).unwrap();
                assert_eq!(head["status"], 200);
                assert!(body.receipt().is_some());
                body
            }
            Response::Whole(outcome) => panic!("{outcome:?}"),
        }
    }

    async fn whole(&self, path: &str, payment: &ChannelPayment) -> CallOutcome {
        match self.respond(path, payment).await.unwrap() {
            Response::Whole(outcome) => *outcome,
            Response::Streams { .. } => panic!("{path} was not whole"),
        }
    }

    /// A voucher for one call more than is charged, on a channel that the first one opens.
    async fn paying(&self, salt: u8) -> ChannelPayment {
        let Some(view) = self.node.channel(self.id(salt)) else {
            return self.payment(salt, 10_000, Some(100_000)).await;
        };
        let ceiling = view.charged.get() + 10_000;
        self.payment(salt, ceiling, None).await
    }

    fn paid(&self) -> u128 {
        self.view(1).charged.get()
    }

    /// Nothing is held any more, and the guest's place is free.
    async fn at_rest(&self) {
        let idle = async || self.view(1).in_flight.is_zero();
        self.until("the reservation ends", idle).await;
        let free = self.node.call(request("site", "/missing", Payment::None));
        timeout(PATIENCE, free).await.unwrap().unwrap();
    }
}

async fn bytes(body: &mut CallStream) -> String {
    match body.next().await {
        Some(StreamPart::Item(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("no bytes: {other:?}"),
    }
}

async fn drain(body: &mut CallStream) -> (String, StreamEnd) {
    let mut text = String::new();
    loop {
        match body.next().await {
            Some(StreamPart::Item(bytes)) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            Some(StreamPart::End(end)) => {
                assert!(body.next().await.is_none(), "nothing follows the end");
                return (text, end);
            }
            None => panic!("no end after {text:?}"),
        }
    }
}

/// The receipt says what was charged, and its hash is that of the text, which is JSON if it is whole.
fn check(outcome: &CallOutcome, is_whole: bool, charged: u128) {
    let is_json = serde_json::from_slice::<Value>(&outcome.body).is_ok();
    assert_eq!(is_json, is_whole, "{:?}", outcome.body);
    assert_eq!(outcome.charged, Amount::new(charged));
    let receipt = &outcome.receipt.as_ref().unwrap().receipt;
    assert_eq!(receipt.charged, Amount::new(charged));
    let hash: [u8; 32] = Sha256::digest(&outcome.body).into();
    assert_eq!(receipt.response.0, hash);
    assert_eq!(receipt.usage.output_bytes, outcome.body.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_soon_there_is_an_answer_like_any_other() {
    let world = world(|_| {}).await;
    let payment = world.paying(1).await;
    let outcome = world.whole("/drip?3,1", &payment).await;
    check(&outcome, true, CALL + KIB);
    assert!(!outcome.replayed);
    world.at_rest().await;
    let again = world.whole("/drip?3,1", &payment).await;
    assert!(again.replayed);
    assert_eq!(again.body, outcome.body);
    // As the same request is answered below `/services`.
    let called = request("shop", "/drip?3,1", channel(&payment));
    assert_eq!(world.node.call(called).await.unwrap().body, outcome.body);
    // What fails by then is free, whatever it wrote before.
    for path in ["/drip?2,1,trap", "/broken", "/early"] {
        let payment = world.paying(1).await;
        let error = world.respond(path, &payment).await.unwrap_err();
        assert!(matches!(error, CallError::Service(_)), "{path}: {error}");
        world.at_rest().await;
    }
    assert_eq!(world.paid(), CALL + KIB);
    let other = request("shop", "/drip?3,1", channel(&payment));
    let refused = world.node.stream(other).await.unwrap_err();
    assert!(matches!(refused, CallError::Service(_)), "{refused}");
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_response_is_delivered_while_it_is_written_and_charged_once() {
    let world = world(|_| {}).await;
    let payment = world.paying(1).await;
    let mut body = world.begun("/events?3,5", &payment).await;
    assert_eq!(bytes(&mut body).await, "data: 1\n\n");
    assert_eq!(world.paid(), 0, "it is not over");
    let (rest, end) = drain(&mut body).await;
    assert_eq!(rest, "data: 2\n\ndata: 3\n\n");
    assert!(end.failure.is_none());
    let outcome = end.outcome.unwrap();
    check(&outcome, true, CALL + KIB);
    world.at_rest().await;
    // It is small, so it was kept, and the same payment gets it in one.
    let again = world.whole("/events?3,5", &payment).await;
    assert!(again.replayed);
    assert_eq!(again.body, outcome.body);
    assert_eq!(world.paid(), CALL + KIB, "charged once");

    // A large one goes out in pieces, and is not kept.
    let payment = world.paying(1).await;
    let mut body = world.begun("/large?1200000", &payment).await;
    let (text, end) = drain(&mut body).await;
    assert_eq!(text.len(), 1_200_000);
    check(&end.outcome.unwrap(), true, 1_000);
    let conflict = world.respond("/large?1200000", &payment).await.unwrap_err();
    assert!(matches!(conflict, CallError::Conflict(_)), "{conflict}");
    assert_eq!(world.paid(), CALL + KIB + 1_000);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_pays_for_what_it_took() {
    let world = world(|_| {}).await;
    let payment = world.paying(1).await;
    let path = "/events?1000,20";
    let mut body = world.begun(path, &payment).await;
    let taken = bytes(&mut body).await + &bytes(&mut body).await;
    drop(body);
    world.at_rest().await;
    assert_eq!(world.paid(), CALL + KIB);
    // The same payment runs nothing: it fetches what was delivered.
    let mut body = world.begun(path, &payment).await;
    let (again, end) = drain(&mut body).await;
    assert_eq!(again, taken);
    assert!(matches!(end.failure, Some(CallError::StreamEnded { .. })));
    let outcome = end.outcome.unwrap();
    assert!(outcome.replayed);
    check(&outcome, false, CALL + KIB);
    assert_eq!(world.paid(), CALL + KIB);

    // Who took nothing pays nothing: while it waits for more than the head, and before that.
    let payment = world.paying(1).await;
    let mut body = world.begun("/events?2,3600000", &payment).await;
    assert_eq!(bytes(&mut body).await, "data: 1\n\n");
    drop(body);
    world.at_rest().await;
    assert_eq!(world.paid(), 2 * (CALL + KIB));
    let payment = world.paying(1).await;
    drop(world.begun("/events?2,3600000", &payment).await);
    world.at_rest().await;
    let payment = world.paying(1).await;
    let waiting = world.respond("/late?3600000", &payment);
    assert!(timeout(Duration::from_millis(100), waiting).await.is_err());
    world.at_rest().await;
    assert_eq!(world.paid(), 2 * (CALL + KIB));
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_breaks_off_is_paid_by_the_meter_alone() {
    let world = world(|_| {}).await;
    let payment = world.paying(1).await;
    let mut body = world.begun("/events?2,1,trap", &payment).await;
    let (text, end) = drain(&mut body).await;
    assert_eq!(text, "data: 1\n\ndata: 2\n\n");
    let failure = end.failure.unwrap();
    assert!(matches!(failure, CallError::Service(_)), "{failure}");
    check(&end.outcome.unwrap(), false, KIB);
    world.at_rest().await;
    assert_eq!(world.paid(), KIB);
    let called = request("shop", "/events?2,1,trap", channel(&payment));
    let refused = world.node.call(called).await.unwrap_err();
    assert!(
        matches!(refused, CallError::StreamEnded { .. }),
        "{refused}"
    );
    assert_eq!(world.paid(), KIB);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_is_cut_and_pays_for_what_it_took() {
    let world = world(|config| config.sandbox.stall_ms_max = 100).await;
    let payment = world.paying(1).await;
    let mut body = world.begun("/events?1000000000", &payment).await;
    assert_eq!(bytes(&mut body).await, "data: 1\n\n");
    world.at_rest().await;
    let (rest, end) = drain(&mut body).await;
    assert_eq!(rest, "", "what was on its way is not delivered any more");
    check(&end.outcome.unwrap(), false, CALL + KIB);
    assert_eq!(world.paid(), CALL + KIB);
    world.node.shutdown().await;
}

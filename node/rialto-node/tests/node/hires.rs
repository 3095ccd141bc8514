//! Services that have others work for them: what it costs, who is told, and what is not done twice.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use bytes::Bytes;
use rialto_chain::devchain::DEV_ACCOUNTS;
use rialto_channels::royalty::Share;
use rialto_channels::{Amount, ChannelConfig};
use rialto_host::Concurrency;
use rialto_node::{
    Arguments, CallError, CallOutcome, CallRequest, ChannelPayment, Config, Lineage, Payment,
    ServiceCallError,
};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::world::{OTHER_PAYER, PAYER, World};

const WASI: &str = "wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";

pub(crate) fn install(services: &Path, name: &str, guest: &str, rest: &str) {
    let dir = services.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = built.join(guest).join("component.wasm");
    std::fs::copy(component, dir.join("component.wasm")).unwrap();
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"For tests.\"\n\
         license = \"Apache-2.0\"\n[grants]\n{WASI}{rest}"
    );
    std::fs::write(dir.join("service.toml"), manifest).unwrap();
}

/// What a royalty's publisher gets comes out of what others may cost, and is charged on top of what they did.
#[tokio::test(flavor = "multi_thread")]
async fn a_royalty_leaves_the_host_what_it_spent() {
    let world = start_with(
        "[royalty]\naccount = \"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC\"\nshare = \"10%\"\n",
        |_| {},
    )
    .await;
    let terms = ChannelConfig {
        receiver: world.node.terms("agent", "ask", 9).unwrap().payee.receiver,
        ..world.terms(1)
    };
    assert_ne!(terms.receiver, world.terms(1).receiver);
    let payment = world.payment_on((terms, PAYER), 1_050, 10_000).await;
    let outcome = ask(&world, "ask", &echo(3), payment).await.unwrap();
    let told = told(&outcome);
    assert_eq!(
        (told[0].as_str(), told[4].as_str()),
        ("900 to spend", "600 left")
    );
    let bill = outcome.receipt.unwrap().receipt;
    let spent = bill.usage.hires.spent;
    assert_eq!(bill.charged.get(), 50 + spent.get());
    let share = Share::from_bps(1_000).unwrap();
    let left = |arrived: Amount| share.split(arrived).1.get();
    assert_eq!(left(spent), 300, "of {spent}");
    assert!(
        left(Amount::new(spent.get() - 1)) < 300,
        "and no more than that"
    );
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

/// Whoever is behind the hiring service has a state of its own at the one that is hired, apart from what it has there
/// when it calls itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_callee_tells_its_callers_callers_apart() {
    let world = start().await;
    let own = json!({"of_caller": true, "key": "n"});
    let hired = json!({"service": "keeps", "method": "count", "arguments": own.to_string()});
    let count = |outcome: &CallOutcome| told(outcome)[1].clone();
    let first = world.payment(1, 1_050, Some(10_000)).await;
    let first = ask(&world, "ask", &hired, first).await.unwrap();
    assert_eq!(count(&first), "1 for 100");
    let again = world.payment(1, 1_200, None).await;
    let again = ask(&world, "ask", &hired, again).await.unwrap();
    assert_eq!(count(&again), "2 for 100");
    let direct = world.payment(1, 1_300, None).await;
    let direct = call(&world, ("keeps", "count"), &own, direct)
        .await
        .unwrap();
    assert_eq!(direct.body, "1");
    let terms = ChannelConfig {
        payer: DEV_ACCOUNTS[OTHER_PAYER].address,
        payer_authorizer: DEV_ACCOUNTS[OTHER_PAYER].address,
        ..world.terms(2)
    };
    let other = world.payment_on((terms, OTHER_PAYER), 1_050, 10_000).await;
    let other = ask(&world, "ask", &hired, other).await.unwrap();
    assert_eq!(count(&other), "1 for 100");
    world.node.shutdown().await;
}

/// A call that another waits for needs no place of its own: it would wait for ever for the one that waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_each_other_do_so_in_one_place() {
    let world = start_with("", |config| {
        config.sandbox.calls_max = 1;
        config.sandbox.concurrency = Concurrency::Fixed(1);
    })
    .await;
    let mut running = JoinSet::new();
    let world = Arc::new(world);
    for salt in 1..5 {
        let world = Arc::clone(&world);
        running.spawn(async move {
            let payment = world.payment(salt, 1_050, Some(10_000)).await;
            ask(&world, "ask", &echo(5), payment).await.unwrap().charged
        });
    }
    while let Some(charged) = running.join_next().await {
        assert_eq!(charged.unwrap().get(), 550);
    }
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

/// With the limits that services have when they set none, as deep as services may call each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_row_of_services_takes_no_more_memory_than_one() {
    let world = start_with("", |config| {
        for number in 1..=HOPS {
            let terms = format!(
                "calls = [\"hop-{}\", \"hostile\", \"words\"]\n[prices.ask]\ncall = \"10\"\nspend_max = \"{}\"\n",
                number + 1,
                100 + 10 * (HOPS - number)
            );
            install(&config.services_dir, &format!("hop-{number}"), "agent", &terms);
        }
    })
    .await;
    let mut asked = echo(1);
    for number in (1..=HOPS).rev() {
        let name = format!("hop-{number}");
        asked = json!({"service": name, "method": "ask", "arguments": asked.to_string()});
    }
    let payment = world.payment(1, 1_050, Some(10_000)).await;
    let outcome = ask(&world, "ask", &asked, payment).await.unwrap();
    assert_eq!(outcome.charged.get(), 50 + 10 * HOPS as u128 + 100);
    world.node.shutdown().await;
}

/// Services between `agent` and `hostile`: sixteen in all call each other.
const HOPS: usize = 14;

/// `agent` calls `hostile.echo` for 100 and `keeps.count` for 100; `other` is called by nobody.
async fn start() -> World {
    start_with("", |_| {}).await
}

/// The same with more in the agent's manifest, and in the configuration.
async fn start_with(manifest: &str, change: impl FnOnce(&mut Config)) -> World {
    World::start(|config: &mut Config| {
        let priced =
            |method: &str| format!("[prices.{method}]\ncall = \"50\"\nspend_max = \"1000\"\n");
        let agent = format!(
            "calls = [\"hostile\", \"keeps\", \"words\", \"agent\", \"missing\", \"hop-1\"]\n{}{}{manifest}",
            priced("ask"),
            priced("ask_and_fail"),
        );
        install(&config.services_dir, "agent", "agent", &agent);
        install(&config.services_dir, "other", "state", "key_value = true\n");
        let keeps = "key_value = true\n[prices.count]\ncall = \"100\"\n";
        install(&config.services_dir, "keeps", "state", keeps);
        change(config);
    })
    .await
}

async fn ask(
    world: &World,
    method: &str,
    arguments: &Value,
    payment: ChannelPayment,
) -> Result<CallOutcome, CallError> {
    call(world, ("agent", method), arguments, payment).await
}

pub(crate) async fn call(
    world: &World,
    (service, method): (&str, &str),
    arguments: &Value,
    payment: ChannelPayment,
) -> Result<CallOutcome, CallError> {
    let request = request((service, method), arguments, payment);
    world.node.call(request).await
}

pub(crate) fn request(
    (service, method): (&str, &str),
    arguments: &Value,
    payment: ChannelPayment,
) -> CallRequest {
    let body = arguments.to_string();
    CallRequest {
        service: service.to_owned(),
        method: method.to_owned(),
        body_digest: Sha256::digest(&body).into(),
        body_bytes: body.len() as u64,
        arguments: Arguments::Json(Bytes::from(body)),
        price_max: Amount::new(u128::MAX),
        payment: Payment::Channel(Box::new(payment)),
        lineage: Lineage::default(),
    }
}

fn echo(times: u32) -> Value {
    json!({"service": "hostile", "method": "echo", "arguments": "{\"text\":\"hi\"}", "times": times})
}

pub(crate) fn told(outcome: &CallOutcome) -> Vec<String> {
    serde_json::from_slice(&outcome.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bill_covers_all_and_each_has_its_receipt() {
    let world = start().await;
    let payment = world.payment(1, 1_050, Some(10_000)).await;
    let outcome = ask(&world, "ask", &echo(3), payment.clone()).await.unwrap();
    let told = told(&outcome);
    assert_eq!(told[0], "1000 to spend");
    assert_eq!(told[1], "\"hi\" for 100");
    assert_eq!(told[4], "700 left");
    assert_eq!(outcome.charged.get(), 350);
    let receipt = outcome.receipt.unwrap();
    let bill = &receipt.receipt;
    assert_eq!(bill.price.get(), 1_050);
    assert_eq!(
        (bill.usage.hires.calls, bill.usage.hires.spent.get()),
        (3, 300)
    );
    assert_eq!(receipt.verify(world.node.chain().host), Ok(()));
    for place in 0..3_u32 {
        let id = child(bill.id, place);
        let below = world.node.receipt(id).await.unwrap().unwrap();
        assert_eq!(below.verify(world.node.chain().host), Ok(()));
        let below = below.receipt;
        assert_eq!(
            (below.service.as_str(), below.charged.get()),
            ("hostile", 100)
        );
        assert_eq!((below.parent, below.payer), (Some(bill.id), below.provider));
    }
    // The same payment again is the same answer, and nobody works again.
    let again = ask(&world, "ask", &echo(3), payment).await.unwrap();
    assert!(again.replayed);
    assert_eq!(world.view(1).charged.get(), 350);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

/// The name of the receipt of a call that another made.
pub(crate) fn child(parent: B256, place: u32) -> B256 {
    let parts: [&[u8]; 3] = [b"rialto hire v1\0", parent.as_slice(), &place.to_be_bytes()];
    keccak256(parts.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_spends_more_than_there_is_or_calls_whom_it_may_not() {
    let world = start().await;
    let first = world.payment(1, 1_050, Some(10_000)).await;
    let refusal = |ended: Result<CallOutcome, CallError>| match ended {
        Err(CallError::Service(ServiceCallError::Refused { error })) => {
            serde_json::from_slice::<String>(&error).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let refused = refusal(ask(&world, "ask", &echo(11), first).await);
    assert_eq!(refused, "it costs up to 100, and 0 may be spent");
    assert_eq!(
        world.view(1).charged.get(),
        0,
        "a call that failed costs nothing"
    );
    assert_eq!(world.view(1).in_flight.get(), 0);
    let other = |service: &str, method: &str, arguments: Value| json!({"service": service, "method": method, "arguments": arguments.to_string()});
    let mut capped = echo(1);
    capped["price_max"] = 99.into();
    for (arguments, says) in [
        (capped, "it costs up to 100, and 99 may be spent"),
        (
            other("agent", "ask", json!({})),
            "would be called by itself",
        ),
        (
            other("other", "get", json!({})),
            "is not among the services",
        ),
        (other("missing", "get", json!({})), "no service is named"),
        (other("hostile", "none", json!({})), "has no method"),
        (other("hostile", "echo", json!({"text": 5})), "text"),
        (other("Not a name", "x", json!({})), "names no service"),
    ] {
        let payment = world.payment(1, 1_050, None).await;
        let refused = refusal(ask(&world, "ask", &arguments, payment).await);
        assert!(refused.contains(says), "{refused}");
    }
    assert_eq!(world.view(1).charged.get(), 0);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_a_call_failed_is_not_done_again() {
    let world = start().await;
    let count = json!({"of_caller": true, "key": "n"}).to_string();
    let asked = json!({"service": "keeps", "method": "count", "arguments": count});
    let payment = world.payment(1, 1_050, Some(10_000)).await;
    let failed = ask(&world, "ask_and_fail", &asked, payment.clone()).await;
    let failed = failed.unwrap_err();
    assert!(
        matches!(&failed, CallError::Service(ServiceCallError::Trapped(_))),
        "{failed}"
    );
    assert_eq!(world.view(1).charged.get(), 0);
    // Also not after the host was lost in between.
    let world = world.restart(async |_| ()).await;
    let again = ask(&world, "ask_and_fail", &asked, payment).await;
    again.unwrap_err();
    // Another payment is another call.
    let other = world.payment(1, 1_051, None).await;
    let outcome = ask(&world, "ask", &asked, other).await.unwrap();
    assert_eq!(
        told(&outcome)[1],
        "2 for 100",
        "twice in all, and not three times"
    );
    assert_eq!(world.view(1).charged.get(), 150);
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
}

//! Versions come, come back and go while calls run, and nobody pays a price that was not theirs.

use std::path::PathBuf;

use rialto_channels::Amount;
use rialto_node::{CallError, ChangeError, Closed, PaymentError, RefundRequest, ServiceStanding};

use crate::world::{World, install_as};

/// What the hostile guest's services cost in these tests.
fn priced(units: u32) -> String {
    format!("[prices.echo]\ncall = \"{units}\"\n")
}

/// A version to deploy, in a folder of its own.
fn next(world: &World, name: &str, version: &str, prices: &str) -> PathBuf {
    let folder = world.data_dir().with_file_name(format!("{name}-{version}"));
    install_as(&folder, name, version, prices);
    folder
}

fn standing(world: &World, name: &str) -> ServiceStanding {
    let mut services = world.node.standing().services.into_iter();
    services.find(|service| service.name == name).unwrap()
}

fn number(version: &str) -> &str {
    version
        .rsplit_once('-')
        .map_or(version, |(number, _)| number)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_on_the_version_it_began_on_and_the_next_one_runs_on_the_new() {
    let world = World::start(|_| {}).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let running = world.call_free_method("hostile", "spin");
    let changes = async {
        world
            .until("the call runs", async || {
                standing(&world, "hostile").running == 1
            })
            .await;
        let folder = next(&world, "hostile", "0.2.0", &priced(100));
        let changed = world.node.deploy(&folder).await.unwrap();
        assert_eq!(number(&changed.version), "0.2.0");
        assert_eq!(changed.before.as_deref(), Some("0.1.0"));
        // Compiling took longer than the call may, or it is seen to end on the old version.
        let now = standing(&world, "hostile");
        assert_eq!(now.running, 0, "nothing runs on the new one yet");
        assert!(now.ending.iter().all(|(version, _)| version == "0.1.0"));
        let before = world.view(1).charged;
        let outcome = world.pay(1, 2_100, None).await;
        let receipt = outcome.receipt.unwrap().receipt;
        assert_eq!(receipt.version, "0.2.0");
        let component = world.node.service("hostile").unwrap().component;
        assert_eq!(receipt.component, component);
        assert_eq!(world.view(1).charged.get() - before.get(), 100);
    };
    let (ended, ()) = tokio::join!(running, changes);
    // By its own limit, as if nothing had been deployed.
    assert!(matches!(ended, Err(CallError::Service(_))), "{ended:?}");
    assert_eq!(standing(&world, "hostile").ending, []);
}

#[tokio::test]
async fn a_price_that_went_up_is_refused_and_one_that_fell_is_charged() {
    let world = World::start(|_| {}).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let dearer = next(&world, "hostile", "0.2.0", &priced(101));
    world.node.deploy(&dearer).await.unwrap();
    // Signed for much more than the new price, as headroom: the old one was agreed on.
    let payment = world.payment(1, 3_000, None).await;
    let refused = world.call_at_most("echo", payment, 100).await.unwrap_err();
    let CallError::Repriced { price } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(price, Amount::new(101));
    let view = world.view(1);
    assert_eq!(
        (view.charged, view.in_flight),
        (Amount::new(100), Amount::ZERO)
    );
    // A transfer of the old price is one of the wrong amount.
    let transfer = world.transfer(1).await;
    let refused = world
        .node
        .call(crate::exact::request(&transfer, "echo", 5))
        .await;
    assert!(
        matches!(
            refused,
            Err(CallError::Payment(PaymentError::Invalid { .. }))
        ),
        "{refused:?}"
    );
    let cheaper = next(&world, "hostile", "0.3.0", &priced(7));
    world.node.deploy(&cheaper).await.unwrap();
    let payment = world.payment(1, 3_000, None).await;
    let outcome = world.call_at_most("echo", payment, 100).await.unwrap();
    assert_eq!(outcome.charged, Amount::new(7));
    assert_eq!(world.view(1).charged, Amount::new(107));
    world.node.shutdown().await;
}

#[tokio::test]
async fn another_royalty_is_another_receiver() {
    let world = World::start(|_| {}).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let publisher = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
    let shared = format!(
        "{}[royalty]\naccount = \"{publisher}\"\nshare = \"5%\"\n",
        priced(100)
    );
    let folder = next(&world, "hostile", "0.2.0", &shared);
    world.node.deploy(&folder).await.unwrap();
    let terms = world.node.terms("hostile", "echo", 20).unwrap();
    assert_ne!(terms.payee.receiver, world.terms(1).receiver);
    let payment = world.payment(1, 2_100, None).await;
    let refused = world.call("echo", payment).await.unwrap_err();
    assert!(matches!(refused, CallError::Payment(_)), "{refused:?}");
    assert_eq!(world.view(1).charged, Amount::new(100));
    // And back: the channel is good again.
    world.node.roll_back("hostile", None).await.unwrap();
    world.pay(1, 2_100, None).await;
    world.node.shutdown().await;
}

#[tokio::test]
async fn what_cannot_run_changes_nothing() {
    let world = World::start(|_| {}).await;
    let folder = next(&world, "hostile", "0.2.0", &priced(100));
    std::fs::write(folder.join("component.wasm"), b"no component").unwrap();
    let error = world.node.deploy(&folder).await.unwrap_err();
    assert!(matches!(error, ChangeError::CannotRun { .. }), "{error}");
    let unpriced = next(
        &world,
        "hostile",
        "0.2.1",
        "[prices.nothing]\ncall = \"1\"\n",
    );
    let error = world.node.deploy(&unpriced).await.unwrap_err();
    assert!(matches!(error, ChangeError::CannotRun { .. }), "{error}");
    let missing = world.data_dir().join("nothing-here");
    let error = world.node.deploy(&missing).await.unwrap_err();
    assert!(matches!(error, ChangeError::Read { .. }), "{error}");
    let now = standing(&world, "hostile");
    assert_eq!((now.version.as_str(), now.kept.len()), ("0.1.0", 0));
    let left = std::fs::read_dir(world.data_dir().join("versions/hostile")).unwrap();
    assert_eq!(left.count(), 0);
    world.pay(1, 2_000, Some(20_000)).await;
    world.node.shutdown().await;
}

#[tokio::test]
async fn earlier_versions_come_back_and_survive_a_restart_and_are_few() {
    let world = World::start(|config| config.sandbox.loading.versions_max = 2).await;
    let second = next(&world, "hostile", "0.2.0", &priced(100));
    world.node.deploy(&second).await.unwrap();
    let back = world.node.roll_back("hostile", None).await.unwrap();
    assert_eq!(number(&back.version), "0.1.0");
    assert_eq!(
        world
            .pay(1, 2_000, Some(20_000))
            .await
            .receipt
            .unwrap()
            .receipt
            .version,
        "0.1.0"
    );
    let world = world.restart(|_| async {}).await;
    assert_eq!(standing(&world, "hostile").version, back.version);
    let again = world
        .node
        .roll_back("hostile", Some("0.2.0"))
        .await
        .unwrap();
    assert_eq!(again.before, Some(back.version.clone()));
    let third = next(&world, "hostile", "0.3.0", &priced(100));
    let third = world.node.deploy(&third).await.unwrap();
    assert_eq!(
        standing(&world, "hostile").kept,
        [third.version.clone(), again.version],
        "the oldest went"
    );
    let gone = world
        .node
        .roll_back("hostile", Some("0.1.0"))
        .await
        .unwrap_err();
    assert!(gone.to_string().contains("kept are: 0.3.0-"), "{gone}");
    let unknown = world.node.roll_back("nobody", None).await.unwrap_err();
    assert!(matches!(unknown, ChangeError::UnknownService { .. }));
    let world = world.restart(|_| async {}).await;
    assert_eq!(standing(&world, "hostile").version, third.version);
    // The operator's own folder is the newest word when it changes.
    let services = world.data_dir().with_file_name("services");
    let world = world
        .restart(|_| async {
            install_as(&services.join("hostile"), "hostile", "0.4.0", &priced(100));
        })
        .await;
    assert_eq!(standing(&world, "hostile").version, "0.4.0");
    let back = world
        .node
        .roll_back("hostile", Some("0.3.0"))
        .await
        .unwrap();
    assert_eq!(back.version, third.version);
    world.node.shutdown().await;
}

#[tokio::test]
async fn services_come_and_go_without_a_restart() {
    let world = World::start(|_| {}).await;
    let folder = next(&world, "guest", "1.0.0", "");
    let changed = world.node.deploy(&folder).await.unwrap();
    assert_eq!(changed.before, None);
    world.call_free("guest").await.unwrap();
    world.node.remove_service("guest").await.unwrap();
    let gone = world.call_free("guest").await.unwrap_err();
    assert!(matches!(gone, CallError::UnknownService { .. }), "{gone}");
    let world = world.restart(|_| async {}).await;
    assert!(world.node.service("guest").is_none());
    assert!(world.node.standing().removed.contains_key("guest"));
    world.node.roll_back("guest", None).await.unwrap();
    world.call_free("guest").await.unwrap();
    // One of the services folder can be taken off and brought back, too.
    world.node.remove_service("hostile").await.unwrap();
    let world = world.restart(|_| async {}).await;
    assert!(world.node.service("hostile").is_none());
    world.node.roll_back("hostile", None).await.unwrap();
    world.pay(1, 2_000, Some(20_000)).await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_service_ends_its_calls_and_takes_no_new_ones_before_any_money() {
    let world = World::start(|_| {}).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let balance = world.view(1).balance;
    let running = world.call_free_method("hostile", "spin");
    let drained = async {
        world
            .until("the call runs", async || {
                standing(&world, "hostile").running == 1
            })
            .await;
        assert_eq!(world.node.drain("hostile").await.unwrap(), 1);
        let payment = world.payment(1, 3_000, Some(5_000)).await;
        let refused = world.call("echo", payment).await.unwrap_err();
        let is_drained = |error: &CallError| {
            matches!(
                error,
                CallError::NotServing {
                    why: Closed::Drained,
                    ..
                }
            )
        };
        assert!(is_drained(&refused), "{refused:?}");
        assert!(is_drained(&world.node.check_open("hostile").unwrap_err()));
        // Neither the deposit nor a charge.
        let view = world.view(1);
        assert_eq!((view.balance, view.charged), (balance, Amount::new(100)));
        let wait = std::time::Duration::from_secs(30);
        assert_eq!(world.node.quiet(Some("hostile"), wait).await, 0);
    };
    let (ended, ()) = tokio::join!(running, drained);
    assert!(matches!(ended, Err(CallError::Service(_))), "{ended:?}");
    // What a payer has left is its own all the same.
    let refund = RefundRequest {
        config: world.terms(1),
        channel: world.id(1),
        voucher: world.voucher(1, 100),
        amount: None,
    };
    let refund = world.node.refund(refund).await.unwrap();
    assert_eq!(refund.channel.charged, Amount::new(100));
    let world = world.restart(|_| async {}).await;
    assert_eq!(standing(&world, "hostile").closed, Some(Closed::Drained));
    world.node.resume("hostile").await.unwrap();
    world.pay(2, 2_000, Some(20_000)).await;
    assert_eq!(world.node.drain_all(), 0);
    assert!(world.node.check_open("hostile").is_err());
    let world = world.restart(|_| async {}).await;
    world.pay(2, 2_100, None).await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_traps_for_most_rests_and_comes_back_by_a_probe_and_one_payer_cannot_do_that()
 {
    let world = World::start(|config| {
        config.sandbox.quarantine.pause_min = std::time::Duration::from_millis(300);
        config.risk.failures_max = 1_000;
        install_as(&config.services_dir.join("free"), "free", "0.1.0", "");
    })
    .await;
    world.pay(1, 2_000, Some(20_000)).await;
    // A payer whose calls always trap harms itself alone, however often it tries.
    for ceiling in 0..30 {
        let payment = world.payment(1, 2_100 + ceiling, None).await;
        let failed = world.call("trap", payment).await.unwrap_err();
        assert!(matches!(failed, CallError::Service(_)), "{failed}");
    }
    assert_eq!(standing(&world, "hostile").closed, None);
    world.pay(1, 3_000, None).await;
    // Of a free service nobody can be told apart: one that serves nobody rests.
    for _ in 0..10 {
        let failed = world.call_free_method("free", "trap").await.unwrap_err();
        assert!(matches!(failed, CallError::Service(_)), "{failed}");
    }
    let resting = world.call_free("free").await.unwrap_err();
    let CallError::NotServing {
        why,
        retry_after_seconds,
        ..
    } = resting
    else {
        panic!("{resting}");
    };
    assert_eq!((why, retry_after_seconds), (Closed::Quarantined, 1));
    assert_eq!(standing(&world, "free").closed, Some(Closed::Quarantined));
    assert_eq!(
        standing(&world, "hostile").closed,
        None,
        "others are as they were"
    );
    // Refusals are answers: they neither put a service to rest nor keep it there.
    world
        .until("a probe is let through and serves", async || {
            world.call_free("free").await.is_ok()
        })
        .await;
    assert_eq!(standing(&world, "free").closed, None);
    for _ in 0..20 {
        let refused = world.call_free_method("free", "refuse").await.unwrap_err();
        assert!(matches!(refused, CallError::Service(_)), "{refused}");
    }
    assert_eq!(standing(&world, "free").closed, None);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_and_a_new_version_end_a_quarantine() {
    let world = World::start(|config| {
        config.sandbox.quarantine.pause_min = std::time::Duration::from_secs(3_600);
        config.sandbox.quarantine.pause_max = std::time::Duration::from_secs(3_600);
        install_as(&config.services_dir.join("free"), "free", "0.1.0", "");
    })
    .await;
    let trap = async || {
        for _ in 0..10 {
            let failed = world.call_free_method("free", "trap").await.unwrap_err();
            assert!(matches!(failed, CallError::Service(_)), "{failed}");
        }
        assert!(world.node.check_open("free").is_err());
    };
    trap().await;
    world.node.resume("free").await.unwrap();
    trap().await;
    let folder = next(&world, "free", "0.2.0", "");
    world.node.deploy(&folder).await.unwrap();
    world.call_free("free").await.unwrap();
    world.node.shutdown().await;
}

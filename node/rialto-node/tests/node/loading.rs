//! A host with more services than it loads at its start.

use std::path::Path;

use rialto_node::{CallError, Closed, Config};

use crate::world::{World, install_as};

/// Free services beside the one that every world has, and no loading before they are called.
fn lazy(names: &[String]) -> impl FnOnce(&mut Config) {
    move |config| {
        config.sandbox.loading.eager_max = 0;
        config.sandbox.loading.services_max = 1;
        for name in names {
            install_as(&config.services_dir.join(name), name, "0.1.0", "");
        }
    }
}

fn loaded(world: &World) -> Vec<String> {
    let services = world.node.services().into_iter();
    services
        .filter(|service| service.loaded)
        .map(|service| service.manifest.name().to_string())
        .collect()
}

/// All that is in the folder was looked at.
async fn seen(world: &World, count: usize) {
    let all = async || world.node.services().len() == count;
    world.until("all services are looked at", all).await;
}

#[tokio::test]
async fn services_are_loaded_by_their_first_call_and_put_aside_for_others() {
    let names = ["a", "b"].map(str::to_owned);
    let world = World::start(lazy(&names)).await;
    seen(&world, 3).await;
    assert_eq!(loaded(&world), [] as [&str; 0]);
    world.call_free("a").await.unwrap();
    assert_eq!(loaded(&world), ["a"]);
    world.call_free("b").await.unwrap();
    assert_eq!(loaded(&world), ["b"]);
    world.call_free("a").await.unwrap();
    assert_eq!(loaded(&world), ["a"]);
    // A call that is paid loads its service before its deposit is made.
    let receipt = world.pay(1, 2_000, Some(20_000)).await.receipt.unwrap();
    assert_eq!(receipt.receipt.version, "0.1.0");
    assert_eq!(loaded(&world), ["hostile"]);
}

#[tokio::test]
async fn what_was_seen_once_is_known_at_the_next_start_and_told_from_what_came_since() {
    let names = ["a", "b"].map(str::to_owned);
    let world = World::start(lazy(&names)).await;
    seen(&world, 3).await;
    let services = world.data_dir().with_file_name("services");
    let world = world
        .restart(|_| async {
            install_as(&services.join("b"), "b", "0.2.0", "");
        })
        .await;
    // At once: nothing of these was compiled, or even read.
    let known = world.node.service("a").unwrap();
    assert!(!known.loaded && known.interface.method("echo").is_some());
    // Another component is looked at anew, by its own type.
    world
        .until("b is looked at again", async || {
            let service = world.node.service("b");
            service.is_some_and(|it| it.manifest.version().to_string() == "0.2.0")
        })
        .await;
    world.call_free("b").await.unwrap();
}

#[tokio::test]
async fn a_component_that_was_replaced_under_a_running_host_never_runs() {
    let names = ["a".to_owned()];
    let world = World::start(lazy(&names)).await;
    seen(&world, 2).await;
    let folder = world.data_dir().with_file_name("services").join("a");
    install_as(&folder, "a", "0.1.1", "");
    let error = world.call_free("a").await.unwrap_err();
    let CallError::Unavailable { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("rialto deploy"), "{source}");
    assert_eq!(loaded(&world), [] as [&str; 0]);
}

#[tokio::test]
async fn what_cannot_run_is_left_out_when_it_is_looked_at_and_preloaded_services_stay() {
    let names = ["a", "b", "broken"].map(str::to_owned);
    let world = World::start(|config| {
        lazy(&names)(config);
        config.sandbox.loading.preload.insert("a".to_owned());
        let broken = config.services_dir.join("broken").join("component.wasm");
        std::fs::write(broken, b"no component").unwrap();
    })
    .await;
    assert_eq!(loaded(&world), ["a"], "before the host is ready");
    world
        .until("the broken one is known to be", async || {
            let answer = world.call_free("broken").await.unwrap_err();
            if let CallError::NotServing { why, .. } = answer {
                assert_eq!(why, Closed::Preparing);
                return false;
            }
            assert!(
                matches!(answer, CallError::UnknownService { .. }),
                "{answer:?}"
            );
            true
        })
        .await;
    seen(&world, 3).await;
    world.call_free("b").await.unwrap();
    assert_eq!(loaded(&world), ["a", "b"], "what was preloaded stays");
}

#[tokio::test]
async fn a_thousand_services_are_listed_before_any_of_them_is_loaded() {
    let names: Vec<String> = (0..1_000)
        .map(|number| format!("service-{number}"))
        .collect();
    let world = World::start(|config| {
        config.sandbox.loading.eager_max = 10;
        for name in &names {
            // One component: this is about their number.
            let folder = config.services_dir.join(name);
            install_as(&folder, name, "0.1.0", "");
            copy(&config.services_dir.join("hostile"), &folder);
        }
    })
    .await;
    seen(&world, 1_001).await;
    let world = world.restart(|_| async {}).await;
    assert_eq!(world.node.services().len(), 1_001);
    assert_eq!(loaded(&world), [] as [&str; 0]);
    world.call_free("service-500").await.unwrap();
    assert_eq!(loaded(&world), ["service-500"]);
    let unknown = world.call_free("service-1000").await.unwrap_err();
    assert!(unknown.to_string().contains("and 969 more"), "{unknown}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from.join("component.wasm"), to.join("component.wasm")).unwrap();
}

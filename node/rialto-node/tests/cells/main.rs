//! A node whose services have processes of their own: what the node's tests say of services that come and
//! go, keep state, read settings, stream and fail is said once more of those.
//!
//! Not here: the chain's troubles, which no service has a part in.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap in a test's helper fails the test"
)]
#![expect(dead_code, reason = "the world has more than these tests need of it")]

#[path = "../node/ambient.rs"]
mod ambient;
#[path = "../node/exact.rs"]
mod exact;
#[path = "../node/failures.rs"]
mod failures;
#[path = "../node/follows.rs"]
mod follows;
#[path = "../node/hires.rs"]
mod hires;
#[path = "../node/lifecycle.rs"]
mod lifecycle;
#[path = "../node/loading.rs"]
mod loading;
#[path = "../node/state.rs"]
mod state;
#[path = "../node/streams.rs"]
mod streams;
#[path = "../node/unpaid.rs"]
mod unpaid;
#[path = "../node/world.rs"]
mod world;

use rialto_node::{CallError, Isolation, ServiceCallError};

/// This program as a service's process; as a test it has nothing to serve.
#[test]
fn serves_as_a_cell() {
    if std::env::var(world::CELL_MODE).is_ok() {
        let served = rialto_node::serve_cell();
        panic!("served: {served:?}");
    }
}

/// The processes of services of this one.
fn cells() -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ended meanwhile is none.
        let (Ok(stat), Ok(line)) = (
            std::fs::read_to_string(format!("/proc/{process}/stat")),
            std::fs::read_to_string(format!("/proc/{process}/cmdline")),
        ) else {
            continue;
        };
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
        let parent = fields.and_then(|rest| rest.split_whitespace().nth(1));
        let is_ours = parent == Some(&*std::process::id().to_string());
        if is_ours && line.contains(world::CELL_TEST) {
            found.push(process);
        }
    }
    found
}

/// Without this the other tests here would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_costs_nobody_anything_and_comes_back() {
    let world = world::World::start(|_| {}).await;
    for view in world.node.services() {
        assert_eq!(view.isolation, Isolation::Process);
    }
    assert!(cells().is_empty(), "none is needed yet");
    world.pay(1, 2_000, Some(20_000)).await;
    let [first] = cells()[..] else {
        panic!("not one process: {:?}", cells())
    };
    let running = world.call_free_method("hostile", "spin");
    let killing = async {
        world
            .until("the call runs", async || {
                let standing = world.node.standing().services;
                standing.iter().any(|service| service.running == 1)
            })
            .await;
        let killed = std::process::Command::new("kill")
            .args(["-9", &first.to_string()])
            .status();
        assert!(killed.unwrap().success());
    };
    let (ended, ()) = tokio::join!(running, killing);
    let ended = ended.unwrap_err();
    let CallError::Service(ServiceCallError::CellEnded(how)) = ended else {
        panic!("{ended}");
    };
    assert!(how.contains("SIGKILL"), "{how}");
    assert_eq!(world.view(1).charged.get(), 100);
    world.pay(1, 2_100, None).await;
    let [second] = cells()[..] else {
        panic!("not one process: {:?}", cells())
    };
    assert_ne!(first, second);
    assert_eq!(world.view(1).charged.get(), 200);
    world.node.shutdown().await;
}

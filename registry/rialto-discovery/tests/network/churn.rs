//! What the simulation counts, while nodes come and go.

use std::time::Duration;

use rialto_discovery::Key;
use rialto_discovery::simulation::Simulation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_stay_cheap_while_nodes_come_and_go() {
    let mut swarm = Simulation::new(23);
    swarm.grow(24).await.unwrap();
    let published = swarm.publish(6, Duration::from_secs(3600)).await;
    let keys: Vec<Key> = published.iter().map(|(key, _)| *key).collect();
    for _ in 0..3 {
        let left = swarm.kill(100);
        swarm.grow(24 - left).await.unwrap();
        let samples = swarm.look_up(&keys, 1).await;
        let found = samples.iter().filter(|sample| sample.found > 0).count();
        assert_eq!(found, keys.len(), "{samples:?}");
        let mut requests: Vec<usize> = samples.iter().map(|sample| sample.requests).collect();
        requests.sort_unstable();
        assert!(requests[requests.len() / 2] <= 12, "{requests:?}");
    }
    let totals = swarm.totals();
    assert!(
        totals.bytes > totals.stream_bytes && totals.stream_bytes > 0,
        "{totals:?}"
    );
    assert!(totals.records > 0 && totals.routing >= 24 * 5, "{totals:?}");
}

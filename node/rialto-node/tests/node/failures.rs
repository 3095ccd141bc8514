//! Calls that fail are free, and not without end.

use rialto_channels::Amount;
use rialto_node::CallError;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_fails_too_often_waits() {
    let world = World::start(|config| config.risk.failures_max = 3).await;
    world.pay(1, 2_000, Some(20_000)).await;
    for ceiling in [2_100, 2_200, 2_300] {
        let payment = world.payment(1, ceiling, None).await;
        let failed = world.call("trap", payment).await.unwrap_err();
        assert!(matches!(failed, CallError::Service(_)), "{failed}");
    }
    for method in ["trap", "echo"] {
        let payment = world.payment(1, 2_400, None).await;
        let refused = world.call(method, payment).await.unwrap_err();
        let CallError::TooManyFailures {
            failed,
            retry_after_seconds,
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!(failed, 3);
        assert!((500..=601).contains(&retry_after_seconds));
    }
    // Nothing was charged for them, nothing is held, and others are served.
    let view = world.view(1);
    assert_eq!(view.charged, Amount::new(100));
    assert!(view.in_flight.is_zero());
    world.pay(2, 2_000, Some(20_000)).await;
    world.node.shutdown().await;
}

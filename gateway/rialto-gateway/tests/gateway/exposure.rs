//! What a provider serves before it claims is limited, per channel and per payer.

use std::time::{Duration, Instant};

use rialto_channels::Amount;
use rialto_channels::payee::ExposureLimits;
use rialto_gateway::Config;

use crate::mesh::{Mesh, addition};

fn limits(channel_max: Option<u128>, payer_max: Option<u128>) -> ExposureLimits {
    ExposureLimits {
        channel_max: channel_max.map(Amount::new),
        payer_max: payer_max.map(Amount::new),
    }
}

async fn mesh(limits: ExposureLimits) -> Mesh {
    Mesh::with_node(Config::default(), |config| {
        config.risk.exposure = limits;
        config.payments.watch_every = Duration::from_millis(100);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beyond_a_limit_is_refused_and_told_what_to_do() {
    for limits in [limits(Some(99), None), limits(None, Some(99))] {
        let mesh = mesh(limits).await;
        let client = mesh.client(0);
        let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
        let refused = client.call(&quote, &addition(1, 1)).await.unwrap_err();
        let text = format!("{refused:?}");
        assert!(text.contains("rialto_exposure_limit"), "{text}");
        assert!(text.contains("wait for the next claim"), "{text}");
        assert_eq!(mesh.charged(), Amount::ZERO);
        // What costs nothing puts nothing at stake.
        let body = rialto_gateway::client::Body::json(&serde_json::json!({"text": "hello"}));
        let free = client.quote("types", "text", &body).await.unwrap();
        client.call(&free, &body).await.unwrap();
        mesh.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_made_early_where_a_limit_comes_near_and_calls_go_on() {
    let mesh = mesh(limits(Some(250), Some(250))).await;
    let client = mesh.client(0);
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut served = 0;
    while served < 6 {
        assert!(Instant::now() < deadline, "{served} calls were served");
        match client.call(&quote, &addition(served, 1)).await {
            Ok(_) => served += 1,
            Err(error) => {
                let text = format!("{error:?}");
                assert!(text.contains("rialto_exposure_limit"), "{text}");
                // The claim is on its way; a payer that is told to wait does.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Collection itself is ten minutes away: only the limit can have caused these claims.
    let channel = mesh.node.channels().remove(0);
    assert_eq!(channel.charged, Amount::new(600));
    assert!(channel.claimed >= Amount::new(400), "{}", channel.claimed);
    mesh.end().await;
}

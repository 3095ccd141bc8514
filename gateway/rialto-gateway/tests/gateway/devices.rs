//! What a call uses of a device is on its bill and in its receipt.

use std::fs;

use rialto_channels::Amount;
use rialto_gateway::client::Body;
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::json;

use crate::mesh::{Mesh, install};

async fn mesh() -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let services = &config.services_dir;
        install(services, "operations", guests::TYPES, TERMS);
        let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let component = "operations/component.wasm";
        fs::copy(built.join(component), services.join(component)).unwrap();
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_priced_and_signed_for() {
    let mesh = mesh().await;
    let client = mesh.client(0);
    let body = Body::json(&json!({ "size": 64, "times": 3 }));
    let quote = client.quote("operations", "products", &body).await.unwrap();
    assert_eq!(quote.price, Amount::new(1000), "the list's maximum");
    let (status, listed) = mesh.get("/services/operations").await;
    assert_eq!(status, 200);
    let methods = listed["methods"].as_array().unwrap();
    let products = methods.iter().find(|it| it["name"] == "products").unwrap();
    assert_eq!(products["price"]["per_giga_multiply_adds"], "3");

    let first = client.call(&quote, &body).await.unwrap();
    // Checked by the client: what the header said of the device is what was signed.
    assert_eq!(first.receipt_fault, None);
    assert_eq!(first.charged, Amount::new(50 + 3 + 100), "started units");
    let receipt = first.receipt.unwrap().receipt;
    let device = receipt.usage.device;
    assert!(device.multiply_adds >= 3 * 64 * 64 * 64 && device.time_us > 0);
    assert_eq!((device.moved_bytes, receipt.usage.tensor_runs), (4, 5));

    // The next receipt follows it on the channel.
    let second = client.call(&quote, &body).await.unwrap();
    assert_eq!(second.receipt_fault, None);
    let next = second.receipt.unwrap().receipt;
    assert!(next.follows(&receipt));
    assert_eq!(second.channel.unwrap().charged, Amount::new(306));
    mesh.end().await;
}

const TERMS: &str = "[grants]\ntensor = true\n\
    wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n\
    [prices.products]\ncall = \"50\"\nper_giga_multiply_adds = \"3\"\nper_moved_mib = \"100\"\n\
    max = \"1000\"\n";

//! Calls that work, and what is told of them.

use rialto_channels::Amount;
use rialto_gateway::client;
use rialto_gateway::client::{Body, ClientError, PayingClient};
use serde_json::{Value, json};

use crate::mesh::{Mesh, addition};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_call_deposits_and_a_second_draws_on_it() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let quote = client.quote("types", "add", &addition(1, 2)).await.unwrap();
    assert_eq!(quote.price, Amount::new(100));
    assert!(quote.ceiling > quote.price);

    let first = client.call(&quote, &addition(1, 2)).await.unwrap();
    assert_eq!(first.body, "3");
    assert_eq!(first.charged, Amount::new(100));
    let (deposited, transaction) = first.deposit.unwrap();
    assert!(deposited >= quote.ceiling);
    assert!(transaction.is_some());
    assert_eq!(first.receipt_fault, None);

    let second = client.call(&quote, &addition(40, 2)).await.unwrap();
    assert_eq!(second.body, "42");
    assert_eq!(second.deposit, None);
    assert_eq!(second.receipt_fault, None);
    let channel = second.channel.unwrap();
    assert_eq!(channel.charged, Amount::new(200));
    assert_eq!(channel.balance, deposited);

    let receipt = second.receipt.unwrap().receipt;
    let (status, stored) = mesh.get(&format!("/receipts/{}", receipt.id)).await;
    assert_eq!(status, 200);
    assert_eq!(stored["charged"], "100");
    assert_eq!(stored["digest"], json!(receipt.digest()));
    let (status, seen) = mesh.get(&format!("/channels/{}", channel.id)).await;
    assert_eq!(status, 200);
    assert_eq!(seen["charged"], "200");
    assert!(seen.get("signature").is_none());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn free_methods_need_no_payment_and_raw_bytes_cost_by_size() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let text = Body::json(&json!({"text": "hello"}));
    let free = client.quote("types", "text", &text).await.unwrap();
    assert_eq!(free.price, Amount::ZERO);
    let answer = client.call(&free, &text).await.unwrap();
    assert_eq!(answer.body, "\"hello\"");
    assert_eq!(answer.charged, Amount::ZERO);

    let body = Body::raw(vec![7_u8; 3000]);
    let quote = client.quote("types", "bytes", &body).await.unwrap();
    assert_eq!(quote.price, Amount::new(130));
    let answer = client.call(&quote, &body).await.unwrap();
    assert_eq!(answer.charged, Amount::new(130));
    assert_eq!(answer.receipt_fault, None);
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value.as_str().unwrap().len(), 4000);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metered_call_is_charged_what_it_used_and_not_its_ceiling() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let body = Body::raw(vec![7_u8; 3000]);
    let quote = client.quote("types", "length", &body).await.unwrap();
    assert_eq!(quote.price, Amount::new(700), "the ceiling of the list");
    let (status, listed) = mesh.get("/services/types").await;
    assert_eq!(status, 200);
    let methods = listed["methods"].as_array().unwrap();
    let length = methods.iter().find(|it| it["name"] == "length").unwrap();
    assert_eq!(
        length["price"]["summary"],
        "50 + 7 a KiB of output + 900 a model run, at most 700"
    );

    let first = client.call(&quote, &body).await.unwrap();
    assert_eq!(first.body, "3000");
    assert_eq!(first.charged, Amount::new(57), "one started KiB of output");
    assert_eq!(first.receipt_fault, None);
    let receipt = first.receipt.unwrap().receipt;
    assert_eq!(receipt.price, Amount::new(700));
    assert_eq!(receipt.charged, Amount::new(57));
    assert_eq!(receipt.usage.output_bytes, 4);
    let second = client.call(&quote, &body).await.unwrap();
    assert_eq!(second.channel.unwrap().charged, Amount::new(114));
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_by_json_and_by_form() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let boundary = "x";
    let form = Body {
        bytes: format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"f\"\r\n\
             \r\nhello\r\n--{boundary}--\r\n"
        )
        .into(),
        content_type: format!("multipart/form-data; boundary={boundary}"),
    };
    for body in [
        Body::json(&json!({"content": "aGVsbG8="})),
        Body::raw("hello"),
        form,
    ] {
        let quote = client.quote("types", "bytes", &body).await.unwrap();
        let answer = client.call(&quote, &body).await.unwrap();
        assert_eq!(answer.body, "\"aGVsbG8=\"", "{}", body.content_type);
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_overlap_on_one_channel() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let quote = client.quote("types", "add", &addition(0, 0)).await.unwrap();
    client.call(&quote, &addition(0, 0)).await.unwrap();
    for round in 0..8 {
        let calls = (0..16).map(|i| {
            let (client, quote) = (client.clone(), quote.clone());
            tokio::spawn(async move {
                let answer = client.call(&quote, &addition(round, i)).await.unwrap();
                assert_eq!(answer.body, (round + i).to_string());
                assert_eq!(answer.receipt_fault, None);
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
    }
    // Answers that overtook each other may leave the client's count behind; a quiet call settles it.
    client.call(&quote, &addition(0, 0)).await.unwrap();
    assert_eq!(mesh.charged(), Amount::new(100 * (2 + 8 * 16)));
    let state = client.channels().await.remove(0);
    assert_eq!(state.charged, mesh.charged());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_above_the_limit_is_not_paid() {
    let mesh = Mesh::start().await;
    let mut config = client::Config::new(&mesh.url);
    config.price_max = Amount::new(99);
    let client = PayingClient::new(config, mesh.key(0)).unwrap();
    let refused = client.quote("types", "add", &addition(1, 1)).await;
    assert!(matches!(refused, Err(ClientError::TooDear { .. })));
    let unknown = client.quote("types", "subtract", &addition(1, 1)).await;
    match unknown {
        Err(ClientError::Refused { status, code, .. }) => {
            assert_eq!((status, code.as_str()), (404, "method_unknown"));
        }
        other => panic!("{other:?}"),
    }
    assert!(mesh.node.channels().is_empty());
    mesh.end().await;
}

//! A service with a royalty: its channels pay the splitter, the splitter pays publisher and
//! provider, and a client refuses everything else.

use alloy_primitives::Address;
use rialto_channels::royalty::{Royalty, Share};
use rialto_channels::{Amount, SettlementDomain, Voucher};
use rialto_gateway::client::{self, ClientError, PayingClient};
use rialto_gateway::x402::header::{self, PAYMENT_REQUIRED, PAYMENT_SIGNATURE};
use rialto_gateway::x402::offer::PaymentRequired;
use rialto_gateway::x402::payment::{ChannelConfigWire, VoucherWire};
use rialto_testkit::guests;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{Mesh, addition, install};

/// The publisher: a development account that plays no other part here.
const PUBLISHER: &str = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65";

async fn mesh() -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let terms = format!(
            "[prices.add]\ncall = \"101\"\n[royalty]\naccount = \"{PUBLISHER}\"\nshare = \"5%\"\n"
        );
        install(&config.services_dir, "authored", guests::TYPES, &terms);
    })
    .await
}

fn royalty() -> Royalty {
    Royalty {
        publisher: PUBLISHER.parse().unwrap(),
        share: Share::from_bps(500).unwrap(),
    }
}

async fn offer(mesh: &Mesh, service: &str) -> Value {
    let url = mesh.path(&format!("/services/{service}/add"));
    let response = mesh.http.get(url).send().await.unwrap();
    let required: PaymentRequired =
        header::decode(response.headers()[PAYMENT_REQUIRED].as_bytes()).unwrap();
    json!(required.accepts[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_and_provider_get_their_parts() {
    let mesh = mesh().await;
    let provider = mesh.node.payee().provider;
    let publisher: Address = PUBLISHER.parse().unwrap();
    let splitter = royalty().receiver(provider);
    let held = async |account| mesh.node.token_balance(account).await.unwrap();
    let before = (held(publisher).await, held(provider).await);
    let client = mesh.client(0);
    let quote = client
        .quote("authored", "add", &addition(1, 1))
        .await
        .unwrap();
    let mut charged = Amount::ZERO;
    for round in 0..3_u32 {
        for i in 0..=round {
            let answer = client.call(&quote, &addition(round, i)).await.unwrap();
            assert_eq!(answer.receipt_fault, None);
            charged = charged.checked_add(answer.charged).unwrap();
        }
        let collected = mesh.node.collect().await.unwrap();
        assert_eq!(collected.settled.len(), 1);
        assert_eq!(collected.settled[0].0, splitter);
        assert_eq!(collected.released.len(), 1);
        assert_eq!(collected.released[0].0, splitter);
        // Dust included: the parts are of all that was ever paid.
        let (to_publisher, to_provider) = royalty().share.split(charged);
        assert_eq!(
            held(publisher).await.checked_sub(before.0),
            Ok(to_publisher)
        );
        assert_eq!(held(provider).await.checked_sub(before.1), Ok(to_provider));
        assert_eq!(held(splitter).await, Amount::ZERO);
    }
    assert_eq!(charged, Amount::new(606));
    assert_eq!(mesh.node.channels()[0].config.receiver, splitter);

    let offered = offer(&mesh, "authored").await;
    assert_eq!(offered["payTo"], splitter.to_checksum(None));
    let terms = &offered["extra"]["royalty"];
    assert_eq!(terms["publisher"], PUBLISHER);
    assert_eq!(terms["share"], "5%");
    assert_eq!(terms["provider"], provider.to_checksum(None));
    let (_, listed) = mesh.get("/services/authored").await;
    assert_eq!(
        listed["royalty"],
        json!({"publisher": PUBLISHER, "share": "5%"})
    );
    let (_, node) = mesh.get("/node").await;
    assert_eq!(node["splitters"]["authored"], splitter.to_checksum(None));

    // What is left goes back to the payer, though this host has another receiver too.
    let back = client.refund(None).await.unwrap();
    assert_eq!(mesh.node.channels()[0].balance, charged);
    assert!(!back.amount.is_zero());
    mesh.end().await;
}

/// A provider that takes channels of its own for a service with a royalty would keep the share.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_another_receiver_is_refused() {
    let mesh = mesh().await;
    let client = mesh.client(0);
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    client.call(&quote, &addition(1, 1)).await.unwrap();
    let channel = mesh.node.channels().remove(0);
    assert_eq!(channel.config.receiver, mesh.node.payee().provider);
    let domain = SettlementDomain {
        chain_id: mesh.node.payee().chain_id,
        contract: mesh.node.payee().settlement,
    };
    let voucher = Voucher {
        channel: channel.id,
        ceiling: Amount::new(5_000),
    };
    let voucher = voucher.sign(&domain, &mesh.key(0));
    let payment = json!({
        "x402Version": 2,
        "payload": {
            "type": "voucher",
            "channelConfig": ChannelConfigWire::new(&channel.config),
            "voucher": VoucherWire::new(&voucher),
        },
        "accepted": offer(&mesh, "authored").await,
    });
    let body = addition(7, 1);
    let request = mesh.http.post(mesh.path("/services/authored/add"));
    let request = request
        .header(PAYMENT_SIGNATURE, header::encode(&payment).unwrap())
        .header("content-type", body.content_type)
        .body(body.bytes);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 402);
    let refused: Value = response.json().await.unwrap();
    assert_eq!(
        refused["error"],
        "invalid_batch_settlement_evm_receiver_mismatch"
    );
    assert_eq!(mesh.charged(), Amount::new(100));

    // The same client pays for both services, on a channel for each receiver.
    let quote = client
        .quote("authored", "add", &addition(1, 1))
        .await
        .unwrap();
    client.call(&quote, &addition(1, 1)).await.unwrap();
    assert_eq!(mesh.node.channels().len(), 2);
    assert_eq!(mesh.charged(), Amount::new(201));
    mesh.end().await;
}

/// A gateway that says something else than the manifest: here another share, which leads to another
/// splitter.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_signs_nothing_for_another_receiver() {
    let mesh = mesh().await;
    let target = mesh.url.trim_start_matches("http://").to_owned();
    let liar = tampering_proxy(target, "\"share\":\"5%\"", "\"share\":\"6%\"").await;
    let client = PayingClient::new(client::Config::new(&liar), mesh.key(0)).unwrap();
    let refused = client.quote("authored", "add", &addition(1, 1)).await;
    let error = refused.unwrap_err();
    let provider = mesh.node.payee().provider;
    let share = Share::from_bps(600).unwrap();
    let promised = Royalty { share, ..royalty() };
    assert!(
        matches!(
            &error,
            ClientError::WrongReceiver { found, expected, .. }
                if *found == royalty().receiver(provider)
                    && *expected == promised.receiver(provider)
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("6% to"), "{error}");
    let plain = client.quote("types", "add", &addition(1, 1)).await;
    assert!(plain.is_ok(), "{plain:?}");
    assert!(mesh.node.channels().is_empty());
    mesh.end().await;
}

/// Passes bytes on and replaces a text in the answers by one of the same length.
async fn tampering_proxy(target: String, from: &'static str, to: &'static str) -> String {
    assert_eq!(from.len(), to.len());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut host = TcpStream::connect(&target).await.unwrap();
            tokio::spawn(async move {
                let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
                loop {
                    tokio::select! {
                        Ok(count @ 1..) = client.read(&mut asked) => {
                            host.write_all(&asked[..count]).await.unwrap();
                        }
                        Ok(count @ 1..) = host.read(&mut answered) => {
                            let text = String::from_utf8_lossy(&answered[..count]);
                            let text = text.replace(from, to);
                            if client.write_all(text.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                        else => return,
                    }
                }
            });
        }
    });
    url
}

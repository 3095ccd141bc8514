//! Whoever calls a provider of the mesh again goes by what it wanted before, until that has changed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::Config;
use rialto_gateway::client::mesh::{Ask, Directory, Finding, MeshClient, Provider};
use rialto_registry::offer::Payee;
use rialto_registry::router::{Permille, Reach};
use rialto_registry::{Digest, Name, Offer, PeerKey, SignedOffer};
use rialto_testkit::guests;

use crate::mesh::{Mesh, addition, install};

/// The one provider that there is.
#[derive(Debug)]
struct Only(Provider);

impl Directory for Only {
    fn providers<'a>(&'a self, _: &'a Name) -> Finding<'a> {
        let all = vec![self.0.clone()];
        Box::pin(async move { Ok(all) })
    }
}

fn offer(mesh: &Mesh, key: &SigningKey) -> SignedOffer {
    let payee = mesh.node.payee();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let offer = Offer {
        service: "types".parse().unwrap(),
        manifest: Digest::of(b"manifest"),
        version: "0.1.0".parse().unwrap(),
        registry: "eip155:84532:0x8004A818BFB912233c491871b3d84c89A494BD9e"
            .parse()
            .unwrap(),
        interfaces: Vec::new(),
        tags: Vec::new(),
        region: None,
        hardware: Vec::new(),
        prices: [("add".parse().unwrap(), Amount::new(100))].into(),
        payee: Payee {
            chain_id: payee.chain_id,
            token: payee.token,
            payout: payee.receiver,
            receiver: payee.receiver,
            host: key.address(),
        },
        gateways: vec![mesh.url.clone()],
        addresses: Vec::new(),
        capacity: 16,
        load: 0,
        seq: 1,
        issued: now.as_secs(),
        expires: now.as_secs() + 1_800,
    };
    SignedOffer::sign(offer, &PeerKey::from_seed(&[3; 32]), key).unwrap()
}

fn ask(price_max: u128) -> Ask {
    let service = "types".parse().unwrap();
    Ask {
        price_max: Some(Amount::new(price_max)),
        ..Ask::once(service, "add", addition(1, 2), Duration::from_secs(20))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_has_changed_is_asked_for_again() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let accounts = mesh.node.dev_accounts();
    let is_host = |(address, _): &&(_, _)| *address == mesh.node.chain().host;
    let (_, key) = accounts.iter().find(is_host).unwrap();
    let host = SigningKey::from_bytes(key).unwrap();
    let provider = Provider::new(
        offer(&mesh, &host),
        &mesh.url,
        Reach::Direct,
        Permille::FULL,
    );
    let mut config = Config::new(String::new());
    config.rpc_url = Some(mesh.node.chain().rpc_url.clone());
    let only = Arc::new(Only(provider.unwrap()));
    let client = MeshClient::new(config, Arc::new(mesh.key(0)), only);
    let mut charged = Vec::new();
    for (version, price) in [("", 0), ("", 0), ("0.2.0", 140), ("", 0), ("0.3.0", 60)] {
        if price > 0 {
            let next = dir.path().join(version);
            let prices = format!("[prices.add]\ncall = \"{price}\"\n");
            install(&next, "types", guests::TYPES, &prices);
            let manifest = next.join("types/service.toml");
            let text = std::fs::read_to_string(&manifest).unwrap();
            std::fs::write(&manifest, text.replace("0.1.0", version)).unwrap();
            mesh.node.deploy(&next.join("types")).await.unwrap();
        }
        let answered = client.call(&ask(200)).await.unwrap();
        assert_eq!(&answered.answer.body[..], b"3");
        charged.push(answered.answer.charged.get());
    }
    assert_eq!(charged, [100, 100, 140, 140, 60]);
    // What was said before binds nobody to pay more than it wants to.
    client.call(&ask(59)).await.unwrap_err();
    assert_eq!(mesh.charged().get(), charged.iter().sum::<u128>());
    mesh.end().await;
}

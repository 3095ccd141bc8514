//! Two hosts on one chain: one whose services hire, and one that is hired.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::mesh::{Directory, Finding, MeshClient, Provider};
use rialto_gateway::client::{self, Body, PayingClient};
use rialto_gateway::{Config, MeshMarket, router, serve};
use rialto_node::{Arguments, CallRequest, ChainChoice, Lineage, Node, Payment, Progress, keys};
use rialto_registry::offer::Payee;
use rialto_registry::router::{Permille, Reach};
use rialto_registry::{Digest, Name, Offer, PeerKey, SignedOffer};
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::bare;

/// Both hosts, somebody who pays, and a bare server beside them.
pub(super) struct World {
    near: Host,
    far: Host,
    client: PayingClient,
    pub(super) bare: SocketAddr,
}

/// A host with its gateway.
pub(super) struct Host {
    node: Node,
    pub(super) url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Host {
    /// A host with these services: with a chain of its own, or on another's.
    pub(super) async fn start(data: &Path, services: &Path, on: Option<&Self>) -> Result<Self> {
        let mut config = rialto_node::Config::in_dir(data.to_owned());
        config.services_dir = services.to_owned();
        config.chain = match on {
            None => ChainChoice::Dev {
                listen: ([127, 0, 0, 1], 0).into(),
            },
            Some(other) => {
                let info = other.node.chain();
                config.payout = Some(other.node.payee().receiver);
                ChainChoice::Rpc {
                    url: info.rpc_url.clone(),
                    chain_id: info.chain_id,
                }
            }
        };
        let node = Node::start(config, &Progress::silent()).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let config = Config::default();
        let served = serve(listener, router(node.clone(), &config), config, async {
            stopped.await.ok();
        });
        Ok(Self {
            node,
            url,
            stop,
            server: tokio::spawn(served),
        })
    }

    /// Waits until so many services are known: a host that starts with many looks at one after the other.
    pub(super) async fn knows(&self, services: usize) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs(120);
        while self.node.services().len() < services {
            ensure!(Instant::now() < give_up, "some services are left out");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Lets its clients finish, and ends.
    pub(super) async fn stop(self) {
        self.stop.send(()).ok();
        self.server.await.ok();
        self.node.shutdown().await;
    }
}

/// The one provider that there is.
#[derive(Debug)]
struct Only(Provider);

impl Directory for Only {
    fn providers<'a>(&'a self, _: &'a Name) -> Finding<'a> {
        let all = vec![self.0.clone()];
        Box::pin(async move { Ok(all) })
    }
}

impl World {
    pub(super) async fn start(scratch: &Path) -> Result<Self> {
        let (near, far) = (scratch.join("near"), scratch.join("far"));
        let types = guests::component(guests::TYPES)?;
        let priced = "[prices.add]\ncall = \"100\"\n";
        install(&near.join("services"), "near", &types, "Adds.", priced)?;
        install(&near.join("services"), "free", &types, "Adds.", "")?;
        install(&far.join("services"), "far", &types, "Adds.", priced)?;
        let agent = path_from_env("RIALTO_TEST_GUESTS")?.join("agent/component.wasm");
        let agent = fs::read(agent).context("the tests' guests are not built")?;
        for number in 0..CHAIN {
            let name = format!("hop-{number}");
            install(
                &near.join("services"),
                &name,
                &agent,
                "Asks.",
                &terms(number),
            )?;
        }
        let near = Host::start(&near.join("data"), &near.join("services"), None).await?;
        let accounts = near.node.dev_accounts();
        let key = |index: usize| {
            let (_, bytes) = accounts.get(index).context("an account")?;
            Ok::<_, anyhow::Error>((*bytes, SigningKey::from_bytes(bytes)?))
        };
        let (bytes, host) = key(5)?;
        keys::store(&far.join("data/keys/host.key"), &bytes)?;
        let far = Host::start(&far.join("data"), &far.join("services"), Some(&near)).await?;
        let provider = Provider::new(offer(&far, &host)?, &far.url, Reach::Direct, Permille::FULL)?;
        let mut config = client::Config::new(String::new());
        config.rpc_url = Some(near.node.chain().rpc_url.clone());
        config.store = Some(scratch.join("wallet"));
        let mesh = MeshClient::new(config, Arc::new(key(6)?.1), Arc::new(Only(provider)));
        let most = Amount::new(1_000_000_000);
        let market = MeshMarket::open(mesh, &scratch.join("hires"), most)?;
        near.node.trade(Arc::new(market));
        let mut config = client::Config::new(&near.url);
        config.price_max = most;
        config.limits.call_max = most;
        config.limits.deposit_max = most;
        let client = PayingClient::new(config, key(7)?.1)?;
        let bare = bare::start().await?;
        Ok(Self {
            near,
            far,
            client,
            bare,
        })
    }

    /// Microseconds of the callee alone, free and without a gateway.
    pub(super) async fn callee(&self, times: u32) -> Result<f64> {
        let body = ADDITION.to_string();
        let begun = Instant::now();
        for _ in 0..times {
            let request = CallRequest {
                service: "free".to_owned(),
                method: "add".to_owned(),
                body_digest: [0; 32],
                body_bytes: 0,
                arguments: Arguments::Json(body.clone().into()),
                price_max: Amount::ZERO,
                payment: Payment::None,
                lineage: Lineage::default(),
            };
            self.near.node.call(request).await?;
        }
        Ok(super::micros(begun) / f64::from(times))
    }

    /// Has the last of the chain ask a service so often.
    pub(super) async fn ask(&self, service: &str, times: u32) -> Result<()> {
        let mut asked = asking(service, "add", &ADDITION.to_string());
        asked["times"] = times.into();
        asked["price_max"] = 100.into();
        self.pay(&format!("hop-{}", CHAIN - 1), asked).await
    }

    /// A call through all of the chain.
    pub(super) async fn chain(&self) -> Result<()> {
        let mut asked = asking("near", "add", &ADDITION.to_string());
        for number in (1..CHAIN).rev() {
            asked = asking(&format!("hop-{number}"), "ask", &asked.to_string());
        }
        self.pay("hop-0", asked).await
    }

    async fn pay(&self, service: &str, asked: Value) -> Result<()> {
        let body = Body::json(&asked);
        let quote = self.client.quote(service, "ask", &body).await?;
        let answered = self.client.call(&quote, &body).await;
        // With the service's own words.
        answered.map(drop).map_err(|error| anyhow!("{error:?}"))
    }

    pub(super) async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

/// Installs a service.
pub(super) fn install(
    services: &Path,
    name: &str,
    component: &[u8],
    about: &str,
    terms: &str,
) -> Result<()> {
    let dir = services.join(name);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("component.wasm"), component)?;
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"{about}\"\nlicense = \"Apache-2.0\"\n{terms}"
    );
    Ok(fs::write(dir.join("service.toml"), manifest)?)
}

/// What a service of the chain may call, and for how much: each the next, the last a great deal.
fn terms(number: usize) -> String {
    let next = format!("hop-{}", number + 1);
    let spend = 1_000_000 + 100 * (CHAIN - number);
    format!(
        "[grants]\ncalls = [\"{next}\", \"near\", \"far\", \"words\"]\n\
         wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n\
         [limits]\ntime_ms_max = 60000\n[prices.ask]\ncall = \"10\"\nspend_max = \"{spend}\"\n"
    )
}

fn asking(service: &str, method: &str, arguments: &str) -> Value {
    json!({ "service": service, "method": method, "arguments": arguments })
}

/// What the other host says of itself.
fn offer(host: &Host, key: &SigningKey) -> Result<SignedOffer> {
    let payee = host.node.payee();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let offer = Offer {
        service: "far".parse()?,
        manifest: Digest::of(b"manifest"),
        version: "0.1.0".parse()?,
        registry: "eip155:84532:0x8004A818BFB912233c491871b3d84c89A494BD9e".parse()?,
        interfaces: Vec::new(),
        tags: Vec::new(),
        region: None,
        hardware: Vec::new(),
        prices: [("add".parse()?, Amount::new(100))].into(),
        payee: Payee {
            chain_id: payee.chain_id,
            token: payee.token,
            payout: payee.receiver,
            receiver: payee.receiver,
            host: key.address(),
        },
        gateways: vec![host.url.clone()],
        addresses: Vec::new(),
        capacity: 16,
        load: 0,
        seq: 1,
        issued: now,
        expires: now + 1_800,
    };
    Ok(SignedOffer::sign(
        offer,
        &PeerKey::from_seed(&[3; 32]),
        key,
    )?)
}

const CHAIN: usize = 10;
static ADDITION: std::sync::LazyLock<Value> =
    std::sync::LazyLock::new(|| json!({ "left_one": 1, "right_one": 2 }));

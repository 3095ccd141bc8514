//! A node with two small services behind a gateway, in a folder of its own.

use std::fs;
use std::path::Path;

use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::{Body, PayingClient};
use rialto_gateway::{Config, client, router, serve};
use rialto_node::{ChainChoice, Node, Progress};
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running mesh.
pub(crate) struct Mesh {
    pub(crate) node: Node,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    _dir: TempDir,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::with_node(config, |_| {}).await
    }

    /// A mesh whose node is configured otherwise.
    pub(crate) async fn with_node(
        config: Config,
        change: impl FnOnce(&mut rialto_node::Config),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let services = dir.path().join("services");
        install(&services, "types", guests::TYPES, TYPES_PRICES);
        install(&services, "hostile", guests::HOSTILE, HOSTILE_PRICES);
        let mut node_config = rialto_node::Config::in_dir(dir.path().join("data"));
        node_config.services_dir = services;
        node_config.chain = ChainChoice::Dev {
            listen: ([127, 0, 0, 1], 0).into(),
        };
        change(&mut node_config);
        let node = Node::start(node_config, &Progress::silent()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let router = router(node.clone(), &config);
        let server = tokio::spawn(serve(listener, router, config, async {
            stopped.await.ok();
        }));
        Self {
            node,
            url,
            http: reqwest::Client::new(),
            stop: Some(stop),
            server,
            _dir: dir,
        }
    }

    /// A funded key that is neither the provider's nor the host's.
    pub(crate) fn key(&self, index: usize) -> SigningKey {
        let accounts = self.node.dev_accounts();
        SigningKey::from_bytes(&accounts[5 + index].1).unwrap()
    }

    /// A client without a store: whatever it does not know it must learn.
    pub(crate) fn client(&self, index: usize) -> PayingClient {
        PayingClient::new(client::Config::new(&self.url), self.key(index)).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(self.path(path)).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What has been charged on all channels.
    pub(crate) fn charged(&self) -> Amount {
        let channels = self.node.channels();
        channels.iter().fold(Amount::ZERO, |sum, channel| {
            sum.checked_add(channel.charged).unwrap()
        })
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) async fn stop_server(&mut self) {
        self.begin_stop();
        (&mut self.server).await.unwrap();
    }

    pub(crate) fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
    }

    pub(crate) async fn end(mut self) {
        self.stop_server().await;
        self.node.shutdown().await;
    }
}

/// A call of `types.add`.
pub(crate) fn addition(left: u32, right: u32) -> Body {
    Body::json(&serde_json::json!({"left_one": left, "right_one": right}))
}

/// Installs a guest that was built from source; `terms` is all that its manifest says besides its name.
pub(crate) fn install_built(services: &Path, name: &str, guest: &str, terms: &str) {
    let dir = services.join(name);
    fs::create_dir_all(&dir).unwrap();
    let built = path_from_env("RIALTO_TEST_GUESTS").unwrap().join(guest);
    fs::copy(built.join("component.wasm"), dir.join("component.wasm")).unwrap();
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"A guest for tests.\"\n\
         license = \"Apache-2.0\"\n{terms}"
    );
    fs::write(dir.join("service.toml"), manifest).unwrap();
}

pub(crate) fn install(services: &Path, name: &str, text: &str, prices: &str) {
    let dir = services.join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("component.wasm"), guests::component(text).unwrap()).unwrap();
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"A guest for tests.\"\n\
         license = \"Apache-2.0\"\n[limits]\ntime_ms_max = 1500\n{prices}"
    );
    fs::write(dir.join("service.toml"), manifest).unwrap();
}

/// `text` and `nothing` are free.
const TYPES_PRICES: &str = "[prices.add]\ncall = \"100\"\n\
    [prices.bytes]\ncall = \"100\"\nper_input_kib = \"10\"\n\
    [prices.length]\ncall = \"50\"\nper_output_kib = \"7\"\nper_tensor_run = \"900\"\nmax = \"700\"\n";

const HOSTILE_PRICES: &str = "[prices.trap]\ncall = \"100\"\n[prices.spin]\ncall = \"100\"\n\
    [prices.grow]\ncall = \"100\"\n[prices.refuse]\ncall = \"100\"\n\
    [prices.big-text]\ncall = \"100\"\n[prices.big-bytes]\ncall = \"100\"\n\
    [prices.recurse]\ncall = \"100\"\n[prices.echo]\ncall = \"100\"\n";

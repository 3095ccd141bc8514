//! The doors that a node has besides its gateway: one for this machine's own programs and, in the mesh, one for
//! peers, over libp2p.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rialto_gateway::client::mesh::MeshClient;
use rialto_gateway::{Config, LocalDoor, MeshMarket, NodeDirectory, Requests};
use rialto_node::Node;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::UpArgs;
use crate::{policy, wallet};

/// The doors. Dropped, they are shut at once.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The URL of the door for this machine's programs.
    pub(crate) local: String,
    /// Whether a wallet pays there.
    pub(crate) pays: bool,
    /// Whether programs need a key there.
    pub(crate) needs_key: bool,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Doors {
    /// Opens them. A node outside the mesh goes without a door where somebody else has its usual address.
    pub(crate) async fn open(
        args: &UpArgs,
        node: &Node,
        gateway: &str,
        requests: &Arc<Requests>,
    ) -> Result<Option<Self>> {
        let tunnels = node.tunnels();
        let Some(listener) = listen(args, tunnels.is_some()).await? else {
            return Ok(None);
        };
        let address = listener.local_addr()?;
        let local = format!("http://{address}");
        let needs_key = !address.ip().is_loopback();
        let config = Config {
            requests: Arc::clone(requests),
            ..Config::from(&node.config().gateway)
        };
        let (stop, _) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if let Some(tunnels) = tunnels {
            let router = rialto_gateway::router(node.clone(), &config);
            tasks.spawn(rialto_gateway::serve_tunnels(
                tunnels,
                router,
                config.clone(),
                told(&stop),
            ));
        }
        let client = client(args, node, &local, gateway);
        let pays = client.is_some();
        if let Some(client) = client.clone() {
            tasks.spawn(let_go(client.clone(), told(&stop)));
            trade(node, client)?;
        }
        let door = LocalDoor {
            url: &local,
            gateway,
            client,
            needs_key,
        };
        let router = rialto_gateway::local(node.clone(), door, &config);
        tasks.spawn(rialto_gateway::serve(listener, router, config, told(&stop)));
        Ok(Some(Self {
            local,
            pays,
            needs_key,
            stop,
            tasks,
        }))
    }

    /// The base URL for programs that know OpenAI's API.
    pub(crate) fn openai(&self) -> String {
        format!("{}/v1", self.local)
    }

    /// The URL for agents that speak MCP.
    pub(crate) fn mcp(&self) -> String {
        format!("{}/mcp", self.local)
    }

    /// Lets nobody in any more, and those that are inside finish.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Listens for this machine's programs.
async fn listen(args: &UpArgs, in_mesh: bool) -> Result<Option<TcpListener>> {
    let asked = match args.listen.port() {
        // A gateway on any free port is a test's or a second mesh's: its doors must not collide.
        0 => SocketAddr::new(args.mesh.local.ip(), 0),
        _ => args.mesh.local,
    };
    match TcpListener::bind(asked).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if !in_mesh && asked == USUAL => {
            tracing::warn!(address = %asked, %error, "no local door: pass --local with another address");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("cannot listen on {asked} for this machine's programs: pass another --local")
        }),
    }
}

/// Resolves when the doors are to be closed.
fn told(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = stop.subscribe();
    async move {
        // An error means that the doors are gone, which comes to the same.
        stop.wait_for(|stop| *stop).await.ok();
    }
}

/// Keeps no channel for itself that it does not use: `rialto call` and `rialto channel close` want it, too.
async fn let_go(client: MeshClient, stopped: impl Future<Output = ()>) {
    tokio::pin!(stopped);
    while tokio::time::timeout(IDLE_MAX / 3, &mut stopped)
        .await
        .is_err()
    {
        client.rest(IDLE_MAX);
    }
}

/// Lets services hire those of other hosts; a node outside the mesh knows none.
fn trade(node: &Node, client: MeshClient) -> Result<()> {
    let config = node.config();
    if node.peer().is_some() && !config.hires.day_max.is_zero() {
        let dir = config.data_dir.join("hires");
        let market = MeshMarket::open(client, &dir, config.hires.day_max)?;
        node.trade(Arc::new(market));
    }
    Ok(())
}

/// Who pays for calls of this machine's programs; nobody where no wallet can be opened without asking.
fn client(args: &UpArgs, node: &Node, local: &str, gateway: &str) -> Option<MeshClient> {
    let data_dir = &node.config().data_dir;
    let password = args.data.password_file.as_deref();
    let opened = match wallet::open(data_dir, password) {
        Ok(opened) if opened.asks_nobody(password) => opened,
        Ok(_) | Err(_) => return None,
    };
    let mut config = match policy::client_config(data_dir, gateway, &opened) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(%error, "the local door pays for nothing: the policy cannot be read");
            return None;
        }
    };
    let own = node.chain().rpc_url.clone();
    config.rpc_url = config.rpc_url.or(Some(own).filter(|url| !url.is_empty()));
    config.timeout = ANSWER_TIME_MAX;
    let directory = NodeDirectory::new(node.clone(), local, gateway);
    Some(MeshClient::new(config, opened.wallet, Arc::new(directory)))
}

/// Where the door for this machine's programs listens unless something else is asked for.
pub(crate) const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8405);
/// How long a channel is held after a call.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// How long one answer may take: language models do.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(180);

//! The doors that a node in the mesh has besides its gateway: one for peers, over libp2p, and one for this
//! machine's own programs.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rialto_gateway::client::mesh::MeshClient;
use rialto_gateway::{Config, NodeDirectory, Requests};
use rialto_node::Node;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::UpArgs;
use crate::{policy, wallet};

/// Both doors. Dropped, they are shut at once.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The URL of the door for this machine's programs.
    pub(crate) local: String,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Doors {
    /// Opens both; none where the node takes no part in the mesh.
    pub(crate) async fn open(
        args: &UpArgs,
        node: &Node,
        gateway: &str,
        requests: &Arc<Requests>,
    ) -> Result<Option<Self>> {
        let Some(tunnels) = node.tunnels() else {
            return Ok(None);
        };
        let asked = match args.listen.port() {
            // A gateway on any free port is a test's or a second mesh's: its doors must not collide.
            0 => std::net::SocketAddr::new(args.mesh.local.ip(), 0),
            _ => args.mesh.local,
        };
        let listener = TcpListener::bind(asked).await.with_context(|| {
            format!("cannot listen on {asked} for this machine's programs: pass another --local")
        })?;
        let local = format!("http://{}", listener.local_addr()?);
        let config = Config {
            requests: Arc::clone(requests),
            ..Config::from(&node.config().gateway)
        };
        let router = rialto_gateway::router(node.clone(), &config);
        let (stop, _) = watch::channel(false);
        let peers = rialto_gateway::serve_tunnels(tunnels, router, config.clone(), told(&stop));
        let client = client(args, node, &local, gateway);
        let router = rialto_gateway::local(node.clone(), &local, gateway, client, &config);
        let programs = rialto_gateway::serve(listener, router, config, told(&stop));
        let mut tasks = JoinSet::new();
        tasks.spawn(peers);
        tasks.spawn(programs);
        Ok(Some(Self { local, stop, tasks }))
    }

    /// Lets nobody in any more, and those that are inside finish.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
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
    let directory = NodeDirectory::new(node.clone(), local, gateway);
    Some(MeshClient::new(config, opened.wallet, Arc::new(directory)))
}

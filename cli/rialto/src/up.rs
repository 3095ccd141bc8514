//! `rialto up`: the mesh on this machine, until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rialto_gateway::{Requests, TaskJournal};
use rialto_node::{ChainChoice, Config, LedgerChoice, MeshChoice, Node, Observability, Progress};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::admin::Desk;
use crate::args::{MeshArgs, UpArgs};
use crate::doors::Doors;
use crate::progress::Board;
use crate::show::{bold, cyan, dim, green, line};
use crate::{home, show, telemetry, tour};

/// Starts everything, shows the way, and stays until interrupted.
pub(crate) async fn run(args: UpArgs) -> Result<()> {
    let config = config(&args)?;
    let board = Board::new(args.json);
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}: pass another --listen", args.listen))?;
    let gateway = format!("http://{}", listener.local_addr()?);
    let operator = match config.observability.metrics {
        Some(address) => operator_listener(address).await?,
        None => None,
    };
    let node = start(config, &board).await?;
    board.finish();
    home::adopt_dev_wallet(&node.config().data_dir, &node.dev_accounts())?;

    let (stop, stopped) = oneshot::channel::<()>();
    let mut doors = rialto_gateway::Config::from(&node.config().gateway);
    let tasks = TaskJournal::open(&node.config().data_dir.join("tasks"));
    doors.task_journal = Some(tasks.context("cannot use the folder of paid tasks")?);
    let requests = Arc::clone(&doors.requests);
    let router = rialto_gateway::router(node.clone(), &doors);
    let server = tokio::spawn(rialto_gateway::serve(listener, router, doors, async move {
        // An error means that the sender is gone, which is a stop too.
        stopped.await.ok();
    }));
    let pushing = config_of(&node).otlp.clone().map(|url| {
        let (node, every) = (node.clone(), config_of(&node).metrics_every);
        let pushing = telemetry::push_metrics(node, Arc::clone(&requests), url, every);
        Pushing(tokio::spawn(pushing))
    });
    let metrics = operator.map(|listener| Operator::open(listener, &node, &requests));
    let metrics = metrics.transpose()?;
    let doors = Doors::open(&args, &node, &gateway, &requests).await?;
    let ready = ready_json(&node, &gateway, metrics.as_ref(), doors.as_ref());
    let desk = Desk::open(&node, &requests);
    // Before anyone hears that the mesh is ready: who does may stop it at once.
    let mut interrupts = Interrupts::listen()?;
    if let Some(file) = &args.ready_file {
        write_ready(file, &ready)?;
    }
    if args.json {
        show::json(&ready)
    } else {
        greet(&node, &gateway, metrics.as_ref(), doors.as_ref())
    }
    let shown = stay(&node, &gateway, &args, &mut interrupts).await?;
    if !args.json {
        line("\nstopping: no new calls, finishing those in progress …");
    }
    drop(desk);
    drop(metrics);
    drop(pushing);
    drop(stop);
    let closing = async {
        if let Some(doors) = doors {
            doors.close().await;
        }
    };
    let (served, ()) = tokio::join!(server, closing);
    served.context("the gateway's task failed")?;
    node.shutdown().await;
    if !args.json {
        line("stopped cleanly; everything is kept in the data folder");
    }
    shown.unwrap_or(Ok(()))
}

/// Shows the way and stays until interrupted: says how the showing ended, unless that was interrupted.
///
/// # Errors
/// The node cannot go on.
async fn stay(
    node: &Node,
    gateway: &str,
    args: &UpArgs,
    interrupts: &mut Interrupts,
) -> Result<Option<Result<()>>> {
    let shown = async {
        if args.tour {
            tour::run(node, gateway, args.json, args.data.password_file.as_deref()).await?;
        }
        if !args.json {
            next_steps(node, gateway);
        }
        Ok(())
    };
    let shown = tokio::select! {
        shown = shown => Some(shown),
        () = interrupts.next() => None,
    };
    if matches!(shown, Some(Ok(()))) {
        tokio::select! {
            () = interrupts.next() => {}
            () = node.failed() => bail!("the ledger or a watching task failed; nothing more is charged: see the log, mend the cause (is the disk full?) and start again"),
        }
    }
    Ok(shown)
}

/// The operator's own listener, until it is dropped.
struct Operator {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Operator {
    fn open(listener: TcpListener, node: &Node, requests: &Arc<Requests>) -> Result<Self> {
        let url = format!("http://{}/metrics", listener.local_addr()?);
        let router = rialto_gateway::operator(node.clone(), Arc::clone(requests));
        let doors = rialto_gateway::Config::for_operator();
        let served = rialto_gateway::serve(listener, router, doors, std::future::pending());
        let task = tokio::spawn(served);
        Ok(Self { url, task })
    }
}

/// Sends numbers to a collector until it is dropped.
struct Pushing(tokio::task::JoinHandle<Result<()>>);

impl Drop for Pushing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn config_of(node: &Node) -> &Observability {
    &node.config().observability
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A host whose operator asked for nothing earns money without metrics too.
async fn operator_listener(address: SocketAddr) -> Result<Option<TcpListener>> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if Observability::default().metrics == Some(address) => {
            tracing::warn!(%address, %error, "no metrics: pass --metrics with another address");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot serve metrics on {address}: pass another --metrics, or set metrics = \"off\" in [observability]"
            )
        }),
    }
}

async fn start(config: Config, board: &Arc<Board>) -> Result<Node> {
    let sink = Arc::clone(board);
    let progress = Progress::new(move |step| sink.show(step));
    Ok(Node::start(config, &progress).await?)
}

/// The configuration that these arguments ask for.
pub(crate) fn config(args: &UpArgs) -> Result<Config> {
    let data_dir = home::data_dir(args.data.data_dir.as_deref())?;
    let file = args
        .config
        .clone()
        .or_else(|| Some(data_dir.join("rialto.toml")).filter(|file| file.exists()));
    let mut config = match file {
        Some(file) => Config::load(&data_dir, &file)?,
        None => Config::in_dir(&data_dir),
    };
    config.engines.worker = crate::engines::worker();
    config.sandbox.cell = crate::engines::cell();
    config.services_dir = services_dir(args.services.as_deref(), &config.services_dir)?;
    if let Some(dir) = &args.artifacts {
        config.artifacts_dir.clone_from(dir);
    }
    if let (Some(url), Some(chain_id)) = (&args.rpc, args.chain_id) {
        config.chain = ChainChoice::Rpc {
            url: url.clone(),
            chain_id,
        };
    }
    if let ChainChoice::Dev { listen } = &mut config.chain {
        match args.chain_listen {
            Some(address) => *listen = address,
            // A gateway on any free port is a test's or a second mesh's: its chain must not collide.
            None if args.listen.port() == 0 => listen.set_port(0),
            None => {}
        }
    }
    overlay_mesh(&args.mesh, &mut config.mesh)?;
    if let Some(format) = args.log_format {
        config.observability.log_format = format.into();
    }
    match (args.metrics, &mut config.observability.metrics) {
        (Some(address), metrics) => *metrics = Some(address),
        (None, Some(address)) if args.listen.port() == 0 => address.set_port(0),
        (None, Some(_) | None) => {}
    }
    if let Some(url) = &args.ledger {
        // Not repeated in the message: it may hold a password.
        config.ledger = LedgerChoice::shared(url).context("--ledger")?;
    }
    if let Some(payout) = &args.payout {
        config.payout = Some(
            payout
                .parse()
                .with_context(|| format!("--payout `{payout}` is not an address"))?,
        );
    }
    Ok(config)
}

/// What the arguments say of the mesh.
fn overlay_mesh(args: &MeshArgs, mesh: &mut MeshChoice) -> Result<()> {
    mesh.enabled |= args.enabled;
    if !args.mesh_listen.is_empty() {
        mesh.listen.clone_from(&args.mesh_listen);
    }
    mesh.bootstrap.extend(args.bootstrap.iter().cloned());
    if let Some(text) = &args.region {
        let parsed = text.parse();
        let parsed = parsed.map_err(|error| anyhow::anyhow!("--region `{text}` {error}"))?;
        mesh.region = Some(parsed);
    }
    Ok(())
}

/// The services folder: as asked, else in the data folder, else beside the installed binary.
fn services_dir(asked: Option<&Path>, configured: &Path) -> Result<PathBuf> {
    if let Some(dir) = asked {
        return Ok(dir.to_owned());
    }
    let installed = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("share/rialto/services")));
    let candidates = [Some(configured.to_owned()), installed];
    match candidates.into_iter().flatten().find(|dir| dir.is_dir()) {
        Some(dir) => Ok(dir),
        None => bail!(
            "no services folder: build the services with `cargo xtask guests`, then pass --services DIR, or put them into {}",
            configured.display()
        ),
    }
}

fn ready_json(
    node: &Node,
    gateway: &str,
    metrics: Option<&Operator>,
    doors: Option<&Doors>,
) -> serde_json::Value {
    let chain = node.chain();
    let keys: Vec<String> = node
        .dev_accounts()
        .iter()
        .skip(home::DEV_TEST_ACCOUNTS_FROM)
        .map(|(_, key)| format!("0x{}", hex::encode(key)))
        .collect();
    let services: Vec<String> = node
        .services()
        .iter()
        .map(|view| view.manifest.name().to_string())
        .collect();
    json!({
        "gateway": gateway,
        "metrics": metrics.map(|operator| operator.url.as_str()),
        "local": doors.map(|doors| doors.local.as_str()),
        "openai_base_url": doors.map(Doors::openai),
        "mcp": doors.map(Doors::mcp),
        "peer": node.peer().map(|peer| peer.to_string()),
        "peer_addresses": node.peer_addresses(),
        "chain_rpc": chain.rpc_url,
        "chain_id": chain.chain_id,
        "addresses": {
            "settlement": chain.settlement.to_checksum(None),
            "collector": chain.collector.to_checksum(None),
            "token": chain.token.to_checksum(None),
            "receiver": chain.receiver.to_checksum(None),
            "host": chain.host.to_checksum(None),
        },
        "test_keys": keys,
        "services": services,
    })
}

/// Written beside and renamed, so that a script never reads half of it.
fn write_ready(file: &Path, ready: &serde_json::Value) -> Result<()> {
    let beside = file.with_extension("partial");
    std::fs::write(&beside, serde_json::to_vec_pretty(ready)?)
        .with_context(|| format!("cannot write {}", beside.display()))?;
    std::fs::rename(&beside, file).with_context(|| format!("cannot write {}", file.display()))
}

fn greet(node: &Node, gateway: &str, metrics: Option<&Operator>, doors: Option<&Doors>) {
    let chain = node.chain();
    line(format!("\n{} {}", green("●"), bold("rialto is up")));
    line(format!("  gateway   {}", cyan(gateway)));
    line(format!(
        "  chain     {} (id {})",
        chain.rpc_url, chain.chain_id
    ));
    if let Some(operator) = metrics {
        line(format!("  metrics   {}", operator.url));
    }
    if let Some(doors) = doors {
        line(format!(
            "  local     {} (for this machine's programs)",
            doors.local
        ));
        for address in node.peer_addresses() {
            line(format!("  peer      {address}"));
        }
    }
    if let Some(doors) = doors {
        for text in apps(node, doors) {
            line(text);
        }
    }
    line(format!("  earnings  go to {}", chain.receiver));
    for view in node.services() {
        if let Some(royalty) = view.manifest.royalty() {
            let (name, share) = (view.manifest.name(), royalty.share);
            line(format!(
                "  royalty   {share} of what {name} earns goes to {}",
                royalty.publisher
            ));
        }
    }
    let mut table = show::table(&["service", "method", "price", "what it does"]);
    let services = node.services();
    for view in services.iter().take(SHOWN_MAX) {
        for method in &view.interface.methods {
            let price = node
                .terms(view.manifest.name().as_str(), &method.name, 1024)
                .map(|terms| show::money(terms.price));
            table.add_row([
                view.manifest.name().to_string(),
                method.name.clone(),
                price.unwrap_or_else(|error| error.to_string()),
                first_sentence(method.docs.as_deref().unwrap_or_default()),
            ]);
        }
    }
    line(table.to_string());
    let more = services.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        line(format!(
            "  and {more} more services: `rialto services` lists them"
        ));
    }
}

/// What programs that know OpenAI's API and nothing of payment are to be told.
fn apps(node: &Node, doors: &Doors) -> Vec<String> {
    if !doors.pays {
        let how = "start with --password-file, and this wallet pays for plain OpenAI clients";
        return vec![format!("  apps      {}", dim(how))];
    }
    let key = if doors.needs_key { "rk_…" } else { "any" };
    let line = format!("OPENAI_BASE_URL={} OPENAI_API_KEY={key}", doors.openai());
    let most = show::money(node.config().local.day_max);
    let mut lines = vec![
        format!("  apps      {}", cyan(&line)),
        format!("            any OpenAI client; this wallet pays, at most {most} a day"),
        format!("  agents    {}", cyan(&doors.mcp())),
        "            any MCP client, paid in the same way; `rialto mcp --mesh` for those that start programs".to_owned(),
    ];
    if doors.needs_key {
        let keys = rialto_gateway::Keys::of(&node.config().data_dir).all();
        lines.push(match keys {
            Ok(keys) if keys.is_empty() => {
                "            others reach this door, and nobody has a key yet: rialto key new NAME --budget 0.50".to_owned()
            }
            Ok(keys) => format!("            others reach this door: {} keys may spend", keys.len()),
            Err(error) => format!("            nobody may spend: {error}"),
        });
    }
    lines
}

fn next_steps(node: &Node, gateway: &str) {
    let data = node.config().data_dir.display().to_string();
    let flags = if gateway.ends_with(":8402") {
        String::new()
    } else {
        format!(" --gateway {gateway}")
    };
    let flags = format!("{flags} --data-dir {data}");
    line(format!("\n{}", bold("try next")));
    line(format!("  rialto services{flags}"));
    line(format!(
        "  rialto call embed similarity '{{\"texts\": [\"a cat\", \"a kitten\", \"a tax form\"]}}'{flags}"
    ));
    line(format!(
        "  rialto call filetype identify --file content=README.md{flags}"
    ));
    line(format!("  rialto channel ls{flags}"));
    line(format!(
        "  curl -i {gateway}/services/embed/embed -H 'content-type: application/json' -d '{{\"texts\": [\"hello\"]}}'   {}",
        dim("# answers 402: what it costs and how to pay")
    ));
    line(format!(
        "  open {gateway}/ in a browser, or {gateway}/openapi.json\n"
    ));
    line(dim("Ctrl-C stops the mesh."));
}

/// The first sentence of a doc comment.
pub(crate) fn first_sentence(docs: &str) -> String {
    let line = docs.lines().next().unwrap_or_default();
    line.split_once(". ")
        .map_or(line, |(first, _)| first)
        .trim_end_matches('.')
        .to_owned()
}

/// Ctrl-C and, on Unix, SIGTERM.
struct Interrupts {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Interrupts {
    /// From now on the signals are this program's to answer.
    fn listen() -> Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        // An error means that there is nothing to wait for, which no user can have asked for.
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Services in the greeting.
const SHOWN_MAX: usize = 40;

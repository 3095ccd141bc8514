//! A service of one host hires one of a second, which hires one of a third, and any of the three loses its power at any
//! moment of a call: whoever asked is answered, each is paid once for what it delivered, and the bills add up.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rialto_channels::SigningKey;
use rialto_gateway::client::{Answer, Body, Config, PayingClient};
use rialto_testkit::mesh::{Mesh, MeshConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::fixture::{self, free_port, until};
use crate::installed::{install_guest, program_of_users, run};

/// The services, from the first that is called to the last.
const NAMES: [&str; 3] = ["front", "middle", "keeps"];
/// What each charges for its own work.
const OWN: [u128; 3] = [10, 20, 100];

/// The most that each spends on the next.
const SPEND: [u128; 3] = [5_000, 1_000, 0];

/// When a host loses its power: before a call reaches one of the three, or after that one has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Asked(usize),
    Answered(usize),
}

/// Who waits for a moment, and goes on when told.
type Trap = (Moment, mpsc::Sender<oneshot::Sender<()>>);

/// What stands before a host: it passes everything on, and springs the trap at its moment.
#[derive(Clone)]
struct Way {
    to: usize,
    target: String,
    http: reqwest::Client,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Way {
    async fn pass(State(way): State<Self>, request: Request) -> Response {
        let passed = way.forward(request).await;
        // As whatever stands between hosts says it: not a host's word.
        passed.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
    }

    async fn forward(&self, request: Request) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let is_paid = parts.headers.contains_key("payment-signature");
        if is_paid {
            self.reach(Moment::Asked(self.to)).await;
        }
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        let answer = self
            .http
            .request(parts.method, format!("{}{}", self.target, parts.uri))
            .headers(headers)
            .body(to_bytes(body, 1 << 20).await?)
            .send()
            .await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        if is_paid && status == StatusCode::OK {
            self.reach(Moment::Answered(self.to)).await;
        }
        let mut response = Response::new(HttpBody::from(bytes));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(response)
    }

    /// Waits while the trap that is set for this moment is sprung.
    async fn reach(&self, moment: Moment) {
        let set = {
            let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
            trap.take_if(|(at, _)| *at == moment)
        };
        let Some((_, sprung)) = set else {
            return;
        };
        let (done, go_on) = oneshot::channel();
        if sprung.send(done).await.is_ok() {
            go_on.await.ok();
        }
    }
}

/// One of the three.
struct Host {
    config: MeshConfig,
    mesh: Option<Mesh>,
    way: String,
}

/// A host with the chain, which nobody cuts off, and three that hire each other.
struct Chain {
    dir: tempfile::TempDir,
    ground: Mesh,
    hosts: Vec<Host>,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Chain {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let base = dir.path().join("ground");
        install_guest(
            &base,
            "state",
            "idle",
            &format!("[grants]\nkey_value = true\n{WASI}"),
        )?;
        std::fs::create_dir_all(base.join("data"))?;
        std::fs::write(base.join("data/rialto.toml"), settings(None))?;
        let ground = Mesh::start(&MeshConfig {
            args: ["--chain-listen", "127.0.0.1:0", "--mesh"]
                .map(str::to_owned)
                .to_vec(),
            ..config(&base, 0)
        })?;
        let mut chain = Self {
            dir,
            ground,
            hosts: Vec::new(),
            trap: Arc::default(),
        };
        for number in 0..NAMES.len() {
            chain.open(number).await?;
        }
        for number in 1..NAMES.len() {
            chain.publish(number).await?;
        }
        Ok(chain)
    }

    /// A host with one service, its own keys, a wallet with money, and a way to it.
    async fn open(&mut self, number: usize) -> Result<()> {
        let base = self.dir.path().join(NAMES[number]);
        let (own, most) = (OWN[number], SPEND[number]);
        let terms = match NAMES.get(number + 1) {
            Some(next) => format!(
                "[grants]\ncalls = [\"{next}\", \"words\"]\n{WASI}[limits]\ntime_ms_max = 60000\n\
                 [prices.ask]\ncall = \"{own}\"\nspend_max = \"{most}\"\n"
            ),
            None => {
                format!("[grants]\nkey_value = true\n{WASI}[prices.count]\ncall = \"{own}\"\n")
            }
        };
        let guest = if number + 1 < NAMES.len() {
            "agent"
        } else {
            "state"
        };
        install_guest(&base, guest, NAMES[number], &terms)?;
        let port = free_port()?;
        let way = self.way(number, port).await?;
        let data = base.join("data");
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("rialto.toml"), settings(Some(&way)))?;
        fixture::write_key(&data.join("keys/host.key"), self.ground.test_key(number))?;
        fixture::write_key(
            &data.join("wallet/wallet.key"),
            self.ground.test_key(3 + number),
        )?;
        let chain_id = self.ground.ready()["chain_id"].to_string();
        // The same after each restart, and nobody else's.
        let local = format!("127.0.0.1:{}", free_port()?);
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let args = [
            "--local",
            &local,
            "--metrics",
            &metrics,
            "--rpc",
            self.ground.chain_rpc(),
            "--chain-id",
            &chain_id,
            "--payout",
            self.ground.text("/addresses/receiver"),
            "--mesh",
            "--bootstrap",
            self.ground.text("/peer_addresses/0"),
        ];
        let config = MeshConfig {
            args: args.map(str::to_owned).to_vec(),
            ..config(&base, port)
        };
        let mesh = Some(Mesh::start(&config)?);
        self.hosts.push(Host { config, mesh, way });
        Ok(())
    }

    /// Puts something before a host that can stop a call at its moments.
    async fn way(&self, to: usize, port: u16) -> Result<String> {
        let way = Way {
            to,
            target: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()?,
            trap: Arc::clone(&self.trap),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(Way::pass).with_state(way);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }

    async fn publish(&self, number: usize) -> Result<()> {
        let base = self.dir.path().join(NAMES[number]);
        let mut command = program_of_users();
        command
            .arg("publish")
            .arg(base.join("services").join(NAMES[number]));
        command.args(["--json", "--rpc", self.ground.chain_rpc()]);
        command.arg("--data-dir").arg(base.join("data"));
        run(&mut command).await?.json().map(drop)
    }

    fn mesh(&self, number: usize) -> Result<&Mesh> {
        self.hosts[number].mesh.as_ref().context("it has no power")
    }

    /// Waits until each of the first two finds whom it hires.
    async fn wait_for_offers(&self) -> Result<()> {
        for number in 0..NAMES.len() - 1 {
            let local = self.mesh(number)?.text("/local");
            let url = format!("{local}/providers/{}", NAMES[number + 1]);
            until("a host finds the next", || async {
                let known: Value = reqwest::get(&url).await?.json().await?;
                Ok(known["providers"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty()))
            })
            .await?;
        }
        Ok(())
    }

    fn client(&self) -> Result<PayingClient> {
        let mut config = Config::new(&self.hosts[0].way);
        config.rpc_url = Some(self.ground.chain_rpc().to_owned());
        config.store = Some(self.dir.path().join("payer"));
        config.repeats = 500;
        config.timeout = Duration::from_secs(90);
        let key = SigningKey::from_hex(self.ground.test_key(6))?;
        Ok(PayingClient::new(config, key)?)
    }

    /// Cuts a host's power when a call comes to a moment, and gives it back.
    async fn cut(
        &mut self,
        victim: usize,
        moment: Moment,
        client: &PayingClient,
    ) -> Result<Answer> {
        let (sprung, mut waits) = mpsc::channel(1);
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some((moment, sprung));
        let calling = tokio::spawn(pay(client.clone()));
        let go_on = waits.recv().await.context("no call came to this moment")?;
        let host = &mut self.hosts[victim];
        host.mesh.take().context("it has no power")?.kill()?;
        go_on.send(()).ok();
        host.mesh = Some(Mesh::start(&host.config)?);
        calling.await?
    }

    fn stop(self) -> Result<()> {
        for host in self.hosts {
            host.mesh.context("it has no power")?.stop()?;
        }
        self.ground.stop()
    }
}

fn config(base: &Path, port: u16) -> MeshConfig {
    MeshConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
        data_dir: base.join("data"),
        services: base.join("services"),
        artifacts: base.join("artifacts"),
        listen: format!("127.0.0.1:{port}"),
        args: Vec::new(),
    }
}

fn settings(way: Option<&str>) -> String {
    let gateways = way.map(|way| format!("gateways = [\"{way}\"]\n"));
    let gateways = gateways.unwrap_or_default();
    format!(
        "[payments]\ncollect_every_seconds = 3600\n[mesh]\nnames_every_ms = 200\nprivate = true\n{gateways}"
    )
}

/// Has the first service ask the second to have the third count.
async fn pay(client: PayingClient) -> Result<Answer> {
    let count = json!({ "of_caller": true, "key": "n" }).to_string();
    let asks = |service: &str, method: &str, arguments: String| json!({ "service": service, "method": method, "arguments": arguments });
    let middle = asks(NAMES[2], "count", count).to_string();
    let body = Body::json(&asks(NAMES[1], "ask", middle));
    let quote = client.quote(NAMES[0], "ask", &body).await?;
    let answered = client.call(&quote, &body).await;
    // With the service's own words.
    answered.map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// What was charged on the channels with one host, by its own books, and with how many payers.
async fn earned(host: &Host) -> Result<(u128, usize)> {
    let mut command = program_of_users();
    command.args(["ledger", "--json", "--data-dir"]);
    let books = run(command.arg(&host.config.data_dir)).await?.json()?;
    let rows = books["rows"].as_array().context("no rows")?;
    let charges = rows.iter().map(|row| {
        let charged = row["charged"].as_str().context(row.to_string())?;
        anyhow::Ok(charged.parse::<u128>()?)
    });
    let charges: Vec<u128> = charges.collect::<Result<_>>()?;
    Ok((charges.iter().sum(), charges.len()))
}

/// Each host was paid once for each call, by the one above it alone.
async fn check_books(chain: &Chain, calls: u128) -> Result<()> {
    for (number, host) in chain.hosts.iter().enumerate() {
        let each: u128 = OWN[number..].iter().sum();
        let books = earned(host).await?;
        ensure!(
            books == (calls * each, 1),
            "{} earned {books:?}, and {calls} calls cost {each} each",
            NAMES[number]
        );
        let mut audit = program_of_users();
        audit.args(["ledger", "audit", "--json", "--data-dir"]);
        let audit = run(audit.arg(&host.config.data_dir)).await?.json()?;
        ensure!(audit["good"] == true, "{}: {audit}", NAMES[number]);
    }
    Ok(())
}

/// The whole bill of a call, as its payer reads it: what each of five receipts says, from three hosts.
async fn check_tree(chain: &Chain, answer: &Answer) -> Result<()> {
    let receipt = answer.receipt.as_ref().context("no receipt")?;
    let mut command = program_of_users();
    command.args(["receipt", "tree", &receipt.receipt.id.to_string(), "--json"]);
    command.args(["--gateway", &chain.hosts[0].way, "--data-dir"]);
    let tree = run(command.arg(chain.dir.path().join("payer")))
        .await?
        .json()?;
    let mut at = &tree;
    let mut seen = Vec::new();
    loop {
        let receipt = &at["receipt"];
        let text = |name: &str| receipt[name].as_str().unwrap_or_default().to_owned();
        seen.push((text("service"), text("charged"), text("provider")));
        match at["below"].as_array().map(Vec::as_slice) {
            Some([]) => break,
            Some([only]) => at = only,
            other => anyhow::bail!("not one call below: {other:?}"),
        }
    }
    let told: Vec<(&str, &str)> = seen
        .iter()
        .map(|(name, charged, _)| (name.as_str(), charged.as_str()))
        .collect();
    let wanted = [
        ("front", "130"),
        ("middle", "120"),
        ("middle", "120"),
        ("keeps", "100"),
        ("keeps", "100"),
    ];
    ensure!(told == wanted, "{tree:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_its_power_at_whatever_moment_each_is_paid_once() -> Result<()> {
    let mut chain = Chain::start().await?;
    chain.wait_for_offers().await?;
    let client = chain.client()?;
    // All channels are opened by a call that nothing befalls.
    let answer = pay(client.clone()).await?;
    check_tree(&chain, &answer).await?;
    let mut calls = 1;
    check_books(&chain, calls).await?;
    for to in 0..NAMES.len() {
        for moment in [Moment::Asked(to), Moment::Answered(to)] {
            for (victim, name) in NAMES.iter().enumerate() {
                let what = format!("{name} was cut off at {moment:?}");
                let answer = chain.cut(victim, moment, &client).await;
                let answer = answer.with_context(|| what.clone())?;
                ensure!(answer.charged.get() == 130, "{what}: {answer:?}");
                calls += 1;
                check_books(&chain, calls)
                    .await
                    .with_context(|| what.clone())?;
                check_tree(&chain, &answer).await.context(what)?;
            }
        }
    }
    chain.stop()
}

const WASI: &str = "wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";

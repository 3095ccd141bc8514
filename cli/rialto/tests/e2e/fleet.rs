//! A fleet: replicas of one provider that share a ledger, behind a load balancer that knows
//! nothing. One payment is executed and charged once wherever it is sent; replicas are killed and
//! the database crashes under load, and at the end the caller's books, the ledger and the chain
//! agree to the base unit.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::{Body, Config, PayingClient};
use rialto_testkit::mesh::{Mesh, MeshConfig};
use rialto_testkit::postgres::{End, Server};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::books::units;
use crate::crash::{CALLERS, Load, PRICE, check_chain_of_receipts, pay};
use crate::fixture::{self, Fixture};
use crate::payer::{Payer, Reply};

const REPLICAS: usize = 2;
const KILLS: usize = 6;
const CONFIG: &str = "[payments]\ncollect_every_seconds = 1\nwatch_every_ms = 200\n[ledger]\nurl = \"URL\"\nlease_ms = 1500\n";

/// Room for three calls and a half; nothing is claimed meanwhile.
const CONFIG_OF_LIMITS: &str = "[payments]\ncollect_every_seconds = 3600\nwatch_every_ms = 60000\n[risk]\npayer_exposure_max = \"350\"\n[ledger]\nurl = \"URL\"\nlease_ms = 30000\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_payment_sent_to_two_replicas_is_executed_and_charged_once() -> Result<()> {
    let fleet = Fleet::start().await?;
    let [one, two] = [0, 1].map(|number| fleet.replica(number));
    let payer = Payer::new(one?, fleet.chain.test_key(1), 1).await?;
    let elsewhere = Payer::new(two?, fleet.chain.test_key(1), 1).await?;
    let first = payer.deposit(payer.voucher(10 * PRICE), 100_000, 1)?;
    let text = json!({ "text": "first" });
    let opened = payer.call("echo", &text, &first).await?;
    ensure!(opened.status == 200, "{opened:?}");
    for round in 0..10 {
        let text = json!({ "text": format!("round {round}") });
        let payment = payer.payment(payer.voucher((round + 2) * PRICE));
        let (here, there) = tokio::join!(
            payer.call("echo", &text, &payment),
            elsewhere.call("echo", &text, &payment),
        );
        let (here, there) = (here?, there?);
        ensure!(
            here.status == 200 && there.status == 200,
            "{here:?} {there:?}"
        );
        ensure!(here.body == there.body, "{here:?} {there:?}");
        ensure!(receipt(&here)? == receipt(&there)?, "{here:?} {there:?}");
    }
    for replica in [&payer, &elsewhere] {
        ensure!(replica.charged().await? == 11 * PRICE);
    }
    let receipts = fleet.sql("SELECT count(*) FROM rialto_receipts")?;
    ensure!(receipts == "11", "{receipts} receipts for 11 payments");
    // A ceiling is one for all: there is room for one more call, wherever it comes first.
    let last = payer.payment(payer.voucher(12 * PRICE));
    let (a, b) = (json!({ "text": "a" }), json!({ "text": "b" }));
    let (here, there) = tokio::join!(
        payer.call("echo", &a, &last),
        elsewhere.call("echo", &b, &last),
    );
    let mut statuses = [here?.status, there?.status];
    statuses.sort_unstable();
    ensure!(statuses == [200, 402], "{statuses:?}");
    ensure!(payer.charged().await? == 12 * PRICE);
    fleet.check_books(12, 12 * PRICE).await?;
    fleet.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_replicas_and_a_crashed_database_lose_nothing_and_charge_nothing_twice() -> Result<()>
{
    let mut fleet = Fleet::start().await?;
    let provider = fleet.chain.text("/addresses/receiver").to_owned();
    let earned_before = fleet.tokens(&provider).await?;
    let client = fleet.client()?;
    let load = Load::start(&client);
    for kill in 0..KILLS {
        load.wait_for_answers(3 + kill * 7 % 11).await;
        let victim = kill % REPLICAS;
        fleet.kill(victim)?;
        // The others go on, and take over what the dead one was at once its lease has ended.
        load.wait_for_answers(CALLERS).await;
        if kill == KILLS / 2 {
            fleet.server.halt(End::Crash)?;
            fleet.server.resume()?;
            load.wait_for_answers(CALLERS).await;
        }
        fleet.revive(victim)?;
    }
    fleet.server.halt(End::Fast)?;
    fleet.server.resume()?;
    load.wait_for_answers(CALLERS).await;
    let mut answers = load.finish().await?;
    let (_, quiet) = pay(&client, &Body::json(&json!({ "text": "quiet" }))).await?;
    answers.push(quiet);

    let charged = PRICE * answers.len() as u128;
    check_chain_of_receipts(&answers)?;
    let own = client.channels().await;
    ensure!(
        own.len() == 1 && own[0].charged == Amount::new(charged),
        "{own:?}"
    );
    for replica in 0..REPLICAS {
        let path = format!("/channels/{}", own[0].id);
        let seen = fixture::get(fleet.replica(replica)?, &path).await?;
        ensure!(seen["charged"] == json!(charged.to_string()), "{seen}");
    }
    let stored = "SELECT count(*), sum(charged) FROM rialto_receipts";
    ensure!(fleet.sql(stored)? == format!("{}|{charged}", answers.len()));
    fixture::until("nothing is left in flight", || async {
        Ok(fleet.sql("SELECT count(*) FROM rialto_in_flight")? == "0")
    })
    .await?;
    fixture::until("the last claim is settled", || async {
        Ok(fleet.tokens(&provider).await? == earned_before + charged)
    })
    .await?;
    fleet.check_logs()?;
    fleet.stop()
}

/// A payer cannot have more at stake by going to another replica, nor by another channel there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payers_limit_is_one_for_the_whole_fleet() -> Result<()> {
    let fleet = Fleet::start_with(CONFIG_OF_LIMITS).await?;
    let key = fleet.chain.test_key(1);
    let here = Payer::new(fleet.replica(0)?, key, 1).await?;
    let there = Payer::new(fleet.replica(1)?, key, 2).await?;
    let text = json!({ "text": "hello" });
    for (payer, salt) in [(&here, 1), (&there, 2)] {
        let first = payer.deposit(payer.voucher(10 * PRICE), 100_000, salt)?;
        let opened = payer.call("echo", &text, &first).await?;
        ensure!(opened.status == 200, "{opened:?}");
    }
    // Each replica served one call; there is room for one more, wherever it comes first.
    let (one, two) = (
        here.payment(here.voucher(11 * PRICE)),
        there.payment(there.voucher(11 * PRICE)),
    );
    let (one, two) = tokio::join!(
        here.call("echo", &text, &one),
        there.call("echo", &text, &two),
    );
    let replies = [one?, two?];
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    let refused = replies
        .iter()
        .filter(|reply| reply.code == "rialto_exposure_limit");
    ensure!(served == 1 && refused.count() == 1, "{replies:?}");
    let charged = fleet.sql("SELECT sum(charged) FROM rialto_channels")?;
    ensure!(charged == (3 * PRICE).to_string(), "{charged}");
    fleet.stop()
}

fn receipt(reply: &Reply) -> Result<&str> {
    let receipt = reply.receipt.as_ref().context("no receipt")?;
    receipt["id"].as_str().context("no receipt id")
}

/// A chain, a database, and replicas that share both.
struct Fleet {
    fixture: Fixture,
    /// A mesh of its own, for its chain alone.
    chain: Mesh,
    server: Server,
    replicas: Vec<Option<Mesh>>,
    ports: Vec<u16>,
    balancer: SocketAddr,
}

impl Fleet {
    async fn start() -> Result<Self> {
        Self::start_with(CONFIG).await
    }

    async fn start_with(config: &str) -> Result<Self> {
        let fixture = Fixture::hostile(PRICE, "")?;
        let chain = fixture.start()?;
        let server = Server::start()?;
        let url = server.database("fleet")?;
        let ports = (0..REPLICAS)
            .map(|_| fixture::free_port())
            .collect::<Result<Vec<_>>>()?;
        let doors: Vec<_> = ports
            .iter()
            .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
            .collect();
        let mut fleet = Self {
            balancer: balance(doors).await?,
            replicas: (0..REPLICAS).map(|_| None).collect(),
            fixture,
            chain,
            server,
            ports,
        };
        for number in 0..REPLICAS {
            let dir = fleet.dir(number);
            std::fs::create_dir_all(dir.join("keys"))?;
            std::fs::write(dir.join("rialto.toml"), config.replace("URL", &url))?;
            fixture::write_key(&dir.join("keys/host.key"), fleet.chain.test_key(2))?;
            fleet.revive(number)?;
        }
        Ok(fleet)
    }

    fn dir(&self, number: usize) -> PathBuf {
        self.fixture.dir().join(format!("replica-{number}"))
    }

    fn replica(&self, number: usize) -> Result<&Mesh> {
        self.replicas[number].as_ref().context("it was killed")
    }

    fn revive(&mut self, number: usize) -> Result<()> {
        let args = [
            "--rpc",
            self.chain.chain_rpc(),
            "--chain-id",
            &self.chain.ready()["chain_id"].to_string(),
            "--payout",
            self.chain.text("/addresses/receiver"),
        ];
        let mesh = Mesh::start(&MeshConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
            data_dir: self.dir(number),
            services: self.fixture.dir().join("services"),
            artifacts: self.fixture.dir().join("artifacts"),
            listen: format!("127.0.0.1:{}", self.ports[number]),
            args: args.map(str::to_owned).to_vec(),
        })?;
        self.replicas[number] = Some(mesh);
        Ok(())
    }

    fn kill(&mut self, number: usize) -> Result<()> {
        self.replicas[number]
            .take()
            .context("it was killed")?
            .kill()
    }

    /// A payer that knows the load balancer alone.
    fn client(&self) -> Result<PayingClient> {
        let mut config = Config::new(format!("http://{}", self.balancer));
        config.store = Some(self.fixture.dir().join("payer"));
        config.attempts = 500;
        let key = SigningKey::from_hex(self.chain.test_key(1))?;
        Ok(PayingClient::new(config, key)?)
    }

    async fn tokens(&self, account: &str) -> Result<u128> {
        self.fixture.token_balance(&self.chain, account).await
    }

    fn sql(&self, statement: &str) -> Result<String> {
        self.server.sql("fleet", statement)
    }

    /// Any replica tells the whole fleet's books, and once all is settled their audit finds nothing.
    async fn check_books(&self, calls: usize, charged: u128) -> Result<()> {
        for number in 0..REPLICAS {
            let dir = self.dir(number);
            fixture::until("all is settled in the books", || async {
                let books = ledger(&dir, &["--by", "provider", "--json"])?;
                ensure!(books["balanced"] == true, "{books}");
                Ok(units(&books, "/rows/0/settled")? == charged)
            })
            .await?;
            let audit = ledger(&dir, &["audit", "--json"])?;
            let counted = audit["receipts"] == calls && audit["channels"] == 1;
            ensure!(audit["good"] == true && counted, "{audit}");
            let books = ledger(&dir, &["--json"])?;
            ensure!(units(&books, "/rows/0/claimed")? == charged, "{books}");
            ensure!(units(&books, "/rows/0/exposure")? == 0, "{books}");
        }
        Ok(())
    }

    /// M7: the database's password is in no log.
    fn check_logs(&self) -> Result<()> {
        for number in 0..REPLICAS {
            let log = std::fs::read_to_string(self.dir(number).join("log.txt"))?;
            ensure!(!log.contains(self.server.password()), "{log}");
        }
        Ok(())
    }

    fn stop(self) -> Result<()> {
        for replica in self.replicas.into_iter().flatten() {
            replica.stop()?;
        }
        self.chain.stop()
    }
}

/// `rialto ledger` in a replica's data folder.
fn ledger(dir: &Path, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_rialto"))
        .arg("ledger")
        .args(arguments)
        .arg("--data-dir")
        .arg(dir)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Hands each connection to the next replica that answers; knows neither HTTP nor payments.
async fn balance(replicas: Vec<SocketAddr>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let replicas = Arc::new(replicas);
    tokio::spawn(async move {
        for turn in 0.. {
            let Ok((mut caller, _)) = listener.accept().await else {
                return;
            };
            let replicas = Arc::clone(&replicas);
            tokio::spawn(async move {
                for next in 0..replicas.len() {
                    let replica = replicas[(turn + next) % replicas.len()];
                    if let Ok(mut server) = TcpStream::connect(replica).await {
                        // Either side going away ends the connection, which is all there is to do.
                        tokio::io::copy_bidirectional(&mut caller, &mut server)
                            .await
                            .ok();
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

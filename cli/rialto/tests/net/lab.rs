//! Five hosts of the mesh and a chain, each in a network namespace of its own.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rialto_testkit::guests;
use rialto_testkit::mesh::{Mesh, MeshConfig};
use rialto_testkit::net::router::Router;
use rialto_testkit::net::{self, Place};
use serde_json::Value;
use tokio::process::Command;

/// What every call costs.
pub(crate) const PRICE: u128 = 100;
pub(crate) const SERVICE: &str = "hostile";
/// Publishes, and relays for others.
pub(crate) const FIRST: usize = 0;
/// Calls; offers nothing.
pub(crate) const CALLER: usize = 1;
/// Behind a NAT; reaches the first host and nobody else.
pub(crate) const HIDDEN: usize = 4;
pub(crate) const HOSTS: usize = 5;

/// The network, the chain, and the hosts that were not killed.
pub(crate) struct Lab {
    pub(crate) router: Router,
    chain: Mesh,
    hosts: Vec<Option<Mesh>>,
    /// Opens the caller's local door, which others reach.
    pub(crate) key: String,
    places: Vec<Place>,
    dir: tempfile::TempDir,
    _chain_place: Place,
}

impl Lab {
    /// The chain and the hosts, in good weather; nothing is published yet.
    pub(crate) fn start() -> Result<Self> {
        let router = Router::new([CHAIN, TEST]);
        net::join(&router, "test", TEST)?;
        let dir = tempfile::tempdir()?;
        let chain_place = Place::new(&router, "chain", CHAIN)?;
        let mut places = Vec::new();
        for number in 0..HOSTS {
            let inside = if number == HIDDEN {
                HIDDEN_INSIDE
            } else {
                address(number)
            };
            places.push(Place::new(&router, &format!("host{number}"), inside)?);
        }
        router.nat(HIDDEN_INSIDE, address(HIDDEN));
        router.set(|weather| {
            let others = (0..HOSTS).filter(|number| ![FIRST, HIDDEN].contains(number));
            weather.cut = others
                .map(|other| (address(HIDDEN), address(other)))
                .collect();
        });
        let chain = start_chain(dir.path(), &chain_place)?;
        let mut lab = Self {
            router,
            chain,
            hosts: Vec::new(),
            key: String::new(),
            places,
            dir,
            _chain_place: chain_place,
        };
        for number in 0..HOSTS {
            let host = lab.host(number)?;
            lab.hosts.push(Some(host));
        }
        lab.key = make_key(&lab.dir(CALLER).join("data"))?;
        Ok(lab)
    }

    fn host(&self, number: usize) -> Result<Mesh> {
        let (place, dir) = (&self.places[number], self.dir(number));
        let inside = place.address();
        install(&dir, "flood", guests::FLOOD, "context = true", "run")?;
        if number == FIRST {
            install(&dir, SERVICE, guests::HOSTILE, "", "echo")?;
        }
        let data = dir.join("data");
        let first = self.hosts.first().and_then(Option::as_ref);
        let first = first.map(|first| first.text("/peer_addresses/0").to_owned());
        let mut config = CONFIG.to_owned();
        config.push_str(&match (number, &first) {
            (HIDDEN, Some(relay)) => format!(
                "listen = [\"/ip4/0.0.0.0/tcp/8406\"]\nprivate = true\nrelays = [\"{relay}\"]\nregion = \"hidden\"\n"
            ),
            _ => format!(
                "listen = [\"/ip4/{inside}/tcp/8406\"]\nrelay = {}\nregion = \"open\"\n",
                number == FIRST
            ),
        });
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("rialto.toml"), config)?;
        write_key(&data.join("keys/host.key"), self.chain.test_key(2 + number))?;
        let wallet = self.chain.test_key(usize::from(number == CALLER));
        write_key(&data.join("wallet/wallet.key"), wallet)?;
        let chain_id = self.chain.ready()["chain_id"].to_string();
        let local = format!("{inside}:{LOCAL_PORT}");
        let mut args = vec![
            "--rpc",
            self.chain.chain_rpc(),
            "--chain-id",
            &chain_id,
            "--payout",
            self.chain.text("/addresses/receiver"),
            "--mesh",
            "--local",
            &local,
        ];
        if let Some(first) = &first {
            args.extend(["--bootstrap", first]);
        }
        Mesh::start(&MeshConfig {
            program: place.script(dir.join("rialto"), &program())?,
            data_dir: data,
            services: dir.join("services"),
            artifacts: dir.join("artifacts"),
            listen: format!("{inside}:8402"),
            args: args.into_iter().map(str::to_owned).collect(),
        })
    }

    pub(crate) fn get(&self, number: usize) -> Result<&Mesh> {
        self.hosts[number].as_ref().context("it was killed")
    }

    /// Kills a host's process, as a power cut does.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        self.hosts[number].take().context("it was killed")?.kill()
    }

    /// Starts a killed host again with what it had stored.
    pub(crate) fn revive(&mut self, number: usize) -> Result<()> {
        let host = self.host(number)?;
        self.hosts[number] = Some(host);
        Ok(())
    }

    /// Publishes the service from the first host, and lets all but the caller take it in.
    pub(crate) async fn publish(&self) -> Result<()> {
        let folder = self.dir(FIRST).join("services").join(SERVICE);
        let folder = folder.to_str().context("a path that is text")?;
        let rpc = self.chain.chain_rpc();
        let published = ["publish", folder, "--tag", "tests", "--json", "--rpc", rpc];
        let (success, said) = self.rialto(FIRST, &published).await?;
        ensure!(success, "{said}");
        for number in (0..HOSTS).filter(|number| ![FIRST, CALLER].contains(number)) {
            until("what was published runs elsewhere", SETTLE, || async {
                let args = ["deploy", "--mesh", SERVICE, "--json"];
                Ok(self.rialto(number, &args).await?.0)
            })
            .await?;
        }
        Ok(())
    }

    /// What the caller knows of a service's providers. Asked from within its namespace: its door tells that to
    /// programs of its own machine alone.
    pub(crate) async fn providers(&self) -> Result<Vec<Value>> {
        let (host, port) = (address(CALLER), LOCAL_PORT);
        let request = format!(
            "GET /providers/{SERVICE} HTTP/1.1\\r\\nhost: {host}:{port}\\r\\nconnection: close\\r\\n\\r\\n"
        );
        let script = format!("exec 3<>/dev/tcp/{host}/{port} && printf '{request}' >&3 && cat <&3");
        let mut command = Command::from(self.places[CALLER].command("bash"));
        command.args(["-c", &script]).kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND_TIME_MAX, command.output()).await??;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .with_context(|| format!("{output:?}"))?;
        let known: Value = serde_json::from_str(body).with_context(|| answer.clone())?;
        let providers = known["providers"].as_array().cloned();
        providers.with_context(|| answer)
    }

    /// What a host has charged by its own books, and how many receipts it signed.
    pub(crate) async fn books(&self, number: usize) -> Result<Value> {
        let (_, said) = self.rialto(number, &["ledger", "audit", "--json"]).await?;
        serde_json::from_str(&said).with_context(|| said)
    }

    /// Runs a command beside a host, within its namespace. Whether it succeeded, and what it printed.
    pub(crate) async fn rialto(&self, number: usize, args: &[&str]) -> Result<(bool, String)> {
        let mut command = Command::from(self.places[number].command(program()));
        command.args(args).arg("--data-dir");
        command.arg(self.dir(number).join("data"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND_TIME_MAX, command.output()).await??;
        let text = if output.stdout.is_empty() {
            output.stderr
        } else {
            output.stdout
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((output.status.success(), text))
    }

    fn dir(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("host-{number}"))
    }

    pub(crate) fn log(&self, number: usize) -> String {
        let file = self.dir(number).join("data/log.txt");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Stops all hosts, cleanly.
    pub(crate) fn stop(&mut self) -> Result<()> {
        for host in &mut self.hosts {
            if let Some(host) = host.take() {
                host.stop()?;
            }
        }
        Ok(())
    }
}

/// Where a host is seen by others.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 77, 0, 11 + last)
}

fn start_chain(dir: &Path, place: &Place) -> Result<Mesh> {
    let dir = dir.join("chain");
    install(&dir, "flood", guests::FLOOD, "context = true", "run")?;
    std::fs::create_dir_all(dir.join("data"))?;
    Mesh::start(&MeshConfig {
        program: place.script(dir.join("rialto"), &program())?,
        data_dir: dir.join("data"),
        services: dir.join("services"),
        artifacts: dir.join("artifacts"),
        listen: format!("{CHAIN}:8402"),
        args: vec!["--chain-listen".to_owned(), format!("{CHAIN}:8545")],
    })
}

/// A key that may spend what the tests do.
fn make_key(data: &Path) -> Result<String> {
    let mut command = std::process::Command::new(program());
    command.args([
        "key",
        "new",
        "callers",
        "--budget",
        "1000 USDC",
        "--json",
        "--data-dir",
    ]);
    let made = command.arg(data).output()?;
    ensure!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout)?;
    let key = made["key"].as_str().context("no key")?;
    Ok(key.to_owned())
}

fn install(dir: &Path, name: &str, text: &str, grants: &str, method: &str) -> Result<()> {
    let folder = dir.join("services").join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("component.wasm"), guests::component(text)?)?;
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"A guest for tests.\"\nlicense = \"Apache-2.0\"\n\
         [grants]\n{grants}\n[limits]\ntime_ms_max = 1000\nmemory_bytes_max = 67108864\n\
         [prices.{method}]\ncall = \"{PRICE}\"\n"
    );
    Ok(std::fs::write(folder.join("service.toml"), manifest)?)
}

fn write_key(path: &Path, key: &str) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("a key is in a folder")?)?;
    std::fs::write(path, key.trim_start_matches("0x"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// Polls until `condition` holds, and says how long that took.
pub(crate) async fn until<F>(
    what: &str,
    time_max: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<Duration>
where
    F: Future<Output = Result<bool>>,
{
    let began = Instant::now();
    while !condition().await? {
        ensure!(
            began.elapsed() < time_max,
            "waited {time_max:?} until {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(began.elapsed())
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rialto"))
}

/// Where the local doors are.
const LOCAL_PORT: u16 = 8405;
/// Nothing is collected meanwhile: what was charged stays where it is counted.
const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[local]\nday_max = \"1000000000\"\n[mesh]\nnames_every_ms = 200\n";
const CHAIN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const TEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const HIDDEN_INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 2);
pub(crate) const SETTLE: Duration = Duration::from_secs(40);
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

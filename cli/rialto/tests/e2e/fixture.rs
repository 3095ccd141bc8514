//! What the end-to-end tests share: a scratch folder with a hostile service, reads of the gateway
//! and the chain, and waiting for something to become true.

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rialto_gateway::client::ClientError;
use rialto_testkit::guests;
use rialto_testkit::mesh::{Mesh, MeshConfig};
use serde_json::{Value, json};

/// A scratch folder with services made of hand-written components; no models are needed.
pub(crate) struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// The hostile guest as service `hostile` and the flooding one as `flood`, every method at
    /// `price` base units, with a configuration file.
    pub(crate) fn hostile(price: u128, config: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir_all(dir.path().join("data"))?;
        std::fs::write(dir.path().join("data").join("rialto.toml"), config)?;
        let methods = [
            "trap",
            "spin",
            "grow",
            "grow-many",
            "grow-table",
            "recurse",
            "big-text",
            "big-bytes",
            "refuse",
            "echo",
        ];
        install(dir.path(), "hostile", guests::HOSTILE, "", &methods, price)?;
        install(
            dir.path(),
            "flood",
            guests::FLOOD,
            "context = true",
            &["run"],
            price,
        )?;
        Ok(Self { dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a mesh here on any free port.
    pub(crate) fn start(&self) -> Result<Mesh> {
        self.start_with(0, 0)
    }

    /// Starts a mesh here with these ports of the loopback for the gateway and the chain: clients
    /// that stay find both again after a restart.
    pub(crate) fn start_with(&self, port: u16, chain_port: u16) -> Result<Mesh> {
        Mesh::start(&MeshConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
            data_dir: self.dir().join("data"),
            services: self.dir().join("services"),
            artifacts: self.dir().join("artifacts"),
            listen: format!("127.0.0.1:{port}"),
            args: vec![
                "--chain-listen".to_owned(),
                format!("127.0.0.1:{chain_port}"),
            ],
        })
    }

    /// An account's tokens on the mesh's chain, in base units.
    pub(crate) async fn token_balance(&self, mesh: &Mesh, account: &str) -> Result<u128> {
        let account = account.trim_start_matches("0x").to_lowercase();
        let call = json!([{ "to": mesh.text("/addresses/token"), "data": format!("0x70a08231{account:0>64}") }, "latest"]);
        let answer = rpc(mesh, "eth_call", call).await?;
        let hex = answer.as_str().context("a balance is text")?;
        Ok(u128::from_str_radix(hex.trim_start_matches("0x"), 16)?)
    }
}

fn install(
    dir: &Path,
    name: &str,
    text: &str,
    grants: &str,
    methods: &[&str],
    price: u128,
) -> Result<()> {
    let folder = dir.join("services").join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("component.wasm"), guests::component(text)?)?;
    let mut manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"A guest for tests.\"\nlicense = \"Apache-2.0\"\n\
         [grants]\n{grants}\n[limits]\ntime_ms_max = 1000\nmemory_bytes_max = 67108864\n"
    );
    for method in methods {
        manifest.push_str(&format!("[prices.{method}]\ncall = \"{price}\"\n"));
    }
    std::fs::write(folder.join("service.toml"), manifest)?;
    Ok(())
}

/// Writes a private key as nodes and wallets keep it.
pub(crate) fn write_key(path: &Path, key: &str) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("a key is in a folder")?)?;
    std::fs::write(path, key.trim_start_matches("0x"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// A port of the loopback that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// A JSON document of the gateway.
pub(crate) async fn get(mesh: &Mesh, path: &str) -> Result<Value> {
    let answer = reqwest::get(format!("{}{path}", mesh.gateway())).await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{path} answered {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// One call of the chain's RPC.
pub(crate) async fn rpc(mesh: &Mesh, method: &str, params: Value) -> Result<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = reqwest::Client::new()
        .post(mesh.chain_rpc())
        .json(&request)
        .send()
        .await?
        .json()
        .await?;
    match answer.get("result") {
        Some(result) => Ok(result.clone()),
        None => bail!("{method} was refused: {answer}"),
    }
}

/// Polls until `condition` holds, at most half a minute.
pub(crate) async fn until<F>(what: &str, mut condition: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let give_up = Instant::now() + Duration::from_secs(30);
    while !condition().await? {
        ensure!(Instant::now() < give_up, "waited 30 s until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Repeats what fails only because the gateway is away, at most half a minute.
pub(crate) async fn until_reachable<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        match attempt().await {
            Err(ClientError::Transport(_)) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

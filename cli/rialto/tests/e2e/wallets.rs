//! What a careful consumer and a provider type: a wallet of their own, budgets, calls at once,
//! receipts checked offline, money taken back from a provider that is gone, and the books.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::books::{OnChain, units};
use crate::fixture::{self, Fixture};
use crate::installed::{Output, run};

const PRICE: u128 = 100;
const COLLECT_LATER: &str = "[payments]\ncollect_every_seconds = 86400\n";
const ECHO: [&str; 4] = ["call", "hostile", "echo", "{\"text\": \"a\"}"];

/// A consumer with a data folder of its own, and a password in a file.
struct Consumer {
    dir: PathBuf,
    password: PathBuf,
}

impl Consumer {
    fn new(fixture: &Fixture, name: &str) -> Result<Self> {
        let dir = fixture.dir().join(name);
        std::fs::create_dir_all(&dir)?;
        let password = dir.join("password");
        write_private(&password, "correct horse battery")?;
        Ok(Self { dir, password })
    }

    async fn rialto(&self, mesh: Option<&Mesh>, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
        command
            .args(args)
            .env("RIALTO_PASSWORD_FILE", &self.password);
        command.env("RIALTO_DATA_DIR", &self.dir);
        if let Some(mesh) = mesh {
            command.env("RIALTO_GATEWAY", mesh.gateway());
        }
        run(&mut command).await
    }

    async fn json(&self, mesh: Option<&Mesh>, args: &[&str]) -> Result<Value> {
        self.rialto(mesh, &[args, &["--json"]].concat())
            .await?
            .json()
    }

    /// Takes over a funded key as an encrypted wallet.
    async fn import(&self, key: &str) -> Result<String> {
        let file = self.dir.join("key.hex");
        write_private(&file, key)?;
        let file = file.to_str().context("a path that is text")?.to_owned();
        let made = self.json(None, &["wallet", "import", &file]).await?;
        std::fs::remove_file(&file)?;
        Ok(made["address"].as_str().context("no address")?.to_owned())
    }
}

#[tokio::test]
async fn an_encrypted_wallet_pays_within_its_policy() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, COLLECT_LATER)?;
    let mesh = fixture.start()?;
    let consumer = Consumer::new(&fixture, "consumer")?;
    let none = consumer.rialto(Some(&mesh), &ECHO).await?;
    ensure!(
        !none.success && none.stderr.contains("rialto wallet new"),
        "{none:?}"
    );

    let address = consumer.import(mesh.test_key(1)).await?;
    no_key_in(&consumer.dir, mesh.test_key(1))?;
    let shown = consumer.json(Some(&mesh), &["wallet"]).await?;
    ensure!(
        shown["address"] == json!(address) && shown["kind"] == "encrypted",
        "{shown}"
    );
    let before = units(&shown, "/token_balance")?;

    for (key, value) in [("call_max", "0.000099 USDC"), ("day_max", "1500")] {
        let set = consumer
            .rialto(None, &["policy", "set", key, value])
            .await?;
        ensure!(set.success, "{set:?}");
    }
    let dear = consumer.rialto(Some(&mesh), &ECHO).await?;
    ensure!(
        dear.code == Some(3) && dear.stderr.contains("rialto policy set call_max 100"),
        "{dear:?}"
    );
    let set = consumer
        .rialto(None, &["policy", "set", "call_max", "off"])
        .await?;
    ensure!(set.success, "{set:?}");

    let many = [&ECHO[..], &["--times", "12", "--parallel", "4"]].concat();
    let answers = consumer.rialto(Some(&mesh), &many).await?;
    ensure!(
        answers.success && answers.stderr.contains("for 12 calls"),
        "{answers:?}"
    );
    let spent = consumer.rialto(Some(&mesh), &many).await?;
    ensure!(
        spent.code == Some(3) && spent.stderr.contains("policy set day_max"),
        "{spent:?}"
    );
    let policy = consumer.json(None, &["policy", "show"]).await?;
    let charged = units(&policy, "/spent_today")?;
    ensure!(charged == 1500, "{policy}");

    let channels = consumer.json(None, &["channel", "ls"]).await?;
    let id = channels[0]["id"].as_str().context("no channel")?.to_owned();
    ensure!(units(&channels, "/0/charged")? == charged, "{channels}");
    check_receipts(&consumer, &id).await?;
    let closed = consumer.json(Some(&mesh), &["channel", "close"]).await?;
    ensure!(closed["channel"] == json!(id), "{closed}");
    let after = consumer.json(Some(&mesh), &["wallet"]).await?;
    ensure!(
        units(&after, "/token_balance")? == before - charged,
        "{after}"
    );
    mesh.stop()
}

/// The receipts as kept are a chain; one changed byte is noticed, with its own exit code.
async fn check_receipts(consumer: &Consumer, channel: &str) -> Result<()> {
    let list = consumer
        .rialto(None, &["receipt", "ls", channel, "--json"])
        .await?;
    let receipts = list.json()?;
    ensure!(receipts.as_array().map(Vec::len) == Some(15), "{receipts}");
    let file = consumer.dir.join("receipts.json");
    std::fs::write(&file, &list.stdout)?;
    let name = file.to_str().context("a path that is text")?;
    let good = consumer.json(None, &["receipt", "verify", name]).await?;
    ensure!(
        good["chains"][0]["receipts"] == 15 && good["chains"][0]["after"] == "1500",
        "{good}"
    );
    let host = good["chains"][0]["host"].as_str().context("no host")?;
    let known = consumer
        .rialto(None, &["receipt", "verify", name, "--host", host])
        .await?;
    ensure!(known.success, "{known:?}");
    let id = receipts[3]["id"].as_str().context("no id")?;
    let shown = consumer.rialto(None, &["receipt", "show", id]).await?;
    ensure!(
        shown.success && shown.stdout.contains("kept here"),
        "{shown:?}"
    );
    let (one, other) = (consumer.dir.join("a.json"), consumer.dir.join("b.json"));
    std::fs::write(&one, receipts[3].to_string())?;
    std::fs::write(&other, receipts[4].to_string())?;
    let pair = [
        one.to_str().context("text")?,
        other.to_str().context("text")?,
    ];
    let honest = consumer
        .rialto(None, &["receipt", "conflict", pair[0], pair[1]])
        .await?;
    ensure!(
        !honest.success && honest.stderr.contains("both receipts can be true"),
        "{honest:?}"
    );

    let mut forged = receipts.clone();
    forged[7]["response"] = forged[6]["response"].clone();
    forged[7]["charged"] = json!("1");
    std::fs::write(&file, forged.to_string())?;
    let bad = consumer.rialto(None, &["receipt", "verify", name]).await?;
    ensure!(
        bad.code == Some(4) && bad.stderr.contains("receipt 7"),
        "{bad:?}"
    );
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn an_external_signer_pays_and_withdraws_without_the_provider() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, COLLECT_LATER)?;
    let mesh = fixture.start()?;
    let keeper = Consumer::new(&fixture, "keeper")?;
    let address = keeper.import(mesh.test_key(2)).await?;
    let consumer = Consumer::new(&fixture, "signing")?;
    let signer = signer_script(&consumer.dir, mesh.test_key(2))?;
    let used = consumer
        .json(None, &["wallet", "use", "--signer", &signer])
        .await?;
    ensure!(used["address"] == json!(address), "{used}");
    let paid = consumer.json(Some(&mesh), &ECHO).await?;
    let deposited = units(&paid, "/deposited")?;
    let id = paid["channel"]["id"]
        .as_str()
        .context("no channel")?
        .to_owned();

    let begun = consumer
        .json(Some(&mesh), &["channel", "close", &id, "--force"])
        .await?;
    ensure!(
        units(&begun, "/withdrawing")? == deposited - PRICE,
        "{begun}"
    );
    let waits = consumer.json(Some(&mesh), &["channel", "finalize"]).await?;
    ensure!(waits[0]["finalizes_at"] == begun["finalizes_at"], "{waits}");
    fixture::rpc(&mesh, "evm_increaseTime", json!([90_000])).await?;
    fixture::rpc(&mesh, "evm_mine", json!([])).await?;
    let done = consumer.json(Some(&mesh), &["channel", "finalize"]).await?;
    ensure!(units(&done, "/0/withdrawn")? == deposited - PRICE, "{done}");
    let on_chain = OnChain::read(&mesh, &id).await?;
    ensure!(on_chain.balance == PRICE, "{on_chain:?}");
    mesh.stop()
}

#[tokio::test]
async fn a_providers_books_are_shown_while_it_runs_and_after() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, COLLECT_LATER)?;
    let mesh = fixture.start()?;
    let consumer = Consumer::new(&fixture, "consumer")?;
    consumer.import(mesh.test_key(3)).await?;
    for _ in 0..3 {
        consumer.json(Some(&mesh), &ECHO).await?;
    }
    let provider = Consumer {
        dir: fixture.dir().join("data"),
        password: consumer.password,
    };
    let audit = provider.json(None, &["ledger", "audit"]).await?;
    ensure!(audit["good"] == true && audit["receipts"] == 3, "{audit}");
    let running = provider.json(None, &["ledger"]).await?;
    ensure!(
        units(&running, "/rows/0/exposure")? == 3 * PRICE,
        "{running}"
    );
    let top = provider.json(None, &["top"]).await?;
    let hostile = top["services"].as_array().into_iter().flatten();
    let mut hostile = hostile.filter(|row| row["service"] == "hostile");
    let hostile = hostile.next().with_context(|| top.to_string())?;
    ensure!(hostile["calls"] == 3 && hostile["charged"] == 300, "{top}");
    ensure!(top["host"]["channels"] == 1, "{top}");
    let once = provider.rialto(None, &["top", "--once"]).await?;
    ensure!(
        once.success && once.stdout.contains("0.000300 USDC"),
        "{once:?}"
    );
    let day = provider.json(None, &["ledger", "--by", "day"]).await?;
    ensure!(units(&day, "/rows/0/charged")? == 3 * PRICE, "{day}");
    let csv = provider
        .rialto(None, &["ledger", "--by", "provider", "--csv"])
        .await?;
    ensure!(
        csv.success && csv.stdout.starts_with("receiver,token,deposits,earned"),
        "{csv:?}"
    );
    ensure!(csv.stdout.contains(",300,"), "{csv:?}");
    let journal = provider.rialto(None, &["ledger", "journal"]).await?;
    ensure!(
        journal.success && journal.stdout.contains("earned"),
        "{journal:?}"
    );
    mesh.stop()?;

    let top = provider.rialto(None, &["top", "--once"]).await?;
    ensure!(!top.success && top.stderr.contains("rialto up"), "{top:?}");
    let stopped = provider.json(None, &["ledger"]).await?;
    ensure!(stopped == running, "{stopped}, and while it ran {running}");
    let audit = provider.rialto(None, &["ledger", "audit"]).await?;
    ensure!(
        !audit.success && audit.stderr.contains("rialto up"),
        "{audit:?}"
    );
    Ok(())
}

/// A signer as a stranger would write one: a Python script on another wallet's library.
#[cfg(unix)]
fn signer_script(dir: &Path, key: &str) -> Result<String> {
    let python = rialto_testkit::mesh::path_from_env("RIALTO_VENV")?.join("bin/python3");
    let (key_file, script) = (dir.join("signer.key"), dir.join("signer.py"));
    write_private(&key_file, key)?;
    std::fs::write(
        &script,
        "import json, sys\n\
         from eth_account import Account\n\
         from eth_account.messages import encode_typed_data\n\
         request = json.load(sys.stdin)\n\
         account = Account.from_key(open(sys.argv[1]).read())\n\
         if 'typedData' in request:\n\
         \x20   signed = account.sign_message(encode_typed_data(full_message=request['typedData']))\n\
         else:\n\
         \x20   signed = account.unsafe_sign_hash(bytes.fromhex(request['digest'][2:]))\n\
         print(json.dumps({'signature': '0x' + signed.signature.hex().removeprefix('0x')}))\n",
    )?;
    Ok(format!(
        "{} {} {}",
        python.display(),
        script.display(),
        key_file.display()
    ))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// The key is in no file of the folder. It is not named when it is (M7: no key in a log).
fn no_key_in(dir: &Path, key: &str) -> Result<()> {
    let digits = key.trim_start_matches("0x").to_lowercase();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            no_key_in(&path, key)?;
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).to_lowercase();
            ensure!(!text.contains(&digits), "the key is in {}", path.display());
        }
    }
    Ok(())
}

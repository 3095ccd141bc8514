//! Services come, change and go on a host that is called meanwhile; and a host with a thousand of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rialto_channels::SigningKey;
use rialto_gateway::client::{Body, ClientError, Config, PayingClient};
use rialto_testkit::guests;
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::fixture::{Fixture, get, until};
use crate::installed::{Output, program_of_users, run};

/// The hostile guest in a version of its own: no two have the same component.
fn version(folder: &Path, name: &str, number: &str, price: u128) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut component = guests::component(guests::HOSTILE)?;
    let label = format!("{name} {number}");
    let bytes = u8::try_from(label.len())?;
    component.extend([0, bytes + 1, bytes]);
    component.extend(label.as_bytes());
    std::fs::write(folder.join("component.wasm"), component)?;
    let manifest = format!(
        "name = \"{name}\"\nversion = \"{number}\"\ndescription = \"A guest for tests.\"\n\
         license = \"Apache-2.0\"\n[limits]\ntime_ms_max = 1000\n[prices.echo]\ncall = \"{price}\"\n"
    );
    Ok(std::fs::write(folder.join("service.toml"), manifest)?)
}

/// A command of the operator's.
async fn operator(fixture: &Fixture, args: &[&str]) -> Result<Output> {
    let mut command = program_of_users();
    command.args(args).arg("--json");
    command.arg("--data-dir").arg(fixture.dir().join("data"));
    run(&mut command).await
}

async fn deploy(fixture: &Fixture, folder: &Path) -> Result<Value> {
    let folder = folder.to_str().context("a path that is not text")?;
    operator(fixture, &["deploy", folder]).await?.json()
}

async fn state(fixture: &Fixture, service: &str) -> Result<Value> {
    let all = operator(fixture, &["services", "--versions"])
        .await?
        .json()?;
    let mut services = all["services"].as_array().into_iter().flatten();
    let found = services.find(|known| known["name"] == service);
    Ok(found
        .with_context(|| format!("no {service} in {all}"))?
        .clone())
}

/// Calls until it is told to stop; every call must succeed. Returns the versions of its receipts.
async fn keep_calling(
    client: &PayingClient,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Vec<String>> {
    let body = Body::json(&json!({ "text": "hello" }));
    let mut versions = Vec::new();
    while !stop.load(std::sync::atomic::Ordering::Acquire) {
        let quote = client.quote("hostile", "echo", &body).await?;
        let answer = client.call(&quote, &body).await?;
        ensure!(answer.receipt_fault.is_none(), "{:?}", answer.receipt_fault);
        let receipt = answer.receipt.context("no receipt")?.receipt;
        versions.push(receipt.version);
    }
    Ok(versions)
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_and_go_under_calls_and_no_call_is_lost() -> Result<()> {
    let fixture = Fixture::hostile(100, "[payments]\ncollect_every_seconds = 3600\n")?;
    let mesh = fixture.start()?;
    let key = SigningKey::from_hex(mesh.test_key(0))?;
    let client = PayingClient::new(Config::new(mesh.gateway()), key)?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let next = fixture.dir().join("next");
    let changes = async {
        for number in ["0.2.0", "0.3.0"] {
            version(&next, "hostile", number, 100)?;
            let changed = deploy(&fixture, &next).await?;
            ensure!(
                changed["version"]
                    .as_str()
                    .is_some_and(|it| it.starts_with(number)),
                "{changed}"
            );
        }
        let back = operator(&fixture, &["rollback", "hostile"]).await?.json()?;
        ensure!(
            back["version"]
                .as_str()
                .is_some_and(|it| it.starts_with("0.2.0-")),
            "{back}"
        );
        // What cannot run is refused where it is deployed, and by the node.
        std::fs::write(next.join("component.wasm"), b"\0asm\x01\0\0\0")?;
        let module = operator(&fixture, &["deploy", next.to_str().context("text")?]).await?;
        ensure!(
            !module.success && module.stderr.contains("no WebAssembly component"),
            "{module:?}"
        );
        std::fs::write(next.join("component.wasm"), b"\0asm\x0d\0\x01\0rest")?;
        let broken = operator(&fixture, &["deploy", next.to_str().context("text")?]).await?;
        ensure!(
            !broken.success && broken.stderr.contains("nothing was changed"),
            "{broken:?}"
        );
        ensure!(state(&fixture, "hostile").await?["version"] == back["version"]);
        stop.store(true, std::sync::atomic::Ordering::Release);
        Ok::<_, anyhow::Error>(())
    };
    let stopped = async {
        let done = changes.await;
        stop.store(true, std::sync::atomic::Ordering::Release);
        done
    };
    let (versions, changed) = tokio::join!(keep_calling(&client, &stop), stopped);
    changed?;
    let mut seen = versions?;
    ensure!(seen.last().is_some_and(|last| last == "0.2.0"), "{seen:?}");
    let calls = seen.len();
    seen.dedup();
    ensure!(
        seen.first().is_some_and(|first| first == "0.1.0"),
        "{seen:?}"
    );
    ensure!(seen.len() >= 3, "{calls} calls saw {seen:?} alone");
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_quoted_the_old_price_never_pays_the_new_one() -> Result<()> {
    let fixture = Fixture::hostile(100, "[payments]\ncollect_every_seconds = 3600\n")?;
    let mesh = fixture.start()?;
    let key = SigningKey::from_hex(mesh.test_key(0))?;
    let client = PayingClient::new(Config::new(mesh.gateway()), key)?;
    let next = fixture.dir().join("next");
    version(&next, "hostile", "0.4.0", 500)?;
    let body = Body::json(&json!({ "text": "hello" }));
    let quote = client.quote("hostile", "echo", &body).await?;
    deploy(&fixture, &next).await?;
    let before = get(&mesh, "/services/hostile").await?;
    ensure!(before["version"] == "0.4.0", "{before}");
    match client.call(&quote, &body).await {
        Ok(answer) => {
            let receipt = answer.receipt.context("no receipt")?.receipt;
            ensure!(
                receipt.charged.get() <= 100,
                "charged {} for a quote of 100",
                receipt.charged
            );
        }
        Err(error) => ensure!(!matches!(error, ClientError::Transport(_)), "{error}"),
    }
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_service_says_when_to_come_again_and_comes_back() -> Result<()> {
    let fixture = Fixture::hostile(100, "[payments]\ncollect_every_seconds = 3600\n")?;
    let mesh = fixture.start()?;
    let url = format!("{}/services/hostile/echo", mesh.gateway());
    let ask = async || {
        let client = reqwest::Client::new();
        client.post(&url).body(r#"{"text": "hello"}"#).send().await
    };
    ensure!(ask().await?.status() == 402);
    let drained = operator(&fixture, &["drain", "hostile"]).await?.json()?;
    ensure!(drained["running"] == 0, "{drained}");
    let refused = ask().await?;
    ensure!(refused.status() == 503, "{refused:?}");
    ensure!(refused.headers().contains_key("retry-after"), "{refused:?}");
    let text: Value = serde_json::from_str(&refused.text().await?)?;
    ensure!(text["error"]["code"] == "service_drained", "{text}");
    ensure!(get(&mesh, "/services/hostile").await?["state"] == "drained");
    ensure!(state(&fixture, "hostile").await?["state"] == "drained");
    ensure!(get(&mesh, "/services/flood").await?["state"] == "open");
    operator(&fixture, &["resume", "hostile"]).await?.json()?;
    ensure!(ask().await?.status() == 402);
    operator(&fixture, &["drain", "--all"]).await?.json()?;
    ensure!(ask().await?.status() == 503);
    operator(&fixture, &["resume", "--all"]).await?.json()?;
    ensure!(ask().await?.status() == 402);
    operator(&fixture, &["remove", "hostile"]).await?.json()?;
    ensure!(ask().await?.status() == 404);
    operator(&fixture, &["rollback", "hostile"]).await?.json()?;
    ensure!(ask().await?.status() == 402);
    let unknown = operator(&fixture, &["drain", "nobody"]).await?;
    ensure!(
        !unknown.success && unknown.stderr.contains("services --versions"),
        "{unknown:?}"
    );
    mesh.stop()?;
    let gone = operator(&fixture, &["resume", "hostile"]).await?;
    ensure!(
        !gone.success && gone.stderr.contains("rialto up"),
        "{gone:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_thousand_services_is_ready_before_any_of_them_is_loaded() -> Result<()> {
    let fixture = Fixture::hostile(100, "")?;
    let few = fixture.start()?;
    let alone = resident_kib(&few)?;
    few.stop()?;
    let services: PathBuf = fixture.dir().join("services");
    for number in 0..SERVICES {
        let name = format!("service-{number}");
        let folder = services.join(&name);
        version(&folder, &name, "0.1.0", 0)?;
        // One component, or the test would be about compiling: each service loads it for itself.
        std::fs::copy(
            services.join("hostile/component.wasm"),
            folder.join("component.wasm"),
        )?;
    }
    let first = fixture.start()?;
    until("all are looked at", async || {
        let listing = get(&first, "/services").await?;
        Ok(listing["services"].as_array().map(Vec::len) == Some(SERVICES + 2))
    })
    .await?;
    first.stop()?;
    let since = Instant::now();
    let mesh = fixture.start()?;
    let ready = since.elapsed();
    ensure!(get(&mesh, "/health").await?["status"] == "ok");
    let idle = resident_kib(&mesh)?;
    let listing = get(&mesh, "/services").await?;
    let records = listing["services"].as_array().context("no services")?;
    ensure!(records.len() == SERVICES + 2, "{} services", records.len());
    ensure!(
        records.iter().all(|record| record["loaded"] == false),
        "one is loaded"
    );
    let client = reqwest::Client::new();
    let call = async |number: usize| -> Result<()> {
        let url = format!("{}/services/service-{number}/echo", mesh.gateway());
        let answer = client.post(url).body(r#"{"text": "hello"}"#).send().await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
        Ok(())
    };
    let since = Instant::now();
    call(0).await?;
    let cold = since.elapsed();
    for number in 1..LOADED {
        call(number).await?;
    }
    let loaded = resident_kib(&mesh)?;
    let listing = get(&mesh, "/services").await?;
    let records = listing["services"].as_array().context("no services")?;
    let warm = records
        .iter()
        .filter(|record| record["loaded"] == true)
        .count();
    ensure!(warm == LOADED, "{warm} are loaded");
    let each = |kib: u64, count: usize| kib / u64::try_from(count).unwrap_or(1);
    let (idle_each, loaded_each) = (
        each(idle.saturating_sub(alone), SERVICES),
        each(loaded.saturating_sub(idle), LOADED),
    );
    let report = format!(
        "{SERVICES} services: ready in {ready:?}, first call of one {cold:?}, idle {idle_each} KiB each, loaded {loaded_each} KiB each"
    );
    // Far from what is measured on an idle machine, and far from loading them all.
    ensure!(ready < Duration::from_secs(10), "{report}");
    ensure!(idle_each < 200 && loaded_each < 2_000, "{report}");
    eprintln!("{report}");
    mesh.stop()
}

/// Memory of the mesh's process.
fn resident_kib(mesh: &Mesh) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.process_id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().split(' ').next());
    Ok(number.context("no VmRSS")?.parse()?)
}

const SERVICES: usize = 1_000;
const LOADED: usize = 100;

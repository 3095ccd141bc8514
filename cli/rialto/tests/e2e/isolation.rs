//! Services in processes of their own, paid: the same answers and errors, a process that is killed costs
//! its caller nothing, and none outlives its host.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::fixture::{Fixture, get, until};
use crate::payer::Payer;

const PRICE: u128 = 100;
const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[sandbox]\nisolation = \"process\"\n\
                      [sandbox.services.flood]\nisolation = \"in-process\"\n";

/// The processes of a mesh's services.
fn cells(mesh: &Mesh) -> Result<Vec<u32>> {
    let parent = mesh.process_id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ended meanwhile is none.
        let (Ok(stat), Ok(line)) = (
            std::fs::read_to_string(format!("/proc/{process}/stat")),
            std::fs::read(format!("/proc/{process}/cmdline")),
        ) else {
            continue;
        };
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
        let its_parent = fields.and_then(|rest| rest.split_whitespace().nth(1));
        if its_parent == Some(parent.as_str()) && line.split(|it| *it == 0).nth(1) == Some(b"cell")
        {
            found.push(process);
        }
    }
    Ok(found)
}

fn is_alive(process: u32) -> bool {
    // What has ended and was not waited for yet has no program any more.
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The listing says what lies between each service and its host.
async fn has_its_walls(mesh: &Mesh) -> Result<()> {
    let listing = get(mesh, "/services").await?;
    let walls: Vec<&Value> = listing["services"]
        .as_array()
        .context("services")?
        .iter()
        .map(|service| &service["isolation"])
        .collect();
    ensure!(walls == ["in-process", "process"], "{walls:?}");
    ensure!(cells(mesh)?.is_empty(), "none is needed yet");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_services_own_process_may_end_and_nobody_pays() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, CONFIG)?;
    let mesh = fixture.start()?;
    has_its_walls(&mesh).await?;
    let payer = Payer::new(&mesh, mesh.test_key(0), 1).await?;
    let payment = payer.deposit(payer.voucher(1_000), 100_000, 1)?;
    let hello = json!({ "text": "hello" });
    let reply = payer.call("echo", &hello, &payment).await?;
    ensure!(reply.status == 200 && reply.body == "hello", "{reply:?}");
    ensure!(payer.charged().await? == PRICE);
    let [first] = cells(&mesh)?[..] else {
        anyhow::bail!("not one process: {:?}", cells(&mesh)?)
    };
    for (method, status, code) in [
        ("trap", 502, "service_crashed"),
        ("grow", 502, "service_memory_exceeded"),
        ("refuse", 422, "service_refused"),
        ("spin", 504, "service_timeout"),
    ] {
        let payment = payer.payment(payer.voucher(PRICE + 1_000));
        let reply = payer.call(method, &json!({}), &payment).await?;
        ensure!(
            reply.status == status && reply.code == code,
            "{method}: {reply:?}"
        );
    }

    // A call is in the process when it is killed.
    let payment = payer.payment(payer.voucher(PRICE + 1_000));
    let (empty, idle) = (json!({}), ticks(first)?);
    let spinning = payer.call("spin", &empty, &payment);
    let killing = async {
        until("the guest spins", || async { Ok(ticks(first)? > idle + 5) }).await?;
        let killed = Command::new("kill")
            .args(["-9", &first.to_string()])
            .status()?;
        ensure!(killed.success());
        Ok(())
    };
    let (reply, killed) = tokio::join!(spinning, killing);
    killed?;
    let reply = reply?;
    ensure!(
        reply.status == 502 && reply.code == "service_process_ended",
        "{reply:?}"
    );
    ensure!(reply.receipt.is_none() && payer.charged().await? == PRICE);

    let payment = payer.payment(payer.voucher(PRICE + 1_000));
    let reply = payer.call("echo", &hello, &payment).await?;
    ensure!(reply.status == 200, "{reply:?}");
    ensure!(payer.charged().await? == 2 * PRICE);
    let [second] = cells(&mesh)?[..] else {
        anyhow::bail!("not one process: {:?}", cells(&mesh)?)
    };
    ensure!(second != first);
    mesh.kill()?;
    until("the process has ended with its host", || async {
        Ok(!is_alive(second))
    })
    .await
}

/// The processor time of a process so far, in hundredths of a second.
fn ticks(process: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a name")?;
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: Result<u64, _> = fields.map(str::parse::<u64>).sum();
    Ok(ticks?)
}

//! What users type, in their order: see the services, call, look at the channel and the wallet,
//! restart, call again, take the rest back.

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::books::{self, Books, OnChain, units};
use crate::fixture;
use crate::installed::Installed;

/// Nothing is claimed but by a refund, so that each figure here is known beforehand.
const COLLECT_LATER: &str = "[payments]\ncollect_every_seconds = 86400\n";

#[tokio::test]
async fn money_and_data_survive_a_restart() -> Result<()> {
    let installed = Installed::new(&["filetype"], COLLECT_LATER)?;
    let file = installed.dir().join("notes.txt");
    std::fs::write(
        &file,
        "The harbour master counts boats by lantern light.\n".repeat(9),
    )?;
    let file = format!("content={}", file.display());
    let identify = ["call", "filetype", "identify", "--file", &file];

    let mesh = installed.start(&[])?;
    let wallet = installed.rialto_json(&mesh, &["wallet"]).await?;
    let payer = wallet["address"].as_str().context("no address")?;
    let before = Books::read(&mesh, payer).await?;
    ensure!(
        units(&wallet, "/token_balance")? == before.payer,
        "{wallet}"
    );

    let first = installed.rialto_json(&mesh, &identify).await?;
    ensure!(first["result"]["label"] == "txt", "{first}");
    let deposited = units(&first, "/deposited")?;
    let second = installed.rialto_json(&mesh, &identify).await?;
    ensure!(second["deposited"].is_null(), "deposited again: {second}");
    ensure!(
        second["receipt"] != first["receipt"],
        "one receipt for two calls"
    );
    let charged = units(&first, "/charged")? + units(&second, "/charged")?;
    let channel = check_channel(&installed, &mesh, charged, deposited).await?;
    let height = books::height(&mesh).await?;
    let receipt = receipt_of(&mesh, &first).await?;
    mesh.stop()?;

    let mesh = installed.start(&[])?;
    ensure!(
        books::height(&mesh).await? >= height,
        "the chain forgot blocks"
    );
    ensure!(
        receipt_of(&mesh, &first).await? == receipt,
        "another receipt"
    );
    let again = check_channel(&installed, &mesh, charged, deposited).await?;
    ensure!(again == channel, "another channel");
    let third = installed.rialto_json(&mesh, &identify).await?;
    ensure!(third["deposited"].is_null(), "deposited again: {third}");
    let charged = charged + units(&third, "/charged")?;
    check_channel(&installed, &mesh, charged, deposited).await?;

    let closed = installed.rialto_json(&mesh, &["channel", "close"]).await?;
    ensure!(closed["channel"] == json!(channel), "{closed}");
    ensure!(
        units(&closed, "/refunded")? == deposited - charged,
        "{closed}"
    );
    let after = Books::read(&mesh, payer).await?;
    let expected = Books {
        payer: before.payer - charged,
        contract: before.contract + charged,
        ..before
    };
    ensure!(after == expected, "{after:?}, expected {expected:?}");
    let wallet = installed.rialto_json(&mesh, &["wallet"]).await?;
    ensure!(units(&wallet, "/token_balance")? == after.payer, "{wallet}");
    let listed = installed.rialto_json(&mesh, &["channel", "ls"]).await?;
    ensure!(units(&listed, "/0/balance")? == charged, "{listed}");
    let nothing = installed.rialto(&mesh, &["channel", "close"]).await?;
    ensure!(
        !nothing.success && nothing.stderr.contains("no such channel with money in it"),
        "{nothing:?}"
    );
    mesh.stop()
}

#[tokio::test]
async fn people_are_shown_what_they_ask_for() -> Result<()> {
    let installed = Installed::new(&["embed", "filetype"], COLLECT_LATER)?;
    let mesh = installed.start(&["--tour"])?;
    fixture::until("the tour has claimed and settled", || async {
        Ok(books::earned(&mesh).await?.1 > 0)
    })
    .await?;
    let (claimed, settled) = books::earned(&mesh).await?;
    ensure!(claimed == settled, "claimed {claimed}, settled {settled}");

    let listed = installed.rialto_json(&mesh, &["services"]).await?;
    let names = |value: &Value| value["services"].as_array().map(Vec::len);
    ensure!(names(&listed) == Some(2), "{listed}");
    for (args, shown) in [
        (
            &["services"][..],
            &["filetype", "identify", "0.0001", "Identifies the content"][..],
        ),
        (&["wallet"], &["0x", "USDC"]),
        (&["channel", "ls"], &["0x", "open", "USDC"]),
    ] {
        let output = installed.rialto(&mesh, args).await?;
        ensure!(output.success, "{args:?}: {output:?}");
        for text in shown {
            ensure!(
                output.stdout.contains(text),
                "no {text} in {}",
                output.stdout
            );
        }
    }

    let texts = r#"{"texts": ["a cat", "a kitten", "a tax form"]}"#;
    let call = ["call", "embed", "similarity", texts];
    let answer = installed.rialto_json(&mesh, &call).await?;
    let similar = |row: usize, column: usize| answer["result"][row][column].as_f64();
    ensure!(similar(0, 1) > similar(0, 2), "{answer}");
    ensure!(answer["receipt_fault"].is_null(), "{answer}");
    let output = installed.rialto(&mesh, &call).await?;
    ensure!(
        output.success && output.stdout.contains("1.0000"),
        "{output:?}"
    );
    for text in ["price", "charged", "channel", "receipt"] {
        ensure!(
            output.stderr.contains(text),
            "no {text} in {}",
            output.stderr
        );
    }
    mesh.stop()
}

#[tokio::test]
async fn mistakes_are_explained_and_cost_nothing() -> Result<()> {
    let installed = Installed::new(&["filetype"], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let wallet = installed.rialto_json(&mesh, &["wallet"]).await?;
    let payer = wallet["address"].as_str().context("no address")?;
    let before = Books::read(&mesh, payer).await?;
    for (args, explained) in [
        (&["call", "filetyp", "identify", "{}"][..], "filetype"),
        (&["call", "filetype", "identity", "{}"], "identify"),
        (
            &["call", "filetype", "identify", "{\"content\": 1}"],
            "content",
        ),
        (&["call", "filetype", "identify", "{}"], "content"),
        (&["call", "filetype", "identify", "nonsense"], "JSON"),
        (
            &[
                "call",
                "filetype",
                "identify",
                "{\"content\": \"aGk=\"}",
                "--max-price",
                "5",
            ],
            "the limit is 5",
        ),
    ] {
        let output = installed.rialto(&mesh, args).await?;
        ensure!(
            !output.success && output.stdout.is_empty(),
            "{args:?}: {output:?}"
        );
        ensure!(
            output.stderr.contains(explained),
            "{args:?} says nothing of {explained}: {}",
            output.stderr
        );
    }
    ensure!(
        Books::read(&mesh, payer).await? == before,
        "a mistake moved money"
    );
    let listed = installed.rialto_json(&mesh, &["channel", "ls"]).await?;
    for channel in listed.as_array().context("no list")? {
        ensure!(units(channel, "/balance")? == 0, "{channel} was funded");
    }
    let nowhere = installed.rialto(&mesh, &["channel", "close"]).await?;
    ensure!(!nowhere.success, "{nowhere:?}");
    mesh.interrupt()
}

/// The wallet, the host and the chain agree on the wallet's one channel; gives its id.
async fn check_channel(
    installed: &Installed,
    mesh: &Mesh,
    charged: u128,
    balance: u128,
) -> Result<String> {
    let listed = installed.rialto_json(mesh, &["channel", "ls"]).await?;
    ensure!(listed.as_array().map(Vec::len) == Some(1), "{listed}");
    let id = listed[0]["id"].as_str().context("no id")?;
    let host = fixture::get(mesh, &format!("/channels/{id}")).await?;
    for own in [&listed[0], &host] {
        ensure!(units(own, "/charged")? == charged, "{own}, not {charged}");
        ensure!(units(own, "/balance")? == balance, "{own}, not {balance}");
    }
    let on_chain = OnChain::read(mesh, id).await?;
    let expected = OnChain {
        balance,
        claimed: 0,
    };
    ensure!(on_chain == expected, "{on_chain:?}, expected {expected:?}");
    Ok(id.to_owned())
}

async fn receipt_of(mesh: &Mesh, answer: &Value) -> Result<Value> {
    let id = answer["receipt"].as_str().context("no receipt")?;
    fixture::get(mesh, &format!("/receipts/{id}")).await
}

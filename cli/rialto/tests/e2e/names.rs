//! Published names as their owners and everybody else sees them: updates, states, transfers, look-alikes, and
//! finding a service by what it means.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rialto_registry::PeerId;
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::fixture::{self, until};
use crate::installed::{Installed, Output, program_of_users, run};

const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[mesh]\nnames_every_ms = 200\n";

/// A host in the mesh that has these services, and publishes them itself.
fn start(services: &[&str]) -> Result<(Installed, Mesh)> {
    let installed = Installed::new(services, CONFIG)?;
    let mesh = host(&installed)?;
    Ok((installed, mesh))
}

fn host(installed: &Installed) -> Result<Mesh> {
    installed.start(&["--chain-listen", "127.0.0.1:0", "--mesh"])
}

async fn publish(
    installed: &Installed,
    mesh: &Mesh,
    folder: &Path,
    args: &[&str],
) -> Result<Output> {
    let folder = folder.display().to_string();
    let all = [
        &["publish", &folder, "--json", "--rpc", mesh.chain_rpc()],
        args,
    ]
    .concat();
    installed.rialto(mesh, &all).await
}

async fn name(installed: &Installed, mesh: &Mesh, args: &[&str]) -> Result<Value> {
    let rpc = ["--json", "--rpc", mesh.chain_rpc()];
    let all = [&["name"], args, &rpc].concat();
    installed.rialto(mesh, &all).await?.json()
}

/// What the host's local door answers.
async fn door(mesh: &Mesh, path: &str) -> Result<Value> {
    let url = format!("{}{path}", mesh.text("/local"));
    Ok(reqwest::get(url).await?.json().await?)
}

/// What a search says of a service.
async fn found(mesh: &Mesh, query: &str, service: &str) -> Result<Option<Value>> {
    let answer = door(mesh, &format!("/search?{query}")).await?;
    let services = answer["services"].as_array().cloned().unwrap_or_default();
    Ok(services.into_iter().find(|it| it["service"] == service))
}

async fn providers(mesh: &Mesh, service: &str) -> Result<usize> {
    let known = door(mesh, &format!("/providers/{service}")).await?;
    Ok(known["providers"].as_array().map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_updates_deprecates_revokes_restores_and_gives_a_name_away() -> Result<()> {
    let (installed, mesh) = start(&["filetype"])?;
    let folder = installed.dir().join("services/filetype");
    let first = publish(&installed, &mesh, &folder, &[]).await?.json()?;
    ensure!(
        first["transactions"].as_array().map(Vec::len) == Some(1),
        "{first}"
    );
    let update = publish(&installed, &mesh, &folder, &["--tag", "kinds"]).await?;
    let update = update.json()?;
    ensure!(
        update["transactions"].as_array().map(Vec::len) == Some(1),
        "only the manifest changed: {update}"
    );
    until("its new tag finds it", || async {
        Ok(found(&mesh, "tag=kinds", "filetype").await?.is_some())
    })
    .await?;

    let said = name(&installed, &mesh, &["deprecate", "filetype", "use magika"]).await?;
    ensure!(
        said["status"] == "deprecated" && said["why"] == "use magika",
        "{said}"
    );
    until("whoever searches sees it", || async {
        let found = found(&mesh, "text=filetype", "filetype").await?;
        Ok(found.is_some_and(|found| found["deprecated"] == "use magika"))
    })
    .await?;

    name(&installed, &mesh, &["revoke", "filetype", "it leaks"]).await?;
    until("nobody offers it", || async {
        Ok(providers(&mesh, "filetype").await? == 0)
    })
    .await?;
    let call = format!("{}/call/filetype/identify", mesh.text("/local"));
    let call = reqwest::Client::new()
        .post(call)
        .json(&json!({ "content": "aGk=" }));
    let refused = call.send().await?;
    ensure!(refused.status() == 503, "{}", refused.text().await?);

    let said = name(&installed, &mesh, &["restore", "filetype"]).await?;
    ensure!(said["status"] == "active", "{said}");
    until("it is offered again", || async {
        Ok(providers(&mesh, "filetype").await? == 1)
    })
    .await?;
    give_away(&installed, &mesh, &folder).await?;
    mesh.stop()
}

/// Gives the name to somebody else, who alone decides then.
async fn give_away(installed: &Installed, mesh: &Mesh, folder: &Path) -> Result<()> {
    let new_owner = mesh.text("/addresses/receiver");
    let wrong = [
        "name",
        "transfer",
        "filetype",
        new_owner,
        "--confirm",
        "filetypo",
    ];
    let wrong = installed.rialto(mesh, &wrong).await?;
    ensure!(
        !wrong.success && wrong.stderr.contains("nothing was done"),
        "{wrong:?}"
    );
    let given = ["transfer", "filetype", new_owner, "--confirm", "filetype"];
    let given = name(installed, mesh, &given).await?;
    let owner = given["owner"].as_str().unwrap_or_default();
    ensure!(owner.eq_ignore_ascii_case(new_owner), "{given}");
    let refused = publish(installed, mesh, folder, &["--tag", "late"]).await?;
    ensure!(
        !refused.success && refused.stderr.contains("belongs to"),
        "{refused:?}"
    );
    let refused = ["name", "revoke", "filetype", "mine"];
    let refused = installed.rialto(mesh, &refused).await?;
    ensure!(
        !refused.success && refused.stderr.contains("belongs to"),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn look_alikes_are_flagged_and_meaning_finds_what_words_do_not() -> Result<()> {
    let (installed, mesh) = start(&["embed", "filetype"])?;
    let services = installed.dir().join("services");
    for service in ["embed", "filetype"] {
        publish(&installed, &mesh, &services.join(service), &[])
            .await?
            .json()?;
    }
    let copy = installed.dir().join("filetypes");
    std::fs::create_dir_all(&copy)?;
    let from = services.join("filetype");
    std::fs::copy(from.join("component.wasm"), copy.join("component.wasm"))?;
    let manifest = std::fs::read_to_string(from.join("service.toml"))?;
    let manifest = manifest.replacen("name = \"filetype\"", "name = \"filetypes\"", 1);
    std::fs::write(copy.join("service.toml"), manifest)?;
    // Somebody else's account.
    let key = installed.data().join("wallet/wallet.key");
    fixture::write_key(&key, mesh.test_key(5))?;
    publish(&installed, &mesh, &copy, &[]).await?.json()?;
    until("the later name is flagged", || async {
        let later = found(&mesh, "text=filetypes", "filetypes").await?;
        Ok(later.is_some_and(|later| later["resembles"] == "filetype"))
    })
    .await?;
    let first = found(&mesh, "text=filetype", "filetype").await?;
    ensure!(first.is_some_and(|first| first["resembles"].is_null()));

    let question = "text=how+alike+are+two+phrases";
    ensure!(
        found(&mesh, question, "embed").await?.is_none(),
        "no word of it is there"
    );
    let meant = found(&mesh, &format!("{question}&meaning=true"), "embed").await?;
    ensure!(
        meant
            .as_ref()
            .is_some_and(|meant| meant["nearness"].as_u64() > Some(250)),
        "{meant:?}"
    );
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_payer_says_counts_by_its_receipt_and_the_owner_cannot_praise_itself() -> Result<()>
{
    let installed = Installed::new(&["filetype"], CONFIG)?;
    // Its channels pay a splitter.
    installed.append("filetype", ROYALTY)?;
    let mesh = host(&installed)?;
    let folder = installed.dir().join("services/filetype");
    publish(&installed, &mesh, &folder, &[]).await?.json()?;
    until("it is offered", || async {
        Ok(providers(&mesh, "filetype").await? == 1)
    })
    .await?;
    let own = paid_call(&installed, &mesh).await?;
    let praise = ["receipt", "rate", &own, "100", "--rpc", mesh.chain_rpc()];
    let praise = installed.rialto(&mesh, &praise).await?;
    ensure!(
        !praise.success && praise.stderr.contains("does not count"),
        "{praise:?}"
    );

    // Somebody else's account.
    let key = installed.data().join("wallet/wallet.key");
    fixture::write_key(&key, mesh.test_key(5))?;
    let stolen = ["receipt", "rate", &own, "100", "--rpc", mesh.chain_rpc()];
    let stolen = installed.rialto(&mesh, &stolen).await?;
    ensure!(
        !stolen.success && stolen.stderr.contains("paid for this call"),
        "{stolen:?}"
    );
    let receipt = paid_call(&installed, &mesh).await?;
    let rate = ["receipt", "rate", &receipt, "90", "--rpc", mesh.chain_rpc()];
    let rated = installed.rialto_json(&mesh, &rate).await?;
    ensure!(
        rated["transactions"].as_array().map(Vec::len) == Some(1),
        "{rated}"
    );
    until("it is read, and counts", || async {
        looked_at(&installed).await?;
        let known = door(&mesh, "/providers/filetype").await?;
        Ok(known["providers"][0]["reputation"].as_u64() > Some(500))
    })
    .await?;
    let peer = PeerId::from_key([1; 32]);
    let url = format!("{}/ratings/{peer}", mesh.text("/local"));
    for (body, status) in [("\"in-time\"", 204), ("\"good\"", 400), (LONG, 413)] {
        let answer = reqwest::Client::new().post(&url).body(body).send().await?;
        ensure!(answer.status() == status, "{status}: {answer:?}");
    }
    mesh.stop()
}

const ROYALTY: &str =
    "\n[royalty]\naccount = \"0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65\"\nshare = \"5%\"\n";
/// No rating is so long.
const LONG: &str = "\"in-time                                                              \"";

/// Calls the service as a user does, and gives the receipt's id.
async fn paid_call(installed: &Installed, mesh: &Mesh) -> Result<String> {
    let parameters = json!({ "content": "aGVsbG8gd29ybGQ=" }).to_string();
    let call = [
        "call",
        "filetype",
        "identify",
        &parameters,
        "--rpc",
        mesh.chain_rpc(),
    ];
    let called = installed.rialto_json(mesh, &call).await?;
    let receipt = called["receipt"].as_str();
    Ok(receipt.context("no receipt")?.to_owned())
}

/// Lets the host read again what the chain says of the name.
async fn looked_at(installed: &Installed) -> Result<()> {
    let mut command = program_of_users();
    command.args(["name", "show", "filetype", "--data-dir"]);
    command.arg(installed.data());
    let done = run(&mut command).await?;
    ensure!(done.success, "{done:?}");
    Ok(())
}

//! Engines as an operator meets them: which are here, which one a receipt names, and what happens where
//! the one that was asked for is not.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::path_from_env;
use serde_json::Value;

use crate::fixture;
use crate::installed::{Installed, program_of_users, run};

#[tokio::test]
async fn a_receipt_names_the_engine_that_the_configuration_chose() -> Result<()> {
    let runtime = format!(
        "[engines]\nonnxruntime = \"{}\"\n",
        onnxruntime()?.display()
    );
    let embedded = "[engines]\nchoice = \"embedded\"\n";
    let isolated = "[engines]\nchoice = \"embedded\"\nisolate = true\n";
    let installed = Installed::new(&["filetype"], "")?;
    let file = installed.dir().join("notes.txt");
    std::fs::write(
        &file,
        "The harbour master counts boats by lantern light.\n".repeat(9),
    )?;
    let file = format!("content={}", file.display());
    let mut answers = Vec::new();
    for (config, engine) in [
        (runtime.as_str(), "ONNX Runtime 1."),
        (embedded, "tract "),
        (isolated, "tract "),
    ] {
        installed.configure(config)?;
        let mesh = installed.start(&[])?;
        let call = ["call", "filetype", "identify", "--file", &file];
        let answer = installed.rialto_json(&mesh, &call).await?;
        ensure!(answer["result"]["label"] == "txt", "{answer}");
        let id = answer["receipt"].as_str().context("no receipt")?;
        let receipt = fixture::get(&mesh, &format!("/receipts/{id}")).await?;
        let named = receipt["engine"].as_str().context("no engine")?;
        ensure!(named.starts_with(engine), "{receipt}");
        ensure!(receipt["deterministic"] == true, "{receipt}");
        answers.push(answer["result"]["score"].clone());
        mesh.stop()?;
    }
    ensure!(
        answers[1] == answers[2],
        "one engine, other bits: {answers:?}"
    );
    Ok(())
}

#[tokio::test]
async fn engines_are_listed_with_their_speed_or_what_is_missing() -> Result<()> {
    let installed = Installed::new(&[], "")?;
    let mut command = program_of_users();
    command
        .args(["engines", "--json", "--data-dir"])
        .arg(installed.data())
        .env("ORT_DYLIB_PATH", onnxruntime()?);
    let listed = run(&mut command).await?.json()?;
    let engines = listed.as_array().context("no list")?;
    let works = |place: usize| {
        let engine = engines.get(place).unwrap_or(&Value::Null);
        engine["works"] == true && engine["gflops"].as_f64().is_some_and(|speed| speed > 0.1)
    };
    ensure!(engines.len() == 3 && works(0) && works(1), "{listed}");
    ensure!(engines[1]["device"] == "cpu", "{listed}");
    ensure!(
        !engines[1]["confined"]
            .as_array()
            .context("no list")?
            .is_empty()
    );
    let missing = engines[2]["missing"].as_str().unwrap_or_default();
    ensure!(missing.contains("onnxruntime-gpu"), "{listed}");
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_asked_for_and_missing_stops_the_start() -> Result<()> {
    let config = "[engines]\nonnxruntime = \"/nowhere/libonnxruntime.so\"\n";
    let installed = Installed::new(&["filetype"], config)?;
    let mut command = program_of_users();
    command
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(installed.data())
        .arg("--services")
        .arg(installed.dir().join("services"));
    let output = run(&mut command).await?;
    ensure!(!output.success, "it started");
    ensure!(
        output.stderr.contains("/nowhere/libonnxruntime.so"),
        "{}",
        output.stderr
    );
    Ok(())
}

/// The library that the tests' Python came with.
fn onnxruntime() -> Result<PathBuf> {
    let pythons = path_from_env("RIALTO_VENV")?.join("lib");
    for python in std::fs::read_dir(&pythons)? {
        let folder = python?.path().join("site-packages/onnxruntime/capi");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        let library = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("libonnxruntime."))
        };
        if let Some(found) = entries.flatten().map(|entry| entry.path()).find(library) {
            return Ok(found);
        }
    }
    anyhow::bail!("no onnxruntime in {}", pythons.display())
}

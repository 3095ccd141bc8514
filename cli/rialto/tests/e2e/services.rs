//! The services' answers through HTTP equal those of the models' reference implementations: the
//! magika package, and onnxruntime with the tokenizers package.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_channels::SigningKey;
use rialto_gateway::client::{Body, Config, PayingClient};
use rialto_testkit::mesh::{Mesh, path_from_env};
use serde_json::{Value, json};

use crate::fixture;
use crate::installed::{Installed, in_repository, python_program, run};

#[tokio::test]
async fn filetype_equals_the_magika_package() -> Result<()> {
    let installed = Installed::new(&["filetype"], "")?;
    let samples = reference("samples.py", &[path_text(installed.dir())?]).await?;
    let files: Vec<&str> = texts_of(&samples)?;
    ensure!(files.len() >= 30, "only {} samples", files.len());
    let expected = reference("reference.py", &[&["filetype"], &files[..]].concat()).await?;

    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let mut labels = Vec::new();
    for (file, expected) in files.iter().zip(list(&expected)?) {
        let body = Body::raw(std::fs::read(file)?);
        let answer = call(&client, "filetype", "identify", &body).await?;
        for field in [
            "label",
            "mime_type",
            "group",
            "description",
            "extensions",
            "is_text",
        ] {
            ensure!(
                answer[field] == expected[field],
                "{field} of {file}: {answer}, the reference says {expected}"
            );
        }
        let apart = (number(&answer["score"])? - number(&expected["score"])?).abs();
        ensure!(
            apart <= TOLERANCE,
            "score of {file}: {answer}, the reference says {expected}"
        );
        labels.push(answer["label"].to_string());
    }
    labels.sort();
    labels.dedup();
    ensure!(labels.len() >= 20, "samples of few kinds: {labels:?}");
    mesh.stop()
}

#[tokio::test]
async fn embed_equals_onnxruntime() -> Result<()> {
    let installed = Installed::new(&["embed"], "")?;
    let mesh = installed.start(&[])?;
    let listing = fixture::get(&mesh, "/services/embed").await?;
    let digest = listing["models"][0]["sha256"].as_str();
    let model = path_from_env("RIALTO_ARTIFACTS")?.join(digest.context("no model")?);
    let long = "The tide keeps the accounts of the harbour. ".repeat(80);
    let texts = [TEXTS, &[long.as_str()]].concat();

    let client = paying_client(&mesh)?;
    let body = Body::json(&json!({ "texts": texts }));
    for (method, width) in [("embed", 384), ("similarity", texts.len())] {
        let arguments = [&[method, "--model", path_text(&model)?], &texts[..]].concat();
        let expected = reference("reference.py", &arguments).await?;
        let answer = call(&client, "embed", method, &body).await?;
        let (answer, expected) = (list(&answer)?, list(&expected)?);
        ensure!(answer.len() == texts.len() && expected.len() == texts.len());
        for (row, (answer, expected)) in answer.iter().zip(expected).enumerate() {
            let (answer, expected) = (list(answer)?, list(expected)?);
            ensure!(answer.len() == width && expected.len() == width);
            for (answer, expected) in answer.iter().zip(expected) {
                let apart = (number(answer)? - number(expected)?).abs();
                ensure!(
                    apart <= TOLERANCE,
                    "{method}, text {row}: {answer}, the reference says {expected}"
                );
            }
        }
    }
    mesh.stop()
}

/// One paid call with a receipt that holds.
pub(crate) async fn call(
    client: &PayingClient,
    service: &str,
    method: &str,
    body: &Body,
) -> Result<Value> {
    let quote = client.quote(service, method, body).await?;
    let answer = client.call(&quote, body).await?;
    ensure!(
        answer.receipt.is_some() && answer.receipt_fault.is_none(),
        "receipt: {:?}",
        answer.receipt_fault
    );
    Ok(serde_json::from_slice(&answer.body)?)
}

pub(crate) fn paying_client(mesh: &Mesh) -> Result<PayingClient> {
    let key = SigningKey::from_hex(mesh.test_key(0))?;
    Ok(PayingClient::new(Config::new(mesh.gateway()), key)?)
}

/// What a script of `services/reference` prints.
pub(crate) async fn reference(script: &str, arguments: &[&str]) -> Result<Value> {
    let mut python = python_program("python")?;
    let script = in_repository("services/reference").join(script);
    run(python.arg(script).args(arguments)).await?.json()
}

/// The body of a reference's sample: the file's bytes, or what the script made with options.
pub(crate) fn body_of(sample: &Value) -> Result<Body> {
    Ok(match sample.get("body") {
        Some(body) => Body::json(body),
        None => Body::raw(std::fs::read(text(&sample["file"])?)?),
    })
}

pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

/// What an answer has as base64.
pub(crate) fn bytes(value: &Value) -> Result<Vec<u8>> {
    Ok(STANDARD.decode(text(value)?)?)
}

pub(crate) fn list(value: &Value) -> Result<&Vec<Value>> {
    value
        .as_array()
        .with_context(|| format!("no list: {value}"))
}

fn texts_of(value: &Value) -> Result<Vec<&str>> {
    list(value)?.iter().map(text).collect()
}

pub(crate) fn number(value: &Value) -> Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("no number: {value}"))
}

pub(crate) fn path_text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

const TOLERANCE: f64 = 1e-4;

const TEXTS: &[&str] = &[
    "A cat sits on the mat.",
    "a kitten rests on a rug",
    "Quarterly tax return, due in April",
    "Der Kater schläft auf der Matte.",
    "猫がマットの上に座っている。",
    "naïve café — \"quotes\", dashes – and 3.14159",
    "hello@example.org https://example.org/a?b=c#d",
    "👩‍🚀🚀 emoji and \u{200d} joiners",
    "UPPER lower MiXeD under_score kebab-case",
    "antidisestablishmentarianism",
    "a",
    "",
    " \t\n ",
    "fn main() { println!(\"{}\", 1 + 1); }",
];

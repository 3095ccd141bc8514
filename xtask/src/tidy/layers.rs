//! Dependency directions: which crate may import which.
//!
//! Cores know only each other; what wraps the operating system for several drivers knows nobody;
//! drivers know both and never another driver; the node wires them;
//! the gateway sees the node, and the command line sees both. What tests alone use is free.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::paths::Paths;
use crate::process;

/// One crate of a workspace and what it needs when it is not being tested.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    manifest: String,
    dependencies: Vec<String>,
}

/// Where a crate stands in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Core,
    System,
    Driver,
    Node,
    Gateway,
    Cli,
    Sdk,
    Service,
    Testing,
    Tool,
}

/// Every crate of the host's workspace. A new one needs a line here, and so a moment's thought.
const LAYERS: &[(&str, Layer)] = &[
    ("rialto-channels", Layer::Core),
    ("rialto-compute", Layer::Core),
    ("rialto-registry", Layer::Core),
    ("rialto-scheduler", Layer::Core),
    ("rialto-templates", Layer::Core),
    ("rialto-confine", Layer::System),
    ("rialto-artifacts", Layer::Driver),
    ("rialto-chain", Layer::Driver),
    ("rialto-discovery", Layer::Driver),
    ("rialto-gpu", Layer::Driver),
    ("rialto-host", Layer::Driver),
    ("rialto-ledger", Layer::Driver),
    ("rialto-lm", Layer::Driver),
    ("rialto-state", Layer::Driver),
    ("rialto-tensor", Layer::Driver),
    ("rialto-node", Layer::Node),
    ("rialto-gateway", Layer::Gateway),
    ("rialto", Layer::Cli),
    ("rialto-sdk", Layer::Sdk),
    ("rialto-sdk-macros", Layer::Sdk),
    ("rialto-sim", Layer::Testing),
    ("rialto-testkit", Layer::Testing),
    ("rialto-bench", Layer::Tool),
    ("xtask", Layer::Tool),
];

/// What a core may import from elsewhere: plain values, codecs, hashes and signatures. No tokio, no
/// sockets, no files, no clocks, no randomness.
const CORE_MAY_USE: &[&str] = &[
    "alloy-primitives",
    "alloy-sol-types",
    "base64",
    "bs58",
    "bytes",
    "ed25519-dalek",
    "half",
    "hex",
    "prost",
    "secp256k1",
    "semver",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "tracing",
];

/// Libraries that shape whatever imports them, each kept to one crate (and to the benchmarks). redb has
/// two: money and services' state are files apart, with other rules for what is durable when, and neither
/// driver may know the other.
const FEW_IMPORTERS: &[(&str, &[&str])] = &[
    ("alloy", &["rialto-chain"]),
    ("libp2p", &["rialto-discovery"]),
    ("redb", &["rialto-ledger", "rialto-state"]),
    ("revm", &["rialto-chain"]),
    ("sqlx", &["rialto-ledger"]),
    ("tract-onnx", &["rialto-tensor"]),
    ("wasmtime", &["rialto-host"]),
    ("wasmtime-wasi", &["rialto-host"]),
    ("wgpu", &["rialto-gpu"]),
];

impl Layer {
    fn of(name: &str) -> Option<Self> {
        LAYERS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, layer)| *layer)
    }

    /// Returns whether a crate here may import one there.
    fn may_import(self, other: Self) -> bool {
        match self {
            Self::Core => other == Self::Core,
            Self::System => false,
            Self::Driver => matches!(other, Self::Core | Self::System),
            Self::Node => matches!(other, Self::Core | Self::System | Self::Driver),
            Self::Gateway => matches!(other, Self::Core | Self::Node),
            Self::Cli => matches!(other, Self::Core | Self::Node | Self::Gateway),
            Self::Sdk | Self::Service => other == Self::Sdk,
            Self::Testing => matches!(other, Self::Core),
            Self::Tool => !matches!(other, Self::Cli | Self::Service),
        }
    }

    /// Says what a crate here may import.
    fn rule(self) -> &'static str {
        match self {
            Self::Core => "a core imports only cores",
            Self::System => "what wraps the operating system knows nothing of Rialto",
            Self::Driver => {
                "a driver imports only cores and what wraps the system; the node adapts drivers to \
                 each other"
            }
            Self::Node => "the node imports cores, drivers and what wraps the system",
            Self::Gateway => "the gateway sees the node's handle and the cores' types",
            Self::Cli => {
                "the command line sees the gateway, the node's handle and the cores' types"
            }
            Self::Sdk => "the SDK is built for guests and imports no host crate",
            Self::Service => "a service imports the SDK and no host crate",
            Self::Testing => "fixtures import cores' types; what they exercise, the tests import",
            Self::Tool => "a tool imports libraries",
        }
    }
}

/// Reads the packages of the host's workspace and, if there is one, the guests'.
pub(super) fn read(paths: &Paths) -> Result<Vec<(Package, bool)>> {
    let mut packages = Vec::new();
    for (folder, guest) in [(paths.root.clone(), false), (paths.services_source(), true)] {
        if !folder.join("Cargo.toml").is_file() {
            continue;
        }
        let mut command = process::cargo(paths);
        command
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&folder);
        let text = process::output(&mut command)?;
        let metadata = serde_json::from_str(&text).context("what `cargo metadata` printed")?;
        packages.extend(
            parse(&metadata, &paths.root)?
                .into_iter()
                .map(|package| (package, guest)),
        );
    }
    Ok(packages)
}

fn parse(metadata: &Value, root: &Path) -> Result<Vec<Package>> {
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` lists packages")?;
    packages
        .iter()
        .map(|package| {
            let manifest = package["manifest_path"]
                .as_str()
                .context("a manifest's path")?;
            let manifest = Path::new(manifest);
            let dependencies = package["dependencies"].as_array().context("dependencies")?;
            Ok(Package {
                name: package["name"]
                    .as_str()
                    .context("a package's name")?
                    .to_owned(),
                manifest: manifest
                    .strip_prefix(root)
                    .unwrap_or(manifest)
                    .display()
                    .to_string(),
                dependencies: dependencies
                    .iter()
                    .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
                    .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
                    .collect(),
            })
        })
        .collect()
}

/// Checks the directions.
pub(super) fn check(packages: &[(Package, bool)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (package, guest) in packages {
        let layer = if *guest {
            Some(Layer::Service)
        } else {
            Layer::of(&package.name)
        };
        let Some(layer) = layer else {
            findings.push(Finding::new(
                &package.manifest,
                format!(
                    "`{}` has no layer: give it one in xtask/src/tidy/layers.rs",
                    package.name
                ),
            ));
            continue;
        };
        for dependency in &package.dependencies {
            findings.extend(check_edge(package, layer, dependency));
        }
    }
    findings
}

fn check_edge(package: &Package, layer: Layer, dependency: &str) -> Option<Finding> {
    let finding = |why: &str| {
        let advice = format!(
            "`{}` must not depend on `{dependency}`: {why}",
            package.name
        );
        Some(Finding::new(&package.manifest, advice))
    };
    if let Some(other) = Layer::of(dependency) {
        return if layer.may_import(other) {
            None
        } else {
            finding(layer.rule())
        };
    }
    if layer == Layer::Core && !CORE_MAY_USE.contains(&dependency) {
        return finding(
            "a core is pure: no input, output, clock or randomness. A pure library may be added to \
             the list in xtask/src/tidy/layers.rs",
        );
    }
    match FEW_IMPORTERS
        .iter()
        .find(|(library, _)| *library == dependency)
    {
        Some((_, importers))
            if !importers.contains(&package.name.as_str()) && layer != Layer::Tool =>
        {
            let importers = importers.join("` and `");
            finding(&format!(
                "only `{importers}` does, and others see its types"
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(name: &str, guest: bool, dependencies: &[&str]) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            manifest: "a/Cargo.toml".to_owned(),
            dependencies: dependencies.iter().map(|one| (*one).to_owned()).collect(),
        };
        check(&[(package, guest)])
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn accepts(name: &str, guest: bool, dependencies: &[&str]) {
        assert_eq!(findings(name, guest, dependencies), Vec::<String>::new());
    }

    fn refuses(name: &str, guest: bool, dependency: &str, why: &str) {
        let found = findings(name, guest, &[dependency]);
        assert!(
            found.len() == 1 && found[0].contains(why),
            "{name} -> {dependency}: {found:?}"
        );
    }

    #[test]
    fn the_house_as_designed_is_accepted() {
        accepts(
            "rialto-registry",
            false,
            &["rialto-channels", "serde", "thiserror"],
        );
        accepts(
            "rialto-ledger",
            false,
            &["rialto-channels", "redb", "tokio"],
        );
        accepts(
            "rialto-node",
            false,
            &["rialto-ledger", "rialto-host", "rialto-channels"],
        );
        accepts(
            "rialto-gateway",
            false,
            &["rialto-node", "rialto-registry", "axum"],
        );
        accepts("rialto", false, &["rialto-gateway", "rialto-node", "clap"]);
        accepts(
            "rialto-bench",
            false,
            &["rialto-host", "rialto-testkit", "wasmtime"],
        );
        accepts("filetype", true, &["rialto-sdk"]);
    }

    #[test]
    fn every_wrong_direction_is_refused() {
        refuses("rialto-channels", false, "tokio", "a core is pure");
        refuses("rialto-channels", false, "rand", "a core is pure");
        refuses(
            "rialto-channels",
            false,
            "rialto-ledger",
            "a core imports only cores",
        );
        refuses(
            "rialto-host",
            false,
            "rialto-tensor",
            "a driver imports only cores",
        );
        refuses("rialto-node", false, "rialto-gateway", "the node imports");
        refuses("rialto-gateway", false, "rialto-ledger", "the gateway sees");
        refuses("rialto", false, "rialto-chain", "the command line sees");
        refuses("rialto-node", false, "rialto-testkit", "the node imports");
        refuses("rialto-gateway", false, "redb", "only `rialto-ledger` and");
        refuses("rialto-ledger", false, "wgpu", "only `rialto-gpu` does");
        refuses("rialto-sdk", false, "rialto-host", "built for guests");
        refuses("filetype", true, "rialto-channels", "no host crate");
        refuses("rialto-new", false, "serde", "has no layer");
    }

    #[test]
    fn what_tests_alone_use_is_free() {
        let metadata = json!({"packages": [{
            "name": "rialto-channels", "manifest_path": "/r/a/Cargo.toml",
            "dependencies": [
                {"name": "serde", "kind": null},
                {"name": "tokio", "kind": "dev"},
                {"name": "hex", "kind": "build"},
            ],
        }]});
        let packages = parse(&metadata, Path::new("/r")).unwrap();
        assert_eq!(packages[0].dependencies, ["serde", "hex"]);
        assert_eq!(packages[0].manifest, "a/Cargo.toml");
    }

    #[test]
    fn a_layer_is_given_once() {
        for (name, _) in LAYERS {
            assert_eq!(
                LAYERS.iter().filter(|(other, _)| other == name).count(),
                1,
                "{name}"
            );
        }
    }
}

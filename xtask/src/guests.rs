//! Builds the services in `services/` to components and lays them out as a host reads them.
//!
//! Guests are a workspace of their own: another compiler than the host's may build them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::assets;
use crate::paths::Paths;
use crate::process;
use crate::progress;
use crate::toolchain::{self, InstallTarget, TARGET, Toolchain};

/// Builds every service and puts it in [`Paths::services`].
///
/// # Errors
/// There is no compiler, a service does not build, or it has no manifest.
pub(crate) fn build(paths: &Paths, install: InstallTarget) -> Result<()> {
    progress::heading("guest toolchain");
    let toolchain = Toolchain::ensure(paths, install)?;
    toolchain::announce(&toolchain);
    progress::heading("build assets");
    assets::fetch(paths)?;
    progress::heading("services");
    compile(paths, &toolchain, &paths.services_source(), None)?;
    let services = discover(paths)?;
    lay_out(&services, &paths.guest_target(), &paths.services())?;
    build_example(paths, &toolchain)
}

/// Builds the service of an example, which is a package of the tests' guests.
fn build_example(paths: &Paths, toolchain: &Toolchain) -> Result<()> {
    progress::heading("the service of an example");
    let source = paths.root.join("testing/guests");
    compile(paths, toolchain, &source, Some(EXAMPLE))?;
    lay_out_named(paths, EXAMPLE, &paths.test_guests().join(EXAMPLE))
}

/// Builds what `cargo xtask bench` measures and puts it in [`Paths::bench_guests`].
///
/// # Errors
/// There is no compiler, or a component does not build.
pub(crate) fn build_bench(paths: &Paths, install: InstallTarget) -> Result<()> {
    let toolchain = Toolchain::ensure(paths, install)?;
    progress::heading("components to measure");
    let source = paths.root.join("bench/guests");
    compile(paths, &toolchain, &source, None)?;
    for name in BENCH_GUESTS {
        let folder = paths.bench_guests().join(name);
        lay_out_named(paths, &format!("bench-{name}"), &folder)?;
        let manifest = source.join(name).join("service.toml");
        if manifest.is_file() {
            replace(&manifest, &folder.join("service.toml"))?;
        }
    }
    Ok(())
}

/// Builds the guests that tests run and puts them in [`Paths::test_guests`].
///
/// # Errors
/// There is no compiler, or a component does not build.
pub(crate) fn build_test(paths: &Paths, install: InstallTarget) -> Result<()> {
    let toolchain = Toolchain::ensure(paths, install)?;
    progress::heading("guests that tests run");
    let source = paths.root.join("testing/guests");
    compile(paths, &toolchain, &source, None)?;
    for entry in fs::read_dir(&source).with_context(|| format!("read {}", source.display()))? {
        let entry = entry?;
        if !entry.path().join("Cargo.toml").is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = paths.test_guests().join(&name);
        lay_out_named(paths, &format!("guest-{name}"), &folder)?;
    }
    lay_out_named(paths, EXAMPLE, &paths.test_guests().join(EXAMPLE))
}

/// The example whose service is a package of the tests' guests.
const EXAMPLE: &str = "folder-agent";

/// Puts a package's component where tests and benchmarks look for it.
fn lay_out_named(paths: &Paths, package: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let built = paths.guest_target().join(TARGET).join("release");
    let artifact = format!("{}.wasm", package.replace('-', "_"));
    replace(&built.join(artifact), &folder.join("component.wasm"))
}

/// The packages of `bench/guests`.
const BENCH_GUESTS: [&str; 2] = ["hello", "hello-http"];

/// Builds every component of a guests' workspace, or one of them.
fn compile(
    paths: &Paths,
    toolchain: &Toolchain,
    workspace: &Path,
    only: Option<&str>,
) -> Result<()> {
    let mut command = process::cargo(paths);
    let which = only.map_or(vec!["--workspace"], |only| vec!["--package", only]);
    command
        .args(["build", "--release", "--locked"])
        .args(which)
        .args(["--target", TARGET])
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", paths.guest_target())
        .env("RIALTO_ASSETS", paths.assets());
    toolchain.apply(paths, &mut command);
    process::run(&mut command)
}

/// One service of the guests' workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    /// Its folder's name, which is also the service's.
    name: String,
    folder: PathBuf,
    /// What cargo calls the component, without `.wasm`.
    artifact: String,
}

impl Source {
    /// The service's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Lists the services: the packages with a `cdylib`.
pub(crate) fn discover(paths: &Paths) -> Result<Vec<Source>> {
    let mut command = process::cargo(paths);
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(paths.services_source());
    let text = process::output(&mut command)?;
    let metadata = serde_json::from_str(&text).context("what `cargo metadata` printed")?;
    sources(&metadata)
}

fn sources(metadata: &Value) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let component = package["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|target| {
                target["crate_types"]
                    .as_array()
                    .is_some_and(|types| types.iter().any(|t| t == "cdylib"))
            });
        let Some(component) = component else { continue };
        let manifest = package["manifest_path"]
            .as_str()
            .context("a package without a manifest")?;
        let folder = Path::new(manifest)
            .parent()
            .context("a manifest in a folder")?;
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .context("a folder's name")?;
        let artifact = component["name"]
            .as_str()
            .context("a target without a name")?;
        found.push(Source {
            name: name.to_owned(),
            folder: folder.to_owned(),
            artifact: artifact.replace('-', "_"),
        });
    }
    found.sort();
    if found.is_empty() {
        bail!("services/ has no package with crate-type `cdylib`");
    }
    Ok(found)
}

/// Copies each component and its manifest to `<to>/<service>/`, and removes services that are no more.
fn lay_out(services: &[Source], guest_target: &Path, to: &Path) -> Result<()> {
    let built = guest_target.join(TARGET).join("release");
    for service in services {
        let folder = to.join(&service.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let component = built.join(format!("{}.wasm", service.artifact));
        replace(&component, &folder.join("component.wasm"))?;
        let manifest = service.folder.join("service.toml");
        if !manifest.is_file() {
            bail!(
                "service `{}` has no manifest: write {}",
                service.name,
                manifest.display()
            );
        }
        replace(&manifest, &folder.join("service.toml"))?;
        let bytes = process::folder_bytes(&folder);
        progress::say(format!(
            "   {} ({})",
            service.name,
            progress::megabytes(bytes)
        ));
    }
    let names: BTreeSet<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for entry in fs::read_dir(to)
        .with_context(|| format!("read {}", to.display()))?
        .flatten()
    {
        if entry
            .file_name()
            .to_str()
            .is_none_or(|name| !names.contains(name))
        {
            let old = entry.path();
            let gone = if old.is_dir() {
                fs::remove_dir_all(&old)
            } else {
                fs::remove_file(&old)
            };
            gone.with_context(|| format!("remove {}", old.display()))?;
        }
    }
    Ok(())
}

/// Copies a file over another one in one step, so that a host never reads half of it.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh).with_context(|| format!("copy {}", from.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("move to {}", to.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_are_the_packages_with_a_component() {
        let metadata = json!({"packages": [
            {"manifest_path": "/r/services/two-words/Cargo.toml",
             "targets": [{"name": "two-words", "crate_types": ["cdylib", "rlib"]}]},
            {"manifest_path": "/r/services/shared/Cargo.toml",
             "targets": [{"name": "shared", "crate_types": ["lib"]}]},
        ]});
        let found = sources(&metadata).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].name.as_str(), found[0].artifact.as_str()),
            ("two-words", "two_words")
        );
        assert!(sources(&json!({"packages": []})).is_err());
    }

    #[test]
    fn the_layout_holds_what_was_built_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for place in ["src/one", "target/wasm32-wasip2/release", "out/gone"] {
            fs::create_dir_all(at(place)).unwrap();
        }
        fs::write(at("target/wasm32-wasip2/release/one.wasm"), "wasm").unwrap();
        let service = Source {
            name: "one".into(),
            folder: at("src/one"),
            artifact: "one".into(),
        };
        let error = lay_out(std::slice::from_ref(&service), &at("target"), &at("out")).unwrap_err();
        assert!(error.to_string().contains("has no manifest"), "{error}");
        fs::write(at("src/one/service.toml"), "name = \"one\"").unwrap();
        lay_out(&[service], &at("target"), &at("out")).unwrap();
        assert_eq!(fs::read(at("out/one/component.wasm")).unwrap(), b"wasm");
        assert!(at("out/one/service.toml").is_file());
        assert!(!at("out/gone").exists());
    }
}

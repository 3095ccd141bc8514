//! Build script of guests that are other people's published examples: it finds the example in the package
//! that brings it, as cargo downloaded it, so that what runs is theirs to the letter.
//!
//! A package names its example in `Cargo.toml`: `[package.metadata.example]` with `package` and `file`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let manifest = variable("CARGO_MANIFEST_DIR").join("Cargo.toml");
    let metadata = metadata(&manifest);
    let own = package(&metadata, &variable("CARGO_PKG_NAME").to_string_lossy());
    let example = &own["metadata"]["example"];
    let source = package(&metadata, text(&example["package"]));
    let folder = Path::new(text(&source["manifest_path"])).with_file_name("examples");
    let file = folder.join(text(&example["file"]));
    let code = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", file.display()));
    // Comments for the whole file cannot be included into another.
    let lines = code.lines().filter(|line| !line.starts_with("//!"));
    let code: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(variable("OUT_DIR").join("example.rs"), code).expect("OUT_DIR can be written");
    println!("cargo::rerun-if-changed=Cargo.toml");
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name)
        .unwrap_or_else(|| panic!("cargo sets {name}"))
        .into()
}

fn metadata(manifest: &Path) -> serde_json::Value {
    let output = Command::new(variable("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn package<'a>(metadata: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let packages = metadata["packages"].as_array().expect("a list");
    packages
        .iter()
        .find(|package| package["name"] == name)
        .unwrap_or_else(|| panic!("no package {name}"))
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("a text")
}

//! Builds the templates of `rialto new` as newcomers do, by each language's own tools and commands, and
//! runs the tests that come with them; then the guests that try what those languages can.
//!
//! Tools come from npm and PyPI by exact version and digest, as the templates pin them. Each project is
//! built again only when a file of it changed. Non-goals: services that are shipped (`guests`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rialto_templates::{Language, ProjectFile, ProjectName, Sdk, project};

use crate::paths::Paths;
use crate::prerequisites::PYTHON;
use crate::toolchain::{InstallTarget, Toolchain};
use crate::{digest, guests, process, progress};

/// Builds what is missing or changed and puts it in [`Paths::test_guests`], each as a host reads it.
///
/// # Errors
/// A tool is missing, or a project does not build or fails its own test.
pub(crate) fn build(paths: &Paths, install: InstallTarget) -> Result<()> {
    progress::heading("services in every language");
    let toolchain = Toolchain::ensure(paths, install)?;
    for language in Language::ALL {
        let name = format!("template-{language}");
        Project::new(paths, language, &name)?.build(paths, &toolchain)?;
    }
    for (language, source) in TRIALS {
        let mut trials = Project::new(paths, language, &format!("trials-{language}"))?;
        for (file, place) in [("trials.wit", "wit/world.wit"), (source, source)] {
            let folder = paths.root.join("testing/guests/languages");
            trials.replace(place, &folder.join(file))?;
        }
        trials.build(paths, &toolchain)?;
    }
    Ok(())
}

/// The languages whose bindings are not Rialto's own, and the source that tries them.
const TRIALS: [(Language, &str); 2] = [
    (Language::JavaScript, "service.js"),
    (Language::Python, "service.py"),
];

/// A project, before it is written.
struct Project {
    language: Language,
    name: String,
    folder: PathBuf,
    files: Vec<ProjectFile>,
}

impl Project {
    fn new(paths: &Paths, language: Language, name: &str) -> Result<Self> {
        let valid: ProjectName = name.parse()?;
        let sdk = paths.root.join("sdk/rialto-sdk");
        let sdk = sdk.to_str().context("the checkout's folder")?;
        Ok(Self {
            language,
            name: name.to_owned(),
            folder: paths.cache.join("languages").join(name),
            files: project(language, &valid, &Sdk::Folder(sdk.to_owned())),
        })
    }

    /// Takes a file of the checkout for one of the template's.
    fn replace(&mut self, place: &str, source: &Path) -> Result<()> {
        let file = self
            .files
            .iter_mut()
            .find(|file| file.path == place)
            .with_context(|| format!("the template has no {place}"))?;
        file.text =
            fs::read_to_string(source).with_context(|| format!("read {}", source.display()))?;
        Ok(())
    }

    fn build(&self, paths: &Paths, toolchain: &Toolchain) -> Result<()> {
        let to = paths.test_guests().join(&self.name);
        let digest = self.digest(paths)?;
        let stamp = self.folder.join(".built");
        let built = to.join("component.wasm");
        if built.is_file() && fs::read_to_string(&stamp).is_ok_and(|found| found == digest) {
            return Ok(());
        }
        self.write()?;
        match self.language {
            Language::Rust => self.build_rust(paths, toolchain)?,
            Language::JavaScript => self.build_javascript(paths)?,
            Language::Python => self.build_python(paths)?,
        }
        fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
        for file in ["component.wasm", "service.toml"] {
            let from = self.folder.join("dist").join(&self.name).join(file);
            guests::replace(&from, &to.join(file))?;
        }
        let bytes = process::folder_bytes(&to);
        progress::say(format!("   {} ({})", self.name, progress::megabytes(bytes)));
        fs::write(&stamp, digest).with_context(|| format!("write {}", stamp.display()))
    }

    /// Names what the component is made of: the project's files, and for Rust the SDK's.
    fn digest(&self, paths: &Paths) -> Result<String> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for file in &self.files {
            parts.extend([file.path.into(), file.text.as_bytes().to_vec()]);
        }
        if self.language == Language::Rust {
            parts.push(fs::read(lock_file(paths)).context("the services' Cargo.lock")?);
            for folder in ["sdk/rialto-sdk", "sdk/rialto-sdk-macros", "wit"] {
                sources(&paths.root.join(folder), &mut parts)?;
            }
        }
        Ok(digest::of_parts(parts.iter().map(Vec::as_slice)))
    }

    /// Writes the project into a fresh folder.
    fn write(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("remove {}", self.folder.display()))?;
        }
        for file in &self.files {
            let path = self.folder.join(file.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)
                    .with_context(|| format!("create {}", parent.display()))?;
            }
            fs::write(&path, &file.text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// By the guests' compiler and with the services' versions of everything, so that little is built
    /// for it alone.
    fn build_rust(&self, paths: &Paths, toolchain: &Toolchain) -> Result<()> {
        let lock = self.folder.join("Cargo.lock");
        fs::copy(lock_file(paths), &lock).with_context(|| format!("write {}", lock.display()))?;
        let mut test = process::cargo(paths);
        test.arg("test")
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", paths.guest_target());
        self.run(paths, "testing", &mut test)?;
        let mut build = process::outside_cargo("sh");
        build
            .arg("build.sh")
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", paths.guest_target());
        toolchain.apply(paths, &mut build);
        self.run(paths, "building", &mut build)
    }

    fn build_javascript(&self, paths: &Paths) -> Result<()> {
        for (what, arguments) in [
            ("installing the tools of", &["ci", "--ignore-scripts"][..]),
            ("testing", &["test"]),
            ("building", &["run", "build"]),
        ] {
            let mut npm = Command::new("npm");
            npm.args(arguments)
                .current_dir(&self.folder)
                .env("npm_config_update_notifier", "false");
            self.run(paths, what, &mut npm)?;
        }
        Ok(())
    }

    fn build_python(&self, paths: &Paths) -> Result<()> {
        // Without pip of its own: Debian's Python cannot put one there unless python3-venv is installed.
        let mut venv = Command::new(PYTHON);
        venv.args(["-m", "venv", "--without-pip", ".venv"])
            .current_dir(&self.folder);
        process::output(&mut venv)?;
        let mut install = Command::new(PYTHON);
        install
            .args(["-m", "pip", "--python", ".venv/bin/python", "install"])
            .args(["--disable-pip-version-check", "--no-input"])
            .args(["--only-binary", ":all:", "--require-hashes"])
            .args(["--requirement", "requirements.txt"])
            .current_dir(&self.folder);
        self.run(paths, "installing the tools of", &mut install)?;
        for (what, arguments) in [
            ("testing", &["-m", "unittest"][..]),
            ("building", &["build.py"]),
        ] {
            let mut python = Command::new(self.folder.join(".venv/bin/python"));
            python.args(arguments).current_dir(&self.folder);
            self.run(paths, what, &mut python)?;
        }
        Ok(())
    }

    fn run(&self, paths: &Paths, what: &str, command: &mut Command) -> Result<()> {
        process::behind_progress(paths, &format!("{what} {}", self.name), command, None)
    }
}

/// What pins the versions of everything that Rust guests use.
fn lock_file(paths: &Paths) -> PathBuf {
    paths.services_source().join("Cargo.lock")
}

/// Adds the names and contents of all files below a folder, in order.
fn sources(folder: &Path, parts: &mut Vec<Vec<u8>>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, parts)?;
        } else {
            parts.push(path.as_os_str().as_encoded_bytes().to_vec());
            parts.push(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_to_any_file_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: folder.path().into(),
            cache: folder.path().into(),
            target: folder.path().join("target"),
        };
        let mut project = Project::new(&paths, Language::Python, "a-name").unwrap();
        let before = project.digest(&paths).unwrap();
        assert_eq!(project.digest(&paths).unwrap(), before);
        let source = folder.path().join("mine.py");
        fs::write(&source, "mine").unwrap();
        project.replace("service.py", &source).unwrap();
        assert_ne!(project.digest(&paths).unwrap(), before);
        assert!(project.replace("absent.py", &source).is_err());
    }

    #[test]
    fn rust_is_built_again_when_the_sdk_changes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: folder.path().into(),
            cache: folder.path().into(),
            target: folder.path().join("target"),
        };
        for place in [
            "sdk/rialto-sdk/src",
            "sdk/rialto-sdk-macros",
            "wit",
            "services",
        ] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        fs::write(lock_file(&paths), "").unwrap();
        let project = Project::new(&paths, Language::Rust, "a-name").unwrap();
        let before = project.digest(&paths).unwrap();
        fs::write(folder.path().join("sdk/rialto-sdk/src/lib.rs"), "").unwrap();
        assert_ne!(project.digest(&paths).unwrap(), before);
    }
}

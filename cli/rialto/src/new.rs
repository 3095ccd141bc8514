//! `rialto new`: a folder with a small, complete service to change.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rialto_templates::{Language, ProjectFile, ProjectName, Sdk, project};

use crate::args::NewArgs;
use crate::show::{bold, dim, line};

/// Writes the project and says what to type next.
pub(crate) fn run(args: NewArgs) -> Result<()> {
    let folder = args
        .folder
        .unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let sdk = match &args.sdk {
        None => Sdk::Repository,
        Some(sdk) => folder_of_sdk(sdk)?,
    };
    write(&folder, &project(args.language, &args.name, &sdk))?;
    line(format!(
        "{} {}",
        bold(&folder.display().to_string()),
        dim(&format!("a service in {}", args.language))
    ));
    line(next_steps(args.language, &args.name, &folder));
    Ok(())
}

/// Makes the folder and its files; one that holds anything is left as it is.
fn write(folder: &Path, files: &[ProjectFile]) -> Result<()> {
    let taken = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look into {}", folder.display()));
        }
    };
    if taken {
        bail!(
            "{} is not empty: choose another name, or another folder with --folder",
            folder.display()
        );
    }
    for file in files {
        let path = folder.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        fs::write(&path, &file.text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn folder_of_sdk(folder: &Path) -> Result<Sdk> {
    let found = fs::canonicalize(folder)
        .with_context(|| format!("there is no folder {}", folder.display()))?;
    if !found.join("Cargo.toml").is_file() {
        bail!(
            "{} has no Cargo.toml: --sdk names the folder `sdk/rialto-sdk` of a checkout",
            folder.display()
        );
    }
    let text = found
        .to_str()
        .with_context(|| format!("{} is not valid Unicode", found.display()))?;
    Ok(Sdk::Folder(text.to_owned()))
}

/// What to type, one command a line.
fn next_steps(language: Language, name: &ProjectName, folder: &Path) -> String {
    let mut steps = vec![format!("cd {}", folder.display())];
    steps.extend(language.steps().iter().map(|&step| step.to_owned()));
    steps.push("rialto up --services dist".to_owned());
    steps.push(format!(
        "rialto call {} measure '{{\"document\": {{\"text\": \"measuring is knowing\"}}}}'",
        name.as_str()
    ));
    steps
        .iter()
        .map(|step| format!("  {step}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(folder: &Path) -> NewArgs {
        NewArgs {
            name: "word-count".parse().unwrap(),
            language: Language::Python,
            folder: Some(folder.to_owned()),
            sdk: None,
        }
    }

    #[test]
    fn a_project_is_written_and_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new");
        run(args(&folder)).unwrap();
        let world = fs::read_to_string(folder.join("wit/world.wit")).unwrap();
        assert!(world.starts_with("package rialto-service:word-count@0.1.0;"));
        fs::write(folder.join("service.py"), "mine").unwrap();
        let error = run(args(&folder)).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        assert_eq!(fs::read(folder.join("service.py")).unwrap(), b"mine");
    }

    #[test]
    fn an_empty_folder_is_taken_and_the_sdk_must_be_one() {
        let dir = tempfile::tempdir().unwrap();
        run(args(dir.path())).unwrap();
        assert!(dir.path().join("service.toml").is_file());
        let error = folder_of_sdk(&dir.path().join("wit"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("has no Cargo.toml"), "{error}");
    }

    #[test]
    fn the_next_steps_end_with_a_call() {
        let name = "word-count".parse().unwrap();
        for language in Language::ALL {
            let text = next_steps(language, &name, Path::new("word-count"));
            assert!(text.starts_with("  cd word-count\n"), "{text}");
            assert!(text.contains("rialto up --services dist\n  rialto call word-count measure"));
        }
    }
}

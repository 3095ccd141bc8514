//! Child processes: cargo and everyone else's command lines.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::paths::Paths;
use crate::progress::{self, Progress};

/// A cargo command in the checkout, with the host's build folder.
pub(crate) fn cargo(paths: &Paths) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target);
    forget_outer_cargo(&mut command);
    command
}

/// A program that may start a cargo of its own.
pub(crate) fn outside_cargo(program: &str) -> Command {
    let mut command = Command::new(program);
    forget_outer_cargo(&mut command);
    command
}

/// Runs a command whose own output is worth seeing.
///
/// # Errors
/// Says which command failed and how.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    progress::say(format!("$ {}", line(command)));
    let status = command
        .status()
        .with_context(|| format!("start {}", line(command)))?;
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed ({status})", line(command))
}

/// What a bar behind [`behind_progress`] measures: a folder that grows to about a size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growing<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) bytes: u64,
}

/// Runs a command behind a spinner or a bar, its output kept in a log that is shown if it fails.
///
/// # Errors
/// Carries the last lines of the command's output and the log's place.
pub(crate) fn behind_progress(
    paths: &Paths,
    what: &str,
    command: &mut Command,
    growing: Option<Growing<'_>>,
) -> Result<()> {
    let log = open_log(paths, what)?;
    let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let errors = output.try_clone().context("share the log")?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let progress = Progress::start(what, growing.map(|growing| growing.bytes));
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", line(command)))?;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| line(command))? {
            break status;
        }
        if let Some(growing) = growing {
            progress.reached(folder_bytes(growing.folder));
        }
        thread::sleep(POLL);
    };
    if status.success() {
        progress.done();
        return Ok(());
    }
    progress.failed();
    let text = fs::read_to_string(&log).unwrap_or_else(|error| format!("(no log: {error})"));
    Err(anyhow!(
        "{what}: `{}` failed ({status})\n{}\nthe whole log: {}",
        line(command),
        last_lines(&text, 30),
        log.display()
    ))
}

/// Runs a command for its standard output.
///
/// # Errors
/// Carries the command's error output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", line(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed ({})\n{}",
            line(command),
            output.status,
            last_lines(&errors, 30)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {}", line(command)))
}

/// Returns whether the command starts and succeeds, showing nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Becomes the command: signals, exit status and terminal are its own from then on.
///
/// # Errors
/// Returns only if the command could not be started, or, where a process cannot be replaced,
/// if it failed.
pub(crate) fn become_command(command: &mut Command) -> Result<()> {
    progress::say(format!("$ {}", line(command)));
    become_quietly(command)
}

/// As [`become_command`], saying nothing.
pub(crate) fn become_quietly(command: &mut Command) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        let error = command.exec();
        Err(error).with_context(|| format!("start {}", line(command)))
    }
    #[cfg(not(unix))]
    {
        let status = command
            .status()
            .with_context(|| format!("start {}", line(command)))?;
        if status.success() {
            Ok(())
        } else {
            bail!("`{}` failed ({status})", line(command))
        }
    }
}

/// Returns where a program lies, as `PATH` has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(&name))
        .find(|p| p.is_file())
}

/// Returns the sizes of all files below a folder, summed; what cannot be read counts nothing.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Removes what `cargo run` tells this process about this package.
///
/// Some build scripts ask to run again when such a variable changes, so that a child cargo would
/// build their crates again each time it is started in another way.
fn forget_outer_cargo(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_one_package) {
            command.env_remove(name);
        }
    }
}

fn is_of_one_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || matches!(
            name,
            "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
        )
}

/// Writes a command as a person would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

fn word(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '\'') {
        format!("'{}'", text.replace('\'', "'\\''"))
    } else {
        text.into_owned()
    }
}

/// Where the output of a command [`behind_progress`] is kept.
pub(crate) fn log_of(paths: &Paths, what: &str) -> PathBuf {
    let name: String = what
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    paths
        .logs()
        .join(format!("{}.log", name.to_ascii_lowercase()))
}

fn open_log(paths: &Paths, what: &str) -> Result<PathBuf> {
    let folder = paths.logs();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(log_of(paths, what))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

const POLL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_again() {
        let mut command = Command::new("/usr/bin/env");
        command.args(["A=it's", "plain", ""]);
        assert_eq!(line(&command), r"env 'A=it'\''s' plain ''");
    }

    #[test]
    fn variables_of_one_package_do_not_reach_children() {
        assert!(is_of_one_package("CARGO_PKG_VERSION"));
        assert!(is_of_one_package("CARGO_MANIFEST_DIR"));
        assert!(!is_of_one_package("CARGO_HOME"));
        assert!(!is_of_one_package("CARGO_TARGET_DIR"));
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[test]
    fn a_folder_counts_what_lies_below_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("one"), "123").unwrap();
        fs::write(folder.path().join("inner/two"), "4567").unwrap();
        assert_eq!(folder_bytes(folder.path()), 7);
    }

    #[test]
    fn a_failing_command_says_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: folder.path().into(),
            cache: folder.path().into(),
            target: folder.path().join("target"),
        };
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason; exit 3"]);
        let error = behind_progress(&paths, "a step", &mut command, None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the reason") && error.contains("a-step.log"),
            "{error}"
        );
    }
}

//! Passwords: typed without echo, or read from a file. Never an argument: everybody on a machine
//! can read arguments.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

/// Where a wallet's password comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    file: Option<PathBuf>,
}

impl Source {
    /// From this file, or else by asking.
    pub(crate) fn new(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
        }
    }

    /// The password of a key that exists.
    pub(crate) fn ask(&self, whose: &str) -> Result<Zeroizing<String>> {
        match &self.file {
            Some(file) => from_file(file),
            None => prompt(&format!("password of {whose}: ")),
        }
    }

    /// The password of a new key: asked twice.
    pub(crate) fn ask_new(&self) -> Result<Zeroizing<String>> {
        let password = match &self.file {
            Some(file) => from_file(file)?,
            None => {
                let first = prompt("new password: ")?;
                let again = prompt("the same again: ")?;
                if *first != *again {
                    bail!("the two passwords differ: nothing was written");
                }
                first
            }
        };
        if password.chars().count() < CHARS_MIN {
            bail!("the password is too short: use at least {CHARS_MIN} characters");
        }
        Ok(password)
    }
}

/// Asks for something that must not be seen.
pub(crate) fn prompt(question: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "the wallet is locked and nobody can be asked: pass --password-file FILE, or set RIALTO_PASSWORD_FILE"
        );
    }
    let answer = rpassword::prompt_password(question).context("cannot ask for the password")?;
    Ok(Zeroizing::new(answer))
}

/// The first line of a file that only its owner may read.
fn from_file(path: &Path) -> Result<Zeroizing<String>> {
    let file = std::fs::File::open(path)
        .with_context(|| format!("cannot read the password file {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = file.metadata()?;
        // A pipe (`<(pass show wallet)`) has no permissions worth checking.
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            bail!(
                "{} can be read by others: run `chmod 600 {}`",
                path.display(),
                path.display()
            );
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the password file {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("the password file {} is empty", path.display());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

const CHARS_MIN: usize = 8;
const FILE_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_password_file_is_private_and_its_first_line_counts() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let source = Source::new(Some(&path));
        write("open sesame\r\nsecond line", 0o600);
        assert_eq!(*source.ask("it").unwrap(), "open sesame");
        assert_eq!(*source.ask_new().unwrap(), "open sesame");
        write("open sesame", 0o644);
        assert!(
            source
                .ask("it")
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
        write("\n", 0o600);
        assert!(source.ask("it").unwrap_err().to_string().contains("empty"));
        write("short", 0o600);
        assert!(
            source
                .ask_new()
                .unwrap_err()
                .to_string()
                .contains("too short")
        );
    }
}

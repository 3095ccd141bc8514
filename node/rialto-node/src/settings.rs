//! A service's settings: the manifest's values, the operator's instead, and the operator's secrets.
//!
//! Secrets are read once, when the service is loaded. No error here holds a part of one.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rialto_host::{BadSecret, Secret, Settings};
use rialto_registry::Manifest;
use zeroize::Zeroizing;

use crate::config::{SecretSource, ServiceSettings};

/// What the service is given: all that its manifest names, and nothing that it does not.
///
/// # Errors
/// [`SettingsError`], the operator's to solve; a missing secret comes with the line to add.
pub(crate) fn settings(
    manifest: &Manifest,
    given: Option<&ServiceSettings>,
) -> Result<Settings, SettingsError> {
    let service = manifest.name().to_string();
    let nothing = ServiceSettings::default();
    let given = given.unwrap_or(&nothing);
    let mut config = manifest.config().clone();
    for (name, value) in &given.config {
        let Some(place) = config.get_mut(name) else {
            return Err(SettingsError::UnknownSetting {
                service,
                name: name.clone(),
                known: listed(manifest.config().keys()),
            });
        };
        value.clone_into(place);
    }
    let granted = &manifest.grants().secrets;
    if let Some(name) = given.secrets.keys().find(|name| !granted.contains(*name)) {
        return Err(SettingsError::UnknownSecret {
            service,
            name: name.clone(),
            known: listed(granted.iter()),
        });
    }
    let mut secrets = BTreeMap::new();
    for name in granted {
        let Some(source) = given.secrets.get(name) else {
            return Err(SettingsError::NoSecret {
                service,
                name: name.clone(),
            });
        };
        let secret = read(name, source)?;
        secrets.insert(name.clone(), secret);
    }
    Ok(Settings { config, secrets })
}

fn read(name: &str, source: &SecretSource) -> Result<Secret, SettingsError> {
    let name = name.to_owned();
    let value = match source {
        SecretSource::File(file) => match read_file(file) {
            Ok(value) => value,
            Err(source) => {
                let file = file.clone();
                return Err(SettingsError::File { name, file, source });
            }
        },
        SecretSource::Env(variable) => match std::env::var(variable) {
            Ok(value) => Zeroizing::new(value),
            Err(_) => {
                let variable = variable.clone();
                return Err(SettingsError::Env { name, variable });
            }
        },
    };
    Secret::new(value).map_err(|source| SettingsError::Bad { name, source })
}

/// The file's text without the end of its last line.
fn read_file(file: &Path) -> io::Result<Zeroizing<String>> {
    let file = std::fs::File::open(file)?;
    // Room for all of it: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(limit).read_to_string(&mut text)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// More than a secret may have, and its line's end.
const FILE_BYTES_MAX: usize = 66 << 10;

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

/// Why a service has not got what it needs to know. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nobody said where a secret is.
    #[error(
        "the service needs the secret `{name}`: add to the configuration, in \
         [sandbox.services.{service}.secrets]: {name} = {{ file = \"/path/to/it\" }}"
    )]
    NoSecret {
        /// The service.
        service: String,
        /// The secret.
        name: String,
    },
    /// The configuration sets what the manifest does not name.
    #[error("[sandbox.services.{service}.config] sets `{name}`, and the service has: {known}")]
    UnknownSetting {
        /// The service.
        service: String,
        /// What is set.
        name: String,
        /// What could be.
        known: String,
    },
    /// The configuration has a secret that the manifest does not name.
    #[error("[sandbox.services.{service}.secrets] has `{name}`, and the service asks for: {known}")]
    UnknownSecret {
        /// The service.
        service: String,
        /// What is there.
        name: String,
        /// What could be.
        known: String,
    },
    /// The file cannot be read, or is no text.
    #[error("the secret `{name}` cannot be read from {}", file.display())]
    File {
        /// The secret.
        name: String,
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The environment variable is not there, or is no text.
    #[error(
        "the secret `{name}` is to be in the environment variable {variable}, which is not set"
    )]
    Env {
        /// The secret.
        name: String,
        /// The variable.
        variable: String,
    },
    /// It is too short or too long.
    #[error("the secret `{name}` cannot be used")]
    Bad {
        /// The secret.
        name: String,
        /// Why.
        #[source]
        source: BadSecret,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rest: &str) -> Manifest {
        let text = format!(
            "name = \"chat\"\nversion = \"0.1.0\"\ndescription = \"Talks.\"\nlicense = \"MIT\"\n{rest}"
        );
        let raw: rialto_registry::RawManifest = toml::from_str(&text).unwrap();
        Manifest::try_from(raw).unwrap()
    }

    fn given(config: &[(&str, &str)], secrets: &[(&str, SecretSource)]) -> ServiceSettings {
        let text = |it: &str| it.to_owned();
        ServiceSettings {
            config: config.iter().map(|(a, b)| (text(a), text(b))).collect(),
            secrets: secrets.iter().map(|(a, b)| (text(a), b.clone())).collect(),
            isolation: None,
            calls_max: None,
            queue_max: None,
        }
    }

    #[test]
    fn the_operators_settings_count_and_only_those_that_there_are() {
        let manifest = manifest("[config]\ngreeting = \"hello\"\nname = \"you\"");
        let own = settings(&manifest, None).unwrap();
        assert_eq!(own.config["greeting"], "hello");
        let other = settings(&manifest, Some(&given(&[("greeting", "hi")], &[]))).unwrap();
        assert_eq!(
            (&*other.config["greeting"], &*other.config["name"]),
            ("hi", "you")
        );
        let error = settings(&manifest, Some(&given(&[("greting", "hi")], &[])));
        assert_eq!(
            error.unwrap_err().to_string(),
            "[sandbox.services.chat.config] sets `greting`, and the service has: greeting, name"
        );
    }

    #[test]
    fn secrets_are_read_where_they_are_kept() {
        let manifest = manifest("[grants]\nsecrets = [\"api-key\"]");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let there = given(&[], &[("api-key", SecretSource::File(file.clone()))]);
        let check = |given: Option<&ServiceSettings>, expected: &str| {
            let error = settings(&manifest, given).unwrap_err();
            let text = crate::catalog::chain(&error);
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("hunter"), "{text}");
        };
        check(
            None,
            "in [sandbox.services.chat.secrets]: api-key = { file = \"/path/to/it\" }",
        );
        check(Some(&there), "cannot be read from");
        std::fs::write(&file, "hunter2\n").unwrap();
        check(Some(&there), "a secret has 8 to 65536 bytes");
        std::fs::write(&file, vec![b'h'; 70_000]).unwrap();
        check(Some(&there), "a secret has 8 to 65536 bytes");
        std::fs::write(&file, b"hunter\xff22").unwrap();
        check(Some(&there), "valid UTF-8");
        let env = given(
            &[],
            &[("api-key", SecretSource::Env("RIALTO_NO_SUCH".into()))],
        );
        check(Some(&env), "RIALTO_NO_SUCH, which is not set");
        let file_there = SecretSource::File(file.clone());
        let more = given(
            &[],
            &[("api-key", file_there.clone()), ("other", file_there)],
        );
        check(
            Some(&more),
            "has `other`, and the service asks for: api-key",
        );
        std::fs::write(&file, "hunter22\r\n").unwrap();
        let found = settings(&manifest, Some(&there)).unwrap();
        assert_eq!(format!("{found:?}").matches("hunter").count(), 0);
        assert_eq!(found.secrets.len(), 1);
    }
}

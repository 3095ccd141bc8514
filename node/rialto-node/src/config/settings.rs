//! `[sandbox.services.NAME.config]` and `.secrets`: what an operator sets for one service.
//!
//! Secrets are named by where they are kept, never by what they are: printing the configuration shows none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What an operator sets for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Settings instead of the manifest's, by their names.
    pub config: BTreeMap<String, String>,
    /// Where secrets are kept, by their names.
    pub secrets: BTreeMap<String, SecretSource>,
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file; a line's end at its end is not part of it.
    File(PathBuf),
    /// In an environment variable of the node.
    Env(String),
}

/// One table `[sandbox.services.NAME]`: limits by their names, and two tables.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RawService {
    #[serde(flatten)]
    pub(super) limits: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, RawSecret>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecret {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

impl RawService {
    /// What the two tables say; none if there are none.
    pub(super) fn settings(
        &mut self,
        service: &str,
        problems: &mut Vec<String>,
    ) -> Option<ServiceSettings> {
        let mut settings = ServiceSettings {
            config: std::mem::take(&mut self.config),
            secrets: BTreeMap::new(),
        };
        for (name, raw) in std::mem::take(&mut self.secrets) {
            let source = match (raw.file, raw.env) {
                (Some(file), None) => SecretSource::File(file),
                (None, Some(env)) => SecretSource::Env(env),
                _ => {
                    problems.push(format!(
                        "sandbox.services.{service}.secrets.{name} names no place: use \
                         {{ file = \"/path/to/it\" }} or {{ env = \"NAME\" }}"
                    ));
                    continue;
                }
            };
            settings.secrets.insert(name, source);
        }
        (settings != ServiceSettings::default()).then_some(settings)
    }

    pub(super) fn new(
        limits: Option<&BTreeMap<String, u64>>,
        settings: Option<&ServiceSettings>,
    ) -> Self {
        let secrets = settings.into_iter().flat_map(|it| &it.secrets);
        let raw = |source: &SecretSource| match source {
            SecretSource::File(file) => RawSecret {
                file: Some(file.clone()),
                env: None,
            },
            SecretSource::Env(env) => RawSecret {
                file: None,
                env: Some(env.clone()),
            },
        };
        Self {
            limits: limits.cloned().unwrap_or_default(),
            config: settings.map(|it| it.config.clone()).unwrap_or_default(),
            secrets: secrets.map(|(name, it)| (name.clone(), raw(it))).collect(),
        }
    }
}

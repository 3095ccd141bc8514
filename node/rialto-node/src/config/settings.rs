//! `[sandbox.services.NAME.config]` and `.secrets`: what an operator sets for one service.
//!
//! Secrets are named by where they are kept, never by what they are: printing the configuration shows none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rialto_host::Isolation;
use serde::{Deserialize, Serialize};

/// What an operator sets for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Settings instead of the manifest's, by their names.
    pub config: BTreeMap<String, String>,
    /// Where secrets are kept, by their names.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether it has a process of its own; without, `[sandbox]` says.
    pub isolation: Option<Isolation>,
    /// Calls that run at the same time; without, as many as the host takes.
    pub calls_max: Option<u32>,
    /// Calls that wait; without, `[sandbox] service_queue_max` says.
    pub queue_max: Option<u32>,
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file; a line's end at its end is not part of it.
    File(PathBuf),
    /// In an environment variable of the node.
    Env(String),
}

/// One table `[sandbox.services.NAME]`: the isolation level, limits by their names, and two tables.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RawService {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calls_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue_max: Option<u32>,
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
    /// What is set besides limits; none if nothing is.
    pub(super) fn settings(
        &mut self,
        service: &str,
        problems: &mut Vec<String>,
    ) -> Option<ServiceSettings> {
        let mut settings = ServiceSettings {
            config: std::mem::take(&mut self.config),
            secrets: BTreeMap::new(),
            isolation: None,
            calls_max: self.calls_max.take(),
            queue_max: self.queue_max.take(),
        };
        for (name, value, then) in [
            ("calls_max", settings.calls_max, "run"),
            ("queue_max", settings.queue_max, "wait"),
        ] {
            if value == Some(0) {
                problems.push(format!(
                    "sandbox.services.{service}.{name} is 0: no call could {then}; use 1 or more"
                ));
            }
        }
        if let Some(word) = self.isolation.take() {
            settings.isolation = Isolation::from_name(&word);
            if settings.isolation.is_none() {
                let field = format!("sandbox.services.{service}.isolation");
                problems.push(no_isolation(&field, &word));
            }
        }
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
            isolation: settings
                .and_then(|it| it.isolation)
                .map(|it| it.name().to_owned()),
            calls_max: settings.and_then(|it| it.calls_max),
            queue_max: settings.and_then(|it| it.queue_max),
            limits: limits.cloned().unwrap_or_default(),
            config: settings.map(|it| it.config.clone()).unwrap_or_default(),
            secrets: secrets.map(|(name, it)| (name.clone(), raw(it))).collect(),
        }
    }
}

/// What is wrong with an isolation level.
pub(super) fn no_isolation(field: &str, word: &str) -> String {
    format!("{field} is `{word}`: use \"in-process\" or \"process\"")
}

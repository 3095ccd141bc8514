//! How a store behaves, and what the environment adds to it.
//!
//! Not here: reading the environment; whoever builds a [`Config`] hands its variables in, once.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; created where it is missing.
    pub dir: PathBuf,
    /// The most bytes of one artifact, and of one download.
    pub artifact_bytes_max: u64,
    /// The most bytes of all artifacts together, unfinished downloads included.
    pub store_bytes_max: u64,
    /// The longest one fetch from one source may take.
    pub fetch_time_max: Duration,
    /// How long an artifact is safe from eviction after its last use, pinned or not.
    pub use_grace: Duration,
    /// How often a download that broke off without a byte more is tried again.
    pub retries_max: u32,
    /// The pause before a broken download is tried again; doubles from try to try.
    pub retry_pause: Duration,
    /// The longest that a peer may take to name an outline or to give one chunk.
    pub chunk_time_max: Duration,
    /// The Python interpreter whose pip downloads wheels.
    pub python: PathBuf,
    /// The model hub that `hf://` means.
    pub hub_url: String,
    /// What the hub is shown, and nobody else.
    pub hub_token: Option<Secret>,
    /// Who to be at which OCI registry, before `docker_config` is asked.
    pub registry_logins: Vec<RegistryLogin>,
    /// The file in which `docker login` keeps its logins. A missing one is no error.
    pub docker_config: Option<PathBuf>,
    /// Settings of the object store by the names that its own tools use: `AWS_ENDPOINT_URL`,
    /// `AWS_ACCESS_KEY_ID` and so on.
    pub object_store: Vec<(String, Secret)>,
}

/// Who to be at one OCI registry. Shown to no other: a manifest may name any registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The registry's host, with its port where it is not the usual one.
    pub registry: String,
    /// The user's name.
    pub user: String,
    /// The password or token.
    pub password: Secret,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Config {
    /// A store in `dir`: artifacts to 2 GiB, 32 GiB in all, a quarter of an hour a fetch, ten minutes'
    /// grace, `python3` from the path, the public hub, and nobody's credentials.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            artifact_bytes_max: 2 << 30,
            store_bytes_max: 32 << 30,
            fetch_time_max: Duration::from_secs(900),
            use_grace: Duration::from_secs(600),
            retries_max: 4,
            retry_pause: Duration::from_millis(500),
            chunk_time_max: Duration::from_secs(15),
            python: PathBuf::from("python3"),
            hub_url: "https://huggingface.co".to_owned(),
            hub_token: None,
            registry_logins: Vec::new(),
            docker_config: None,
            object_store: Vec::new(),
        }
    }

    /// Takes what the environment's variables say:
    ///
    /// - `HF_ENDPOINT`, `HF_TOKEN`: the hub and what it is shown;
    /// - `RIALTO_OCI_REGISTRY`, `RIALTO_OCI_USERNAME`, `RIALTO_OCI_PASSWORD`: one registry's login, if
    ///   all three are there;
    /// - `DOCKER_CONFIG` or else `HOME`: where `config.json` with other logins lies;
    /// - `AWS_*`: the object store.
    ///
    /// Empty variables count as absent, and so does what is no UTF-8.
    #[must_use]
    pub fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let (mut registry, mut user, mut password) = (None, None, None);
        let (mut docker, mut home) = (None, None);
        for (name, value) in variables {
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
                continue;
            };
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "HF_ENDPOINT" => self.hub_url = value,
                "HF_TOKEN" => self.hub_token = Some(Secret::new(value)),
                "RIALTO_OCI_REGISTRY" => registry = Some(value),
                "RIALTO_OCI_USERNAME" => user = Some(value),
                "RIALTO_OCI_PASSWORD" => password = Some(Secret::new(value)),
                "DOCKER_CONFIG" => docker = Some(PathBuf::from(value)),
                "HOME" => home = Some(PathBuf::from(value).join(".docker")),
                _ if name.starts_with("AWS_") => {
                    self.object_store.push((name, Secret::new(value)));
                }
                _ => {}
            }
        }
        if let (Some(registry), Some(user), Some(password)) = (registry, user, password) {
            self.registry_logins.push(RegistryLogin {
                registry,
                user,
                password,
            });
        }
        self.docker_config = docker.or(home).map(|dir| dir.join("config.json"));
        self
    }

    /// The same without what is the operator's alone: credentials, and the object store, which may be a
    /// private one. Which hub is meant stays.
    pub(crate) fn for_strangers(&self) -> Self {
        Self {
            hub_token: None,
            registry_logins: Vec::new(),
            docker_config: None,
            object_store: Vec::new(),
            ..self.clone()
        }
    }
}

impl Secret {
    /// Keeps `text` out of logs.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Config {
        let owned = variables.iter();
        Config::new("store").with_environment(owned.map(|(k, v)| ((*k).into(), (*v).into())))
    }

    #[test]
    fn the_environment_is_taken() {
        let config = from(&[
            ("HF_ENDPOINT", "http://127.0.0.1:1"),
            ("HF_TOKEN", "hub-secret"),
            ("RIALTO_OCI_REGISTRY", "registry.example"),
            ("RIALTO_OCI_USERNAME", "me"),
            ("RIALTO_OCI_PASSWORD", "oci-secret"),
            ("AWS_SECRET_ACCESS_KEY", "s3-secret"),
            ("HOME", "/user"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(config.hub_url, "http://127.0.0.1:1");
        assert_eq!(config.registry_logins[0].registry, "registry.example");
        assert_eq!(config.object_store.len(), 1);
        let docker = config.docker_config.clone().unwrap();
        assert_eq!(docker, PathBuf::from("/user/.docker/config.json"));
        let strangers = config.for_strangers();
        assert!(strangers.hub_token.is_none() && strangers.docker_config.is_none());
        assert!(strangers.registry_logins.is_empty() && strangers.object_store.is_empty());
        assert_eq!(strangers.dir, config.dir);
        let shown = format!("{config:?}");
        assert!(!shown.contains("secret\""), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }

    #[test]
    fn half_a_login_and_empty_variables_are_none() {
        let config = from(&[("RIALTO_OCI_REGISTRY", "r.example"), ("HF_TOKEN", "")]);
        assert!(config.registry_logins.is_empty() && config.hub_token.is_none());
        assert_eq!(config.hub_url, Config::new("store").hub_url);
        let config = from(&[("DOCKER_CONFIG", "/d"), ("HOME", "/user")]);
        assert_eq!(config.docker_config, Some(PathBuf::from("/d/config.json")));
    }
}

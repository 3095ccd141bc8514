//! `[sandbox.loading]`: which services are in memory, and since when.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which services are in memory, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loading {
    /// A host with at most so many services loads all of them before it is ready; one with more reads
    /// their manifests, and loads each when it is first called.
    pub eager_max: u32,
    /// Services, by name, that are loaded before the host is ready and stay, however many there are.
    pub preload: BTreeSet<String>,
    /// Compiled code that is kept in memory, in bytes: beyond it the services that were not called for
    /// longest are put aside.
    pub bytes_max: u64,
    /// Services whose code is kept in memory. Each holds a descriptor or two of the system's.
    pub services_max: u32,
    /// Services that are loaded at the same time.
    pub at_once: u32,
    /// How long a call waits for its service to be loaded, before its own time limit begins.
    pub wait_max: Duration,
    /// Versions of one service that are kept to go back to, the running one included.
    pub versions_max: u32,
}

impl Default for Loading {
    fn default() -> Self {
        Self {
            eager_max: 32,
            preload: BTreeSet::new(),
            bytes_max: 1 << 30,
            services_max: 256,
            at_once: 2,
            wait_max: Duration::from_secs(60),
            versions_max: 5,
        }
    }
}

impl Loading {
    pub(super) fn overlay(&mut self, raw: RawLoading) {
        self.eager_max = raw.eager_max.unwrap_or(self.eager_max);
        self.preload.extend(raw.preload);
        self.bytes_max = raw.bytes_max.unwrap_or(self.bytes_max);
        self.services_max = raw.services_max.unwrap_or(self.services_max);
        self.at_once = raw.at_once.unwrap_or(self.at_once);
        let wait_max = raw.wait_ms_max.map(Duration::from_millis);
        self.wait_max = wait_max.unwrap_or(self.wait_max);
        self.versions_max = raw.versions_max.unwrap_or(self.versions_max);
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let zero = [
            ("services_max", self.services_max == 0, "no call could run"),
            ("at_once", self.at_once == 0, "no service could be loaded"),
            (
                "wait_ms_max",
                self.wait_max.is_zero(),
                "no call would wait for its service",
            ),
            (
                "versions_max",
                self.versions_max == 0,
                "the running version is one of them",
            ),
        ];
        let zero = zero.iter().filter(|(_, is_zero, _)| *is_zero);
        zero.map(|(name, _, why)| format!("sandbox.loading.{name} is 0: {why}"))
            .collect()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLoading {
    eager_max: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preload: Vec<String>,
    bytes_max: Option<u64>,
    services_max: Option<u32>,
    at_once: Option<u32>,
    wait_ms_max: Option<u64>,
    versions_max: Option<u32>,
}

impl From<&Loading> for RawLoading {
    fn from(loading: &Loading) -> Self {
        Self {
            eager_max: Some(loading.eager_max),
            preload: loading.preload.iter().cloned().collect(),
            bytes_max: Some(loading.bytes_max),
            services_max: Some(loading.services_max),
            at_once: Some(loading.at_once),
            wait_ms_max: u64::try_from(loading.wait_max.as_millis()).ok(),
            versions_max: Some(loading.versions_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loading(text: &str) -> Loading {
        let mut loading = Loading::default();
        loading.overlay(toml::from_str(text).unwrap());
        loading
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = "eager_max = 1\npreload = [\"chat\"]\nbytes_max = 2\nservices_max = 3\nat_once = 4\n\
                    wait_ms_max = 5\nversions_max = 6";
        for before in [loading(text), Loading::default()] {
            assert_eq!(before.problems(), Vec::<String>::new());
            let printed = toml::to_string(&RawLoading::from(&before)).unwrap();
            assert_eq!(loading(&printed), before);
        }
    }

    #[test]
    fn every_problem_is_named() {
        let zero = loading("services_max = 0\nat_once = 0\nwait_ms_max = 0\nversions_max = 0");
        assert_eq!(zero.problems().len(), 4, "{:?}", zero.problems());
    }
}

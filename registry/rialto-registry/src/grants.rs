//! What a service may import. Everything is denied unless granted here.
//!
//! Non-goals: the host's own policy, which may deny more, and linking, which the host does.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{Name, Origin};

/// The capabilities that a manifest asks for. What is not granted is not linked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// The interfaces of `rialto:tensor`: tensors, and the models that the manifest lists.
    pub tensor: bool,
    /// The interface `rialto:service/context`.
    pub context: bool,
    /// The interface `rialto:service/log`.
    pub log: bool,
    /// `wasi:http`, and where requests may go; an empty list only handles requests.
    pub http: Option<Vec<Origin>>,
    /// `wasi:keyvalue`: keys and values that stay from call to call.
    pub key_value: bool,
    /// `wasi:config`: settings, which the manifest names, and secrets.
    pub config: bool,
    /// Names of secrets, whose values the operator gives.
    pub secrets: BTreeSet<String>,
    /// `rialto:mesh/calls`, and which services may be called.
    pub calls: Option<Callees>,
    /// Groups of WASI 0.2 interfaces, each without any ambient authority.
    pub wasi: BTreeSet<WasiGroup>,
}

/// Services that a service may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callees {
    /// Any.
    All,
    /// These.
    Named(BTreeSet<Name>),
}

impl Callees {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, service: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(service),
        }
    }
}

/// A group of WASI 0.2 interfaces. None of them carries authority: no file, no network address, no
/// environment variable of the host is reachable through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WasiGroup {
    /// `wasi:cli`: no arguments, an empty environment, standard output to the service's log.
    Cli,
    /// `wasi:io`: streams and polling.
    Io,
    /// `wasi:clocks`: monotonic and wall clock.
    Clocks,
    /// `wasi:random`: random bytes.
    Random,
    /// `wasi:filesystem`: no preopened folder, hence no file.
    Filesystem,
}

impl WasiGroup {
    /// Every group, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Cli,
        Self::Io,
        Self::Clocks,
        Self::Random,
        Self::Filesystem,
    ];

    /// The group's name in a manifest, which is the interface's package name after `wasi:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Io => "io",
            Self::Clocks => "clocks",
            Self::Random => "random",
            Self::Filesystem => "filesystem",
        }
    }
}

/// The text names no group of WASI interfaces that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no group that can be granted")]
pub struct UnknownGroup(pub String);

impl FromStr for WasiGroup {
    type Err = UnknownGroup;

    fn from_str(text: &str) -> Result<Self, UnknownGroup> {
        Self::ALL
            .into_iter()
            .find(|group| group.as_str() == text)
            .ok_or_else(|| UnknownGroup(text.to_owned()))
    }
}

impl fmt::Display for WasiGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_round_trips() {
        for group in WasiGroup::ALL {
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        assert_eq!(
            "sockets".parse::<WasiGroup>(),
            Err(UnknownGroup("sockets".into()))
        );
    }
}

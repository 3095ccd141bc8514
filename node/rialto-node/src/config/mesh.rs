//! `[mesh]`: how this node finds others and is found.

use std::collections::BTreeSet;
use std::time::Duration;

use rialto_registry::Name;
use serde::{Deserialize, Serialize};

/// How this node finds others and is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Whether it takes part at all.
    pub enabled: bool,
    /// Multiaddresses to listen on; none only dials, and is reached through relays.
    pub listen: Vec<String>,
    /// Multiaddresses, with `/p2p/PEER`, of peers that are asked first.
    pub bootstrap: Vec<String>,
    /// Multiaddresses that others reach this node by, where it cannot find out.
    pub external: Vec<String>,
    /// Peers, by multiaddresses with `/p2p/PEER`, that relay to this node where nobody reaches it.
    pub relays: Vec<String>,
    /// Whether addresses of private networks count, of this node and of others.
    pub private: bool,
    /// Whether peers on the local network are looked for.
    pub mdns: bool,
    /// Whether connections of others are relayed.
    pub relay: bool,
    /// URLs that others reach the gateway by; none leads them through libp2p.
    pub gateways: Vec<String>,
    /// Where this host is: a lowercase word.
    pub region: Option<Name>,
    /// What it computes on, in lowercase words.
    pub hardware: Vec<Name>,
    /// How often offers are made anew.
    pub offer_every: Duration,
    /// How often the chain is read for names.
    pub names_every: Duration,
    /// The first block that may hold a name.
    pub names_from_block: u64,
}

/// The table as it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMesh {
    enabled: Option<bool>,
    listen: Option<Vec<String>>,
    bootstrap: Option<Vec<String>>,
    external: Option<Vec<String>>,
    relays: Option<Vec<String>>,
    private: Option<bool>,
    mdns: Option<bool>,
    relay: Option<bool>,
    gateways: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    hardware: Option<Vec<String>>,
    offer_every_seconds: Option<u64>,
    names_every_ms: Option<u64>,
    names_from_block: Option<u64>,
}

impl Mesh {
    pub(super) fn overlay(&mut self, raw: RawMesh, problems: &mut Vec<String>) {
        self.enabled = raw.enabled.unwrap_or(self.enabled);
        self.private = raw.private.unwrap_or(self.private);
        self.mdns = raw.mdns.unwrap_or(self.mdns);
        self.relay = raw.relay.unwrap_or(self.relay);
        let lists = [
            (&mut self.listen, raw.listen),
            (&mut self.bootstrap, raw.bootstrap),
            (&mut self.external, raw.external),
            (&mut self.relays, raw.relays),
            (&mut self.gateways, raw.gateways),
        ];
        for (list, raw) in lists {
            if let Some(raw) = raw {
                *list = raw;
            }
        }
        if let Some(text) = raw.region {
            self.region = word("region", &text, problems);
        }
        if let Some(texts) = raw.hardware {
            let words = texts.iter();
            self.hardware = words
                .filter_map(|text| word("hardware", text, problems))
                .collect();
        }
        if let Some(seconds) = raw.offer_every_seconds {
            self.offer_every = Duration::from_secs(seconds);
        }
        if let Some(ms) = raw.names_every_ms {
            self.names_every = Duration::from_millis(ms);
        }
        self.names_from_block = raw.names_from_block.unwrap_or(self.names_from_block);
    }

    /// What makes no sense.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let lists = [
            ("listen", &self.listen),
            ("bootstrap", &self.bootstrap),
            ("external", &self.external),
            ("relays", &self.relays),
        ];
        for (name, list) in lists {
            if list.len() > LIST_MAX {
                problems.push(format!(
                    "mesh.{name} has {} entries: use at most {LIST_MAX}",
                    list.len()
                ));
            }
            let odd = list.iter().find(|address| !address.starts_with('/'));
            problems.extend(odd.map(|address| {
                format!("mesh.{name} has `{address}`: write a multiaddress such as /ip4/0.0.0.0/tcp/8406")
            }));
        }
        for (name, list) in [("bootstrap", &self.bootstrap), ("relays", &self.relays)] {
            let nameless = list.iter().find(|address| !address.contains("/p2p/"));
            problems.extend(nameless.map(|address| {
                format!(
                    "mesh.{name} has `{address}`: add the peer, as in /ip4/…/tcp/…/p2p/12D3KooW…"
                )
            }));
        }
        if self.gateways.len() > GATEWAYS_MAX {
            problems.push(format!(
                "mesh.gateways has more than {GATEWAYS_MAX} entries"
            ));
        }
        let odd = self
            .gateways
            .iter()
            .find(|url| !url.starts_with("https://") && !url.starts_with("http://"));
        problems.extend(odd.map(|url| {
            format!("mesh.gateways has `{url}`: write a URL such as https://host.example")
        }));
        if self.hardware.iter().collect::<BTreeSet<_>>().len() > HARDWARE_MAX {
            problems.push(format!(
                "mesh.hardware has more than {HARDWARE_MAX} entries"
            ));
        }
        if !(10..=1_800).contains(&self.offer_every.as_secs()) {
            problems.push("mesh.offer_every_seconds must be 10 to 1800".to_owned());
        }
        if self.names_every.is_zero() {
            problems.push("mesh.names_every_ms must be above zero".to_owned());
        }
        problems
    }
}

impl Default for Mesh {
    /// Off, and reached from this machine alone where it is switched on.
    fn default() -> Self {
        Self {
            enabled: false,
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: Vec::new(),
            external: Vec::new(),
            relays: Vec::new(),
            private: false,
            mdns: false,
            relay: false,
            gateways: Vec::new(),
            region: None,
            hardware: Vec::new(),
            offer_every: Duration::from_secs(600),
            names_every: Duration::from_secs(2),
            names_from_block: 0,
        }
    }
}

impl From<&Mesh> for RawMesh {
    fn from(mesh: &Mesh) -> Self {
        Self {
            enabled: Some(mesh.enabled),
            listen: Some(mesh.listen.clone()),
            bootstrap: Some(mesh.bootstrap.clone()),
            external: Some(mesh.external.clone()),
            relays: Some(mesh.relays.clone()),
            private: Some(mesh.private),
            mdns: Some(mesh.mdns),
            relay: Some(mesh.relay),
            gateways: Some(mesh.gateways.clone()),
            region: mesh.region.as_ref().map(ToString::to_string),
            hardware: Some(mesh.hardware.iter().map(ToString::to_string).collect()),
            offer_every_seconds: Some(mesh.offer_every.as_secs()),
            names_every_ms: Some(u64::try_from(mesh.names_every.as_millis()).unwrap_or(u64::MAX)),
            names_from_block: Some(mesh.names_from_block),
        }
    }
}

fn word(field: &str, text: &str, problems: &mut Vec<String>) -> Option<Name> {
    text.parse()
        .map_err(|error| problems.push(format!("mesh.{field} `{text}` {error}")))
        .ok()
}

const LIST_MAX: usize = 64;
const GATEWAYS_MAX: usize = 4;
const HARDWARE_MAX: usize = 8;

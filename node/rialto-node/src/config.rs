//! Configuration: the one place where TOML is decoded.
//!
//! A file is optional; every key has a default that runs the whole mesh on one machine. Unknown
//! keys are errors, every problem is reported at once, and [`Config::effective`] prints the result.

mod device;
mod engines;
mod facilitator;
mod gateway;
mod ledger;
mod loading;
mod mesh;
mod observability;
mod payers;
mod quarantine;
mod risk;
mod sandbox;
mod settings;
mod spending;
mod warm;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::Address;
use rialto_channels::Amount;
use rialto_host::DeviceConfig;
use serde::{Deserialize, Serialize};

use crate::api::DepositMethods;
use device::RawDevice;
use engines::RawEngines;
use facilitator::RawFacilitator;
use gateway::RawGateway;
use ledger::RawLedger;
use mesh::RawMesh;
use observability::RawObservability;
use payers::RawPayers;
use risk::{RawClaims, RawRisk};
use sandbox::RawSandbox;
use spending::{RawHires, RawLocal};

pub use device::DeviceChoice;
pub use engines::Engines;
pub use facilitator::Facilitator;
pub use gateway::Gateway;
pub use ledger::{LedgerChoice, SharedChoice};
pub use loading::Loading;
pub use mesh::Mesh;
pub use observability::{LogFormat, Observability};
pub use payers::{PayerTerms, Payers};
pub use risk::{Claims, Risk};
pub use sandbox::Sandbox;
pub use settings::{SecretSource, ServiceSettings};
pub use spending::{Hires, Local};

/// Everything a node needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// A folder of built services: `<name>/service.toml` and `<name>/component.wasm`.
    pub services_dir: PathBuf,
    /// The artifact store; models are fetched into it.
    pub artifacts_dir: PathBuf,
    /// The chain that holds the money.
    pub chain: ChainChoice,
    /// The provider's payout address; none means the dev chain's provider account.
    pub payout: Option<Address>,
    /// How payments are accepted and collected.
    pub payments: Payments,
    /// When to claim and to settle.
    pub claims: Claims,
    /// How much may be lost to the chain's moods.
    pub risk: Risk,
    /// What guests may use.
    pub sandbox: Sandbox,
    /// What one payer may have.
    pub payers: Payers,
    /// What clients may take of the HTTP door.
    pub gateway: Gateway,
    /// What this machine's own programs may spend.
    pub local: Local,
    /// What services may spend on those of other hosts, of the node's wallet, which their callers pay back.
    pub hires: Hires,
    /// Who may see what this host does.
    pub observability: Observability,
    /// How services share what they compute on.
    pub device: DeviceConfig,
    /// What tensor operations run on.
    pub device_choice: DeviceChoice,
    /// Which engine runs models.
    pub engines: Engines,
    /// For whom this host is a facilitator.
    pub facilitator: Facilitator,
    /// Where the record of money is kept.
    pub ledger: LedgerChoice,
    /// How this node finds others and is found.
    pub mesh: Mesh,
}

/// Which chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainChoice {
    /// The in-process development chain, with an RPC endpoint at this address.
    Dev {
        /// Loopback unless you know why; port 0 picks a free one.
        listen: SocketAddr,
    },
    /// Any EVM RPC endpoint.
    Rpc {
        /// The endpoint.
        url: String,
        /// What the endpoint must say its chain id is.
        chain_id: u64,
    },
}

/// How payments are accepted and collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payments {
    /// Advertised ceiling as a multiple of the price: how many calls overlap on one channel.
    pub headroom: u32,
    /// Smallest deposit worth its gas, in token base units.
    pub deposit_min: Amount,
    /// How deposits may be made: each way has an offer of its own.
    pub deposits: DepositMethods,
    /// Seconds between a withdrawal's start and its end; the contract allows 900 to 2,592,000.
    pub withdraw_delay: u64,
    /// How often claims are submitted and settled.
    pub collect_every: Duration,
    /// How often the chain is read for deposits and withdrawals.
    pub watch_every: Duration,
    /// Blocks on top of a transaction before it counts.
    pub confirmations: u64,
    /// Somebody else's facilitator, through which `exact` payments are made; none makes them
    /// ourselves.
    pub facilitator_url: Option<String>,
}

impl Config {
    /// The defaults below `data_dir`: everything embedded, on this machine only.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            services_dir: data_dir.join("services"),
            artifacts_dir: data_dir.join("artifacts"),
            data_dir,
            chain: ChainChoice::Dev {
                listen: SocketAddr::from(([127, 0, 0, 1], 8403)),
            },
            payout: None,
            payments: Payments::default(),
            claims: Claims::default(),
            risk: Risk::default(),
            sandbox: Sandbox::default(),
            payers: Payers::default(),
            gateway: Gateway::default(),
            local: Local::default(),
            hires: Hires::default(),
            observability: Observability::default(),
            device: DeviceConfig::default(),
            device_choice: DeviceChoice::default(),
            engines: Engines::default(),
            facilitator: Facilitator::default(),
            ledger: LedgerChoice::default(),
            mesh: Mesh::default(),
        }
    }

    /// Reads `file` over the defaults below `data_dir`.
    ///
    /// # Errors
    /// [`ConfigError::Read`] when the file cannot be read, [`ConfigError::Decode`] when it is not
    /// this format, [`ConfigError::Invalid`] with every value that makes no sense.
    pub fn load(data_dir: impl Into<PathBuf>, file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        let raw: RawConfig = toml::from_str(&text).map_err(|source| ConfigError::Decode {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
        Self::in_dir(data_dir).overlaid(raw)
    }

    /// The effective configuration in the file's own format.
    pub fn effective(&self) -> String {
        let raw = RawConfig::from(self);
        toml::to_string_pretty(&raw)
            .unwrap_or_else(|error| format!("# cannot be printed: {error}\n"))
    }

    /// Checks values that only make sense together; every problem is listed.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all problems.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let payments = &self.payments;
        if !(1..=1000).contains(&payments.headroom) {
            problems.push(format!(
                "payments.headroom is {}: use 1 to 1000",
                payments.headroom
            ));
        }
        if !(900..=2_592_000).contains(&payments.withdraw_delay) {
            problems.push(format!(
                "payments.withdraw_delay_seconds is {}: the contract allows 900 to 2592000",
                payments.withdraw_delay
            ));
        }
        if payments.collect_every.is_zero() || payments.watch_every.is_zero() {
            problems.push(
                "payments.collect_every_seconds and watch_every_ms must be above zero".to_owned(),
            );
        }
        if payments.watch_every.as_secs() > payments.withdraw_delay / 6 {
            problems.push(
                "payments.watch_every_ms is too long to notice a withdrawal in time: use at most a sixth of the delay"
                    .to_owned(),
            );
        }
        problems.extend(self.sandbox.problems());
        problems.extend(self.payers.problems());
        if matches!(self.chain, ChainChoice::Rpc { .. }) && self.payout.is_none() {
            problems.push(
                "provider.payout is missing: on a chain of your own choice, say where earnings go"
                    .to_owned(),
            );
        }
        problems.extend(device::problems(&self.device));
        problems.extend(self.device_choice.problem(self.engines.deterministic));
        problems.extend(self.engines.problems());
        problems.extend(self.ledger.problems());
        problems.extend(self.mesh.problems());
        problems.extend(self.claims.problems());
        problems.extend(self.risk.problems(self.payments.confirmations));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(Problems(problems)))
        }
    }

    fn overlaid(mut self, raw: RawConfig) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if let Some(dir) = raw.services_dir {
            self.services_dir = dir;
        }
        if let Some(dir) = raw.artifacts_dir {
            self.artifacts_dir = dir;
        }
        self.overlay_chain(raw.chain, &mut problems);
        if let Some(text) = raw.provider.payout {
            match text.parse() {
                Ok(address) => self.payout = Some(address),
                Err(_) => problems.push(format!(
                    "provider.payout `{text}` is not an address: 0x and 40 hex digits"
                )),
            }
        }
        self.payments.overlay(raw.payments, &mut problems);
        self.sandbox.overlay(raw.sandbox, &mut problems);
        self.payers.overlay(raw.payers, &mut problems);
        self.gateway.overlay(&raw.gateway, &mut problems);
        self.local.overlay(&raw.local, &mut problems);
        self.hires.overlay(&raw.hires, &mut problems);
        self.observability.overlay(raw.observability, &mut problems);
        self.device_choice.overlay(&raw.device, &mut problems);
        device::overlay(&mut self.device, raw.device, &mut problems);
        self.engines.overlay(raw.engines, &mut problems);
        self.facilitator.overlay(raw.facilitator, &mut problems);
        self.ledger.overlay(raw.ledger, &mut problems);
        self.mesh.overlay(raw.mesh, &mut problems);
        self.claims.overlay(raw.claims, &mut problems);
        self.risk.overlay(raw.risk, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(Problems(problems)));
        }
        Ok(self)
    }

    fn overlay_chain(&mut self, raw: RawChain, problems: &mut Vec<String>) {
        match (raw.rpc, raw.chain_id, raw.dev_listen) {
            (Some(url), Some(chain_id), None) => self.chain = ChainChoice::Rpc { url, chain_id },
            (Some(_), None, _) => problems
                .push("chain.id is missing: an RPC that lies about it must be caught".to_owned()),
            (Some(_), Some(_), Some(_)) => {
                problems.push("chain.rpc and chain.dev_listen exclude each other".to_owned())
            }
            (None, Some(_), _) => problems
                .push("chain.id goes with chain.rpc; the development chain has its own".to_owned()),
            (None, None, Some(listen)) => self.chain = ChainChoice::Dev { listen },
            (None, None, None) => {}
        }
    }
}

impl Payments {
    fn overlay(&mut self, raw: RawPayments, problems: &mut Vec<String>) {
        self.headroom = raw.headroom.unwrap_or(self.headroom);
        if let Some(text) = raw.deposit_min {
            match text.parse() {
                Ok(amount) => self.deposit_min = amount,
                Err(_) => problems.push(format!(
                    "payments.deposit_min `{text}` is not a whole number of base units"
                )),
            }
        }
        if let Some(names) = raw.deposit_methods {
            match DepositMethods::from_names(&names) {
                Some(methods) => self.deposits = methods,
                None => problems.push(format!(
                    "payments.deposit_methods is {names:?}: use \"eip3009\", \"permit2\" or both"
                )),
            }
        }
        self.withdraw_delay = raw.withdraw_delay_seconds.unwrap_or(self.withdraw_delay);
        if let Some(seconds) = raw.collect_every_seconds {
            self.collect_every = Duration::from_secs(seconds);
        }
        if let Some(ms) = raw.watch_every_ms {
            self.watch_every = Duration::from_millis(ms);
        }
        self.confirmations = raw.confirmations.unwrap_or(self.confirmations);
        if let Some(url) = raw.facilitator_url {
            problems.extend(facilitator::url_problem(&url));
            self.facilitator_url = Some(url);
        }
    }
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            headroom: 20,
            deposit_min: Amount::new(10_000),
            deposits: DepositMethods::default(),
            withdraw_delay: 86_400,
            collect_every: Duration::from_secs(600),
            watch_every: Duration::from_secs(2),
            confirmations: 1,
            facilitator_url: None,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not this format, or holds an unknown key.
    #[error("{} is not a valid configuration", file.display())]
    Decode {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Values that make no sense.
    #[error("the configuration does not make sense:{0}")]
    Invalid(Problems),
}

/// A list of problems, printed a line each.
#[derive(Debug)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    services_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts_dir: Option<PathBuf>,
    chain: RawChain,
    provider: RawProvider,
    payments: RawPayments,
    claims: RawClaims,
    risk: RawRisk,
    sandbox: RawSandbox,
    payers: RawPayers,
    gateway: RawGateway,
    local: RawLocal,
    hires: RawHires,
    observability: RawObservability,
    device: RawDevice,
    engines: RawEngines,
    facilitator: RawFacilitator,
    ledger: RawLedger,
    mesh: RawMesh,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawChain {
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc: Option<String>,
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    chain_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawProvider {
    #[serde(skip_serializing_if = "Option::is_none")]
    payout: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPayments {
    headroom: Option<u32>,
    deposit_min: Option<String>,
    deposit_methods: Option<Vec<String>>,
    withdraw_delay_seconds: Option<u64>,
    collect_every_seconds: Option<u64>,
    watch_every_ms: Option<u64>,
    confirmations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facilitator_url: Option<String>,
}

impl From<&Config> for RawConfig {
    fn from(config: &Config) -> Self {
        let chain = match &config.chain {
            ChainChoice::Dev { listen } => RawChain {
                dev_listen: Some(*listen),
                ..RawChain::default()
            },
            ChainChoice::Rpc { url, chain_id } => RawChain {
                rpc: Some(url.clone()),
                chain_id: Some(*chain_id),
                dev_listen: None,
            },
        };
        let payments = &config.payments;
        Self {
            services_dir: Some(config.services_dir.clone()),
            artifacts_dir: Some(config.artifacts_dir.clone()),
            chain,
            provider: RawProvider {
                payout: config.payout.map(|address| address.to_checksum(None)),
            },
            payments: RawPayments {
                headroom: Some(payments.headroom),
                deposit_min: Some(payments.deposit_min.to_string()),
                deposit_methods: Some(
                    payments
                        .deposits
                        .names()
                        .into_iter()
                        .map(str::to_owned)
                        .collect(),
                ),
                withdraw_delay_seconds: Some(payments.withdraw_delay),
                collect_every_seconds: Some(payments.collect_every.as_secs()),
                watch_every_ms: u64::try_from(payments.watch_every.as_millis()).ok(),
                confirmations: Some(payments.confirmations),
                facilitator_url: payments.facilitator_url.clone(),
            },
            claims: RawClaims::from(&config.claims),
            risk: RawRisk::from(&config.risk),
            sandbox: RawSandbox::from(&config.sandbox),
            payers: RawPayers::from(&config.payers),
            gateway: RawGateway::from(&config.gateway),
            local: RawLocal::from(&config.local),
            hires: RawHires::from(&config.hires),
            observability: RawObservability::from(&config.observability),
            device: RawDevice::new(&config.device_choice, &config.device),
            engines: RawEngines::from(&config.engines),
            facilitator: RawFacilitator::from(&config.facilitator),
            ledger: RawLedger::from(&config.ledger),
            mesh: RawMesh::from(&config.mesh),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rialto.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(dir.path(), &file).and_then(|config| config.check().map(|()| config))
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap().payments, Payments::default());
    }

    #[test]
    fn the_effective_configuration_reads_back() {
        let config = parse("[payments]\nheadroom = 3\n[chain]\nrpc = \"http://127.0.0.1:1\"\nid = 8453\n[provider]\npayout = \"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\"").unwrap();
        let again = parse(&config.effective()).unwrap();
        assert_eq!(again.payments, config.payments);
        assert_eq!(again.chain, config.chain);
        assert_eq!(again.payout, config.payout);
    }

    #[test]
    fn bad_files_name_every_problem() {
        let unknown = parse("[payments]\nheadrom = 3").unwrap_err();
        assert!(matches!(unknown, ConfigError::Decode { .. }));
        let several = parse("[payments]\ndeposit_min = \"x\"\n[provider]\npayout = \"y\"")
            .unwrap_err()
            .to_string();
        assert!(
            several.contains("deposit_min `x`") && several.contains("payout `y`"),
            "{several}"
        );
        let senseless = parse("[payments]\nheadroom = 0\nwithdraw_delay_seconds = 1")
            .unwrap_err()
            .to_string();
        assert!(
            senseless.contains("headroom is 0") && senseless.contains("900 to 2592000"),
            "{senseless}"
        );
    }
}

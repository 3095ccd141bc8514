//! Strangers' clients as the tests run them: each by its own script or program, all with one plan
//! and one account of what they saw.

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::{Mesh, path_from_env};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::books::units;
use crate::fixture;
use crate::installed::{in_repository, python_program, run};

/// Whose client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    /// `@x402/fetch`.
    Npm,
    /// `x402`.
    Pypi,
    /// The version 1 that is part of the same package.
    PypiVersion1,
    /// The crates `r402-client`, `r402-evm` and `r402-http`.
    R402,
    /// The crates `x402-reqwest` and `x402-chain-eip155`, in a version of the protocol.
    X402Rs(u8),
}

impl Client {
    /// Which version of the protocol it speaks.
    fn version(self) -> u8 {
        match self {
            Self::PypiVersion1 => 1,
            Self::X402Rs(version) => version,
            Self::Npm | Self::Pypi | Self::R402 => 2,
        }
    }

    /// What the Rust program calls it.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::R402 => Some("r402"),
            Self::X402Rs(_) => Some("x402-rs"),
            Self::Npm | Self::Pypi | Self::PypiVersion1 => None,
        }
    }

    /// Runs the client's script, which starts without any state.
    pub(crate) async fn pay(
        self,
        mesh: &Mesh,
        key: &str,
        schemes: &[&str],
        steps: &Value,
    ) -> Result<Paid> {
        self.pay_by(mesh, key, schemes, None, steps).await
    }

    /// The same, taking only offers with this method of deposits.
    pub(crate) async fn pay_by(
        self,
        mesh: &Mesh,
        key: &str,
        schemes: &[&str],
        deposit_method: Option<&str>,
        steps: &Value,
    ) -> Result<Paid> {
        let mut command = match self {
            Self::Npm => {
                let mut command = Command::new(path_from_env("RIALTO_NODE")?);
                command.arg(in_repository("testing/clients/x402.mjs"));
                command
            }
            Self::Pypi | Self::PypiVersion1 => {
                let mut command = python_program("python")?;
                command.arg(in_repository("testing/clients/x402_client.py"));
                command
            }
            Self::R402 | Self::X402Rs(_) => Command::new(path_from_env("RIALTO_RUST_CLIENTS")?),
        };
        let plan = json!({
            "client": self.name(),
            "version": self.version(),
            "url": service_url(mesh),
            "rpc": mesh.chain_rpc(),
            "chain_id": mesh.ready()["chain_id"],
            "key": key,
            "schemes": schemes,
            "deposit_method": deposit_method,
            "steps": steps,
        });
        let seen = run(command.arg(plan.to_string())).await?.json()?;
        let paid = Paid::read(&seen).with_context(|| format!("{self:?} says {seen}"))?;
        paid.check_calls(mesh).await?;
        Ok(paid)
    }
}

pub(crate) fn service_url(mesh: &Mesh) -> String {
    format!("{}/services/{SERVICE}/{METHOD}", mesh.gateway())
}

/// What one run of a client saw.
#[derive(Debug)]
pub(crate) struct Paid {
    pub(crate) payer: String,
    pub(crate) channel: Option<String>,
    pub(crate) calls: Vec<Call>,
    pub(crate) charged: u128,
    pub(crate) deposited: u128,
    pub(crate) deposits: u64,
    /// Deposits whose call was refused: they may have been made.
    pub(crate) deposits_unsure: u128,
    pub(crate) paid_at_once: u128,
    pub(crate) refunded: u128,
    pub(crate) corrections: u64,
    pub(crate) in_flight_max: u64,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) bytes: u64,
    pub(crate) charged: u128,
    pub(crate) receipt: String,
}

impl Paid {
    fn read(seen: &Value) -> Result<Self> {
        let text = |field: &str| seen[field].as_str().map(str::to_owned);
        let count = |field: &str| seen[field].as_u64().context("not a count");
        let calls = seen["calls"].as_array().context("no calls")?;
        Ok(Self {
            payer: text("payer").context("no payer")?,
            channel: text("channel"),
            calls: calls.iter().map(Call::read).collect::<Result<_>>()?,
            charged: units(seen, "/charged")?,
            deposited: units(seen, "/deposited")?,
            deposits: count("deposits")?,
            deposits_unsure: units(seen, "/deposits_unsure")?,
            paid_at_once: units(seen, "/paid_at_once")?,
            refunded: units(seen, "/refunded")?,
            corrections: count("corrections")?,
            in_flight_max: count("in_flight_max")?,
        })
    }

    /// Every charge is the listed price for the body's size: below the ceiling that was signed.
    async fn check_calls(&self, mesh: &Mesh) -> Result<()> {
        let listing = fixture::get(mesh, &format!("/services/{SERVICE}")).await?;
        let method = "/methods/0/price";
        let (call, per_kib) = (
            units(&listing, &format!("{method}/call"))?,
            units(&listing, &format!("{method}/per_input_kib"))?,
        );
        for made in &self.calls {
            let price = call + per_kib * u128::from(made.bytes.div_ceil(1024));
            ensure!(made.charged == price, "{made:?} costs {price}");
        }
        Ok(())
    }
}

impl Call {
    fn read(seen: &Value) -> Result<Self> {
        ensure!(seen["answer"]["label"] == "txt", "a text is {seen}");
        let charged = units(seen, "/charged")?;
        ensure!(
            units(seen, "/receipt_charged")? == charged,
            "the receipt says otherwise: {seen}"
        );
        Ok(Self {
            bytes: seen["bytes"].as_u64().context("no size")?,
            charged,
            receipt: seen["receipt"].as_str().context("no receipt")?.to_owned(),
        })
    }
}

/// What the clients call: its charge depends on the body's size, so that it is below the ceiling.
pub(crate) const SERVICE: &str = "filetype";
const METHOD: &str = "identify";

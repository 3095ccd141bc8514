//! What this wallet allows itself: the payer's policy, kept in the wallet's folder, shown and set
//! by `rialto policy`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rialto_channels::Amount;
use rialto_channels::payer::Limits;
use rialto_gateway::client::{self, Budget, spent_today};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{DataArgs, PolicyCommand};
use crate::show::{self, money};
use crate::{home, wallet};

/// The policy as it is kept; every key has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Policy {
    /// The most that one call may cost, in token base units.
    call_max: Units,
    /// The most that may be spent in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    day_max: Option<Units>,
    /// The most that may be spent in a day on one provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_day_max: Option<Units>,
    /// The most that one deposit may hold.
    deposit_max: Units,
    /// The most that may be deposited in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    deposit_day_max: Option<Units>,
    /// How many calls a deposit is meant to last for.
    deposit_calls: u32,
    /// How many channels with one provider may be open.
    lanes_max: u32,
    /// How many calls share a channel.
    calls_per_lane: u32,
    /// The most that a channel's charges may exceed what answers told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    unexplained_max: Option<Units>,
    /// The most that is read of an answer, in bytes.
    answer_bytes_max: u64,
    /// The most that a transaction of the wallet's own may cost, in wei.
    fee_max: u64,
    /// The chain's RPC endpoint; none asks the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc: Option<String>,
    /// The only chain to pay on.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<u64>,
}

/// Token base units: a number of them, or an amount of the token such as `0.5 USDC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Units(pub(crate) Amount);

impl Default for Policy {
    fn default() -> Self {
        let defaults = client::Config::new("");
        Self {
            call_max: Units(defaults.price_max),
            day_max: None,
            provider_day_max: None,
            deposit_max: Units(defaults.limits.deposit_max),
            deposit_day_max: None,
            deposit_calls: defaults.limits.deposit_calls,
            lanes_max: 8,
            calls_per_lane: 16,
            unexplained_max: None,
            answer_bytes_max: defaults.answer_bytes_max,
            fee_max: defaults.fee_max.try_into().unwrap_or(u64::MAX),
            rpc: None,
            chain_id: None,
        }
    }
}

impl Policy {
    /// The policy of this data folder.
    pub(crate) fn load(data_dir: &Path) -> Result<Self> {
        let path = path(data_dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let policy: Self =
            toml::from_str(&text).with_context(|| format!("{} is not a policy", path.display()))?;
        policy.check()?;
        Ok(policy)
    }

    /// Puts the policy into a client's configuration.
    pub(crate) fn apply(&self, config: &mut client::Config) {
        config.price_max = self.call_max.0;
        config.limits = Limits {
            // What an offer may ask to sign: the price, as often as its headroom needs.
            call_max: self
                .call_max
                .0
                .checked_mul(HEADROOM_MAX)
                .unwrap_or(Amount::MAX)
                .max(config.limits.call_max),
            deposit_max: self.deposit_max.0,
            deposit_calls: self.deposit_calls,
        };
        config.budget = Budget {
            day_max: self.day_max.map(|units| units.0),
            provider_day_max: self.provider_day_max.map(|units| units.0),
            deposit_day_max: self.deposit_day_max.map(|units| units.0),
        };
        config.lanes_max = self.lanes_max;
        config.calls_per_lane = self.calls_per_lane;
        config.unexplained_max = self.unexplained_max.unwrap_or(self.call_max).0;
        config.answer_bytes_max = self.answer_bytes_max;
        config.fee_max = self.fee_max.into();
        config.rpc_url.clone_from(&self.rpc);
        config.chain_id = self.chain_id;
    }

    fn check(&self) -> Result<()> {
        if !(1..=LANES_MAX).contains(&self.lanes_max) || self.calls_per_lane == 0 {
            bail!("lanes_max is 1 to {LANES_MAX}, and calls_per_lane at least 1");
        }
        if self.deposit_calls == 0 || self.answer_bytes_max == 0 {
            bail!("deposit_calls and answer_bytes_max are at least 1");
        }
        Ok(())
    }

    /// Changes one key; `off` removes a limit that need not be there.
    fn set(&self, key: &str, value: &str) -> Result<Self> {
        let Ok(toml::Value::Table(mut table)) = toml::Value::try_from(self) else {
            bail!("the policy cannot be changed");
        };
        let key = key.replace('-', "_");
        if !KEYS.iter().any(|(known, _)| *known == key) {
            let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
            bail!("there is no `{key}`: it is one of {}", known.join(", "));
        }
        if value == "off" {
            table.remove(&key);
        } else {
            let value = match value.parse::<i64>() {
                Ok(number) if !AMOUNTS.contains(&key.as_str()) => toml::Value::Integer(number),
                _ => toml::Value::String(value.to_owned()),
            };
            table.insert(key.clone(), value);
        }
        let changed: Self = toml::Value::Table(table)
            .try_into()
            .with_context(|| format!("`{value}` is no value of {key}"))?;
        changed.check()?;
        Ok(changed)
    }

    fn shown(&self, key: &str) -> String {
        let optional = |units: Option<Units>| {
            units.map_or_else(|| "no limit".to_owned(), |units| money(units.0))
        };
        match key {
            "call_max" => money(self.call_max.0),
            "day_max" => optional(self.day_max),
            "provider_day_max" => optional(self.provider_day_max),
            "deposit_max" => money(self.deposit_max.0),
            "deposit_day_max" => optional(self.deposit_day_max),
            "deposit_calls" => self.deposit_calls.to_string(),
            "lanes_max" => self.lanes_max.to_string(),
            "calls_per_lane" => self.calls_per_lane.to_string(),
            "unexplained_max" => money(self.unexplained_max.unwrap_or(self.call_max).0),
            "fee_max" => show::coins(self.fee_max.into()),
            "answer_bytes_max" => format!("{} bytes", self.answer_bytes_max),
            "rpc" => self
                .rpc
                .clone()
                .unwrap_or_else(|| "as the gateway names it".to_owned()),
            _ => self.chain_id.map_or_else(
                || "any chain of a known token".to_owned(),
                |id| id.to_string(),
            ),
        }
    }
}

/// Runs `rialto policy`.
pub(crate) fn run(command: PolicyCommand) -> Result<()> {
    match command {
        PolicyCommand::Show { json, data } => show(&data, json),
        PolicyCommand::Set { key, value, data } => {
            let data_dir = home::data_dir(data.data_dir.as_deref())?;
            let changed = Policy::load(&data_dir)?.set(&key, &value)?;
            save(&data_dir, &changed)?;
            let key = key.replace('-', "_");
            show::line(format!("{key} is {} now", changed.shown(&key)));
            Ok(())
        }
    }
}

fn show(data: &DataArgs, json: bool) -> Result<()> {
    let data_dir = home::data_dir(data.data_dir.as_deref())?;
    let policy = Policy::load(&data_dir)?;
    let spent = spent_today(&home::channels_dir(&data_dir))?.total();
    if json {
        let mut value = serde_json::to_value(&policy)?;
        value["spent_today"] = json!(spent.to_string());
        show::json(&value);
        return Ok(());
    }
    let mut table = show::table(&["what", "now", "meaning"]);
    for (key, meaning) in KEYS {
        table.add_row([key, &policy.shown(key), meaning]);
    }
    show::line(table.to_string());
    if policy.day_max.is_some() || policy.provider_day_max.is_some() {
        show::line(format!("spent today: {}", money(spent)));
    }
    show::line("change one: rialto policy set call_max '0.05 USDC'   (`off` lifts a limit)");
    Ok(())
}

fn save(data_dir: &Path, policy: &Policy) -> Result<()> {
    let path = path(data_dir);
    let fails = || format!("cannot write {}", path.display());
    let new = path.with_extension("toml.new");
    std::fs::remove_file(&new).ok();
    // For its owner alone: the endpoint's URL may hold a token.
    wallet::write_private(&new, toml::to_string_pretty(policy)?.as_bytes())?;
    std::fs::rename(&new, &path).with_context(fails)
}

fn path(data_dir: &Path) -> PathBuf {
    home::wallet_dir(data_dir).join("policy.toml")
}

impl TryFrom<String> for Units {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Units> for String {
    fn from(units: Units) -> Self {
        units.0.to_string()
    }
}

impl std::str::FromStr for Units {
    type Err = String;

    /// Base units, or an amount of the token that says so: `50000` is `0.05 USDC`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no amount: write base units (50000) or `0.05 USDC`");
        let lower = text.trim().to_ascii_lowercase();
        let Some(tokens) = lower.strip_suffix("usdc") else {
            return lower.parse().map(Self).map_err(|_| wrong());
        };
        let (whole, part) = tokens
            .trim()
            .split_once('.')
            .unwrap_or((tokens.trim(), "0"));
        if part.len() > DECIMALS {
            return Err(wrong());
        }
        let part: Amount = format!("{part:0<DECIMALS$}").parse().map_err(|_| wrong())?;
        let whole: Amount = whole.parse().map_err(|_| wrong())?;
        let sum = whole
            .checked_mul(UNITS_PER_TOKEN)
            .and_then(|units| units.checked_add(part));
        sum.map(Self).map_err(|_| wrong())
    }
}

/// The wallet and the policy as a client's configuration.
pub(crate) fn client_config(
    data_dir: &Path,
    gateway: &str,
    opened: &wallet::Opened,
) -> Result<client::Config> {
    let mut config = client::Config::new(gateway);
    Policy::load(data_dir)?.apply(&mut config);
    config.chain_id = opened.kind.chain().or(config.chain_id);
    config.store = Some(home::channels_dir(data_dir));
    Ok(config)
}

const KEYS: [(&str, &str); 13] = [
    ("call_max", "the most that one call may cost"),
    ("day_max", "the most that may be spent in a day"),
    ("provider_day_max", "the most in a day on one provider"),
    ("deposit_max", "the most that one deposit may hold"),
    ("deposit_day_max", "the most that may be deposited in a day"),
    ("deposit_calls", "how many calls a deposit should last for"),
    ("lanes_max", "channels with one provider, at most"),
    ("calls_per_lane", "calls that share a channel, at most"),
    (
        "unexplained_max",
        "a channel's charges that no answer told of, at most; `off`: call_max",
    ),
    ("answer_bytes_max", "the most that is read of an answer"),
    ("fee_max", "the most that a withdrawal's fee may be, in wei"),
    ("rpc", "the chain's RPC endpoint"),
    ("chain_id", "the only chain to pay on"),
];
const AMOUNTS: [&str; 6] = [
    "call_max",
    "day_max",
    "provider_day_max",
    "deposit_max",
    "deposit_day_max",
    "unexplained_max",
];
const LANES_MAX: u32 = 64;
const HEADROOM_MAX: u128 = 100;
const DECIMALS: usize = 6;
const UNITS_PER_TOKEN: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_units_or_tokens() {
        let check = |text: &str, units: Option<u128>| {
            let found = text.parse::<Units>().ok().map(|units| units.0.get());
            assert_eq!(found, units, "{text}");
        };
        check("50000", Some(50_000));
        check("0.05 USDC", Some(50_000));
        check("1usdc", Some(1_000_000));
        check("12.345678 usdc", Some(12_345_678));
        for bad in [
            "",
            "0.05",
            "-1",
            "1.2345678 USDC",
            ".5 USDC",
            "1. x USDC",
            "USDC",
            "1e3",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn a_policy_is_changed_key_by_key_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Policy::load(dir.path()).unwrap(), Policy::default());
        let changed = Policy::default()
            .set("day-max", "0.5 USDC")
            .unwrap()
            .set("lanes_max", "3")
            .unwrap()
            .set("rpc", "http://127.0.0.1:8545")
            .unwrap();
        save(dir.path(), &changed).unwrap();
        let kept = Policy::load(dir.path()).unwrap();
        assert_eq!(kept, changed);
        let mut config = client::Config::new("");
        kept.apply(&mut config);
        assert_eq!(config.budget.day_max, Some(Amount::new(500_000)));
        assert_eq!(config.lanes_max, 3);
        assert_eq!(config.unexplained_max, config.price_max);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = std::fs::metadata(path(dir.path())).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(config.rpc_url.as_deref(), Some("http://127.0.0.1:8545"));
        assert_eq!(kept.set("day_max", "off").unwrap().day_max, None);
    }

    #[test]
    fn nonsense_is_refused_with_what_is_known() {
        let say = |key: &str, value: &str| {
            let error = Policy::default().set(key, value).unwrap_err();
            format!("{error:#}")
        };
        assert!(say("dya_max", "1").contains("provider_day_max"));
        assert!(say("call_max", "lots").contains("no amount"));
        assert!(say("lanes_max", "0").contains("1 to 64"));
        assert!(say("lanes_max", "many").contains("no value of lanes_max"));
    }
}

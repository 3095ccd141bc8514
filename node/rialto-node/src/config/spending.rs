//! `[local]` and `[hires]`: what the node's wallet may spend in a day for others than its owner: at the door of this
//! machine's programs, and on services of other hosts that its own hire.

use rialto_channels::Amount;
use serde::{Deserialize, Serialize};

/// What the door of this machine's own programs may spend, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// On everything that it pays for in a day (by UTC), in token base units.
    pub day_max: Amount,
    /// Whether whoever spends needs a key also where the door is on the loopback: something on this machine lets others
    /// through to it.
    pub needs_key: bool,
}

/// What services of this host may spend on those of others, which their callers pay back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hires {
    /// In a day (by UTC), in token base units; nothing is hired elsewhere where this is zero.
    pub day_max: Amount,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            day_max: DAY_MAX,
            needs_key: false,
        }
    }
}

impl Default for Hires {
    fn default() -> Self {
        Self { day_max: DAY_MAX }
    }
}

impl Local {
    pub(super) fn overlay(&mut self, raw: &RawLocal, problems: &mut Vec<String>) {
        overlay(&mut self.day_max, raw.day_max.as_deref(), "local", problems);
        self.needs_key = raw.needs_key.unwrap_or(self.needs_key);
    }
}

impl Hires {
    pub(super) fn overlay(&mut self, raw: &RawHires, problems: &mut Vec<String>) {
        overlay(&mut self.day_max, raw.day_max.as_deref(), "hires", problems);
    }
}

fn overlay(day_max: &mut Amount, text: Option<&str>, section: &str, problems: &mut Vec<String>) {
    match text.map(|text| (text, text.parse())) {
        Some((_, Ok(amount))) => *day_max = amount,
        Some((text, Err(_))) => problems.push(format!(
            "{section}.day_max `{text}` is not a whole number of base units: a dollar is \"1000000\""
        )),
        None => {}
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLocal {
    #[serde(skip_serializing_if = "Option::is_none")]
    day_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_key: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHires {
    #[serde(skip_serializing_if = "Option::is_none")]
    day_max: Option<String>,
}

impl From<&Local> for RawLocal {
    fn from(local: &Local) -> Self {
        Self {
            day_max: Some(local.day_max.to_string()),
            needs_key: Some(local.needs_key),
        }
    }
}

impl From<&Hires> for RawHires {
    fn from(hires: &Hires) -> Self {
        Self {
            day_max: Some(hires.day_max.to_string()),
        }
    }
}

/// One USDC.
const DAY_MAX: Amount = Amount::new(1_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_and_nonsense_is_named() {
        let read = |text: &str| {
            let (mut local, mut problems) = (Local::default(), Vec::new());
            local.overlay(&toml::from_str(text).unwrap(), &mut problems);
            (local, problems)
        };
        let (changed, problems) = read("day_max = \"250000\"\nneeds_key = true");
        assert_eq!(
            (changed.day_max, changed.needs_key),
            (Amount::new(250_000), true)
        );
        assert!(problems.is_empty(), "{problems:?}");
        for wanted in [changed, Local::default()] {
            let printed = toml::to_string(&RawLocal::from(&wanted)).unwrap();
            assert_eq!(read(&printed).0, wanted);
        }
        let (_, problems) = read("day_max = \"1 USDC\"");
        assert!(problems[0].contains("local.day_max"), "{problems:?}");
        let (mut hires, mut problems) = (Hires::default(), Vec::new());
        hires.overlay(&toml::from_str("day_max = \"-1\"").unwrap(), &mut problems);
        assert!(problems[0].contains("hires.day_max"), "{problems:?}");
    }
}

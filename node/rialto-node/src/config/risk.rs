//! `[risk]` and `[claims]`: how much may be lost to the chain's moods, and what gas is worth.

use std::time::Duration;

use rialto_channels::claims::Policy;
use rialto_channels::payee::ExposureLimits;
use rialto_channels::{Amount, Confirmations, Depth};
use serde::{Deserialize, Serialize};

/// What this node risks on a chain that reorganises, falls silent, or hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// How many blocks sums must lie under before they count, by amount, beyond
    /// `payments.confirmations`. None by default: on a public chain, set it by what it would cost
    /// to take so many blocks back.
    pub depths: Vec<Depth>,
    /// How many blocks a reorganisation is expected to reach back; a deeper one makes every channel
    /// be read again.
    pub reorg_blocks_max: u64,
    /// Blocks after which a claim, settlement or refund is written into the books for good.
    pub final_after: u64,
    /// What may be reserved, all channels together, while the chain does not answer; more is
    /// refused until it does, in token base units.
    pub blind_max: Amount,
    /// After so long without an answer the chain counts as silent.
    pub blind_after: Duration,
    /// What may be served and not claimed yet, on one channel and over all channels of one payer,
    /// in token base units; no limit by default. Calls beyond it wait for the next claim, which is
    /// made early then.
    pub exposure: ExposureLimits,
    /// Failed calls (they are free) that a channel may make in `failures_window`; then it waits.
    pub failures_max: u32,
    /// The window.
    pub failures_window: Duration,
    /// Further endpoints of the same chain, used in this order when one fails.
    pub rpc_further: Vec<String>,
    /// A transaction that hangs so long is submitted again, an eighth dearer.
    pub replace_after: Duration,
    /// Never offer more for gas, in gwei.
    pub fee_gwei_max: u64,
}

/// When to claim and to settle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// Gas against waiting.
    pub policy: Policy,
    /// What an ether is worth, in token base units. Zero, the default, takes gas for free: then
    /// everything is claimed each time.
    pub token_per_ether: Amount,
}

impl Risk {
    /// The policy for views: `confirmations` for everything, more for large sums.
    ///
    /// # Errors
    /// A sentence about what makes no sense.
    pub(crate) fn depths(&self, confirmations: u64) -> Result<Confirmations, String> {
        let mut steps = self.depths.clone();
        if confirmations > 1 {
            let every = Depth {
                from: Amount::new(1),
                blocks: confirmations,
            };
            steps.insert(0, every);
        }
        Confirmations::new(steps).map_err(|error| {
            format!("risk.depths does not make sense with payments.confirmations = {confirmations}: {error}")
        })
    }

    pub(super) fn problems(&self, confirmations: u64) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.depths(confirmations).err());
        let deepest = self.depths.last().map_or(0, |depth| depth.blocks);
        if self.reorg_blocks_max == 0 || self.reorg_blocks_max < deepest {
            problems.push(format!(
                "risk.reorg_blocks_max is {}: use at least 1, and as much as the deepest of risk.depths",
                self.reorg_blocks_max
            ));
        }
        let exposure = self.exposure;
        if [exposure.channel_max, exposure.payer_max].contains(&Some(Amount::ZERO)) {
            problems.push(
                "risk.channel_exposure_max and payer_exposure_max must be above zero, or left out for no limit"
                    .to_owned(),
            );
        }
        if self.failures_max == 0 || self.failures_window.is_zero() {
            problems.push(
                "risk.failures_max and failures_window_seconds must be above zero".to_owned(),
            );
        }
        if self.blind_after.is_zero() || self.replace_after.is_zero() || self.fee_gwei_max == 0 {
            problems.push(
                "risk.blind_after_seconds, replace_after_seconds and fee_gwei_max must be above zero"
                    .to_owned(),
            );
        }
        problems
    }

    pub(super) fn overlay(&mut self, raw: RawRisk, problems: &mut Vec<String>) {
        if let Some(depths) = raw.depths {
            self.depths = depths
                .into_iter()
                .filter_map(|raw| raw.decode(problems))
                .collect();
        }
        let exposure = &mut self.exposure;
        for (name, text, into) in [
            (
                "channel_exposure_max",
                raw.channel_exposure_max,
                &mut exposure.channel_max,
            ),
            (
                "payer_exposure_max",
                raw.payer_exposure_max,
                &mut exposure.payer_max,
            ),
        ] {
            if let Some(text) = text {
                let name = format!("risk.{name}");
                amount(&name, &text, into.insert(Amount::MAX), problems);
            }
        }
        if let Some(text) = raw.blind_max {
            amount("risk.blind_max", &text, &mut self.blind_max, problems);
        }
        let seconds = |value: Option<u64>, into: &mut Duration| {
            if let Some(value) = value {
                *into = Duration::from_secs(value);
            }
        };
        seconds(raw.blind_after_seconds, &mut self.blind_after);
        seconds(raw.failures_window_seconds, &mut self.failures_window);
        seconds(raw.replace_after_seconds, &mut self.replace_after);
        self.reorg_blocks_max = raw.reorg_blocks_max.unwrap_or(self.reorg_blocks_max);
        self.final_after = raw.final_after_blocks.unwrap_or(self.final_after);
        self.failures_max = raw.failures_max.unwrap_or(self.failures_max);
        self.fee_gwei_max = raw.fee_gwei_max.unwrap_or(self.fee_gwei_max);
        if let Some(further) = raw.rpc_further {
            self.rpc_further = further;
        }
    }
}

impl Default for Risk {
    fn default() -> Self {
        Self {
            depths: Vec::new(),
            reorg_blocks_max: 64,
            final_after: 1,
            blind_max: Amount::new(1_000_000),
            exposure: ExposureLimits::NONE,
            blind_after: Duration::from_secs(30),
            failures_max: 50,
            failures_window: Duration::from_secs(600),
            rpc_further: Vec::new(),
            replace_after: Duration::from_secs(15),
            fee_gwei_max: 500,
        }
    }
}

impl Claims {
    pub(super) fn problems(&self) -> Vec<String> {
        let rows = self.policy.rows_max;
        if (1..=ROWS_MAX).contains(&rows) {
            Vec::new()
        } else {
            vec![format!("claims.rows_max is {rows}: use 1 to {ROWS_MAX}")]
        }
    }

    pub(super) fn overlay(&mut self, raw: RawClaims, problems: &mut Vec<String>) {
        let policy = &mut self.policy;
        policy.gas_multiple = raw.gas_multiple.unwrap_or(policy.gas_multiple);
        policy.age_secs_max = raw.age_seconds_max.unwrap_or(policy.age_secs_max);
        policy.rows_max = raw.rows_max.unwrap_or(policy.rows_max);
        if let Some(text) = raw.settle_min {
            amount("claims.settle_min", &text, &mut policy.settle_min, problems);
        }
        if let Some(text) = raw.token_per_ether {
            let name = "claims.token_per_ether";
            amount(name, &text, &mut self.token_per_ether, problems);
        }
    }
}

fn amount(name: &str, text: &str, into: &mut Amount, problems: &mut Vec<String>) {
    match text.parse() {
        Ok(amount) => *into = amount,
        Err(_) => problems.push(format!(
            "{name} `{text}` is not a whole number of base units"
        )),
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRisk {
    reorg_blocks_max: Option<u64>,
    final_after_blocks: Option<u64>,
    blind_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_exposure_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer_exposure_max: Option<String>,
    blind_after_seconds: Option<u64>,
    failures_max: Option<u32>,
    failures_window_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc_further: Option<Vec<String>>,
    replace_after_seconds: Option<u64>,
    fee_gwei_max: Option<u64>,
    depths: Option<Vec<RawDepth>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDepth {
    from: String,
    blocks: u64,
}

impl RawDepth {
    fn decode(self, problems: &mut Vec<String>) -> Option<Depth> {
        let mut from = Amount::ZERO;
        amount("risk.depths.from", &self.from, &mut from, problems);
        let blocks = self.blocks;
        Some(Depth { from, blocks })
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawClaims {
    gas_multiple: Option<u32>,
    age_seconds_max: Option<u64>,
    rows_max: Option<usize>,
    settle_min: Option<String>,
    token_per_ether: Option<String>,
}

impl From<&Risk> for RawRisk {
    fn from(risk: &Risk) -> Self {
        let depths = risk.depths.iter().map(|depth| RawDepth {
            from: depth.from.to_string(),
            blocks: depth.blocks,
        });
        Self {
            reorg_blocks_max: Some(risk.reorg_blocks_max),
            final_after_blocks: Some(risk.final_after),
            blind_max: Some(risk.blind_max.to_string()),
            channel_exposure_max: risk.exposure.channel_max.map(|max| max.to_string()),
            payer_exposure_max: risk.exposure.payer_max.map(|max| max.to_string()),
            blind_after_seconds: Some(risk.blind_after.as_secs()),
            failures_max: Some(risk.failures_max),
            failures_window_seconds: Some(risk.failures_window.as_secs()),
            // Their URLs may carry access tokens (M7): how many there are is all that is shown.
            rpc_further: None,
            replace_after_seconds: Some(risk.replace_after.as_secs()),
            fee_gwei_max: Some(risk.fee_gwei_max),
            depths: Some(depths.collect()),
        }
    }
}

impl From<&Claims> for RawClaims {
    fn from(claims: &Claims) -> Self {
        let policy = &claims.policy;
        Self {
            gas_multiple: Some(policy.gas_multiple),
            age_seconds_max: Some(policy.age_secs_max),
            rows_max: Some(policy.rows_max),
            settle_min: Some(policy.settle_min.to_string()),
            token_per_ether: Some(claims.token_per_ether.to_string()),
        }
    }
}

/// What fits one transaction with room to spare.
const ROWS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn risk(text: &str) -> (Risk, Vec<String>) {
        let mut risk = Risk::default();
        let mut problems = Vec::new();
        risk.overlay(toml::from_str(text).unwrap(), &mut problems);
        problems.extend(risk.problems(2));
        (risk, problems)
    }

    #[test]
    fn depths_go_on_top_of_the_confirmations() {
        let (risk, problems) = risk("depths = [{ from = \"100\", blocks = 6 }]\nblind_max = \"7\"");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(risk.blind_max, Amount::new(7));
        let depths = risk.depths(2).unwrap();
        let blocks = [0, 1, 99, 100].map(|amount| depths.blocks_for(Amount::new(amount)));
        assert_eq!(blocks, [1, 2, 2, 6]);
        assert!(
            risk.depths(6).is_err(),
            "six for everything leaves nothing to add"
        );
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems) = risk(
            "depths = [{ from = \"x\", blocks = 90 }]\nfailures_max = 0\nreplace_after_seconds = 0",
        );
        let all = problems.join("\n");
        for word in [
            "risk.depths.from `x`",
            "reorg_blocks_max",
            "failures_max",
            "fee_gwei_max",
        ] {
            assert!(all.contains(word), "{word}: {all}");
        }
        let mut claims = Claims::default();
        let mut problems = Vec::new();
        claims.overlay(
            toml::from_str("rows_max = 101\nsettle_min = \"-1\"").unwrap(),
            &mut problems,
        );
        problems.extend(claims.problems());
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn what_is_printed_reads_back() {
        let (before, _) = risk(
            "depths = [{ from = \"5\", blocks = 6 }]\nfinal_after_blocks = 9\npayer_exposure_max = \"8\"",
        );
        assert_eq!(before.exposure.payer_max, Some(Amount::new(8)));
        let (_, problems) = risk("channel_exposure_max = \"0\"\npayer_exposure_max = \"x\"");
        assert_eq!(problems.len(), 2, "{problems:?}");
        let text = toml::to_string(&RawRisk::from(&before)).unwrap();
        assert_eq!(risk(&text).0, before);
        let mut claims = Claims::default();
        claims.policy.gas_multiple = 7;
        let text = toml::to_string(&RawClaims::from(&claims)).unwrap();
        let mut again = Claims::default();
        again.overlay(toml::from_str(&text).unwrap(), &mut Vec::new());
        assert_eq!(again, claims);
    }
}

//! `[sandbox.quarantine]`: when a service that keeps failing by its own fault is taken out.

use std::time::Duration;

use rialto_scheduler::QuarantinePolicy;
use serde::{Deserialize, Serialize};

pub(super) fn overlay(policy: &mut QuarantinePolicy, raw: RawQuarantine) {
    let seconds = |raw: Option<u64>, usual| raw.map_or(usual, Duration::from_secs);
    *policy = QuarantinePolicy {
        faults_min: raw.faults_min.unwrap_or(policy.faults_min),
        payers_min: raw.payers_min.unwrap_or(policy.payers_min),
        payer_faults_max: raw.payer_faults_max.unwrap_or(policy.payer_faults_max),
        window: seconds(raw.window_seconds, policy.window),
        pause_min: seconds(raw.pause_seconds_min, policy.pause_min),
        pause_max: seconds(raw.pause_seconds_max, policy.pause_max),
    };
}

pub(super) fn problems(policy: &QuarantinePolicy) -> Vec<String> {
    let mut problems = Vec::new();
    if policy.payers_min < 2 {
        problems.push(format!(
            "sandbox.quarantine.payers_min is {}: one payer could take a service away from all others; use 2 or more",
            policy.payers_min
        ));
    }
    let reached = policy.payer_faults_max.saturating_mul(policy.payers_min);
    if policy.payer_faults_max == 0
        || (policy.payers_min >= 2 && reached > policy.faults_min && policy.faults_min > 0)
    {
        problems.push(format!(
            "sandbox.quarantine.payer_faults_max is {}: use 1 to faults_min / payers_min, so that it takes as many payers",
            policy.payer_faults_max
        ));
    }
    if policy.window.is_zero() || policy.pause_min.is_zero() || policy.pause_max < policy.pause_min
    {
        problems.push(
            "sandbox.quarantine: window_seconds and pause_seconds_min must be above zero, and pause_seconds_max no less than that"
                .to_owned(),
        );
    }
    problems
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawQuarantine {
    faults_min: Option<u32>,
    payers_min: Option<u32>,
    payer_faults_max: Option<u32>,
    window_seconds: Option<u64>,
    pause_seconds_min: Option<u64>,
    pause_seconds_max: Option<u64>,
}

impl From<&QuarantinePolicy> for RawQuarantine {
    fn from(policy: &QuarantinePolicy) -> Self {
        Self {
            faults_min: Some(policy.faults_min),
            payers_min: Some(policy.payers_min),
            payer_faults_max: Some(policy.payer_faults_max),
            window_seconds: Some(policy.window.as_secs()),
            pause_seconds_min: Some(policy.pause_min.as_secs()),
            pause_seconds_max: Some(policy.pause_max.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> QuarantinePolicy {
        let mut policy = QuarantinePolicy::default();
        overlay(&mut policy, toml::from_str(text).unwrap());
        policy
    }

    #[test]
    fn what_is_printed_reads_back_and_is_sound() {
        let text = "faults_min = 20\npayers_min = 4\npayer_faults_max = 5\nwindow_seconds = 6\n\
                    pause_seconds_min = 7\npause_seconds_max = 8";
        for before in [policy(text), policy("faults_min = 0"), policy("")] {
            assert_eq!(problems(&before), Vec::<String>::new());
            let printed = toml::to_string(&RawQuarantine::from(&before)).unwrap();
            assert_eq!(policy(&printed), before);
        }
    }

    #[test]
    fn what_would_let_one_payer_take_a_service_away_is_named() {
        for text in [
            "payers_min = 1",
            "payer_faults_max = 0",
            "payer_faults_max = 6",
            "window_seconds = 0",
            "pause_seconds_min = 0",
            "pause_seconds_max = 1",
        ] {
            assert_eq!(problems(&policy(text)).len(), 1, "{text}");
        }
    }
}

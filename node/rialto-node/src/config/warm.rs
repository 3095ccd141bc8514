//! `[sandbox.warm]`: instances that are made before their calls come.

use std::time::Duration;

use rialto_host::WarmConfig;
use serde::{Deserialize, Serialize};

pub(super) fn overlay(warm: &mut WarmConfig, raw: RawWarm) {
    warm.instances_max = raw.instances_max.unwrap_or(warm.instances_max);
    let of_service = raw.service_instances_max;
    warm.service_instances_max = of_service.unwrap_or(warm.service_instances_max);
    warm.bytes_max = raw.bytes_max.unwrap_or(warm.bytes_max);
    let cost_min = raw.cost_us_min.map(Duration::from_micros);
    warm.cost_min = cost_min.unwrap_or(warm.cost_min);
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawWarm {
    instances_max: Option<u32>,
    service_instances_max: Option<u32>,
    bytes_max: Option<u64>,
    cost_us_min: Option<u64>,
}

impl From<&WarmConfig> for RawWarm {
    fn from(warm: &WarmConfig) -> Self {
        Self {
            instances_max: Some(warm.instances_max),
            service_instances_max: Some(warm.service_instances_max),
            bytes_max: Some(warm.bytes_max),
            cost_us_min: u64::try_from(warm.cost_min.as_micros()).ok(),
        }
    }
}

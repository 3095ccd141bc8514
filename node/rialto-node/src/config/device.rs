//! `[device]`: how services share what they compute on.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use rialto_host::{DeviceConfig, Quota, Share};
use serde::{Deserialize, Serialize};

/// What tensor operations run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best graphics processor in hardware that computes what the processor does, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A graphics processor in hardware; without it the node does not start.
    Gpu,
    /// The graphics processor with this in its name, software too; without it the node does not start.
    GpuNamed(String),
}

impl DeviceChoice {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "gpu" => Some(Self::Gpu),
            _ => {
                let name = text.strip_prefix("gpu:")?.trim();
                (!name.is_empty()).then(|| Self::GpuNamed(name.to_owned()))
            }
        }
    }

    /// Whether it asks for a graphics processor and nothing else.
    pub(crate) fn is_gpu(&self) -> bool {
        matches!(self, Self::Gpu | Self::GpuNamed(_))
    }

    /// What makes no sense beside the engines' deterministic mode.
    pub(super) fn problem(&self, deterministic: bool) -> Option<String> {
        (deterministic && self.is_gpu()).then(|| {
            "engines.deterministic and device.choice exclude each other: a graphics processor's bits \
             change with its driver; use \"cpu\" or leave it out"
                .to_owned()
        })
    }

    /// Takes over what the file says.
    pub(super) fn overlay(&mut self, raw: &RawDevice, problems: &mut Vec<String>) {
        if let Some(text) = &raw.choice {
            match Self::parse(text) {
                Some(choice) => *self = choice,
                None => problems.push(format!(
                    "device.choice is `{text}`: use \"auto\", \"cpu\", \"gpu\" or \"gpu:PART OF ITS NAME\""
                )),
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::GpuNamed(name) => write!(f, "gpu:{name}"),
        }
    }
}

/// What makes no sense.
pub(super) fn problems(device: &DeviceConfig) -> Vec<String> {
    let mut problems = Vec::new();
    if device.batch_max == 0 {
        problems.push("device.batch_max is 0: use 1 to run each alone".to_owned());
    }
    if device.waiting_max == 0 || device.service_waiting_max == 0 {
        problems.push(
            "device.waiting_max and service_waiting_max must be above zero: every run waits a moment"
                .to_owned(),
        );
    }
    if device.memory_bytes_max == 0 || device.service_memory_bytes_max == 0 {
        problems.push(
            "device.memory_bytes_max and service_memory_bytes_max must be above zero".to_owned(),
        );
    }
    for (service, share) in &device.shares {
        if share.weight == 0 {
            problems.push(format!(
                "device.shares.{service}.weight is 0: use 1 or more"
            ));
        }
        if share.quota.is_some_and(|quota| quota.per_second.is_zero()) {
            problems.push(format!(
                "device.shares.{service}.ms_per_second is 0: its work would wait for ever"
            ));
        }
    }
    problems
}

/// Takes over what the file says.
pub(super) fn overlay(device: &mut DeviceConfig, raw: RawDevice, problems: &mut Vec<String>) {
    if let Some(runs) = raw.runs_max {
        match NonZeroUsize::new(runs) {
            Some(runs) => device.runs_max = runs,
            None => problems.push("device.runs_max is 0: nothing could run".to_owned()),
        }
    }
    let or = |given: Option<usize>, default| given.unwrap_or(default);
    device.waiting_max = or(raw.waiting_max, device.waiting_max);
    device.service_waiting_max = or(raw.service_waiting_max, device.service_waiting_max);
    device.batch_max = or(raw.batch_max, device.batch_max);
    if let Some(ms) = raw.batch_ms_max {
        device.batch_time_max = Duration::from_millis(ms);
    }
    if let Some(micros) = raw.linger_us {
        device.linger = Duration::from_micros(micros);
    }
    let or = |given: Option<u64>, default| given.unwrap_or(default);
    device.memory_bytes_max = or(raw.memory_bytes_max, device.memory_bytes_max);
    device.service_memory_bytes_max = or(
        raw.service_memory_bytes_max,
        device.service_memory_bytes_max,
    );
    let shares = raw.shares.into_iter();
    device
        .shares
        .extend(shares.map(|(service, raw)| (service, raw.into())));
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDevice {
    choice: Option<String>,
    runs_max: Option<usize>,
    waiting_max: Option<usize>,
    service_waiting_max: Option<usize>,
    batch_max: Option<usize>,
    batch_ms_max: Option<u64>,
    linger_us: Option<u64>,
    memory_bytes_max: Option<u64>,
    service_memory_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    shares: BTreeMap<String, RawShare>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShare {
    #[serde(default = "one")]
    weight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_ms: Option<u64>,
}

const fn one() -> u32 {
    1
}

impl From<RawShare> for Share {
    fn from(raw: RawShare) -> Self {
        let quota = raw.ms_per_second.map(|ms| Quota {
            per_second: Duration::from_millis(ms),
            // A second's worth, unless the file says otherwise.
            burst: Duration::from_millis(raw.burst_ms.unwrap_or(ms)),
        });
        Self {
            weight: raw.weight,
            quota,
        }
    }
}

impl RawDevice {
    pub(super) fn new(choice: &DeviceChoice, device: &DeviceConfig) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
        let share = |share: &Share| RawShare {
            weight: share.weight,
            ms_per_second: share.quota.and_then(|quota| ms(quota.per_second)),
            burst_ms: share.quota.and_then(|quota| ms(quota.burst)),
        };
        let shares = device.shares.iter();
        Self {
            choice: Some(choice.to_string()),
            runs_max: Some(device.runs_max.get()),
            waiting_max: Some(device.waiting_max),
            service_waiting_max: Some(device.service_waiting_max),
            batch_max: Some(device.batch_max),
            batch_ms_max: ms(device.batch_time_max),
            linger_us: u64::try_from(device.linger.as_micros()).ok(),
            memory_bytes_max: Some(device.memory_bytes_max),
            service_memory_bytes_max: Some(device.service_memory_bytes_max),
            shares: shares
                .map(|(service, has)| (service.clone(), share(has)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rialto.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(dir.path(), &file).and_then(|config| config.check().map(|()| config))
    }

    #[test]
    fn shares_are_read_and_written_back() {
        let text = "[device]\nruns_max = 3\nlinger_us = 250\n\
                    [device.shares.embed]\nweight = 4\n\
                    [device.shares.ocr]\nms_per_second = 500";
        let config = parse(text).unwrap();
        let device = &config.device;
        assert_eq!((device.runs_max.get(), device.linger.as_micros()), (3, 250));
        assert_eq!(device.shares["embed"].weight, 4);
        let half = Duration::from_millis(500);
        let quota = device.shares["ocr"].quota.unwrap();
        assert_eq!((quota.per_second, quota.burst), (half, half));
        let again = parse(&config.effective()).unwrap();
        assert_eq!(again.device, config.device);
    }

    #[test]
    fn devices_are_chosen_by_kind_or_name() {
        let choice = |text: &str| {
            let config = parse(&format!("[device]\nchoice = \"{text}\""))?;
            let again = parse(&config.effective()).map(|config| config.device_choice);
            assert_eq!(again.ok().as_ref(), Some(&config.device_choice));
            Ok::<_, ConfigError>(config.device_choice)
        };
        assert_eq!(parse("").unwrap().device_choice, DeviceChoice::Auto);
        for (text, wanted) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("gpu", DeviceChoice::Gpu),
            ("gpu:RTX 40", DeviceChoice::GpuNamed("RTX 40".to_owned())),
        ] {
            assert_eq!(choice(text).unwrap(), wanted);
        }
        for text in ["cuda", "gpu:", "GPU"] {
            let error = choice(text).unwrap_err().to_string();
            assert!(error.contains("device.choice"), "{error}");
        }
    }

    #[test]
    fn deterministic_engines_and_graphics_processors_exclude_each_other() {
        let with = |choice: &str| {
            parse(&format!(
                "[device]\nchoice = \"{choice}\"\n[engines]\ndeterministic = true"
            ))
        };
        assert!(with("auto").is_ok() && with("cpu").is_ok());
        for choice in ["gpu", "gpu:llvmpipe"] {
            let error = with(choice).unwrap_err().to_string();
            assert!(error.contains("exclude each other"), "{error}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        let text = "[device]\nbatch_max = 0\nwaiting_max = 0\nmemory_bytes_max = 0\n\
                    [device.shares.ocr]\nweight = 0\nms_per_second = 0";
        let error = parse(text).unwrap_err().to_string();
        for part in [
            "batch_max",
            "waiting_max",
            "memory_bytes_max",
            "ocr.weight",
            "ocr.ms_per_second",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(parse("[device]\nruns_max = 0").is_err());
    }
}

//! `[engines]`: which engine runs models, and what is checked before.

use std::path::PathBuf;
use std::time::Duration;

use rialto_tensor::engines::Choice;
use rialto_tensor::onnxruntime::Device;
use rialto_tensor::worker::{Limits, Program};
use serde::{Deserialize, Serialize};

/// Which engine runs models, and what is checked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engines {
    /// Which engine: `auto`, `embedded`, `onnxruntime` or `gpu`.
    pub choice: Choice,
    /// One engine that is named, and a fixed number of threads, never another engine instead; guests' clocks
    /// stand and their randomness follows from the request.
    pub deterministic: bool,
    /// The threads of one run in ONNX Runtime; none means one for each core, or one if deterministic.
    pub threads: Option<u32>,
    /// ONNX Runtime's library; none looks in the usual places.
    pub onnxruntime: Option<PathBuf>,
    /// Where ONNX Runtime computes: `cpu`, `cuda` or `cuda:N`.
    pub device: Device,
    /// Whether the embedded engine only loads files that came through a worker once.
    pub vet: bool,
    /// Whether the embedded engine runs in workers, too.
    pub isolate: bool,
    /// How long loading a model may take in a worker.
    pub load_time_max: Duration,
    /// How long a run may take in a worker.
    pub run_time_max: Duration,
    /// The files of all loaded models together, in bytes; unused ones are given up beyond it.
    pub weights_bytes_max: u64,
    /// The sessions of all language models together, in bytes; what finds no room is refused.
    pub sessions_bytes_max: u64,
    /// The program that serves as a worker, from whoever starts the node; not from the file.
    pub worker: Option<Program>,
}

impl Default for Engines {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            choice: Choice::default(),
            deterministic: false,
            threads: None,
            onnxruntime: None,
            device: Device::Cpu,
            vet: true,
            isolate: false,
            load_time_max: limits.load_time_max,
            run_time_max: limits.run_time_max,
            weights_bytes_max: 2 << 30,
            sessions_bytes_max: 2 << 30,
            worker: None,
        }
    }
}

impl Engines {
    pub(super) fn overlay(&mut self, raw: RawEngines, problems: &mut Vec<String>) {
        if let Some(name) = raw.choice {
            match NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, choice)) => self.choice = *choice,
                None => problems.push(format!(
                    "engines.choice is `{name}`: use \"auto\", \"embedded\", \"onnxruntime\" or \"gpu\""
                )),
            }
        }
        if let Some(name) = raw.device {
            match device(&name) {
                Some(device) => self.device = device,
                None => problems.push(format!(
                    "engines.device is `{name}`: use \"cpu\", \"cuda\" or \"cuda:N\""
                )),
            }
        }
        self.deterministic = raw.deterministic.unwrap_or(self.deterministic);
        self.threads = raw.threads.or(self.threads);
        self.onnxruntime = raw.onnxruntime.or_else(|| self.onnxruntime.take());
        self.vet = raw.vet.unwrap_or(self.vet);
        self.isolate = raw.isolate.unwrap_or(self.isolate);
        if let Some(seconds) = raw.load_seconds_max {
            self.load_time_max = Duration::from_secs(seconds);
        }
        if let Some(seconds) = raw.run_seconds_max {
            self.run_time_max = Duration::from_secs(seconds);
        }
        self.weights_bytes_max = raw.weights_bytes_max.unwrap_or(self.weights_bytes_max);
        self.sessions_bytes_max = raw.sessions_bytes_max.unwrap_or(self.sessions_bytes_max);
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self
            .threads
            .is_some_and(|threads| !(1..=1024).contains(&threads))
        {
            problems.push("engines.threads must be 1 to 1024".to_owned());
        }
        if self.load_time_max.is_zero() || self.run_time_max.is_zero() {
            problems
                .push("engines.load_seconds_max and run_seconds_max must be above zero".to_owned());
        }
        if self.deterministic && self.device != Device::Cpu {
            problems.push(
                "engines.deterministic and engines.device exclude each other: a card may add in any order"
                    .to_owned(),
            );
        }
        problems
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEngines {
    choice: Option<String>,
    deterministic: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onnxruntime: Option<PathBuf>,
    device: Option<String>,
    vet: Option<bool>,
    isolate: Option<bool>,
    load_seconds_max: Option<u64>,
    run_seconds_max: Option<u64>,
    weights_bytes_max: Option<u64>,
    sessions_bytes_max: Option<u64>,
}

impl From<&Engines> for RawEngines {
    fn from(engines: &Engines) -> Self {
        let name = NAMES.iter().find(|(_, choice)| *choice == engines.choice);
        Self {
            choice: name.map(|(name, _)| (*name).to_owned()),
            deterministic: Some(engines.deterministic),
            threads: engines.threads,
            onnxruntime: engines.onnxruntime.clone(),
            device: Some(engines.device.to_string()),
            vet: Some(engines.vet),
            isolate: Some(engines.isolate),
            load_seconds_max: Some(engines.load_time_max.as_secs()),
            run_seconds_max: Some(engines.run_time_max.as_secs()),
            weights_bytes_max: Some(engines.weights_bytes_max),
            sessions_bytes_max: Some(engines.sessions_bytes_max),
        }
    }
}

fn device(name: &str) -> Option<Device> {
    match name {
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        other => other.strip_prefix("cuda:")?.parse().ok().map(Device::Cuda),
    }
}

const NAMES: [(&str, Choice); 4] = [
    ("auto", Choice::Auto),
    ("embedded", Choice::Embedded),
    ("onnxruntime", Choice::OnnxRuntime),
    ("gpu", Choice::Gpu),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(text: &str) -> (Engines, Vec<String>) {
        let (mut engines, mut problems) = (Engines::default(), Vec::new());
        engines.overlay(toml::from_str(text).unwrap(), &mut problems);
        problems.extend(engines.problems());
        (engines, problems)
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = "choice = \"onnxruntime\"\ndevice = \"cuda:2\"\nthreads = 4\nvet = false\n\
                    onnxruntime = \"/opt/libonnxruntime.so\"\nweights_bytes_max = 5\nsessions_bytes_max = 6\nisolate = true\n\
                    load_seconds_max = 7\nrun_seconds_max = 8";
        let (before, problems) = engines(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(before.device, Device::Cuda(2));
        assert_eq!(before.choice, Choice::OnnxRuntime);
        let printed = toml::to_string(&RawEngines::from(&before)).unwrap();
        assert_eq!(engines(&printed).0, before);
        let printed = toml::to_string(&RawEngines::from(&Engines::default())).unwrap();
        assert_eq!(engines(&printed).0, Engines::default());
    }

    #[test]
    fn every_choice_has_a_name() {
        for (name, choice) in NAMES {
            let (found, problems) = engines(&format!("choice = \"{name}\""));
            assert_eq!((found.choice, problems.len()), (choice, 0));
        }
    }

    #[test]
    fn every_problem_is_named() {
        let text = "choice = \"best\"\ndevice = \"gpu\"\nthreads = 0\nrun_seconds_max = 0";
        let (_, problems) = engines(text);
        assert_eq!(problems.len(), 4, "{problems:?}");
        let (_, problems) = engines("deterministic = true\ndevice = \"cuda\"");
        assert!(problems[0].contains("exclude each other"), "{problems:?}");
    }
}

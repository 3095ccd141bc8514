//! Models on the device for tensor operations: which ones, and what is checked before.
//!
//! Once for each file and device its answers on seeded inputs are compared with another engine's on the
//! processor, and its time with that one's. What nothing compares with is not run.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    Choice, Config, DIFFERS, Engines, SetupError,
    agree::{self, Comparison},
    verdicts::Verdicts,
};
use crate::{
    CpuDevice, Engine, GraphEngine, Kind, LoadError, Model, TractEngine, onnxruntime::Device,
};

/// The engine for the device, as configured; none where nobody asked for it by name and there is none.
pub(super) fn engine(config: &Config) -> Result<Option<GraphEngine>, SetupError> {
    let wanted = match config.choice {
        Choice::Gpu => true,
        // What a card computes is one engine's business, and workers are asked for to keep files apart.
        Choice::Auto => {
            let elsewhere = config.device != Device::Cpu;
            if config.deterministic || config.isolate || elsewhere {
                return Ok(None);
            }
            false
        }
        Choice::Embedded | Choice::OnnxRuntime => return Ok(None),
    };
    let Some(device) = &config.accelerator else {
        return if wanted {
            Err(SetupError::NoAccelerator)
        } else {
            Ok(None)
        };
    };
    let cpu = CpuDevice::new(1, config.embedded.run_bytes_max);
    let limits = config.embedded.clone();
    let engine = GraphEngine::new(Arc::clone(device), Arc::new(cpu), limits);
    Ok(Some(if config.deterministic {
        engine
    } else {
        engine.joining_within_rounding()
    }))
}

impl Engines {
    /// The model on the device, if that agrees with another engine about it (and, where the choice is
    /// free, is not slower).
    pub(super) fn load_on_device(
        &self,
        engine: &GraphEngine,
        bytes: &Bytes,
        name: &str,
    ) -> Result<Arc<dyn Model>, LoadError> {
        let model = engine.load(bytes.clone(), name)?;
        let free = self.config.choice == Choice::Auto;
        let how = if free {
            "where it is faster"
        } else {
            "anywhere"
        };
        let key = Verdicts::key(
            &["device", how, &engine.identity(), crate::tract::ENGINE],
            bytes,
        );
        let verdict = match self.verdicts.get(&key) {
            Some(verdict) => verdict,
            None => {
                let verdict = self.judge(model.as_ref(), bytes, name, free)?;
                self.verdicts.put(&key, &verdict);
                verdict
            }
        };
        match verdict.strip_prefix(DIFFERS) {
            None => Ok(model),
            Some(reason) => Err(LoadError::Unsupported {
                model: name.to_owned(),
                reason: format!("{} is not used for it: {reason}", engine.device()),
            }),
        }
    }

    /// A verdict to keep; an error where no second engine could be asked.
    fn judge(
        &self,
        model: &dyn Model,
        bytes: &Bytes,
        name: &str,
        free: bool,
    ) -> Result<String, LoadError> {
        // A device that is full, or fails, says nothing about the file.
        if let Some(Err(error)) = agree::trial(model)
            && matches!(error.kind(), Kind::OutOfBudget | Kind::Engine)
        {
            return Err(LoadError::Engine {
                model: name.to_owned(),
                reason: error.to_string(),
            });
        }
        let reference = self.reference(bytes, name)?;
        match agree::compare(model, reference.as_ref()) {
            Comparison::Agree { difference } => {
                let slower = free.then(|| slower(model, reference.as_ref())).flatten();
                if let Some(reason) = slower {
                    return Ok(format!("{DIFFERS}{reason}"));
                }
                tracing::info!(model = name, difference, "the device agrees");
                Ok(format!("agrees within {difference:e}"))
            }
            Comparison::Differ(reason) => {
                tracing::warn!(model = name, reason, "the device differs");
                Ok(format!("{DIFFERS}{reason}"))
            }
            Comparison::NotComparable(reason) => {
                Ok(format!("{DIFFERS}nothing to compare with: {reason}"))
            }
        }
    }

    /// The model on the processor: in the embedded engine, or else in ONNX Runtime.
    fn reference(&self, bytes: &Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
        let embedded: &dyn Engine = match &self.apart {
            Some(apart) => apart,
            None => &self.embedded,
        };
        let error = match embedded.load(bytes.clone(), name) {
            // What loads may still not run: then the other engine is asked.
            Ok(model) if agree::trial(model.as_ref()).is_some_and(|run| run.is_ok()) => {
                return Ok(model);
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let runtime = self.accelerated.as_ref();
        let runtime = runtime.map(|ort| ort.reference.as_ref().unwrap_or(&ort.engine));
        match (runtime, error) {
            (Some(runtime), _) => runtime.load(bytes.clone(), name),
            (None, Some(error)) => Err(error),
            (None, None) => Err(LoadError::Unsupported {
                model: name.to_owned(),
                reason: format!(
                    "{} does not run it, and nothing else is here",
                    TractEngine::NAME
                ),
            }),
        }
    }
}

/// Why the device is not worth its way, if it is not.
fn slower(model: &dyn Model, reference: &dyn Model) -> Option<String> {
    let (here, there) = (fastest_ms(model)?, fastest_ms(reference)?);
    (here > there * SLOWER_MAX)
        .then(|| format!("a run takes {here:.2} ms there and {there:.2} ms on the processor"))
}

/// The fastest of a few runs, in milliseconds; none where one fails.
fn fastest_ms(model: &dyn Model) -> Option<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        agree::trial(model)?.ok()?;
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Some(fastest)
}

/// How much longer a run on the device may take: it frees the processor for other work.
const SLOWER_MAX: f64 = 1.5;
const RUNS: usize = 4;

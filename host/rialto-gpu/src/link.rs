//! One opened device: what is lost with it when its driver gives up.
//!
//! Errors are caught where they arise: by scopes around what may fail, by a handler for the rest, and
//! by a note that the driver leaves when the device is lost. Non-goals: opening another one (`device`).

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rialto_compute::ops::EvalError;

use crate::{
    adapters::{AdapterInfo, AdapterKind},
    budget::Budget,
    config::Config,
    pipelines::Pipelines,
    pool::Pool,
    transfer::Landings,
};

/// An opened device and what was made on it.
pub(crate) struct Link {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub limits: wgpu::Limits,
    pub info: AdapterInfo,
    pub pool: Pool,
    pub pipelines: Pipelines,
    pub landings: Landings,
    /// Bytes given to the device since somebody last waited for it.
    pub staged: AtomicU64,
    lost: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.info)
    }
}

impl Link {
    /// Opens an adapter.
    pub(crate) fn open(
        (info, adapter): &(AdapterInfo, wgpu::Adapter),
        budget: &Arc<Budget>,
        config: &Config,
    ) -> Result<Arc<Self>, String> {
        let limits = config.limits(adapter.limits());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("rialto"),
            required_features: wgpu::Features::empty(),
            required_limits: limits.clone(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|error| error.to_string())?;
        let lost = Arc::new(Mutex::new(None));
        let note = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let mut note = note.lock().unwrap_or_else(PoisonError::into_inner);
            note.get_or_insert(format!("{reason:?}: {message}"));
        });
        // Scopes catch what this crate causes; what comes beside is worth a line, never a panic.
        device.on_uncaptured_error(Arc::new(|error| {
            tracing::error!(%error, "the graphics processor failed outside of a run");
        }));
        Ok(Arc::new(Self {
            pool: Pool::new(Arc::clone(budget)),
            pipelines: Pipelines::new(config.pipelines_max),
            landings: Landings::default(),
            staged: AtomicU64::new(0),
            device,
            queue,
            limits,
            info: info.clone(),
            lost,
        }))
    }

    /// Why the device is gone, if it is.
    pub(crate) fn lost(&self) -> Option<String> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone()
    }

    /// Takes the device for gone.
    pub(crate) fn give_up(&self, reason: String) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert(reason);
    }

    /// An error if the device is gone.
    pub(crate) fn check(&self, op: &'static str) -> Result<(), EvalError> {
        self.lost().map_or(Ok(()), |reason| {
            Err(failed(op, format!("the device was lost: {reason}")))
        })
    }

    /// Whether it computes on processor cores.
    pub(crate) fn is_software(&self) -> bool {
        self.info.kind == AdapterKind::Software
    }

    /// Whether tiles that hardware needs pay off; tests try them in software too.
    pub(crate) fn takes_large_tiles(&self) -> bool {
        cfg!(test) || !self.is_software()
    }

    /// The most bytes of one buffer.
    pub(crate) fn buffer_bytes_max(&self) -> u64 {
        let binding = self.limits.max_storage_buffer_binding_size;
        binding
            .min(self.limits.max_buffer_size)
            .min(u64::from(u32::MAX))
    }

    /// Does what may fail; errors of the driver become errors of this call.
    pub(crate) fn guarded<T>(
        &self,
        op: &'static str,
        work: impl FnOnce() -> T,
    ) -> Result<T, EvalError> {
        self.check(op)?;
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = work();
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        let internal = pollster::block_on(internal.pop());
        self.check(op)?;
        if memory.is_some() {
            return Err(failed(op, OUT_OF_MEMORY.to_owned()));
        }
        match validation.or(internal) {
            None => Ok(made),
            Some(error) => Err(failed(op, error.to_string())),
        }
    }

    /// Waits until a submission is done.
    pub(crate) fn wait(
        &self,
        op: &'static str,
        submission: wgpu::SubmissionIndex,
        deadline: Instant,
    ) -> Result<(), EvalError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.device.poll(wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(left.max(Duration::from_millis(1))),
        });
        self.check(op)?;
        match waited {
            Ok(_) => {
                self.staged.store(0, Ordering::Relaxed);
                Ok(())
            }
            Err(wgpu::PollError::Timeout) => Err(failed(op, TOO_LONG.to_owned())),
            Err(error) => Err(failed(op, error.to_string())),
        }
    }
}

/// The device's failure at an operation.
pub(crate) fn failed(op: &'static str, reason: String) -> EvalError {
    EvalError::Device { op, reason }
}

/// Whether an error says that the driver has no memory left.
pub(crate) fn is_out_of_memory(error: &EvalError) -> bool {
    matches!(error, EvalError::Device { reason, .. } if reason == OUT_OF_MEMORY)
}

const OUT_OF_MEMORY: &str =
    "the graphics processor has no memory left; lower the device's memory limit or the work's size";
const TOO_LONG: &str =
    "it took longer than the limit on one run; raise the limit or divide the work";

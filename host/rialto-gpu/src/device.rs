//! The device: opened, opened again when it was lost, and what it says of itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rialto_compute::{
    Element, Tensor,
    ops::{Cancel, Device, DeviceAbilities, DeviceKind, EvalError, Program, Resident, Spec},
};

use crate::{
    adapters::{AdapterInfo, AdapterKind, found},
    agree,
    budget::Budget,
    fallback::Fallback,
    kernel::Operand,
    link::{Link, failed},
    pool::Part,
    run,
};

/// What limits a device.
#[derive(Debug, Clone)]
pub struct Config {
    /// The adapter: a part of its name, or any but software ones if none.
    pub adapter: Option<String>,
    /// Bytes of all tensors on it and of work in progress.
    pub memory_bytes_max: u64,
    /// How long a run may take.
    pub run_time_max: Duration,
    /// Compiled kernels that are kept.
    pub pipelines_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            adapter: None,
            memory_bytes_max: 4 << 30,
            run_time_max: Duration::from_secs(60),
            pipelines_max: 512,
        }
    }
}

/// Why a device cannot be used. The operator acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is none that fits.
    #[error("{}", not_found(wanted, here))]
    NotFound {
        /// What was asked for: a part of a name, or empty for any in hardware.
        wanted: String,
        /// What is here.
        here: Vec<String>,
    },
    /// Its driver refuses.
    #[error("{adapter} does not open: {reason}")]
    Refused {
        /// Which.
        adapter: String,
        /// Why.
        reason: String,
    },
    /// Its results are not the CPU's.
    #[error("{adapter} computes wrong results and is not used: {reason}")]
    Disagrees {
        /// Which.
        adapter: String,
        /// Where.
        reason: String,
    },
}

fn not_found(wanted: &str, here: &[String]) -> String {
    let wanted = if wanted.is_empty() {
        "no graphics processor in hardware is found".to_owned()
    } else {
        format!("no graphics processor whose name has `{wanted}` is found")
    };
    let here = if here.is_empty() {
        "no driver is installed".to_owned()
    } else {
        format!("here are: {}", here.join("; "))
    };
    format!("{wanted}; {here}; {INSTALL}")
}

/// What to install for a graphics processor to be found.
pub const INSTALL: &str = "install the card's Vulkan driver (on Debian and Ubuntu mesa-vulkan-drivers \
     and libvulkan1, which also compute on processor cores; for NVIDIA its own driver)";

/// A graphics processor as a device.
#[derive(Debug)]
pub struct GpuDevice {
    config: Config,
    abilities: DeviceAbilities,
    adapter: AdapterInfo,
    budget: Arc<Budget>,
    link: Mutex<Arc<Link>>,
    fallback: Fallback,
}

impl GpuDevice {
    /// Opens a device and compares it with `cpu`, on which also runs what it has no kernels for.
    ///
    /// # Errors
    /// [`OpenError`] if there is none, it does not open, or its results are wrong.
    pub fn open(config: Config, cpu: Arc<dyn Device>) -> Result<Self, OpenError> {
        let device = Self::open_unchecked(config, cpu)?;
        match agree::disagreement(&device) {
            None => Ok(device),
            Some(reason) => Err(OpenError::Disagrees {
                adapter: device.adapter.to_string(),
                reason,
            }),
        }
    }

    pub(crate) fn open_unchecked(config: Config, cpu: Arc<dyn Device>) -> Result<Self, OpenError> {
        let budget = Budget::new(config.memory_bytes_max);
        let link = connect(&config, &budget)?;
        let adapter = link.info.clone();
        let threads = link.limits.max_compute_invocations_per_workgroup;
        let abilities = DeviceAbilities {
            kind: DeviceKind::Gpu,
            elements: Element::ALL.to_vec(),
            deterministic: true,
            fingerprint: format!(
                "gpu/{}/{adapter}/{}",
                env!("CARGO_PKG_VERSION"),
                cpu.abilities().fingerprint
            ),
            threads: usize::try_from(threads).unwrap_or(1),
        };
        Ok(Self {
            config,
            abilities,
            adapter,
            budget,
            link: Mutex::new(link),
            fallback: Fallback::new(cpu),
        })
    }

    /// What it runs on.
    #[must_use]
    pub const fn adapter(&self) -> &AdapterInfo {
        &self.adapter
    }

    /// Bytes of tensors and work in progress that it holds now.
    #[must_use]
    pub fn memory_bytes_used(&self) -> u64 {
        self.budget.used()
    }

    /// The most bytes that it held at a time.
    #[must_use]
    pub fn memory_bytes_peak(&self) -> u64 {
        self.budget.peak()
    }

    pub(crate) const fn fallback(&self) -> &Fallback {
        &self.fallback
    }

    /// The opened device; another one if the last was lost.
    pub(crate) fn link(&self) -> Result<Arc<Link>, EvalError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = link.lost() {
            tracing::warn!(adapter = %self.adapter, reason, "device lost; it is opened again");
            *link = connect(&self.config, &self.budget)
                .map_err(|error| failed("device", error.to_string()))?;
        }
        Ok(Arc::clone(&link))
    }

    /// What a resident tensor is on this device; tensors in main memory are uploaded.
    pub(crate) fn operand(
        &self,
        link: &Arc<Link>,
        resident: &Resident,
    ) -> Result<Operand, EvalError> {
        let spec = resident.spec().clone();
        if let Some(tensor) = resident.tensor() {
            let part = link.allocate("input", spec.bytes())?;
            link.fill("input", &part, tensor.data())?;
            return Ok(Operand { spec, part });
        }
        let Some(part) = resident.memory::<Part>() else {
            return Err(failed(
                "input",
                "the tensor is on another device".to_owned(),
            ));
        };
        if !Arc::ptr_eq(&part.memory.link, link) {
            let reason = match part.memory.link.lost() {
                Some(reason) => format!("the tensor was lost with its device: {reason}"),
                None => "the tensor is on another graphics processor".to_owned(),
            };
            return Err(failed("input", reason));
        }
        let part = Part::clone(&part);
        Ok(Operand { spec, part })
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.run_time_max
    }

    /// Loses the device, as a driver may.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        if let Ok(link) = self.link() {
            link.device.destroy();
            let _ = link.device.poll(wgpu::PollType::Poll);
        }
    }
}

fn connect(config: &Config, budget: &Arc<Budget>) -> Result<Arc<Link>, OpenError> {
    let here = found();
    let fits = |info: &AdapterInfo| match &config.adapter {
        Some(name) => info.name.contains(name.as_str()),
        None => info.kind != AdapterKind::Software,
    };
    let Some(chosen) = here.iter().find(|(info, _)| fits(info)) else {
        return Err(OpenError::NotFound {
            wanted: config.adapter.clone().unwrap_or_default(),
            here: here.iter().map(|(info, _)| info.to_string()).collect(),
        });
    };
    Link::open(chosen, budget, config.pipelines_max).map_err(|reason| OpenError::Refused {
        adapter: chosen.0.to_string(),
        reason,
    })
}

impl Device for GpuDevice {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn abilities(&self) -> &DeviceAbilities {
        &self.abilities
    }

    fn memory_bytes_max(&self) -> u64 {
        self.budget.limit()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        let link = self.link()?;
        let operand = self.operand(&link, &Resident::host(tensor)?)?;
        Ok(Resident::on_device(operand.spec, Arc::new(operand.part)))
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        if let Some(tensor) = resident.tensor() {
            return Ok(tensor.clone());
        }
        let link = self.link()?;
        let operand = self.operand(&link, resident)?;
        tensor(&link, &operand, self.deadline())
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        run::run(self, program, inputs, cancel)
    }
}

/// Brings a tensor to main memory.
pub(crate) fn tensor(
    link: &Link,
    operand: &Operand,
    deadline: Instant,
) -> Result<Tensor, EvalError> {
    let spec: &Spec = &operand.spec;
    let data = link.read("download", &operand.part, spec.bytes(), deadline)?;
    Tensor::new(spec.element(), spec.shape().to_vec(), data.into())
        .map_err(|error| failed("download", error.to_string()))
}

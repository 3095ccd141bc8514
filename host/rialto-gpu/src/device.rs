//! The device: opened, opened again when it was lost, and what it says of itself.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rialto_compute::{
    Element, Tensor,
    ops::{Cancel, Device, DeviceAbilities, DeviceKind, EvalError, Program, Resident, Spec},
};

use crate::{
    adapters::{AdapterInfo, found},
    agree,
    budget::Budget,
    config::{Config, OpenError, Wanted},
    fallback::Fallback,
    kernel::Operand,
    link::{Link, failed},
    pool::Part,
    run,
};

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
                "rialto gpu {} on {adapter}, else {}",
                env!("CARGO_PKG_VERSION"),
                cpu.abilities().fingerprint
            ),
            threads: usize::try_from(threads).unwrap_or(1),
        };
        // Opened again, it is the one that the fingerprint names, or none.
        let config = Config {
            adapter: Wanted::Exactly(adapter.clone()),
            ..config
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

    /// Does something on the device. A panic of the libraries below is an error of this work alone, and
    /// takes the device for lost: nobody knows in what state it was left.
    pub(crate) fn contained<T>(
        &self,
        op: &'static str,
        work: impl FnOnce(&Arc<Link>) -> Result<T, EvalError>,
    ) -> Result<T, EvalError> {
        let link = self.link()?;
        // Nothing is silenced: the work fails with the panic's own words, and the device is given up.
        catch_unwind(AssertUnwindSafe(|| work(&link))).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            let reason = format!(
                "the driver's library panicked: {}",
                words.unwrap_or("it did not say why")
            );
            link.give_up(reason.clone());
            Err(failed(op, reason))
        })
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
    let Some(chosen) = here.iter().find(|(info, _)| config.adapter.fits(info)) else {
        return Err(OpenError::NotFound {
            wanted: config.adapter.clone(),
            here: here.into_iter().map(|(info, _)| info).collect(),
        });
    };
    Link::open(chosen, budget, config).map_err(|reason| OpenError::Refused {
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
        let resident = Resident::host(tensor)?;
        self.contained("upload", |link| {
            let operand = self.operand(link, &resident)?;
            Ok(Resident::on_device(operand.spec, Arc::new(operand.part)))
        })
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        if let Some(tensor) = resident.tensor() {
            return Ok(tensor.clone());
        }
        self.contained("download", |link| {
            let operand = self.operand(link, resident)?;
            tensor(link, &operand, self.deadline())
        })
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        program.check(inputs)?;
        self.contained("run", |link| run::run(self, link, program, inputs, cancel))
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

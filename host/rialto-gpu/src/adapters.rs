//! Which graphics processors are here, and which one to use.
//!
//! Non-goals: opening one (`link`).

use std::{fmt, path::Path};

/// What an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A program that computes on processor cores as if it were a graphics processor.
    Software,
    /// Unknown.
    Other,
    /// A virtual machine's.
    Virtual,
    /// It shares main memory with the processor.
    Integrated,
    /// It has memory of its own.
    Discrete,
}

/// An adapter that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Its name, as its driver says.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// The interface through which it was found: vulkan, metal or dx12.
    pub backend: String,
    /// The driver and its version, as it says.
    pub driver: String,
    /// The most bytes of one buffer. (The interfaces do not say how much memory there is.)
    pub buffer_bytes_max: u64,
    /// Whether shaders compute with 16-bit floats.
    pub half_floats: bool,
    /// The sizes of a subgroup, if shaders may use them.
    pub subgroups: Option<[u32; 2]>,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.backend, self.driver)
    }
}

/// The adapters that are here, best first.
#[must_use]
pub fn adapters() -> Vec<AdapterInfo> {
    let found = found();
    found.iter().map(|(info, _)| info.clone()).collect()
}

/// Whether this machine may have an adapter in hardware, as far as can be known without loading drivers:
/// on Linux each has a device file.
#[must_use]
pub fn hardware_is_likely() -> bool {
    !cfg!(target_os = "linux") || DEVICE_FILES.iter().any(|file| Path::new(file).exists())
}

/// Adapters with what opens them, best first; equals in the order in which the drivers name them.
pub(crate) fn found() -> Vec<(AdapterInfo, wgpu::Adapter)> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.flags = wgpu::InstanceFlags::empty();
    descriptor.memory_budget_thresholds = wgpu::MemoryBudgetThresholds {
        for_resource_creation: Some(MEMORY_PERCENT_MAX),
        for_device_loss: None,
    };
    let instance = wgpu::Instance::new(descriptor);
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let adapters = pollster::block_on(instance.enumerate_adapters(backends));
    let mut found: Vec<_> = adapters
        .into_iter()
        .map(|adapter| (describe(&adapter), adapter))
        .collect();
    found.sort_by_key(|(info, _)| std::cmp::Reverse(info.kind));
    found
}

fn describe(adapter: &wgpu::Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features();
    let subgroups = features.contains(wgpu::Features::SUBGROUP);
    AdapterInfo {
        name: info.name,
        kind: match info.device_type {
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info),
        buffer_bytes_max: limits
            .max_buffer_size
            .min(limits.max_storage_buffer_binding_size),
        half_floats: features.contains(wgpu::Features::SHADER_F16),
        subgroups: subgroups.then_some([info.subgroup_min_size, info.subgroup_max_size]),
    }
}

/// How full the device's memory may be, where the driver says; beyond, an allocation is an error.
const MEMORY_PERCENT_MAX: u8 = 95;
/// The kernel's own drivers, NVIDIA's, Windows' below Linux, and two of telephones and boards.
const DEVICE_FILES: [&str; 6] = [
    "/dev/dri",
    "/dev/nvidiactl",
    "/dev/dxg",
    "/dev/kgsl-3d0",
    "/dev/mali0",
    "/dev/nvhost-gpu",
];

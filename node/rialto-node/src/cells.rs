//! Services in processes of their own: what a node starts them with, and the process itself.

use std::process::ExitCode;
use std::sync::Arc;

use rialto_compute::ops::{Device, DeviceKind};
use rialto_host::CellConfig;
use rialto_host::cell::{ComputerSetup, serve};
use rialto_tensor::CpuDevice;

use crate::config::Config;

/// How this node starts them; none if nobody said with which program.
pub(crate) fn wanted(config: &Config, computers: &[Arc<dyn Device>]) -> Option<CellConfig> {
    let program = config.sandbox.cell.clone()?;
    let mut own = computers.iter().map(|computer| computer.abilities());
    // As many threads as the processor's operations have here, where they run on it at all.
    let cpu = own.find(|abilities| abilities.kind == DeviceKind::Cpu);
    let usual = CellConfig::new(program);
    Some(CellConfig {
        calls_max: config.sandbox.calls_max.min(usual.calls_max),
        computer: ComputerSetup {
            threads: cpu.map_or(0, |abilities| abilities.threads),
            memory_bytes_max: config.device.service_memory_bytes_max,
        },
        ..usual
    })
}

/// Serves as the process of one service, on the standard input; for a process that does nothing else and
/// has no other threads yet.
#[must_use]
pub fn serve_cell() -> ExitCode {
    serve(|setup| {
        if setup.threads == 0 {
            return Vec::new();
        }
        let cpu = CpuDevice::new(setup.threads, setup.memory_bytes_max);
        vec![Arc::new(cpu)]
    })
}

//! `rialto:service/context`: what a service may ask about its call.

use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};

use super::bindings::service::rialto::service::context;
use crate::state::CallState;

/// Defines the interface.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    context::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl context::Host for CallState {
    fn time_left_ms(&mut self) -> wasmtime::Result<u64> {
        self.charge_host_call(0)?;
        let limits = &self.shared.limits;
        if self.seed.is_some() {
            let left = limits.wall_max.min(limits.cpu_max);
            return Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        }
        let wall = self.deadline.saturating_duration_since(Instant::now());
        let cpu = limits.cpu_max.saturating_sub(self.clock.used());
        Ok(u64::try_from(wall.min(cpu).as_millis()).unwrap_or(u64::MAX))
    }

    fn call_id(&mut self) -> wasmtime::Result<String> {
        let id = match &self.seed {
            Some(seed) => hex::encode(seed.0),
            None => self.call_id.clone(),
        };
        self.charge_host_call(id.len() as u64)?;
        Ok(id)
    }
}

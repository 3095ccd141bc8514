//! Where a service's tensor operations may run, for receipts.
//!
//! Non-goals: running them, and models, which know their own engine.

use rialto_compute::ops::DeviceAbilities;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::Service;

/// What a component can do of tensor operations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operations {
    /// Whether it can do any.
    pub(super) any: bool,
    /// Whether it can choose the device.
    chooses: bool,
}

impl Operations {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let imports = |interface, function| imports(engine, component, interface, function);
        Self {
            any: imports("operations", None),
            chooses: imports("devices", Some("choose")),
        }
    }
}

impl Service {
    /// What its tensor operations may run on: nothing if it has none, the host's first device if it cannot
    /// choose, else all of them.
    #[must_use]
    pub fn computers(&self) -> Vec<&DeviceAbilities> {
        let operations = self.loaded.operations;
        let reachable = match (operations.any, operations.chooses) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => usize::MAX,
        };
        let computers = self.loaded.shared.computers.iter().take(reachable);
        computers
            .map(|computer| computer.device.abilities())
            .collect()
    }
}

/// Whether a component imports an interface of `rialto:tensor`, and that function if one is named.
fn imports(
    engine: &Engine,
    component: &Component,
    interface: &str,
    function: Option<&str>,
) -> bool {
    let ty = component.component_type();
    let mut imports = ty.imports(engine);
    let name = format!("rialto:tensor/{interface}");
    imports.any(|(import, item)| {
        let bare = import.split_once('@').map_or(import, |(bare, _)| bare);
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            return false;
        };
        bare == name
            && function.is_none_or(|function| {
                let mut exports = instance.exports(engine);
                exports.any(|(export, _)| export == function)
            })
    })
}

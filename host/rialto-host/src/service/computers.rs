//! Where a service's tensor operations may run, for receipts.
//!
//! Non-goals: running them, and models, which know their own engine.

use rialto_compute::ops::DeviceAbilities;
use wasmtime::component::types::ComponentItem;

use super::Service;

impl Service {
    /// What its tensor operations may run on: nothing if it has none, the host's first device if it cannot
    /// choose, else all of them.
    #[must_use]
    pub fn computers(&self) -> Vec<&DeviceAbilities> {
        let reachable = if self.imports("operations", None) {
            let chooses = self.imports("devices", Some("choose"));
            if chooses { usize::MAX } else { 1 }
        } else {
            0
        };
        let computers = self.loaded.shared.computers.iter().take(reachable);
        computers
            .map(|computer| computer.device.abilities())
            .collect()
    }

    /// Whether the component imports an interface of `rialto:tensor`, and that function if one is named.
    fn imports(&self, interface: &str, function: Option<&str>) -> bool {
        let engine = &self.loaded.host.engine;
        let ty = self.loaded.instance.component().component_type();
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
}

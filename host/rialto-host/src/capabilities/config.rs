//! `wasi:config/store`: the service's settings and secrets, read only.
//!
//! The interface has had three versions with the same functions; hosts serve one or another, so all three are
//! linked.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::state::CallState;

/// The versions that components of other hosts import: of wasmtime, of Spin and of wasmCloud.
const NAMES: [&str; 3] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/store@0.2.0-draft",
];

/// Why there is no value. Never given here: values are in memory.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Answer<T> = wasmtime::Result<(Result<T, ConfigError>,)>;

/// Defines the interface in each version.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    for name in NAMES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap("get", get)?;
        interface.func_wrap("get-all", get_all)?;
    }
    Ok(())
}

fn get(mut store: StoreContextMut<'_, CallState>, (name,): (String,)) -> Answer<Option<String>> {
    let state = store.data_mut();
    let value = state.shared.settings.get(&name).map(str::to_owned);
    let bytes = name.len() + value.as_ref().map_or(0, String::len);
    state.charge_host_call(bytes as u64)?;
    Ok((Ok(value),))
}

fn get_all(mut store: StoreContextMut<'_, CallState>, (): ()) -> Answer<Vec<(String, String)>> {
    let state = store.data_mut();
    let all = state.shared.settings.all();
    let all: Vec<_> = all
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let bytes = all.iter().map(|(name, value)| name.len() + value.len());
    let bytes: usize = bytes.sum();
    state.charge_host_call(bytes as u64)?;
    Ok((Ok(all),))
}

//! A fresh instance's full cycle: store, WASI context, instance, a call that does nothing much, drop.
//!
//! Twice: by the engine alone, set up as the host sets it up but without limits and meters, with and
//! without the call; and by the host as a paid call uses it, from checked arguments to JSON.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, NoModels, Service, ServiceSpec, WasiGroup,
};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, TypedFunc,
};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::cpu;
use crate::places::Places;

/// One round's figures, in microseconds of processor time, and the last in microseconds of wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cycle {
    /// The engine: store, context, instance, drop.
    pub(crate) instance: f64,
    /// The engine: the same with a call.
    pub(crate) with_call: f64,
    /// The host: checking the arguments.
    pub(crate) prepare: f64,
    /// The host: everything from the checked arguments to the answer's JSON.
    pub(crate) host: f64,
    /// The host's median call by the clock on the wall.
    pub(crate) host_wall: f64,
}

/// Measures cycles of the greeting, round by round.
///
/// # Errors
/// The component cannot be run.
pub(crate) async fn measure(places: &Places, scratch: &Path, rounds: u32) -> Result<Vec<Cycle>> {
    let bytes = std::fs::read(places.hello()).context("bench/guests is not built")?;
    let bare = Bare::new(&bytes)?;
    let service = service(&bytes, scratch)?;
    let mut cycles = Vec::new();
    for round in 0..=rounds {
        let instance = bare.batch(false).await?;
        let with_call = bare.batch(true).await?;
        let (prepare, host, host_wall) = by_host(&service).await?;
        if round > 0 {
            // The first one warmed up.
            cycles.push(Cycle {
                instance,
                with_call,
                prepare,
                host,
                host_wall,
            });
        }
    }
    Ok(cycles)
}

fn service(bytes: &[u8], scratch: &Path) -> Result<Service> {
    let host = Host::new(Config::new(scratch.join("instance-cache")))?;
    let spec = ServiceSpec {
        name: "hello".to_owned(),
        version: "0.1.0".to_owned(),
        grants: Grants {
            wasi: WasiGroup::ALL.into(),
            ..Grants::default()
        },
        models: Vec::new(),
        limits: Limits::default(),
        ..ServiceSpec::default()
    };
    Ok(host.load(bytes, spec, Arc::new(NoModels))?)
}

async fn by_host(service: &Service) -> Result<(f64, f64, f64)> {
    let body = Bytes::from_static(br#"{"name":"world"}"#);
    let (mut preparing, mut calling) = (Duration::ZERO, Duration::ZERO);
    let mut walls = Vec::new();
    for _ in 0..CALLS {
        let context = CallContext {
            call_id: "cycle".to_owned(),
            deadline: Instant::now() + Duration::from_secs(10),
            payer: String::new(),
            price: 0,
            hirer: std::sync::Arc::new(rialto_host::NoHirer),
            awaited: None,
        };
        let start = cpu::own_thread();
        let prepared = service.prepare("hello", Arguments::Json(body.clone()))?;
        let middle = cpu::own_thread();
        let wall = Instant::now();
        service.call(prepared, context).await?;
        walls.push(wall.elapsed().as_secs_f64() * 1e6);
        calling += cpu::own_thread().saturating_sub(middle);
        preparing += middle.saturating_sub(start);
    }
    walls.sort_by(f64::total_cmp);
    let median = crate::spread::percentile(&walls, 50);
    Ok((each_us(preparing), each_us(calling), median))
}

fn each_us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(CALLS)
}

/// The engine without the host around it.
struct Bare {
    engine: Engine,
    instance: InstancePre<State>,
    hello: ComponentExportIndex,
}

struct State {
    context: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.context,
            table: &mut self.table,
        }
    }
}

impl Bare {
    fn new(bytes: &[u8]) -> Result<Self> {
        let engine = Engine::new(&config())?;
        let component = Component::new(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Ok(Self {
            instance: linker.instantiate_pre(&component)?,
            hello: hello(&engine, &component).context("the component has no `hello`")?,
            engine,
        })
    }

    async fn batch(&self, call: bool) -> Result<f64> {
        let start = cpu::own_thread();
        for _ in 0..CALLS {
            let mut store = Store::new(
                &self.engine,
                State {
                    context: WasiCtx::builder().build(),
                    table: ResourceTable::new(),
                },
            );
            store.set_epoch_deadline(u64::MAX >> 1);
            let instance = self.instance.instantiate_async(&mut store).await?;
            if call {
                let hello: TypedFunc<(&str,), (String,)> =
                    instance.get_typed_func(&mut store, self.hello)?;
                hello.call_async(&mut store, ("world",)).await?;
            }
        }
        Ok(each_us(cpu::own_thread().saturating_sub(start)))
    }
}

/// The host's settings.
fn config() -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(512 << 20)
        .total_memories(64)
        .max_tables_per_module(8);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(2 << 20);
    }
    let mut config = wasmtime::Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .concurrency_support(false);
    config
}

fn hello(engine: &Engine, component: &Component) -> Option<ComponentExportIndex> {
    let ty = component.component_type();
    let interface = ty
        .exports(engine)
        .find(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))?;
    let instance = component.get_export_index(None, interface.0)?;
    component.get_export_index(Some(&instance), "hello")
}

const CALLS: u32 = 1_000;

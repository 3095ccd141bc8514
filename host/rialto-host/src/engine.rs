//! The engine and what all services of a host share: instance pool, clock thread, bounds, cache.
//!
//! Settings follow measurements on this engine: a pool of instances with copy-on-write images, dirty
//! pages found by the kernel where it can, epochs for time limits and no fuel, component-model
//! concurrency off.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rialto_compute::ops;
use rialto_scheduler::{Capacity, Order, Payers, TenantLimits};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::background::Background;
use crate::budget::Budget;
use crate::buffers::Buffers;
use crate::cache::Cache;
use crate::cell::{CellConfig, Cells};
use crate::computer::Computer;
use crate::conduct::Conduct;
use crate::device::{Device, DeviceConfig, DeviceLoad};
use crate::door::{Concurrency, Door, DoorLoad, Rules};
use crate::error::{HostError, LoadError};
use crate::keyvalue::{KeyValue, NoKeyValue};
use crate::meters::{HostLoad, Meters};
use crate::model::Models;
use crate::outbound::{NoOutbound, Outbound};
use crate::service::{Compiled, Service};
use crate::spec::{Limits, ServiceSpec};
use crate::warm::{Warm, WarmConfig};

/// Linear memories of one component.
const MEMORIES_MAX: u32 = 4;
/// Tables of one component.
const TABLES_MAX: u32 = 8;
/// Core instances of one component; the usual toolchains make three or four.
const CORE_INSTANCES_MAX: u32 = 64;
/// Native stack of a guest.
const WASM_STACK_BYTES: usize = 512 << 10;
/// The rest of a fiber's stack is for the host's own frames: short model runs have as much as a thread
/// of their own would give them.
const FIBER_STACK_BYTES: usize = WASM_STACK_BYTES + (2 << 20);
/// Dirty memory that is cleared in place instead of being given back to the kernel.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;
/// The same of a table.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// Places of the pool that stay as their last guest's code has them, beside those in use. With the bytes
/// that each keeps this bounds what an attack leaves behind.
const WARM_PLACES: u32 = 32;
/// A page of linear memory.
pub(crate) const PAGE_BYTES: u64 = 64 << 10;

/// How a host runs services.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder for compiled components. Owned by this host alone; made private (mode 0700).
    pub cache_dir: PathBuf,
    /// Bytes of compiled components to keep on disk.
    pub cache_bytes_max: u64,
    /// Calls that run at the same time, at most.
    pub calls_max: u32,
    /// How many of them may run now.
    pub concurrency: Concurrency,
    /// In which order calls that wait are let in.
    pub order: Order,
    /// What one payer may have of the places and of the queue, over all services.
    pub payers: Payers,
    /// Calls that wait for a place or for memory; more are refused at once.
    pub queue_max: u32,
    /// Calls of one service that wait.
    pub service_queue_max: u32,
    /// What single services may have of the places and of the queue, by their names.
    pub services: HashMap<String, TenantLimits>,
    /// How services share the device.
    pub device: DeviceConfig,
    /// How services run in processes of their own; none if they cannot.
    pub cells: Option<CellConfig>,
    /// What tensor operations run on, the default first; without any, operations are refused.
    pub computers: Vec<Arc<dyn ops::Device>>,
    /// Who sends guests' requests.
    pub outbound: Arc<dyn Outbound>,
    /// Who keeps guests' keys and values.
    pub key_value: Arc<dyn KeyValue>,
    /// Host memory for prepared arguments of all calls, in bytes.
    pub arguments_bytes_total: u64,
    /// Host memory for prepared arguments of one service's calls, in bytes.
    pub service_arguments_bytes_max: u64,
    /// Host memory for values going in and out of all running guests, in bytes.
    pub values_bytes_total: u64,
    /// Size of a component's code, in bytes.
    pub component_bytes_max: usize,
    /// The limits that no manifest can exceed.
    pub limits_max: Limits,
    /// Time between clock ticks: how late a time limit may act, and how long a guest may keep a
    /// thread from other tasks. At most 10 ms is sensible.
    pub tick: Duration,
    /// Processor time after which a call goes on in the background, on threads that yield to others.
    pub foreground_max: Duration,
    /// Instances that are made before their calls come.
    pub warm: WarmConfig,
    /// Calls that may compute in the background at the same time; one more is refused. Those that wait
    /// for something else meanwhile do not count. 0 counts as 1.
    pub background_max: u32,
}

impl Config {
    /// Sensible bounds for one machine.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            cache_bytes_max: 2 << 30,
            calls_max: 64,
            concurrency: Concurrency::Adaptive,
            order: Order::Turns,
            payers: Payers::default(),
            queue_max: 1_024,
            service_queue_max: 512,
            services: HashMap::new(),
            device: DeviceConfig::default(),
            cells: None,
            computers: Vec::new(),
            outbound: Arc::new(NoOutbound),
            key_value: Arc::new(NoKeyValue),
            arguments_bytes_total: 512 << 20,
            service_arguments_bytes_max: 256 << 20,
            values_bytes_total: 1 << 30,
            component_bytes_max: 64 << 20,
            limits_max: Limits {
                memory_bytes_max: 512 << 20,
                cpu_max: Duration::from_secs(60),
                wall_max: Duration::from_secs(120),
                input_bytes_max: 32 << 20,
                output_bytes_max: 32 << 20,
                handles_max: 16_384,
                host_calls_max: 1_000_000,
                host_bytes_max: 2 << 30,
                transfer_bytes_max: 64 << 20,
                tensor_bytes_max: 512 << 20,
                multiply_adds_max: 10_000_000_000_000,
                session_bytes_max: 1 << 30,
                outbound_requests_max: 64,
                key_value_bytes_max: 256 << 20,
                log_lines_max: 1_024,
                ..Limits::default()
            },
            tick: Duration::from_millis(5),
            foreground_max: Duration::from_millis(10),
            warm: WarmConfig::default(),
            background_max: 64,
        }
    }
}

/// Runs services. Cloning is cheap and shares everything; all methods take `&self` from any thread.
#[derive(Debug, Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    /// None in a cell, which gets its code from its host.
    pub(crate) cache: Option<Cache>,
    pub(crate) cells: Option<Arc<Cells>>,
    pub(crate) door: Door,
    pub(crate) device: Device,
    pub(crate) computers: Arc<[Computer]>,
    pub(crate) arguments: Budget,
    pub(crate) buffers: Buffers,
    pub(crate) background: Background,
    pub(crate) conduct: Conduct,
    pub(crate) meters: Meters,
    pub(crate) warm: Arc<Warm>,
}

impl Host {
    /// Prepares the engine and its clock thread. Blocks shortly.
    ///
    /// # Errors
    /// [`HostError`] when the engine, the cache folder or the thread cannot be set up.
    pub fn new(config: Config) -> Result<Self, HostError> {
        let engine = new_engine(&config)?;
        let cache =
            Cache::open(&config.cache_dir, config.cache_bytes_max).map_err(HostError::Cache)?;
        Ok(Self::of(Inner::new(config, engine, Some(cache))?))
    }

    pub(crate) fn of(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What the device is doing, and what each service used of it.
    #[must_use]
    pub fn device_load(&self) -> DeviceLoad {
        self.inner.device.load()
    }

    /// What the host is doing, and what it and its services did since it began.
    #[must_use]
    pub fn load_now(&self) -> HostLoad {
        let meters = &self.inner.meters;
        let compiled = self.inner.cache.as_ref().map(Cache::load);
        let (compiled_hits, compiled_misses, compiled_bytes) = compiled.unwrap_or((0, 0, 0));
        HostLoad {
            door: self.door_load(),
            turned: meters.turned_away(self.inner.background.refused()),
            held_back: self.inner.background.held_back(),
            compiled_hits,
            compiled_misses,
            compiled_bytes,
            warm: self.inner.warm.load(),
            warm_taken: self.inner.warm.taken(),
            device: self.device_load(),
            services: meters.services(&self.inner.door.services()),
        }
    }

    /// What happens at the door: calls that run, and calls that wait.
    #[must_use]
    pub fn door_load(&self) -> DoorLoad {
        self.inner.door.load()
    }

    /// Compiles a component (or takes it from the cache), links what `spec` grants and nothing else,
    /// and reads its interface.
    ///
    /// Blocks while compiling: call it on a blocking thread.
    ///
    /// # Errors
    /// [`LoadError`], written for the service's author; a missing grant comes with the line to add.
    pub fn load(
        &self,
        component: &[u8],
        spec: ServiceSpec,
        models: Arc<dyn Models>,
    ) -> Result<Service, LoadError> {
        Service::load(Arc::clone(&self.inner), component, spec, models)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// A service of a component that was compiled before.
    pub(crate) fn assemble(
        &self,
        compiled: &Compiled<'_>,
        spec: ServiceSpec,
        models: Arc<dyn Models>,
    ) -> Result<Service, LoadError> {
        Service::assemble(Arc::clone(&self.inner), compiled, spec, models)
    }

    /// The engine's name and version, for receipts.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        "wasmtime 48.0.8"
    }
}

impl Inner {
    /// What all services of a host share; starts the engine's clock.
    pub(crate) fn new(
        config: Config,
        engine: Engine,
        cache: Option<Cache>,
    ) -> Result<Self, HostError> {
        start_clock(&engine, config.tick)?;
        let (places, waiting_max) = (config.calls_max, config.service_queue_max);
        let background = Background::new(config.foreground_max, places, waiting_max);
        let background = background.map_err(HostError::Background)?;
        let cells = config.cells.clone().map(Cells::new).transpose();
        Ok(Self {
            engine,
            cache,
            cells: cells.map_err(HostError::Cells)?.map(Arc::new),
            door: Door::new(rules(&config)),
            device: Device::new(&config.device),
            computers: config.computers.iter().map(Computer::new).collect(),
            arguments: Budget::new(
                config.arguments_bytes_total,
                config.service_arguments_bytes_max,
            ),
            buffers: Buffers::default(),
            background,
            conduct: Conduct::default(),
            meters: Meters::default(),
            warm: Arc::new(Warm::new(config.warm.clone())),
            config,
        })
    }
}

/// An engine that starts no thread.
pub(crate) fn new_engine(config: &Config) -> Result<Engine, HostError> {
    Engine::new(&engine_config(config)).map_err(HostError::Engine)
}

fn rules(config: &Config) -> Rules {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Rules {
        capacity: Capacity {
            places: config.calls_max,
            bytes: config.values_bytes_total,
            waiting_max: count(config.queue_max),
            tenant_waiting_max: count(config.service_queue_max),
        },
        concurrency: config.concurrency,
        order: config.order,
        payers: config.payers.clone(),
        services: config.services.clone(),
        background_max: config.background_max,
    }
}

pub(crate) fn engine_config(config: &Config) -> wasmtime::Config {
    let mut engine = wasmtime::Config::new();
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .consume_fuel(false)
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_memory64(false)
        .wasm_multi_memory(true)
        // Equal bits on every host, for receipts that others verify by running again.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    engine
}

fn pool(config: &Config) -> PoolingAllocationConfig {
    // What is ready takes nothing from those that run, nor do calls that others of them wait for.
    let calls = config.calls_max.saturating_mul(2);
    let calls = calls.saturating_add(config.warm.instances_max);
    let memory_bytes = config
        .limits_max
        .memory_bytes_max
        .next_multiple_of(PAGE_BYTES);
    let table_elements = config.limits_max.table_elements_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES_MAX))
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .total_memories(calls.saturating_mul(MEMORIES_MAX))
        .max_memory_size(usize::try_from(memory_bytes).unwrap_or(usize::MAX))
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .total_tables(calls.saturating_mul(TABLES_MAX))
        .table_elements(usize::try_from(table_elements).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM_PLACES);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    }
    pool
}

/// Ticks the engine's epoch from a thread of its own, which ends with the engine: a spinning guest can
/// hold every async worker, but not this.
fn start_clock(engine: &Engine, tick: Duration) -> Result<(), HostError> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("rialto-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(tick);
            }
        })
        .map_err(HostError::Clock)?;
    Ok(())
}

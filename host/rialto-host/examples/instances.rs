//! How long it takes to make an instance of a component, and to let it go, and nothing else of a call.
//!
//! `cargo run --release -p rialto-host --example instances -- COMPONENT..`, for the table of
//! docs/lifecycle.md. The engine's settings are the host's; imports are there and trap. Not here: calls
//! (`languages`).
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// Instances that are made, one after the other.
const INSTANCES: usize = 1_000;
/// Dirty memory that is cleared in place, as on a host.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("| component | instance, us (p50) | instance, us (p99) | letting it go, us (p50) |");
    println!("|---|---|---|---|");
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        measure(&path).await?;
    }
    Ok(())
}

async fn measure(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(8);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_memory64(false);
    let engine = Engine::new(&config)?;
    let component = Component::from_file(&engine, path)?;
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&component)?;
    let prepared = linker.instantiate_pre(&component)?;
    let (mut made, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..INSTANCES {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX >> 1);
        let since = Instant::now();
        prepared.instantiate_async(&mut store).await?;
        made.push(since.elapsed());
        let since = Instant::now();
        drop(store);
        gone.push(since.elapsed());
    }
    made.sort_unstable();
    gone.sort_unstable();
    let name = path.parent().and_then(Path::file_name);
    println!(
        "| {} | {} | {} | {} |",
        name.ok_or("name a component in a folder")?.display(),
        micros(&made, 50),
        micros(&made, 99),
        micros(&gone, 50),
    );
    Ok(())
}

fn micros(sorted: &[Duration], percent: usize) -> String {
    let at = sorted.get(sorted.len() * percent / 100);
    at.map_or_else(String::new, |time| {
        format!("{:.1}", time.as_secs_f64() * 1e6)
    })
}

//! The thread that moves entries from the log into the tables and removes finished segments.
//!
//! Moving them is never on the way of a call: callers wait for the log alone. Runs are long, so
//! that an entry's share of a transaction is small, and bounded, so that memory is.

use std::{sync::Arc, time::Instant};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::{
    apply,
    filter::Filter,
    generation::Generation,
    state::{Shared, StopOnPanic, Stopped, Wake},
    tables,
};

/// Runs until the ledger is closed or fails.
pub(super) fn run(shared: Arc<Shared>) {
    let _noticed = StopOnPanic(Arc::clone(&shared));
    loop {
        match shared.wait_for_work() {
            Ok(Wake::Prepare) => shared.pool.prepare(),
            Ok(Wake::Apply) => {
                if !move_run(&shared) {
                    return;
                }
            }
            Ok(Wake::Close) => {
                // All is in the tables, the writer gone: nothing in the log is needed.
                shared.pool.retire(shared.applied());
                shared.pool.discard_spare();
                return;
            }
            Err(Stopped) => return,
        }
    }
}

fn move_run(shared: &Shared) -> bool {
    let start = Instant::now();
    let run = shared.take_generation();
    if let Err(error) = apply::apply(&shared.db, &run, &shared.config) {
        // The run stays where readers find it, and in the log for the next start.
        shared.poison(&error.into());
        return false;
    }
    add_to_filter(&shared.filter, &run);
    shared.finish_generation(&run);
    shared.pool.retire(run.last);
    shared.time(|timing| timing.apply += start.elapsed());
    true
}

/// Before the run is taken from the readers' sight: the filter never misses what there is.
pub(super) fn add_to_filter(filter: &Filter, run: &Generation) {
    for (short, _) in run.records.iter().flat_map(apply::index_keys) {
        filter.add(short);
    }
}

/// Fills the filter from the tables, in the background: until then every lookup asks the tables.
/// A failure leaves it at that.
pub(super) fn fill_filter(shared: &Shared) {
    match fill(&shared.db, shared) {
        Ok(true) => shared.filter.set_complete(),
        // The ledger is closing.
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "payments are looked up without a filter"),
    }
}

fn fill(db: &Database, shared: &Shared) -> Result<bool, redb::Error> {
    let index = db.begin_read()?.open_table(tables::INDEX)?;
    for (count, row) in index.iter()?.enumerate() {
        if count.is_multiple_of(ROWS_BETWEEN_CHECKS) && shared.is_closing() {
            return Ok(false);
        }
        let (short, _) = row?.0.value();
        shared.filter.add(short);
    }
    Ok(true)
}

const ROWS_BETWEEN_CHECKS: usize = 4096;

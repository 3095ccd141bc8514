//! A result divided among a fixed number of threads.
//!
//! Each unit is computed by one thread, alone, in the same way whoever does it: results do not
//! depend on the number of threads. Threads are scoped to the call, and stop between some units when
//! they are asked to.

use std::thread;

use crate::ops::{Cancel, EvalError};

/// How many threads share something, and who may stop them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crew<'a> {
    pub threads: usize,
    pub cancel: &'a Cancel,
}

/// Calls `work` with parts of `out`, each a whole number of units of `unit` bytes, and with the index
/// of the part's first unit. Small results are not divided.
pub(crate) fn split(
    crew: Crew<'_>,
    out: &mut [u8],
    unit: usize,
    work: impl Fn(usize, &mut [u8]) -> Result<(), EvalError> + Sync,
) -> Result<(), EvalError> {
    split_from(crew, PART_BYTES_MIN, out, unit, work)
}

/// As [`split`], dividing results from twice `minimum` bytes: for work that is heavy for its result.
pub(crate) fn split_from(
    crew: Crew<'_>,
    minimum: usize,
    out: &mut [u8],
    unit: usize,
    work: impl Fn(usize, &mut [u8]) -> Result<(), EvalError> + Sync,
) -> Result<(), EvalError> {
    let unit = unit.max(1);
    let units = out.len() / unit;
    let parts = crew.threads.min(out.len() / minimum.max(1));
    let parts = parts.min(units).max(1);
    // Between pieces a thread looks whether it shall stop.
    let piece = units.div_ceil(parts * LOOKS).max(minimum / unit).max(1);
    let work = |first: usize, part: &mut [u8]| {
        if part.len() <= piece * unit {
            return work(first, part);
        }
        for (index, part) in part.chunks_mut(piece * unit).enumerate() {
            if crew.cancel.is_cancelled() {
                return Err(EvalError::Cancelled);
            }
            work(first + index * piece, part)?;
        }
        Ok(())
    };
    if parts == 1 {
        return work(0, out);
    }
    let each = units.div_ceil(parts);
    let (work, mut results) = (&work, Ok(()));
    thread::scope(|scope| {
        let mut chunks = out.chunks_mut(each * unit).enumerate();
        let own = chunks.next();
        let others: Vec<_> = chunks
            .map(|(index, chunk)| scope.spawn(move || work(index * each, chunk)))
            .collect();
        if let Some((index, chunk)) = own {
            results = work(index * each, chunk);
        }
        for other in others {
            let result = other.join().unwrap_or_else(|_| {
                Err(EvalError::Device {
                    op: "thread",
                    reason: "a thread of the device panicked".to_owned(),
                })
            });
            if results.is_ok() {
                results = result;
            }
        }
    });
    results
}

/// The least bytes for which a thread is worth its start.
const PART_BYTES_MIN: usize = 128 << 10;
/// How often a thread looks at most whether it shall stop.
const LOOKS: usize = 64;

//! What every fuzz target shares: one declaration, and a bound on the memory that an input may cost.
//!
//! The targets themselves, with the properties that they assert, are in the crates whose decoders
//! they try (`fuzzing.rs`), so that those stay private. Not here: building and running, which
//! `cargo xtask fuzz` does.

use peak_alloc::PeakAlloc;

#[doc(hidden)]
pub use libfuzzer_sys;

/// Declares the target of a program: what runs on each input, and how many bytes of memory a run may
/// need at once, beyond a kilobyte for each byte of the input.
#[macro_export]
macro_rules! target {
    ($memory_bytes:expr, $run:expr) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::bounded(&[], usize::MAX, $run),
            |data: &[u8]| $crate::bounded(data, $memory_bytes, $run)
        );
    };
}

/// Runs a target on one input and panics if that takes more memory than its size can justify.
pub fn bounded(data: &[u8], memory_bytes: usize, run: impl FnOnce(&[u8])) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    run(data);
    let grown = HEAP.peak_usage().saturating_sub(before);
    let allowed = data.len().saturating_mul(1024).saturating_add(memory_bytes);
    assert!(
        grown <= allowed,
        "an input of {} bytes took {grown} bytes of memory; {allowed} are allowed",
        data.len()
    );
}

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

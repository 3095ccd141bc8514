//! Running tract on a stranger's graph so that its failures stay errors.
//!
//! tract reports most malformed graphs as errors, yet some of its operators assert or index on what
//! the file says. Those panics are caught here, at the edge of the engine. It is sound: everything a
//! confined step touches is either dropped with it or only read.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

/// A confined step did not end well.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

/// Runs `step` on a thread with a large stack, because parsing and planning recurse as deep as the
/// graph asks, and turns a panic into an error.
pub(crate) fn on_deep_stack<T: Send>(step: impl FnOnce() -> T + Send) -> Result<T, Panicked> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("rialto-tensor-plan".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, step)
            .map_err(|error| Panicked(format!("no thread: {error}")))?
            .join()
            .map_err(|payload| Panicked(message(payload.as_ref())))
    })
}

/// Runs `step` here and turns a panic into an error. For runs, where a thread would cost too much.
pub(crate) fn here<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|payload| Panicked(message(payload.as_ref())))
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
        .to_owned()
}

const STACK_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        assert_eq!(here(|| 1).unwrap(), 1);
        assert_eq!(on_deep_stack(|| 1).unwrap(), 1);
        let index = [0_usize; 3].len();
        assert!(
            here(|| [1, 2, 3][index])
                .unwrap_err()
                .0
                .contains("out of bounds")
        );
        assert_eq!(
            on_deep_stack(|| -> u8 { panic!("why") }).unwrap_err().0,
            "why"
        );
    }
}

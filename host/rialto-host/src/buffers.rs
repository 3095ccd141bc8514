//! Spare buffers for byte lists.
//!
//! The engine takes a byte list as one dynamic value a byte. Such a buffer is large, and fresh memory for
//! it costs more than filling it, so finished calls leave theirs here. Bounded in number and size; what a
//! buffer held is overwritten or cut off before its next use.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use wasmtime::component::Val;

/// Buffers kept at most.
const SPARE_MAX: usize = 8;
/// Values of the largest buffer that is kept: a list of 256 KiB.
const VALUES_MAX: usize = 256 << 10;

/// A stack of spare buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    spare: Mutex<Vec<Vec<Val>>>,
}

impl Buffers {
    /// The bytes as a list value, in a spare buffer if there is one.
    pub(crate) fn byte_list(&self, bytes: &Bytes) -> Val {
        let mut buffer = self.lock().pop().unwrap_or_default();
        buffer.clear();
        buffer.extend(bytes.iter().map(|&byte| Val::U8(byte)));
        Val::List(buffer)
    }

    /// Keeps the buffers of arguments that were byte lists.
    pub(crate) fn keep(&self, args: Vec<Val>) {
        for arg in args {
            if let Val::List(buffer) = arg
                && buffer.capacity() <= VALUES_MAX
                && matches!(buffer.first(), Some(Val::U8(_)))
            {
                let mut spare = self.lock();
                if spare.len() < SPARE_MAX {
                    spare.push(buffer);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Val>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_but_never_their_content() {
        let buffers = Buffers::default();
        let first = buffers.byte_list(&Bytes::from_static(b"secret"));
        buffers.keep(vec![
            first,
            Val::Bool(true),
            Val::List(vec![Val::Bool(true)]),
        ]);
        assert_eq!(buffers.lock().len(), 1);
        let second = buffers.byte_list(&Bytes::from_static(b"x"));
        assert_eq!(second, Val::List(vec![Val::U8(b'x')]));
        assert!(buffers.lock().is_empty());
    }

    #[test]
    fn large_and_many_buffers_are_not_kept() {
        let buffers = Buffers::default();
        buffers.keep(vec![Val::List(vec![Val::U8(0); VALUES_MAX + 1])]);
        assert!(buffers.lock().is_empty());
        for _ in 0..2 * SPARE_MAX {
            buffers.keep(vec![Val::List(vec![Val::U8(0)])]);
        }
        assert_eq!(buffers.lock().len(), SPARE_MAX);
    }
}

//! Guests written by hand in component text: hostile ones, and small honest ones for the host's tests.
//!
//! Each exports one interface of plain functions, so that it can be installed like any service. None
//! needs a toolchain.

/// `rialto:hostile/api`: one method for each way of misbehaving; imports nothing.
///
/// `trap`, `spin`, `grow`, `grow-many` (a second memory), `grow-table`, `recurse`, `big-text` (a list of
/// 100 strings of 1 MiB, all the same bytes), `big-bytes` (a byte list of 24 MiB), `refuse` (answers
/// with its own error), and `echo` (honest).
pub const HOSTILE: &str = include_str!("guests/hostile.wat");

/// `rialto:flood/api`: `run` calls `rialto:service/context` for ever.
pub const FLOOD: &str = include_str!("guests/flood.wat");

/// `rialto:infer/api`: runs the model `m` once on a byte tensor; `hold` makes tensors without end.
pub const INFER: &str = include_str!("guests/infer.wat");

/// `rialto:types/api`: returns a record of every kind of type as it came, and byte lists and text.
pub const TYPES: &str = include_str!("guests/types.wat");

/// `rialto:leak/api`: `stain` fills its memories, table and global and traps; `look` counts what is not as it
/// should be at birth; `stain-and-look` does both in one instance, to show that it would find something.
pub const LEAK: &str = include_str!("guests/leak.wat");

/// The binary form of a guest's text.
///
/// # Errors
/// When the text is not a component: a mistake in this crate.
pub fn component(text: &str) -> Result<Vec<u8>, wat::Error> {
    wat::parse_str(text)
}

//! What each path answers. Calls are in [`calls`]; everything else is read-only.

pub(crate) mod calls;
pub(crate) mod catalog;
pub(crate) mod page;
pub(crate) mod records;
pub(crate) mod refusal;

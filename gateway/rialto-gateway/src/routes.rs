//! What each path answers. Calls are in [`calls`]; other servers' payments in [`facilitator`]; everything else is read-only.

pub(crate) mod a2a;
pub(crate) mod answer;
mod bodies;
pub(crate) mod calls;
pub(crate) mod catalog;
pub(crate) mod facilitator;
pub(crate) mod handlers;
pub(crate) mod json_rpc;
pub(crate) mod mcp;
pub(crate) mod openai;
pub(crate) mod page;
pub(crate) mod records;
pub(crate) mod refusal;
pub(crate) mod streams;

//! The EVM side: contract bindings, an RPC client and an in-process development chain.

//! Calls to the development chain's JSON-RPC.
#![no_main]

rialto_fuzz::target!(64 << 20, rialto_chain::fuzzing::devchain_rpc);

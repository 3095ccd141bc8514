//! Records of the development chain's log, and files of them.
#![no_main]

rialto_fuzz::target!(4 << 20, rialto_chain::fuzzing::devchain_log);

//! The ledger's write-ahead log, as a damaged disk might return it.
#![no_main]

rialto_fuzz::target!(4 << 20, rialto_ledger::fuzzing::ledger_log);

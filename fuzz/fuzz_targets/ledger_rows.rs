//! Records of the ledger, as a damaged disk might return them.
#![no_main]

rialto_fuzz::target!(4 << 20, rialto_ledger::fuzzing::ledger_rows);

//! Vouchers: accepted for their signer, as signed, and for nobody else.
#![no_main]

rialto_fuzz::target!(64 << 10, rialto_channels::fuzzing::voucher);

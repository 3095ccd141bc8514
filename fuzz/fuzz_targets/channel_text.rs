//! Amounts, channel ids, signatures and keys as text.
#![no_main]

rialto_fuzz::target!(64 << 10, rialto_channels::fuzzing::channel_text);

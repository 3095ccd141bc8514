//! Development tasks: up, test, tidy, bench and the guest toolchain.
fn main() {}

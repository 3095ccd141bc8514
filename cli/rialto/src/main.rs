//! The rialto command: host, call, pay.
fn main() {}

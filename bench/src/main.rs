//! Benchmarks: the mesh against its peers and limits in one run.
fn main() {}

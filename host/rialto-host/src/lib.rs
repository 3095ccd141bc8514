//! Loads, limits, meters and calls WebAssembly components by their own types.

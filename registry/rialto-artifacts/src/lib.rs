//! Content-addressed artifacts: store, fetch and verify.

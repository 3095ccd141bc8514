//! Decides whose work a device does next.

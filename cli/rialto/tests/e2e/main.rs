//! End to end: the program as its users run it, and strangers' clients against it.

mod crash;
mod fixture;
mod hostile;
mod payer;

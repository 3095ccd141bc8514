//! Operators against written-out answers and against the embedded engine; graphs from strangers.

mod activations;
mod arithmetic;
mod arrangement;
mod build;
mod hostile;
mod model;
mod normalised;
mod products;
mod quantised;
mod ranked;
mod recurrent;
mod resized;
mod windows;

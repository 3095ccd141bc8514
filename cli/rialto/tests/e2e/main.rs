//! End to end: the program as its users run it, and strangers' clients against it.

mod agents;
mod books;
mod clients;
mod crash;
mod engines;
mod fixture;
mod fleet;
mod hostile;
mod installed;
mod isolation;
mod journeys;
mod languages;
mod lifecycle;
mod names;
mod payer;
mod pictures;
mod services;
mod sounds;
mod stranger;
mod strangers;
mod swarm;
mod texts;
mod versions;
mod wallets;

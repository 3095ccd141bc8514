//! A2A 1.0 in terms of services: agent cards, messages as calls, tasks as what becomes of them, errors.
//!
//! A service is an agent and its methods are its skills; the host is an agent with the skills of all. A message names
//! a method and its arguments in a data part, or is a text for a service that has one obvious method for texts. Payment
//! is by x402's extension: in the metadata of messages.
//!
//! Not here: calling services, paying, and keeping tasks.

pub(crate) mod card;
pub(crate) mod error;
pub(crate) mod message;
pub(crate) mod numbers;
pub(crate) mod paths;
pub(crate) mod payment;
pub(crate) mod query;
pub(crate) mod registration;
pub(crate) mod skills;
pub(crate) mod task;
pub(crate) mod version;

pub(crate) use error::{Error, Kind};

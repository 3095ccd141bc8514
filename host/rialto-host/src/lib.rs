//! Loads, limits, meters and calls WebAssembly components by their own types.
//!
//! A component exports one typed interface of plain values. [`Host::load`] compiles it (once: compiled
//! code is cached on disk), links exactly the capabilities that its manifest grants, and walks the
//! exported types into an [`Interface`] with JSON Schemas. [`Service::prepare`] checks a call's
//! arguments completely, before any money moves; [`Service::call`] runs them in a fresh instance with
//! every limit armed and turns the result into JSON; [`Service::open`] does so item by item, for methods
//! that return a stream, and [`Service::respond`] hands a `wasi:http` response over while it is written.
//!
//! What a guest can never do here: reach a file, a socket, an environment variable or another
//! instance; keep state between calls but by the [`KeyValue`] port; use more memory, time, handles or host work than its limits;
//! make the host allocate without a bound. Every trapped or late instance is thrown away.
//!
//! Non-goals: prices, payment, HTTP, fetching components or models. Models come in through the
//! [`Models`] port; the node connects it to an engine.
//!
//! # Values as JSON
//!
//! | type | JSON |
//! |---|---|
//! | `bool`, `string`, `char` | boolean, string, string of one character |
//! | integers | number; 64-bit ones also as a decimal string (always so beyond 2^53 - 1 on output) |
//! | `f32`, `f64` | number (decimals of more than 15 digits are read to within one unit in the last place of a double); not finite: refused on input, `null` on output |
//! | `list<u8>` | base64 string (standard alphabet; on input also an array of numbers) |
//! | `list<T>`, `tuple` | array |
//! | `record` | object; a missing `option` field is none |
//! | `option<T>` | the value or `null`; directly nested options: `{"some": …}` |
//! | a stream (a resource of the component's own with the one method `next`) | array of its items, or one item after the other |
//! | `result<T, E>` | the method's own: the value, or a refusal; inside a value: `{"ok": …}`, `{"err": …}` |
//! | `enum`, `variant` without payload | the case's name |
//! | `variant` with payload | `{"case": value}` |
//! | `flags` | array of names |
//!
//! Names are the WIT names in snake_case; kebab-case is accepted on input.
#![deny(unsafe_code)]

mod background;
mod budget;
mod buffers;
mod cache;
mod capabilities;
pub mod cell;
mod clock;
mod computer;
mod conduct;
mod deterministic;
mod device;
mod digest;
mod door;
mod engine;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handles;
mod hires;
mod histogram;
mod interface;
mod json;
mod keyvalue;
mod limits;
mod meters;
mod model;
mod outbound;
mod pace;
mod recorder;
mod service;
mod settings;
mod spec;
mod state;
mod warm;

pub use cell::CellConfig;
pub use device::{DeviceConfig, DeviceLoad};
pub use door::{Concurrency, DoorLoad};
pub use engine::{Config, Host};
pub use error::{ArgumentError, CallError, HostError, LoadError, MissingGrant};
pub use hires::{
    Bill, Hire, HireError, HireQuote, Hired, HiredItems, Hirer, Hiring, NoHirer, Spent, Step,
};
pub use histogram::{BOUNDS, Histogram, HistogramView};
pub use interface::{Interface, Method, Param};
pub use keyvalue::{
    Bucket, KeyChange, KeyChanged, KeyEntry, KeyStart, KeyValue, KeyValueAnswer, KeyValueError,
    NoKeyValue,
};
pub use meters::{HostLoad, Limit, MethodLoad, ServiceLoad};
pub use model::{Models, NoModels, OpenError};
pub use outbound::{
    NoOutbound, Origin, Outbound, OutboundAnswer, OutboundBody, OutboundError, is_public,
};
pub use rialto_scheduler::{
    Order, PayerLimits, Payers, Quota, Share, Tenant, TenantLimits, Use as DeviceUse,
};
pub use service::{
    AnswerText, Arguments, CallContext, Description, GuestResponse, GuestStream, ItemList, Outcome,
    Part, Prepared, ResponseText, Service, Usage,
};
pub use settings::{BadSecret, Secret, Settings};
pub use spec::{Callees, Grants, Isolation, Limits, ServiceSpec, WasiGroup};
pub use warm::WarmConfig;

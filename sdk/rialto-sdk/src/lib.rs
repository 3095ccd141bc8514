//! Write a Rialto service as a plain Rust module.
//!
//! [`macro@service`] makes a component of a module with public functions; [`tensor`] runs operations
//! and models on the host's engine, [`generation`] its language models; [`context`] and [`log`] talk
//! about the call in progress, [`config`] has settings and secrets, [`mesh`] calls other services, and [`state`] keeps keys and values from call to call. A function that
//! returns a [`Stream`] gives its answer item by item.
//!
//! ```
//! /// Says hello.
//! #[rialto_sdk::service]
//! mod greeter {
//!     /// A greeting.
//!     pub struct Greeting {
//!         /// The whole line.
//!         pub text: String,
//!     }
//!
//!     /// Greets one person.
//!     pub fn greet(
//!         /// Who to greet.
//!         name: String,
//!     ) -> Result<Greeting, String> {
//!         if name.is_empty() {
//!             return Err("`name` is empty".to_owned());
//!         }
//!         Ok(Greeting { text: format!("Hello, {name}!") })
//!     }
//! }
//! # fn main() {
//! assert_eq!(greeter::greet("Ada".to_owned()).unwrap().text, "Hello, Ada!");
//! # }
//! ```
//!
//! A service is a `cdylib` for `wasm32-wasip2`. On other targets everything here type-checks, so that
//! a service's own logic can be unit-tested natively; calling the host there panics.
//!
//! Not here: anything of the host, and any network or file access.

mod bindings;
pub mod config;
pub mod context;
pub mod generation;
pub mod log;
pub mod mesh;
pub mod state;
mod stream;
pub mod tensor;

pub use rialto_sdk_macros::service;
pub use stream::Stream;
#[doc(hidden)]
pub use wit_bindgen;

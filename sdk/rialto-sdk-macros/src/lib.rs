//! The attribute macro behind the Rialto SDK.
//!
//! Use it through `rialto-sdk`, which re-exports [`macro@service`]; the expansion names that crate.
//! Not here: anything that runs in a guest, and any knowledge of the host.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "syntax enums have dozens of variants and grow: what is not named is handled as the rest"
)]

use proc_macro::TokenStream;
use syn::{ItemMod, parse_macro_input};

mod docs;
mod expand;
mod model;
mod names;
mod problems;
mod types;
mod wit;

/// Makes a Rialto service of an inline module: its public functions are the service's methods.
///
/// ```text
/// /// What kind of file are these bytes?
/// #[rialto_sdk::service]
/// mod filetype {
///     /// The verdict.
///     pub struct Verdict {
///         /// Short label, for example `png`.
///         pub label: String,
///         /// From 0 to 1.
///         pub score: f32,
///     }
///
///     /// Identifies the content of a file.
///     pub fn identify(
///         /// The file's bytes.
///         content: Vec<u8>,
///     ) -> Result<Verdict, String> {
///         crate::magika::identify(&content)
///     }
/// }
/// ```
///
/// # What becomes part of the interface
///
/// Only items that are exactly `pub`; all others pass through untouched.
///
/// | Rust | WIT |
/// |---|---|
/// | `mod` with its docs | `interface` |
/// | `pub fn` | function; a `Result` is the method's result or error |
/// | `-> Stream<T>`, `-> Result<Stream<T>, E>` of a `pub fn` | a `resource` named `<function>-items` with the one method `next: func() -> option<t>`; for items that are a `Result<T, E>`, `next: func() -> result<option<t>, e>` |
/// | `pub struct` with named, `pub` fields | `record` |
/// | `pub enum` without payloads | `enum` |
/// | `pub enum` with payloads (one value a case) | `variant` |
/// | `bool`, `char`, `u8` to `u64`, `f32`, `f64` | the same |
/// | `i8` to `i64` | `s8` to `s64` |
/// | `String`, `Vec<T>`, `Option<T>`, `Result<T, E>`, tuples | `string`, `list<t>`, `option<t>`, `result<t, e>`, `tuple<..>` |
///
/// Names change from `snake_case` and `UpperCamelCase` to `kebab-case`. A field named like a Rust
/// keyword is written with a trailing underscore (`type_`) and loses it in WIT. References, generics,
/// `async`, `usize`, 128-bit integers, maps and aliases are refused where they stand, each with the
/// thing to write instead.
///
/// The interface is named `rialto-service:<package>/<module>@<version>`, with the package's name and
/// version from `Cargo.toml`. Doc comments travel with it: they are the method's documentation over
/// HTTP and in OpenAPI. A parameter may have a doc comment too; WIT has no place for it, so it follows
/// the function's own as a list item, ``- `content`: The file's bytes.``
///
/// The generated types derive `Clone`, `Debug` and `PartialEq` (and `Copy` where every part is).
/// Further traits can be implemented by hand in the same crate.
///
/// # The expansion
///
/// The module above becomes this, and nothing else:
///
/// ```text
/// /// What kind of file are these bytes?
/// #[allow(unreachable_pub, reason = "`pub` marks what the service exports")]
/// mod filetype {
///     // The interface as WIT, and the bindings that wit-bindgen makes of it.
///     mod bindings {
///         ::rialto_sdk::wit_bindgen::generate!({
///             inline: "package rialto-service:filetype@0.1.0;
///
/// /// What kind of file are these bytes?
/// interface filetype {
///     /// The verdict.
///     record verdict {
///         /// Short label, for example `png`.
///         label: string,
///         /// From 0 to 1.
///         score: f32,
///     }
///
///     /// Identifies the content of a file.
///     ///
///     /// - `content`: The file's bytes.
///     identify: func(content: list<u8>) -> result<verdict, string>;
/// }
///
/// world service {
///     export filetype;
/// }
/// ",
///             world: "service",
///             runtime_path: "::rialto_sdk::wit_bindgen::rt",
///             additional_derives: [PartialEq],
///             generate_unused_types: true,
///         });
///     }
///
///     // The author's types are the generated ones.
///     pub use self::bindings::exports::rialto_service::filetype::filetype::{Verdict};
///
///     // The author's own items, unchanged but for the parameter's doc comment.
///     pub fn identify(content: Vec<u8>) -> Result<Verdict, String> {
///         crate::magika::identify(&content)
///     }
///
///     // The glue: each exported function calls the author's.
///     struct RialtoService;
///
///     impl self::bindings::exports::rialto_service::filetype::filetype::Guest for RialtoService {
///         fn identify(content: Vec<u8>) -> Result<Verdict, String> {
///             self::identify(content)
///         }
///     }
///
///     #[cfg(target_arch = "wasm32")]
///     #[allow(unsafe_code, reason = "the canonical ABI is a C ABI; generated")]
///     const _: () = {
///         bindings::export!(RialtoService with_types_in bindings);
///     };
///
///     // The WIT text once more, with its comments: hosts read the documentation from here.
///     #[cfg(target_arch = "wasm32")]
///     #[unsafe(link_section = "rialto:wit")]
///     #[used]
///     static RIALTO_WIT: [u8; N] = *b"package rialto-service:filetype@0.1.0; ..";
/// }
/// ```
///
/// The imports (tensors, models, context, log) come from `rialto-sdk` itself and reach the component
/// only where the service calls them, so its list of imports is what its manifest has to grant.
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, module: TokenStream) -> TokenStream {
    if let Some(argument) = arguments.into_iter().next() {
        return syn::Error::new(
            argument.span().into(),
            "`service` takes no arguments: names and versions come from Cargo.toml",
        )
        .into_compile_error()
        .into();
    }
    let module = parse_macro_input!(module as ItemMod);
    let package = expand::Package {
        name: environment("CARGO_PKG_NAME"),
        version: environment("CARGO_PKG_VERSION"),
    };
    expand::expand(&module, &package)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// A variable that Cargo sets for each crate that it builds; outside Cargo a stand-in.
fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| match name {
        "CARGO_PKG_VERSION" => "0.0.0".to_owned(),
        _ => "service".to_owned(),
    })
}

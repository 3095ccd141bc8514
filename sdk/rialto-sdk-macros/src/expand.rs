//! The expansion: what replaces the author's module.

mod function;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Error, FnArg, Item, ItemMod, LitStr, Result};

use crate::docs::is_doc;
use crate::model::{self, Interface, is_public};
use crate::names::{from_package, to_rust_module};
use crate::wit::{self, NAMESPACE, WORLD};

/// The crate that the macro expands in.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// Expands the attribute on `module`.
pub(crate) fn expand(module: &ItemMod, package: &Package) -> Result<TokenStream> {
    let interface = model::read(module)?;
    let package_name =
        from_package(&package.name).map_err(|text| Error::new(module.ident.span(), text))?;
    let text = wit::render(&interface, &package_name, &package.version);
    let exports = exports_path(&package_name, &interface);
    let items = module
        .content
        .iter()
        .flat_map(|(_, items)| items)
        .filter(|item| !is_generated(item))
        .map(strip_parameter_docs);
    let bindings = bindings(&text);
    let types = types(&interface, &exports);
    let guest = guest(module, &interface, &exports);
    let section = section(&text);
    let (attributes, visibility, name) = (&module.attrs, &module.vis, &module.ident);
    Ok(quote! {
        #(#attributes)*
        #[allow(unreachable_pub, reason = "`pub` marks what the service exports")]
        #visibility mod #name {
            #bindings
            #types
            #(#items)*
            #guest
            #section
        }
    })
}

fn bindings(text: &str) -> TokenStream {
    let text = LitStr::new(text, Span::call_site());
    quote! {
        #[doc(hidden)]
        mod bindings {
            ::rialto_sdk::wit_bindgen::generate!({
                inline: #text,
                world: #WORLD,
                runtime_path: "::rialto_sdk::wit_bindgen::rt",
                additional_derives: [PartialEq],
                generate_unused_types: true,
            });
        }
    }
}

fn types(interface: &Interface, exports: &TokenStream) -> TokenStream {
    let names = interface.types.iter().map(|ty| &ty.rust);
    if interface.types.is_empty() {
        TokenStream::new()
    } else {
        quote! { pub use #exports::{#(#names),*}; }
    }
}

fn guest(module: &ItemMod, interface: &Interface, exports: &TokenStream) -> TokenStream {
    let items = module.content.iter().flat_map(|(_, items)| items);
    let functions = items.filter_map(|item| match item {
        Item::Fn(item) if is_public(&item.vis) => Some(item),
        _ => None,
    });
    // Both in the order of the source.
    let glue = functions
        .zip(&interface.functions)
        .map(|(item, function)| function::glue(item, function, exports));
    let (members, resources): (Vec<_>, Vec<_>) =
        glue.map(|glue| (glue.members, glue.resource)).unzip();
    quote! {
        #[doc(hidden)]
        struct RialtoService;

        impl #exports::Guest for RialtoService {
            #(#members)*
        }

        #(#resources)*

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the canonical ABI is a C ABI; generated")]
        const _: () = {
            bindings::export!(RialtoService with_types_in bindings);
        };
    }
}

/// The WIT text with its comments: the component's own type does not keep them.
fn section(text: &str) -> TokenStream {
    let length = Literal::usize_unsuffixed(text.len());
    let bytes = Literal::byte_string(text.as_bytes());
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[unsafe(link_section = "rialto:wit")]
        #[used]
        static RIALTO_WIT: [u8; #length] = *#bytes;
    }
}

fn exports_path(package: &str, interface: &Interface) -> TokenStream {
    let [namespace, package, interface] = [NAMESPACE, package, interface.name.as_str()]
        .map(|name| format_ident!("{}", to_rust_module(name)));
    quote! { self::bindings::exports::#namespace::#package::#interface }
}

/// Public structs and enums give way to the generated ones.
fn is_generated(item: &Item) -> bool {
    match item {
        Item::Struct(item) => is_public(&item.vis),
        Item::Enum(item) => is_public(&item.vis),
        _ => false,
    }
}

/// Rust refuses doc comments on parameters; the interface has taken them by now.
fn strip_parameter_docs(item: &Item) -> Item {
    let mut item = item.clone();
    if let Item::Fn(function) = &mut item {
        for input in &mut function.sig.inputs {
            let attributes: &mut Vec<Attribute> = match input {
                FnArg::Typed(typed) => &mut typed.attrs,
                FnArg::Receiver(receiver) => &mut receiver.attrs,
            };
            attributes.retain(|attribute| !is_doc(attribute));
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        let package = Package {
            name: "my_service".to_owned(),
            version: "0.1.0".to_owned(),
        };
        expand(&syn::parse_str(text).unwrap(), &package)
            .unwrap()
            .to_string()
    }

    #[test]
    fn public_types_are_replaced_and_functions_forwarded() {
        let text = expanded(
            "/// Docs.\npub mod shop { use std::fmt; pub struct Item { pub id: u32 } struct Own; \
             pub fn find(/** Its id. */ mut id: u32) -> Option<Item> { None } }",
        );
        for part in [
            "pub mod shop",
            "use std :: fmt ;",
            "struct Own ;",
            "pub use self :: bindings :: exports :: rialto_service :: my_service :: shop :: { Item }",
            "fn find (id : u32) -> Option < Item > { self :: find (id) }",
            "pub fn find (mut id : u32)",
            "link_section = \"rialto:wit\"",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("pub struct Item"), "{text}");
    }

    #[test]
    fn a_stream_stands_behind_its_resource() {
        let text = expanded(
            "mod shop { pub fn all(min: u32) -> Result<Stream<Result<u32, u8>>, String> { f(min) } }",
        );
        let shop = "self :: bindings :: exports :: rialto_service :: my_service :: shop";
        for part in [
            "type AllItems = :: rialto_sdk :: Stream < Result < u32 , u8 > > ;".to_owned(),
            format!("self :: all (min) . map ({shop} :: AllItems :: new)"),
            format!("impl {shop} :: GuestAllItems for :: rialto_sdk :: Stream"),
            "self . pull () . transpose ()".to_owned(),
        ] {
            assert!(text.contains(&part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_module_in_another_file_is_refused() {
        let package = Package {
            name: "x".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let error = expand(&syn::parse_str("mod shop;").unwrap(), &package).unwrap_err();
        assert!(error.to_string().contains("write the service inline"));
    }
}

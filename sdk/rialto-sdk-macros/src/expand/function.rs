//! The glue of functions: each exported one calls the author's, and what it streams becomes a resource.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, Ident, ItemFn};

use crate::model::{Function, Items, parameter_name};
use crate::names::to_camel;
use crate::types::{Streamed, result_of, streamed};

/// What a function becomes.
pub(super) struct Glue {
    /// Members of the implementation of the interface.
    pub(super) members: TokenStream,
    /// The implementation of its resource, for a function that streams.
    pub(super) resource: TokenStream,
}

/// The glue of one function.
pub(super) fn glue(item: &ItemFn, function: &Function, exports: &TokenStream) -> Glue {
    match (&function.items, streamed(&item.sig.output)) {
        (Some(items), Some(streamed)) => stream(item, items, streamed, exports),
        _ => plain(item),
    }
}

fn plain(item: &ItemFn) -> Glue {
    let (name, output) = (&item.sig.ident, &item.sig.output);
    let (parameters, call) = forward(item);
    Glue {
        members: quote! {
            fn #name(#parameters) #output {
                #call
            }
        },
        resource: TokenStream::new(),
    }
}

/// The author's stream stands behind a resource, whose `next` asks it.
fn stream(item: &ItemFn, items: &Items, streamed: Streamed<'_>, exports: &TokenStream) -> Glue {
    let resource = format_ident!("{}", to_camel(&items.name));
    let contract = format_ident!("Guest{resource}");
    let (name, element) = (&item.sig.ident, streamed.item);
    let (parameters, call) = forward(item);
    let (output, made) = match streamed.error {
        None => (
            quote! { #exports::#resource },
            quote! { #exports::#resource::new(#call) },
        ),
        Some(error) => (
            quote! { ::core::result::Result<#exports::#resource, #error> },
            quote! { #call.map(#exports::#resource::new) },
        ),
    };
    let (next, pulled) = match result_of(element) {
        None => (
            quote! { ::core::option::Option<#element> },
            quote! { self.pull() },
        ),
        Some((element, error)) => (
            quote! { ::core::result::Result<::core::option::Option<#element>, #error> },
            quote! { self.pull().transpose() },
        ),
    };
    Glue {
        members: quote! {
            type #resource = ::rialto_sdk::Stream<#element>;

            fn #name(#parameters) -> #output {
                #made
            }
        },
        resource: quote! {
            impl #exports::#contract for ::rialto_sdk::Stream<#element> {
                fn next(&self) -> #next {
                    #pulled
                }
            }
        },
    }
}

/// The parameters, and the call of the author's function with them.
fn forward(item: &ItemFn) -> (TokenStream, TokenStream) {
    let name = &item.sig.ident;
    let (names, types): (Vec<&Ident>, Vec<_>) = item
        .sig
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Typed(typed) => Some((parameter_name(&typed.pat).ok()?, &typed.ty)),
            FnArg::Receiver(_) => None,
        })
        .unzip();
    (
        quote! { #(#names: #types),* },
        quote! { self::#name(#(#names),*) },
    )
}

//! Problems with a service's module: collected, so that an author sees all of them at once, and the
//! checks that every kind of item shares.

use std::collections::BTreeMap;

use syn::{Attribute, Error, Ident, Item, Result};

use crate::model::{is_public, items_name};
use crate::names::{from_camel, from_snake};
use crate::types::streamed;

/// Collects problems so that an author sees all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Option<Error>);

impl Problems {
    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// In WIT the types and functions of an interface share one set of names.
    pub(crate) fn check_names(&mut self, items: &[Item]) {
        let mut seen: BTreeMap<String, Ident> = BTreeMap::new();
        for item in items {
            let (ident, name) = match item {
                Item::Struct(i) if is_public(&i.vis) => (&i.ident, from_camel(&i.ident)),
                Item::Enum(i) if is_public(&i.vis) => (&i.ident, from_camel(&i.ident)),
                Item::Fn(i) if is_public(&i.vis) => (&i.sig.ident, from_snake(&i.sig.ident)),
                _ => continue,
            };
            let Ok(name) = name else { continue };
            let items = match item {
                Item::Fn(item) if streamed(&item.sig.output).is_some() => Some(items_name(&name)),
                _ => None,
            };
            for name in [Some(name), items].into_iter().flatten() {
                if let Some(first) = seen.get(&name) {
                    self.add(Error::new_spanned(
                        ident,
                        format!("`{first}` and `{ident}` share the WIT name `{name}`: rename one"),
                    ));
                } else {
                    seen.insert(name, ident.clone());
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

pub(crate) fn check_generics(generics: &syn::Generics) -> Result<()> {
    if generics.params.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(
        generics,
        "generics do not cross the sandbox: use concrete types",
    ))
}

/// Types are generated anew, so their attributes would be lost: say so instead.
pub(crate) fn check_attributes(attributes: &[Attribute], is_type: bool) -> Result<()> {
    let mut problems = Problems::default();
    for attribute in attributes {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            problems.add(Error::new_spanned(
                attribute,
                "the interface of a service is fixed: it cannot depend on `cfg`",
            ));
        } else if is_type && attribute.path().is_ident("derive") {
            problems.take(check_derives(attribute));
        }
    }
    problems.finish()
}

fn check_derives(attribute: &Attribute) -> Result<()> {
    attribute.parse_nested_meta(|meta| {
        let generated = ["Clone", "Copy", "Debug", "PartialEq"]
            .iter()
            .any(|name| meta.path.is_ident(name));
        if generated {
            Ok(())
        } else {
            Err(meta.error(
                "the generated type derives `Clone`, `Debug` and `PartialEq`: implement other traits by hand",
            ))
        }
    })
}

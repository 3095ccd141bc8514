//! The interface of a service, read from the author's module.
//!
//! Public functions, structs and enums are the interface; everything else in the module is the
//! author's own business and passes through untouched. Every problem is reported, not only the first.

use syn::{
    Attribute, Error, Fields, FnArg, Ident, Item, ItemEnum, ItemFn, ItemMod, ItemStruct, Pat,
    Result, Type, Visibility,
};

use crate::docs;
use crate::names::{from_camel, from_snake};
use crate::problems::{Problems, check_attributes, check_generics};
use crate::types::{self, Known, Place};

/// What a service offers to its callers.
#[derive(Debug)]
pub(crate) struct Interface {
    /// WIT name: the module's.
    pub(crate) name: String,
    pub(crate) docs: Vec<String>,
    pub(crate) types: Vec<TypeDef>,
    pub(crate) functions: Vec<Function>,
}

/// A record, enum or variant.
#[derive(Debug)]
pub(crate) struct TypeDef {
    pub(crate) rust: Ident,
    pub(crate) name: String,
    pub(crate) docs: Vec<String>,
    pub(crate) shape: Shape,
}

/// What a type consists of.
#[derive(Debug)]
pub(crate) enum Shape {
    Record(Vec<Member>),
    Enum(Vec<Member>),
    Variant(Vec<Member>),
}

/// A field, a case or a parameter.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) docs: Vec<String>,
    /// WIT type; none for a case without a payload.
    pub(crate) ty: Option<String>,
}

/// A function of the interface.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) docs: Vec<String>,
    pub(crate) parameters: Vec<Member>,
    pub(crate) result: Option<String>,
    /// The items that it streams, if it does.
    pub(crate) items: Option<Items>,
}

/// The resource that stands for a stream's items.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) name: String,
    /// What its method `next` returns.
    pub(crate) next: String,
}

/// Reads the interface of `module`.
///
/// # Errors
/// Everything that cannot become WIT, combined, each at its own place in the source.
pub(crate) fn read(module: &ItemMod) -> Result<Interface> {
    let Some((_, items)) = &module.content else {
        return Err(Error::new_spanned(
            module,
            "write the service inline, `mod name { .. }`: the macro reads its functions",
        ));
    };
    let mut problems = Problems::default();
    let known = known_types(items, &mut problems);
    let mut types = Vec::new();
    let mut functions = Vec::new();
    for item in items {
        match item {
            Item::Struct(item) if is_public(&item.vis) => {
                types.extend(problems.take(record(item, &known)));
            }
            Item::Enum(item) if is_public(&item.vis) => {
                types.extend(problems.take(enumeration(item, &known)));
            }
            Item::Fn(item) if is_public(&item.vis) => {
                functions.extend(problems.take(function(item, &known)));
            }
            Item::Type(item) if is_public(&item.vis) => problems.add(Error::new_spanned(
                item,
                "an alias cannot be part of the interface: write the type where it is used, or drop `pub`",
            )),
            Item::Union(item) if is_public(&item.vis) => {
                problems.add(Error::new_spanned(item, "a union cannot cross the sandbox"));
            }
            _ => {}
        }
    }
    if functions.is_empty() && problems.is_empty() {
        problems.add(Error::new_spanned(
            &module.ident,
            "a service needs at least one `pub fn`",
        ));
    }
    problems.check_names(items);
    let name = problems.take(from_snake(&module.ident));
    let docs = problems.take(docs::lines(&module.attrs));
    problems.finish()?;
    Ok(Interface {
        name: name.unwrap_or_default(),
        docs: docs.unwrap_or_default(),
        types,
        functions,
    })
}

/// Whether an item is part of the interface: `pub`, not `pub(crate)`.
pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn known_types(items: &[Item], problems: &mut Problems) -> Known {
    let mut known = Known::new();
    for item in items {
        let ident = match item {
            Item::Struct(item) if is_public(&item.vis) => &item.ident,
            Item::Enum(item) if is_public(&item.vis) => &item.ident,
            _ => continue,
        };
        // An unusable name is reported where the type is read; here it only has to be known.
        let name = from_camel(ident).unwrap_or_else(|_| ident.to_string());
        if name == "guest" {
            problems.add(Error::new_spanned(
                ident,
                "`Guest` is taken by the generated trait: choose another name",
            ));
        }
        known.insert(ident.to_string(), name);
    }
    known
}

fn record(item: &ItemStruct, known: &Known) -> Result<TypeDef> {
    let mut problems = Problems::default();
    problems.take(check_attributes(&item.attrs, true));
    problems.take(check_generics(&item.generics));
    let fields = match &item.fields {
        Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
        _ => {
            problems.add(Error::new_spanned(
                &item.ident,
                "a struct of a service needs named fields, `pub struct Name { pub field: Type }`",
            ));
            problems.finish()?;
            return Err(Error::new_spanned(item, "no fields"));
        }
    };
    let mut members = Vec::new();
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        if !is_public(&field.vis) {
            problems.add(Error::new_spanned(
                ident,
                format!(
                    "make `{ident}` `pub`: every field of a public struct is part of the interface"
                ),
            ));
        }
        problems.take(check_attributes(&field.attrs, false));
        members.extend(problems.take(member(ident, &field.attrs, &field.ty, known, Place::Member)));
    }
    let definition = type_def(&item.ident, &item.attrs, Shape::Record(members));
    problems.finish()?;
    definition
}

fn enumeration(item: &ItemEnum, known: &Known) -> Result<TypeDef> {
    let mut problems = Problems::default();
    problems.take(check_attributes(&item.attrs, true));
    problems.take(check_generics(&item.generics));
    if item.variants.is_empty() {
        problems.add(Error::new_spanned(
            &item.ident,
            "an enum of a service needs at least one case",
        ));
    }
    let mut cases = Vec::new();
    for variant in &item.variants {
        problems.take(check_attributes(&variant.attrs, false));
        if let Some((_, value)) = &variant.discriminant {
            problems.add(Error::new_spanned(
                value,
                "cases have names only: numbers do not cross the sandbox",
            ));
        }
        cases.extend(problems.take(case(variant, known)));
    }
    let shape = if cases.iter().all(|case| case.ty.is_none()) {
        Shape::Enum(cases)
    } else {
        Shape::Variant(cases)
    };
    let definition = type_def(&item.ident, &item.attrs, shape);
    problems.finish()?;
    definition
}

fn case(variant: &syn::Variant, known: &Known) -> Result<Member> {
    let ty = match &variant.fields {
        Fields::Unit => None,
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => match fields.unnamed.first() {
            Some(field) => Some(types::wit(&field.ty, known, Place::Member)?),
            None => None,
        },
        Fields::Unnamed(_) | Fields::Named(_) => {
            return Err(Error::new_spanned(
                variant,
                "a case holds one value: group several in a `pub struct` or a tuple, `Case((A, B))`",
            ));
        }
    };
    Ok(Member {
        name: from_camel(&variant.ident)?,
        docs: docs::lines(&variant.attrs)?,
        ty,
    })
}

fn function(item: &ItemFn, known: &Known) -> Result<Function> {
    let mut problems = Problems::default();
    let signature = &item.sig;
    problems.take(check_attributes(&item.attrs, false));
    problems.take(check_generics(&signature.generics));
    if let Some(token) = &signature.asyncness {
        problems.add(Error::new_spanned(
            token,
            "a service function is synchronous: calls run side by side in instances of their own",
        ));
    }
    if let Some(token) = &signature.unsafety {
        problems.add(Error::new_spanned(
            token,
            "a service function is safe to call",
        ));
    }
    let mut parameters = Vec::new();
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => problems.add(Error::new_spanned(
                receiver,
                "a service has no `self`: each call gets a fresh instance",
            )),
            FnArg::Typed(typed) => {
                let read = parameter_name(&typed.pat).and_then(|ident| {
                    member(ident, &typed.attrs, &typed.ty, known, Place::Parameter)
                });
                parameters.extend(problems.take(read));
            }
        }
    }
    let name = problems.take(from_snake(&signature.ident));
    let items_name = items_name(name.as_deref().unwrap_or_default());
    let returned = problems.take(types::returned(&signature.output, known, &items_name));
    let returned = returned.unwrap_or_default();
    let docs = problems.take(docs::lines(&item.attrs));
    problems.finish()?;
    Ok(Function {
        name: name.unwrap_or_default(),
        docs: docs.unwrap_or_default(),
        parameters,
        result: returned.result,
        items: returned.next.map(|next| Items {
            name: items_name,
            next,
        }),
    })
}

/// The name of what a function streams.
pub(crate) fn items_name(function: &str) -> String {
    format!("{function}-items")
}

/// The identifier of a parameter; other patterns have no name to show to callers.
pub(crate) fn parameter_name(pattern: &Pat) -> Result<&Ident> {
    match pattern {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            Ok(&pattern.ident)
        }
        other => Err(Error::new_spanned(
            other,
            "name this parameter: its name is part of the interface",
        )),
    }
}

fn member(
    ident: &Ident,
    attributes: &[Attribute],
    ty: &Type,
    known: &Known,
    place: Place,
) -> Result<Member> {
    Ok(Member {
        name: from_snake(ident)?,
        docs: docs::lines(attributes)?,
        ty: Some(types::wit(ty, known, place)?),
    })
}

fn type_def(rust: &Ident, attributes: &[Attribute], shape: Shape) -> Result<TypeDef> {
    Ok(TypeDef {
        rust: rust.clone(),
        name: from_camel(rust)?,
        docs: docs::lines(attributes)?,
        shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, expected: &str) {
        let module: ItemMod = syn::parse_str(&format!("mod service {{ {body} }}")).unwrap();
        let errors: Vec<String> = match read(&module) {
            Ok(interface) => panic!("accepted: {interface:?}"),
            Err(error) => error.into_iter().map(|e| e.to_string()).collect(),
        };
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "{errors:?}"
        );
    }

    #[test]
    fn what_cannot_cross_is_refused_with_advice() {
        for (body, expected) in [
            ("", "at least one `pub fn`"),
            ("fn private() {}", "at least one `pub fn`"),
            ("pub fn f(x: &str) {}", "take `String`"),
            ("pub fn f() -> &'static str { \"\" }", "return `String`"),
            ("pub async fn f() {}", "synchronous"),
            ("pub unsafe fn f() {}", "safe to call"),
            ("pub fn f<T>(x: T) {}", "generics do not cross"),
            ("pub fn f(&self) {}", "a service has no `self`"),
            ("pub fn f((a, b): (u8, u8)) {}", "name this parameter"),
            ("pub fn f(_x: u8) {}", "`_x` has no WIT name"),
            ("pub struct S { a: u8 }", "make `a` `pub`"),
            ("pub struct S(u8);", "named fields"),
            ("pub struct S;", "named fields"),
            ("pub struct S { pub a: &'static str }", "hold `String`"),
            ("pub enum E {}", "at least one case"),
            ("pub enum E { A(u8, u8) }", "a case holds one value"),
            ("pub enum E { A { x: u8 } }", "a case holds one value"),
            ("pub enum E { A = 1 }", "names only"),
            ("#[derive(Hash)] pub struct S { pub a: u8 }", "by hand"),
            ("#[cfg(test)] pub fn f() {}", "cannot depend on `cfg`"),
            ("pub type T = u8;", "an alias cannot be part"),
            ("pub fn f(x: Stream<u8>) {}", "only be returned"),
            ("pub fn f() -> Vec<Stream<u8>> {}", "only be returned"),
            ("pub fn f() -> Stream<&str> {}", "cannot return a reference"),
            (
                "pub fn f() -> Stream<u8> {} pub fn f_items() {}",
                "share the WIT name `f-items`",
            ),
            (
                "pub struct Rank { pub a: u8 } pub fn rank() {}",
                "share the WIT name `rank`",
            ),
            (
                "pub struct Guest { pub a: u8 } pub fn f() {}",
                "taken by the generated trait",
            ),
        ] {
            refused(body, expected);
        }
    }

    #[test]
    fn every_problem_is_reported() {
        let module: ItemMod =
            syn::parse_str("mod s { pub fn a(x: &str) {} pub fn b(x: usize) {} }").unwrap();
        let count = read(&module).map_or_else(|error| error.into_iter().count(), |_| 0);
        assert_eq!(count, 2);
    }

    #[test]
    fn private_items_stay_private() {
        let module: ItemMod = syn::parse_str(
            "mod s { struct P(*const u8); pub(crate) fn helper(x: &str) {} pub fn f() {} const N: usize = 3; }",
        )
        .unwrap();
        let interface = read(&module).unwrap();
        assert_eq!(interface.functions.len(), 1);
        assert!(interface.types.is_empty());
    }
}

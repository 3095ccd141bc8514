//! Doc comments of a component, from the WIT text that the SDK embeds.
//!
//! The text lies in a custom section named `rialto:wit` of the component or of one of its core modules.
//! It is only a comment: types always come from the component, and a missing or broken text is no error.

use std::thread;

use wasmparser::{Parser, Payload};
use wit_parser::{
    Docs as WitDocs, Function, SourceMap, Type, TypeDef, TypeDefKind, UnresolvedPackage, WorldItem,
    WorldKey,
};

/// The custom section's name.
pub(crate) const SECTION: &str = "rialto:wit";
/// The longest text that is read.
const TEXT_BYTES_MAX: usize = 128 << 10;
/// Stack for the parser, which recurses once per nested type: enough for any text of that length.
const STACK_BYTES: usize = 128 << 20;
/// Aliases followed before giving up.
const ALIASES_MAX: usize = 32;

/// The parsed packages of a component's WIT text.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    packages: Vec<UnresolvedPackage>,
}

/// What the text says about one exported interface.
#[derive(Debug)]
pub(crate) struct InterfaceDocs<'a> {
    package: &'a UnresolvedPackage,
    pub(crate) docs: Option<String>,
    functions: Vec<&'a Function>,
}

impl Docs {
    /// Finds and parses the text; empty if there is none or it does not parse.
    pub(crate) fn read(component: &[u8]) -> Self {
        let Some(text) = find_section(component) else {
            return Self::default();
        };
        // A thread of its own: hostile nesting meets a large stack, a parser bug ends the thread.
        let parsed = thread::Builder::new()
            .name("rialto-wit".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || parse(&text))
            .ok()
            .and_then(|thread| thread.join().ok())
            .flatten();
        parsed.unwrap_or_else(|| {
            tracing::warn!("the component's {SECTION} section does not parse; no docs");
            Self::default()
        })
    }

    /// The interface exported as `export`; an empty name is the world's own functions.
    pub(crate) fn interface(&self, export: &str) -> Option<InterfaceDocs<'_>> {
        self.packages
            .iter()
            .find_map(|package| find_interface(package, export))
    }
}

impl<'a> InterfaceDocs<'a> {
    /// The function of this WIT name.
    pub(crate) fn function(&self, name: &str) -> Option<&'a Function> {
        self.functions.iter().copied().find(|f| f.name == name)
    }

    /// The definition behind a type, with the name and the docs that come first on the way.
    pub(crate) fn resolve(&self, ty: Option<Type>) -> Resolved<'a> {
        let mut resolved = Resolved::default();
        let mut next = ty;
        for _ in 0..ALIASES_MAX {
            let Some(Type::Id(id)) = next else { break };
            let Some(definition) = self.package.types.get(id) else {
                break;
            };
            resolved.name = resolved.name.or_else(|| definition.name.clone());
            resolved.docs = resolved.docs.or_else(|| text_of(&definition.docs));
            if let TypeDefKind::Type(alias) = &definition.kind {
                next = Some(*alias);
            } else {
                resolved.definition = Some(definition);
                break;
            }
        }
        resolved
    }
}

/// A type's definition in the text.
#[derive(Debug, Default)]
pub(crate) struct Resolved<'a> {
    pub(crate) name: Option<String>,
    pub(crate) docs: Option<String>,
    pub(crate) definition: Option<&'a TypeDef>,
}

/// The text of a doc comment.
pub(crate) fn text_of(docs: &WitDocs) -> Option<String> {
    let text = docs.contents.as_deref()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn find_section(component: &[u8]) -> Option<String> {
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::CustomSection(section) = payload.ok()?
            && section.name() == SECTION
            && section.data().len() <= TEXT_BYTES_MAX
        {
            return std::str::from_utf8(section.data()).ok().map(str::to_owned);
        }
    }
    None
}

fn parse(text: &str) -> Option<Docs> {
    let mut sources = SourceMap::default();
    sources.push_str("service.wit", text);
    let group = sources.parse().ok()?;
    let mut packages = vec![group.main];
    packages.extend(group.nested);
    Some(Docs { packages })
}

fn find_interface<'a>(package: &'a UnresolvedPackage, export: &str) -> Option<InterfaceDocs<'a>> {
    if export.is_empty() {
        let functions: Vec<&Function> = package
            .worlds
            .iter()
            .flat_map(|(_, world)| world.exports.values())
            .filter_map(|item| match item {
                WorldItem::Function(function) => Some(function),
                WorldItem::Interface { .. } | WorldItem::Type { .. } => None,
            })
            .collect();
        let docs = package
            .worlds
            .iter()
            .find_map(|(_, world)| text_of(&world.docs));
        return (!functions.is_empty()).then_some(InterfaceDocs {
            package,
            docs,
            functions,
        });
    }
    let (_, interface) = package.interfaces.iter().find(|(id, interface)| {
        let named = interface.name.as_deref().is_some_and(|name| {
            let package_name = &package.name;
            let path = format!("{}:{}/{name}", package_name.namespace, package_name.name);
            export.split('@').next() == Some(path.as_str())
        });
        named || is_inline_export(package, *id, export)
    })?;
    Some(InterfaceDocs {
        package,
        docs: text_of(&interface.docs),
        functions: interface.functions.values().collect(),
    })
}

/// Whether a world exports the interface as `export: interface { … }`.
fn is_inline_export(
    package: &UnresolvedPackage,
    id: wit_parser::InterfaceId,
    export: &str,
) -> bool {
    package.worlds.iter().any(|(_, world)| {
        world.exports.iter().any(|(key, item)| {
            matches!(key, WorldKey::Name(name) if name == export)
                && matches!(item, WorldItem::Interface { id: found, .. } if *found == id)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_nesting_is_survived() {
        let text = format!(
            "package a:b; interface api {{ type t = {}u8{}; }}",
            "list<".repeat(20_000),
            ">".repeat(20_000)
        );
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        let mut body = vec![u8::try_from(SECTION.len()).unwrap()];
        body.extend(SECTION.as_bytes());
        body.extend(text.as_bytes());
        module.push(0);
        let mut length = body.len();
        while length >= 0x80 {
            module.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        module.push(u8::try_from(length).unwrap());
        module.extend(body);
        assert!(find_section(&module).is_some());
        drop(Docs::read(&module));
    }

    #[test]
    fn broken_text_means_no_docs() {
        assert!(parse("package ; nonsense").is_none());
        assert!(Docs::read(b"no component at all").packages.is_empty());
    }
}

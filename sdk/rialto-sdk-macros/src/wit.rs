//! The interface as WIT source text.

use std::fmt::Write as _;

use crate::docs;
use crate::model::{Function, Interface, Items, Member, Shape, TypeDef};
use crate::names::escape;

/// Namespace of the packages that hold the interfaces of services.
pub(crate) const NAMESPACE: &str = "rialto-service";

/// The world that a service's component targets.
pub(crate) const WORLD: &str = "service";

/// Renders the package of a service: its interface and the world that exports it.
pub(crate) fn render(interface: &Interface, package: &str, version: &str) -> String {
    let mut out = format!("package {NAMESPACE}:{}@{version};\n\n", escape(package));
    docs::write(&mut out, "", &interface.docs);
    line(
        &mut out,
        format_args!("interface {} {{", escape(&interface.name)),
    );
    for (index, ty) in interface.types.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        type_def(&mut out, ty);
    }
    for (index, function) in interface.functions.iter().enumerate() {
        if index > 0 || !interface.types.is_empty() {
            out.push('\n');
        }
        if let Some(items) = &function.items {
            self::items(&mut out, function, items);
        }
        self::function(&mut out, function);
    }
    out.push_str("}\n\n");
    line(&mut out, format_args!("world {WORLD} {{"));
    line(
        &mut out,
        format_args!("    export {};", escape(&interface.name)),
    );
    out.push_str("}\n");
    out
}

fn type_def(out: &mut String, ty: &TypeDef) {
    docs::write(out, INDENT, &ty.docs);
    let (keyword, members) = match &ty.shape {
        Shape::Record(members) => ("record", members),
        Shape::Enum(members) => ("enum", members),
        Shape::Variant(members) => ("variant", members),
    };
    line(
        out,
        format_args!("{INDENT}{keyword} {} {{", escape(&ty.name)),
    );
    for member in members {
        docs::write(out, INDENT_TWICE, &member.docs);
        let name = escape(&member.name);
        match (&ty.shape, &member.ty) {
            (Shape::Record(_), Some(ty)) => line(out, format_args!("{INDENT_TWICE}{name}: {ty},")),
            (_, Some(ty)) => line(out, format_args!("{INDENT_TWICE}{name}({ty}),")),
            (_, None) => line(out, format_args!("{INDENT_TWICE}{name},")),
        }
    }
    line(out, format_args!("{INDENT}}}"));
}

/// What a function streams: a resource that is asked for one item after the other.
fn items(out: &mut String, function: &Function, items: &Items) {
    let docs = [format!("The items of `{}`.", function.name)];
    docs::write(out, INDENT, &docs);
    line(
        out,
        format_args!("{INDENT}resource {} {{", escape(&items.name)),
    );
    docs::write(
        out,
        INDENT_TWICE,
        &["The next item; none at the end.".to_owned()],
    );
    line(
        out,
        format_args!("{INDENT_TWICE}next: func() -> {};", items.next),
    );
    line(out, format_args!("{INDENT}}}\n"));
}

fn function(out: &mut String, function: &Function) {
    docs::write(out, INDENT, &function.docs);
    docs::write(out, INDENT, &parameter_docs(function));
    let parameters: Vec<String> = function
        .parameters
        .iter()
        .map(|parameter| {
            let ty = parameter.ty.as_deref().unwrap_or_default();
            format!("{}: {ty}", escape(&parameter.name))
        })
        .collect();
    let result = function
        .result
        .as_deref()
        .map_or_else(String::new, |ty| format!(" -> {ty}"));
    line(
        out,
        format_args!(
            "{INDENT}{}: func({}){result};",
            escape(&function.name),
            parameters.join(", ")
        ),
    );
}

/// WIT has no place for the documentation of a parameter: it follows the function's as a list.
fn parameter_docs(function: &Function) -> Vec<String> {
    let mut lines = Vec::new();
    for Member { name, docs, .. } in &function.parameters {
        let Some((first, rest)) = docs.split_first() else {
            continue;
        };
        if lines.is_empty() && !function.docs.is_empty() {
            lines.push(String::new());
        }
        lines.push(format!("- `{name}`: {first}"));
        lines.extend(rest.iter().map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("  {line}")
            }
        }));
    }
    lines
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

const INDENT: &str = "    ";
const INDENT_TWICE: &str = "        ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[track_caller]
    fn rendered(module: &str) -> String {
        let interface = model::read(&syn::parse_str(module).unwrap()).unwrap();
        let text = render(&interface, "my-service", "1.2.3");
        let mut resolve = wit_parser::Resolve::default();
        if let Err(error) = resolve.push_str("service.wit", &text) {
            panic!("not WIT: {error}\n{text}");
        }
        text
    }

    #[test]
    fn a_whole_service() {
        let text = rendered(
            r#"
            /// What kind of file?
            mod filetype {
                /// The verdict.
                pub struct Verdict {
                    /// Short label.
                    pub label: String,
                    pub score: f32,
                    pub type_: Option<Kind>,
                }
                /// A kind.
                pub enum Kind { Text, /** Not text. */ BinaryData }
                pub enum Reason { None, Rule(u32), Other(String) }
                /// Identifies content.
                pub fn identify(
                    /// The bytes,
                    /// all of them.
                    content: Vec<u8>,
                    mut limit_ms: u64,
                ) -> Result<Verdict, Reason> { todo!() }
                pub fn reset() {}
            }
            "#,
        );
        assert_eq!(
            text,
            "package rialto-service:my-service@1.2.3;

/// What kind of file?
interface filetype {
    /// The verdict.
    record verdict {
        /// Short label.
        label: string,
        score: f32,
        %type: option<kind>,
    }

    /// A kind.
    enum kind {
        text,
        /// Not text.
        binary-data,
    }

    variant reason {
        none,
        rule(u32),
        other(string),
    }

    /// Identifies content.
    ///
    /// - `content`: The bytes,
    ///   all of them.
    identify: func(content: list<u8>, limit-ms: u64) -> result<verdict, reason>;

    reset: func();
}

world service {
    export filetype;
}
"
        );
    }

    #[test]
    fn a_stream_is_a_resource_beside_its_function() {
        let text = rendered(
            "mod counter { pub fn count(to: u32) -> Result<Stream<u32>, String> { Ok(Stream::new(0..to)) } }",
        );
        let expected = "    /// The items of `count`.
    resource count-items {
        /// The next item; none at the end.
        next: func() -> option<u32>;
    }

    count: func(to: u32) -> result<count-items, string>;
";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn names_that_are_keywords_parse() {
        let text = rendered(
            "mod list { pub struct Result_ { pub string: bool } pub fn f() {} }"
                .replace("Result_", "Stream")
                .as_str(),
        );
        assert!(text.contains("interface %list"), "{text}");
        assert!(text.contains("record %stream"), "{text}");
        assert!(text.contains("%string: bool"), "{text}");
        assert!(text.contains("export %list;"), "{text}");
    }
}

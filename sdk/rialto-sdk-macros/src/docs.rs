//! Doc comments: taken from Rust attributes, written as WIT comments.

use syn::{Attribute, Error, Expr, ExprLit, Lit, Meta, Result};

/// Whether this attribute is a doc comment.
pub(crate) fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

/// The lines of an item's doc comment, without the space that follows the slashes.
pub(crate) fn lines(attributes: &[Attribute]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|a| is_doc(a)) {
        let Meta::NameValue(pair) = &attribute.meta else {
            continue; // #[doc(hidden)] and its kin say nothing to a caller.
        };
        let Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) = &pair.value
        else {
            return Err(Error::new_spanned(
                &pair.value,
                "documentation becomes part of the interface: write it as plain text",
            ));
        };
        let text = text.value();
        lines.extend(
            text.lines()
                .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()),
        );
        if text.is_empty() {
            lines.push(String::new());
        }
    }
    Ok(lines)
}

/// Writes `lines` as WIT comments, each after `indent`.
pub(crate) fn write(out: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        out.push_str(indent);
        out.push_str("///");
        if !line.is_empty() {
            out.push(' ');
            out.push_str(line);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_comments_keep_their_lines() {
        let item: syn::ItemFn = syn::parse_str(
            "/// First.\n///\n/// ```text\n///   indented\n/// ```\n#[inline]\nfn f() {}",
        )
        .unwrap();
        let lines = lines(&item.attrs).unwrap();
        assert_eq!(lines, ["First.", "", "```text", "  indented", "```"]);
        let mut out = String::new();
        write(&mut out, "  ", &lines);
        assert_eq!(
            out,
            "  /// First.\n  ///\n  /// ```text\n  ///   indented\n  /// ```\n"
        );
    }

    #[test]
    fn included_docs_are_refused() {
        let item: syn::ItemFn =
            syn::parse_str("#[doc = include_str!(\"x.md\")]\nfn f() {}").unwrap();
        assert!(lines(&item.attrs).is_err());
    }
}

//! Every relative link in a Markdown file leads to a file of the checkout.

use super::{Finding, Source};

/// Checks the links of every Markdown file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        let Some(text) = &source.text else { continue };
        for (number, link) in links(text) {
            let target = resolve(&source.path, link);
            if !target.is_some_and(|target| leads_somewhere(sources, &target)) {
                findings.push(Finding::new(
                    format!("{}:{number}", source.path),
                    format!("the link `{link}` leads nowhere: mend or remove it"),
                ));
            }
        }
    }
    findings
}

/// Lists the relative links outside code, without their anchors, each with its line's number.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, opening) in line.match_indices("](") {
            let rest = &line[at + opening.len()..];
            let link = rest.split([')', ' ']).next().unwrap_or(rest);
            let path = link.split('#').next().unwrap_or(link);
            if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                found.push((index + 1, path));
            }
        }
    }
    found
}

/// Returns the link's target from the checkout's root; nothing if it leads out of the checkout.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Returns whether a path is a file, or a folder with files.
fn leads_somewhere(sources: &[Source], target: &str) -> bool {
    let folder = format!("{target}/");
    target.is_empty()
        || sources
            .iter()
            .any(|source| source.path == target || source.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let sources = [
            Source::of("docs/adr/001.md", text),
            Source::of("wit/a.wit", ""),
        ];
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_accepted() {
        let text = "[a](../../wit/a.wit) [b](../../wit) [c](001.md#part) [d](#part)\n\
                    [e](https://example.org/x) [f](mailto:a@example.org)\n\
                    ```\n[g](nowhere)\n```\n";
        assert_eq!(findings(text), Vec::<String>::new());
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let found = findings("one\n[a](gone.md) and [b](../../../out)\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("docs/adr/001.md:2: the link `gone.md`"),
            "{found:?}"
        );
    }
}

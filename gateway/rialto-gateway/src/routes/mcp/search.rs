//! Finding tools by words: in their names, then in what is said of them.

use super::tools::{Tool, Tools};

impl Tools {
    /// The tools that fit the words best, the best first; all of them where there are no words.
    pub(super) fn search(&self, query: &str, limit: usize) -> Vec<Tool<'_>> {
        let wanted: Vec<String> = words(query).take(QUERY_WORDS_MAX).collect();
        let mut found: Vec<(u32, Tool<'_>)> = self
            .all()
            .map(|tool| (score(tool, &wanted), tool))
            .filter(|(score, _)| wanted.is_empty() || *score > 0)
            .collect();
        // It is a stable sort: among equals the order of names.
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        found
            .into_iter()
            .take(limit)
            .map(|(_, tool)| tool)
            .collect()
    }
}

/// How well a tool fits: each word counts where it weighs most.
fn score(tool: Tool<'_>, wanted: &[String]) -> u32 {
    let Tool { service, method } = tool;
    let docs = [&method.docs, &service.docs];
    let docs = docs.into_iter().flatten().map(String::as_str);
    let params = method.params.iter();
    let params: Vec<&str> = params
        .flat_map(|param| [Some(param.name.as_str()), param.docs.as_deref()])
        .flatten()
        .collect();
    let fields: [(u32, Vec<&str>); 4] = [
        (8, vec![&service.name, &method.name]),
        (4, vec![&service.description]),
        (2, docs.collect()),
        (1, params),
    ];
    // Each text is taken apart once, however many words are looked for.
    let mut best = vec![0; wanted.len()];
    for (weight, texts) in fields {
        for other in texts.into_iter().flat_map(words) {
            for (best, word) in best.iter_mut().zip(wanted) {
                let like = likeness(word, &other).unwrap_or(0);
                *best = weight.saturating_mul(like).max(*best);
            }
        }
    }
    best.into_iter().sum()
}

/// How alike two words are: the same, or one the beginning of the other, as with plurals.
fn likeness(word: &str, other: &str) -> Option<u32> {
    if word == other {
        return Some(2);
    }
    let (short, long) = match word.len() < other.len() {
        true => (word, other),
        false => (other, word),
    };
    (short.len() >= BEGINNING_MIN && long.starts_with(short)).then_some(1)
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .map(str::to_lowercase)
}

/// Shorter beginnings say nothing.
const BEGINNING_MIN: usize = 3;
/// Words that are looked for.
const QUERY_WORDS_MAX: usize = 16;
/// Words of a text that count.
const WORDS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_alike_by_their_beginnings() {
        assert_eq!(likeness("face", "face"), Some(2));
        assert_eq!(likeness("faces", "face"), Some(1));
        assert_eq!(likeness("pic", "picture"), Some(1));
        assert_eq!(likeness("in", "input"), None);
        assert_eq!(likeness("face", "fact"), None);
        let all: Vec<String> = words("Find-faces, in PICTURES_of 2").collect();
        assert_eq!(all, ["find", "faces", "in", "pictures", "of", "2"]);
    }
}

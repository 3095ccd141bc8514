//! Finding tools by words: in their names, then in what is said of them.

use std::cmp::Reverse;

use serde_json::Value;

/// Words that are looked for.
#[derive(Debug)]
pub(crate) struct Words(Vec<String>);

/// What is known of a tool, by how much a word there says.
#[derive(Debug, Default)]
pub(crate) struct Texts<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) description: &'a str,
    pub(crate) docs: Vec<&'a str>,
    pub(crate) params: Vec<&'a str>,
}

impl Words {
    pub(crate) fn of(query: &str) -> Self {
        Self(words(query).take(QUERY_WORDS_MAX).collect())
    }

    /// How well a tool fits; none if not at all. Without words all do.
    pub(crate) fn score(&self, texts: &Texts<'_>) -> Option<u32> {
        let fields: [(u32, &[&str]); 4] = [
            (8, &texts.names),
            (4, &[texts.description]),
            (2, &texts.docs),
            (1, &texts.params),
        ];
        // Each text is taken apart once, however many words are looked for; each word counts where it weighs most.
        let mut best = vec![0; self.0.len()];
        for (weight, texts) in fields {
            for other in texts.iter().copied().flat_map(words) {
                for (best, word) in best.iter_mut().zip(&self.0) {
                    let like = likeness(word, &other).unwrap_or(0);
                    *best = weight.saturating_mul(like).max(*best);
                }
            }
        }
        let score = best.into_iter().sum();
        (self.0.is_empty() || score > 0).then_some(score)
    }
}

/// The best of what was found, the best first.
pub(crate) fn best(mut found: Vec<(u32, Value)>, limit: usize) -> Vec<Value> {
    // It is a stable sort: equals stay in their order.
    found.sort_by_key(|(score, _)| Reverse(*score));
    found.truncate(limit);
    found.into_iter().map(|(_, summary)| summary).collect()
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

//! How names look: their skeletons, their neighbours, and what adding to a name does not change.
//!
//! Names are ASCII letters, digits and hyphens, so what looks alike is few pairs and no Unicode table.
//!
//! Not here: which names there are.

use std::collections::{BTreeMap, BTreeSet};

/// What two names that look the same have in common. It is no name and no one is shown it.
pub(super) fn skeleton(name: &str) -> String {
    // Pairs first: what looks like a pair's letters was meant to be taken for its picture.
    let mut text = squeezed(name).replace('1', "l");
    for (pair, picture) in PAIRS {
        text = text.replace(pair, picture);
    }
    let mut skeleton = String::with_capacity(text.len());
    for c in text.chars().map(same_looking) {
        if !skeleton.ends_with(c) {
            skeleton.push(c);
        }
    }
    skeleton
}

/// The skeletons of the names that this one may have been made of by adding a word or a number, or two of
/// them, and the word that was added first in the list; an empty one for a number.
pub(super) fn bases(name: &str) -> BTreeMap<String, &'static str> {
    let mut bases = BTreeMap::new();
    let mut left = vec![(name.to_owned(), None)];
    for _ in 0..ADDITIONS_MAX {
        let mut shorter = Vec::new();
        for (text, first) in left {
            for (base, added) in without_addition(&text) {
                let added = first.unwrap_or(added);
                bases.entry(skeleton(base)).or_insert(added);
                shorter.push((base.to_owned(), Some(added)));
            }
        }
        left = shorter;
    }
    bases
}

/// The texts that two names share if they are at most one edit apart: the name without hyphens, and each
/// text that is left when one letter is taken out. None for names too short to compare.
pub(super) fn neighbours(name: &str) -> BTreeSet<String> {
    let text = squeezed(name);
    let mut neighbours = BTreeSet::new();
    if text.len() < EDITED_LENGTH_MIN {
        return neighbours;
    }
    for (at, _) in text.char_indices() {
        let mut shorter = text.clone();
        shorter.remove(at);
        neighbours.insert(shorter);
    }
    neighbours.insert(text);
    neighbours
}

/// Whether one letter of two names, hyphens aside, is another, missing, added, or has changed places with
/// the next (Damerau's distance). Short names never are. A number in another's place makes another name
/// that nobody mistakes, and one that was put in is an addition.
pub(super) fn one_edit_apart(one: &str, other: &str) -> bool {
    let (one, other) = (squeezed(one), squeezed(other));
    if one.len().min(other.len()) < EDITED_LENGTH_MIN || one == other {
        return false;
    }
    // What is left between the longest beginning and the longest end that both have.
    let start = shared(one.bytes(), other.bytes());
    let (one, other) = (one.get(start..), other.get(start..));
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let end = shared(one.bytes().rev(), other.bytes().rev());
    let middle = |text: &'_ str| {
        let length = text.len().saturating_sub(end);
        text.as_bytes().iter().take(length).copied().collect()
    };
    let (one, other): (Vec<u8>, Vec<u8>) = (middle(one), middle(other));
    match (one.as_slice(), other.as_slice()) {
        ([a], []) | ([], [a]) => !a.is_ascii_digit(),
        ([a], [b]) => !(a.is_ascii_digit() && b.is_ascii_digit()),
        ([a, b], [c, d]) => a == d && b == c && !(a.is_ascii_digit() && b.is_ascii_digit()),
        _ => false,
    }
}

fn shared(one: impl Iterator<Item = u8>, other: impl Iterator<Item = u8>) -> usize {
    one.zip(other).take_while(|(a, b)| a == b).count()
}

fn squeezed(name: &str) -> String {
    name.replace('-', "")
}

const fn same_looking(c: char) -> char {
    match c {
        '0' => 'o',
        'i' => 'l',
        '2' => 'z',
        '5' => 's',
        '8' => 'b',
        _ => c,
    }
}

/// The texts that are left when one word or number is taken from either end.
fn without_addition(text: &str) -> Vec<(&str, &'static str)> {
    let mut bases = Vec::new();
    for word in PREFIXES {
        if let Some(base) = text.strip_prefix(word) {
            bases.push((base, *word));
        }
    }
    for word in SUFFIXES {
        if let Some(base) = text.strip_suffix(word) {
            bases.push((base, *word));
        }
    }
    let unnumbered = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if unnumbered.len() < text.len() {
        let unversioned = unnumbered.strip_suffix("-v").unwrap_or(unnumbered);
        bases.push((unversioned, ""));
    }
    let bases = bases
        .into_iter()
        .map(|(base, word)| (base.trim_matches('-'), word));
    bases
        .filter(|(base, _)| base.len() >= BASE_LENGTH_MIN)
        .collect()
}

/// Two letters that look like one.
const PAIRS: &[(&str, &str)] = &[("rn", "m"), ("vv", "w"), ("cl", "d")];

/// Words that claim something or nothing, and name no other service.
const PREFIXES: &[&str] = &[
    "the", "real", "true", "official", "original", "genuine", "verified", "new",
];
const SUFFIXES: &[&str] = &[
    "official", "original", "genuine", "verified", "real", "pro", "plus", "new", "api", "app",
    "service",
];

/// How many words may have been added.
const ADDITIONS_MAX: usize = 2;

/// What is left must be a name that people could know.
const BASE_LENGTH_MIN: usize = 3;

/// Shorter names are one letter from many others.
const EDITED_LENGTH_MIN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn skeletons() {
        let same = |one: &str, other: &str| {
            assert_eq!(skeleton(one), skeleton(other), "{one} and {other}");
        };
        same("o0o", "oo");
        same("l1i", "l");
        same("modern", "modem");
        same("vvhisper", "whisper");
        same("clata", "data");
        same("c1ata", "data");
        same("s5-8b-2z", "sbz");
        same("a--b", "ab");
        assert_ne!(skeleton("model-1"), skeleton("model-2"));
        assert_ne!(skeleton("face"), skeleton("fact"));
        assert_ne!(
            skeleton("cities"),
            skeleton("dties"),
            "an i is no l of a pair"
        );
    }

    #[test]
    fn edits() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(one_edit_apart(one, other), expected, "{one} and {other}");
            assert_eq!(one_edit_apart(other, one), expected, "{other} and {one}");
        };
        check("embed", "embed", false);
        check("embed", "em-bed", false);
        check("embed", "embex", true);
        check("embed", "xmbed", true);
        check("embed", "embeds", true);
        check("embed", "xembed", true);
        check("embed", "emebd", true);
        check("embed", "ebmex", false);
        check("embed", "xmbex", false);
        check("embed", "embedxx", false);
        check("embed", "embe", false);
        check("face", "fact", false);
        check("model-1", "model-2", false);
        check("model12", "model21", false);
        check("model1", "modell", true);
        check("model", "model1", false);
        check("aaaaa", "aaaaaa", true);
    }

    #[test]
    fn bases_are_what_is_left() {
        let check = |name: &str, expected: &[(&str, &str)]| {
            let found = bases(name);
            let expected = expected.iter().map(|(base, word)| (skeleton(base), *word));
            assert_eq!(found, expected.collect(), "{name}");
        };
        check("embed", &[]);
        check("embed2", &[("embed", "")]);
        check("embed-v22", &[("embed", "")]);
        check("ab-2", &[]);
        check("the", &[]);
        check("embed-pro-2", &[("embed-pro", ""), ("embed", "")]);
        check("pro", &[]);
    }

    proptest! {
        #[test]
        fn neighbours_share_a_text(one in "[abc]{5,8}", other in "[abc]{5,8}") {
            if one_edit_apart(&one, &other) {
                prop_assert!(!neighbours(&one).is_disjoint(&neighbours(&other)));
            }
        }

        #[test]
        fn an_edit_is_one_edit(
            text in "[a-z]{6,20}",
            at in any::<prop::sample::Index>(),
            letter in "[a-z]",
            edit in 0..4,
        ) {
            let at = at.index(text.len() - 1);
            let letter = letter.chars().next().unwrap();
            let mut edited: Vec<char> = text.chars().collect();
            match edit {
                0 => edited[at] = letter,
                1 => edited.insert(at, letter),
                2 => drop(edited.splice(at..=at, [])),
                _ => edited.swap(at, at + 1),
            }
            let edited: String = edited.into_iter().collect();
            prop_assert!(edited == text || one_edit_apart(&edited, &text));
            prop_assert!(!neighbours(&edited).is_disjoint(&neighbours(&text)));
        }

        #[test]
        fn a_skeleton_is_its_own(name in "[a-z][a-z0-9-]{0,62}") {
            let skeleton = skeleton(&name);
            prop_assert!(!skeleton.contains('-') && skeleton.len() <= name.len());
            let distinct = skeleton.as_bytes().windows(2).all(|two| two[0] != two[1]);
            prop_assert!(distinct);
        }
    }
}

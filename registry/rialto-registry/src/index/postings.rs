//! The inverted index: which entries hold a word, and how well that says what they are about (BM25, as
//! Robertson and Zaragoza give it in "The Probabilistic Relevance Framework", in integers).
//!
//! Where a word stands counts more than how often: even three times in a description is less than once
//! among the methods, and that is less than once in the name. So repeating a word does not pay.
//!
//! Not here: filters and the order of hits.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::{Entry, tokens};
use crate::fixed::{log2, scaled};

/// A part of an entry that has words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The service's name.
    Name,
    /// The tags.
    Tags,
    /// The title.
    Title,
    /// The methods' names.
    Methods,
    /// The description.
    Description,
    /// The methods' documentation.
    Docs,
}

/// A set of [`Field`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields(u8);

impl Fields {
    /// Whether the field is among them.
    #[must_use]
    pub fn contains(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }

    /// The fields, those that count most first.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        let all = Field::ALL.into_iter();
        all.filter(move |field| self.contains(*field))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Field {
    /// All fields, those that count most first.
    pub const ALL: [Self; 6] = [
        Self::Name,
        Self::Tags,
        Self::Title,
        Self::Methods,
        Self::Description,
        Self::Docs,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::Name => 1,
            Self::Tags => 2,
            Self::Title => 4,
            Self::Methods => 8,
            Self::Description => 16,
            Self::Docs => 32,
        }
    }

    /// What a word counts here, and how many times at most. [`WEIGHT_UNIT`] is a word in plain text.
    const fn weight(self) -> (u16, u16) {
        match self {
            Self::Name => (20, 1),
            Self::Tags => (14, 1),
            Self::Title => (10, 1),
            Self::Methods => (8, 1),
            Self::Description => (2, 3),
            Self::Docs => (1, 3),
        }
    }
}

/// The words of one entry. Made again from the same entry it is the same, so none of it is kept.
#[derive(Debug)]
pub(super) struct Analysis {
    terms: BTreeMap<String, Posting>,
    words: BTreeSet<String>,
    length: u32,
}

/// How an entry holds a term.
#[derive(Debug, Clone, Copy, Default)]
struct Posting {
    weight: u16,
    fields: Fields,
    /// The entry's length in words.
    length: u32,
}

/// What a search has found out about an entry: a score without a unit, and where the words stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) score: u64,
    pub(super) fields: Fields,
}

/// Terms, and the entries that hold them.
#[derive(Debug, Default)]
pub(super) struct Postings {
    terms: BTreeMap<String, BTreeMap<u64, Posting>>,
    /// Words as written, and how many entries hold them: what a word's beginning is looked up in.
    words: BTreeMap<String, u64>,
    entries: usize,
    /// The sum of the entries' lengths in words.
    length: u64,
}

impl Analysis {
    pub(super) fn of(entry: &Entry) -> Self {
        let mut analysis = Self {
            terms: BTreeMap::new(),
            words: BTreeSet::new(),
            length: 0,
        };
        // Who writes a name as one word finds it too.
        let joined = entry.service.as_str().replace('-', "");
        let name = [entry.service.as_str(), joined.as_str()];
        analysis.add(Field::Name, name.into_iter());
        analysis.add(Field::Tags, entry.tags.iter().map(String::as_str));
        analysis.add(Field::Title, [entry.title.as_str()].into_iter());
        analysis.add(Field::Methods, entry.methods.keys().map(|it| it.as_str()));
        analysis.add(Field::Description, [entry.description.as_str()].into_iter());
        analysis.add(Field::Docs, entry.methods.values().map(String::as_str));
        analysis
    }

    fn add<'a>(&mut self, field: Field, texts: impl Iterator<Item = &'a str>) {
        let mut counts: BTreeMap<String, u16> = BTreeMap::new();
        for text in texts {
            tokens::words(text, |word| {
                let count = counts.entry(tokens::stem(word)).or_default();
                *count = count.saturating_add(1);
                self.length = self.length.saturating_add(1);
                if !self.words.contains(word) {
                    self.words.insert(word.to_owned());
                }
                true
            });
        }
        let (weight, times_max) = field.weight();
        for (term, count) in counts {
            let posting = self.terms.entry(term).or_default();
            let counted = weight.saturating_mul(count.min(times_max));
            posting.weight = posting.weight.saturating_add(counted);
            posting.fields = posting.fields.and(Fields(field.bit()));
        }
    }
}

impl Postings {
    /// Adds an entry that is not there yet.
    pub(super) fn add(&mut self, id: u64, analysis: Analysis) {
        let length = analysis.length;
        for (term, posting) in analysis.terms {
            let posting = Posting { length, ..posting };
            self.terms.entry(term).or_default().insert(id, posting);
        }
        for word in analysis.words {
            let count = self.words.entry(word).or_default();
            *count = count.saturating_add(1);
        }
        self.entries = self.entries.saturating_add(1);
        self.length = self.length.saturating_add(u64::from(length));
    }

    /// Takes out an entry that was added with this analysis.
    pub(super) fn remove(&mut self, id: u64, analysis: &Analysis) {
        for term in analysis.terms.keys() {
            let Some(entries) = self.terms.get_mut(term) else {
                continue;
            };
            entries.remove(&id);
            if entries.is_empty() {
                self.terms.remove(term);
            }
        }
        for word in &analysis.words {
            if let Some(count) = self.words.get_mut(word) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.words.remove(word);
                }
            }
        }
        self.entries = self.entries.saturating_sub(1);
        self.length = self.length.saturating_sub(u64::from(analysis.length));
    }

    /// Scores the entries that hold any word of `text`, in the order of their numbers; the last word may be a
    /// beginning. Nothing for a text without words.
    pub(super) fn score(&self, text: &str) -> Vec<(u64, Found)> {
        let mut words = Vec::new();
        tokens::words(text, |word| {
            words.push(word.to_owned());
            words.len() < WORDS_MAX
        });
        let last = words.last().cloned();
        let mut seen = BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        let lists = words.iter().map(|word| {
            let forms = self.forms(word, last.as_ref() == Some(word));
            self.best_form(&forms)
        });
        // Rare words first: when there are enough entries, common words only add to what is there.
        let mut lists: Vec<_> = lists.collect();
        lists.sort_by_key(Vec::len);
        lists.into_iter().fold(Vec::new(), |all, more| {
            let full = all.len() >= FOUND_MAX;
            join(all, more, full)
        })
    }

    /// The terms that a word stands for, each with its share in thousandths.
    fn forms(&self, word: &str, is_last: bool) -> BTreeMap<&str, u64> {
        let mut forms = BTreeMap::new();
        if is_last && word.chars().count() >= BEGINNING_MIN {
            let from = self
                .words
                .range::<str, _>((Bound::Included(word), Bound::Unbounded));
            let longer = from.take_while(|(longer, _)| longer.starts_with(word));
            let mut longer: Vec<_> = longer.take(BEGINNINGS_SCANNED_MAX).collect();
            longer.sort_by_key(|(longer, count)| (std::cmp::Reverse(**count), *longer));
            for (longer, _) in longer.into_iter().take(BEGINNINGS_MAX) {
                if let Some((term, _)) = self.terms.get_key_value(&tokens::stem(longer)) {
                    forms.insert(term.as_str(), BEGINNING_PERMILLE);
                }
            }
        }
        if let Some((term, _)) = self.terms.get_key_value(&tokens::stem(word)) {
            forms.insert(term.as_str(), 1_000);
        }
        forms
    }

    /// For each entry the best of a word's forms: it counts once, however many of them are there.
    fn best_form(&self, forms: &BTreeMap<&str, u64>) -> Vec<(u64, Found)> {
        let mut found = Vec::new();
        for (term, share_permille) in forms {
            let Some(entries) = self.terms.get(*term) else {
                continue;
            };
            let rarity = scaled(self.rarity(entries.len()), *share_permille, 1_000);
            found.extend(entries.iter().map(|(id, posting)| {
                let score = scaled(rarity, self.saturation(posting), 1_000);
                let fields = posting.fields;
                (*id, Found { score, fields })
            }));
        }
        if forms.len() > 1 {
            found.sort_unstable_by_key(|(id, _)| *id);
            found.dedup_by(|(id, other), (kept, best)| {
                let same = id == kept;
                if same {
                    best.score = best.score.max(other.score);
                    best.fields = best.fields.and(other.fields);
                }
                same
            });
        }
        found
    }

    /// BM25's inverse document frequency, in 1/1024ths: the logarithm of (N + 1) / (n + 1/2).
    fn rarity(&self, entries: usize) -> u64 {
        let of = |count: usize| u128::try_from(count).unwrap_or(u128::MAX);
        let above = of(self.entries).saturating_add(1) << RATIO_BITS;
        let below = of(entries).saturating_mul(2).saturating_add(1);
        let ratio = above.saturating_mul(2).checked_div(below).unwrap_or(above);
        log2(ratio).saturating_sub(log2(1 << RATIO_BITS))
    }

    /// BM25's term frequency part, in thousandths, with k1 = 1.2 and b = 0.75: what is long says less with
    /// each word.
    fn saturation(&self, posting: &Posting) -> u64 {
        let count = u64::try_from(self.entries).unwrap_or(u64::MAX);
        // 0.25 + 0.75 x length / average
        let relative = scaled(
            u64::from(posting.length).saturating_mul(750),
            count,
            self.length,
        );
        let norm = relative.saturating_add(250);
        let k1 = scaled(norm, WEIGHT_UNIT.saturating_mul(12), 10);
        let weight = u64::from(posting.weight).saturating_mul(1_000);
        scaled(weight, 2_200, weight.saturating_add(k1))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.words.is_empty() && self.entries == 0 && self.length == 0
    }

    /// Everything in it as text, to compare two of them.
    #[cfg(test)]
    pub(super) fn dump(&self) -> String {
        format!("{self:?}")
    }
}

/// Adds up two lists in the order of their numbers; `only_known` leaves out what is in the second alone.
fn join(all: Vec<(u64, Found)>, more: Vec<(u64, Found)>, only_known: bool) -> Vec<(u64, Found)> {
    let room = all.len().saturating_add(more.len());
    let mut joined = Vec::with_capacity(room);
    let mut more = more.into_iter().peekable();
    for (id, mut found) in all {
        while let Some(before) = more.next_if(|(other, _)| *other < id) {
            if !only_known {
                joined.push(before);
            }
        }
        if let Some((_, other)) = more.next_if(|(other, _)| *other == id) {
            found.score = found.score.saturating_add(other.score);
            found.fields = found.fields.and(other.fields);
        }
        joined.push((id, found));
    }
    if !only_known {
        joined.extend(more);
    }
    joined
}

/// What a word in plain text weighs.
const WEIGHT_UNIT: u64 = 2;

/// The most words of a query.
const WORDS_MAX: usize = 16;

/// Beginnings shorter than this are looked up as words alone.
const BEGINNING_MIN: usize = 2;

/// How many words a beginning may stand for: the most frequent of so many.
const BEGINNINGS_MAX: usize = 64;
const BEGINNINGS_SCANNED_MAX: usize = 2_048;

/// What a word counts that was only begun.
const BEGINNING_PERMILLE: u64 = 500;

/// When so many entries are found, further words add none.
const FOUND_MAX: usize = 20_000;

const RATIO_BITS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fixture;

    fn postings(entries: &[Entry]) -> Postings {
        let mut postings = Postings::default();
        for (id, entry) in (0..).zip(entries) {
            postings.add(id, Analysis::of(entry));
        }
        postings
    }

    fn described(description: &str) -> Entry {
        Entry {
            description: description.into(),
            ..fixture::bare("x")
        }
    }

    #[test]
    fn fields_count_in_their_order() {
        let with = |change: &dyn Fn(&mut Entry)| {
            let mut entry = fixture::bare("x");
            change(&mut entry);
            entry
        };
        let docs = |docs: &str| [("go".parse().unwrap(), docs.to_owned())].into();
        let entries = [
            fixture::bare("face"),
            with(&|it| it.tags.extend(["face".into()])),
            with(&|it| it.title = "face".into()),
            with(&|it| it.methods = [("face".parse().unwrap(), String::new())].into()),
            with(&|it| it.description = "face face face face face face".into()),
            with(&|it| it.methods = docs("face")),
            fixture::bare("other"),
        ];
        let found = postings(&entries).score("faces");
        let ids: Vec<u64> = found.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
        let scores: Vec<u64> = found.iter().map(|(_, found)| found.score).collect();
        assert!(scores.is_sorted_by(|one, other| one > other), "{scores:?}");
        for ((_, found), field) in found.iter().zip(Field::ALL) {
            assert_eq!(found.fields.iter().collect::<Vec<_>>(), [field]);
        }
    }

    #[test]
    fn rare_words_count_more_and_long_texts_less() {
        let mut entries = vec![
            described("images of cats"),
            described("images of dogs"),
            described("images of birds and many other things that somebody once saw"),
        ];
        entries.extend((0..9).map(|_| described("nothing")));
        let postings = postings(&entries);
        let found = postings.score("cat images");
        assert!(found[0].1.score > 2 * found[1].1.score);
        assert!(found[1].1.score > found[2].1.score);
        assert_eq!(found.len(), 3, "only what holds a word is touched");
    }

    #[test]
    fn the_last_word_may_be_a_beginning() {
        let postings = postings(&[described("transcribes speech"), described("transcripts")]);
        let ids = |text: &str| -> Vec<u64> {
            postings.score(text).into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(ids("transc"), [0, 1]);
        assert_eq!(ids("transcribe"), [0]);
        assert_eq!(ids("transcribes"), [0]);
        assert_eq!(ids("speec"), [0]);
        assert_eq!(ids("speec nothing"), [0u64; 0], "only the last");
        assert_eq!(ids("t"), [0u64; 0], "too short to say anything");
        let whole = postings.score("speech")[0].1.score;
        assert!(whole > postings.score("spee")[0].1.score);
    }

    #[test]
    fn queries_are_bounded() {
        let entries: Vec<Entry> = (0..200).map(|n| described(&format!("word{n}x"))).collect();
        let many: String = (0..100).map(|n| format!("w{n} ")).collect();
        let postings = postings(&entries);
        assert!(postings.score(&many).len() <= 200);
        let ahead = "nothing ".repeat(WORDS_MAX);
        assert!(postings.score(&format!("{ahead} word")).is_empty());
        assert!(!postings.score("word").is_empty());
    }

    #[test]
    fn nothing_is_left_of_what_is_removed() {
        let entries = [
            fixture::entry("embed"),
            described("faces face"),
            described(""),
        ];
        let mut postings = postings(&entries);
        for (id, entry) in (0..).zip(&entries) {
            postings.remove(id, &Analysis::of(entry));
        }
        assert!(postings.is_empty(), "{}", postings.dump());
    }
}

//! Look-alikes: names that could be taken for one that people know.
//!
//! Of two names that look alike, the one that was registered later is the look-alike; of a name and the
//! same name with a word such as `official`, only the longer one can be. Names of one owner never are: who
//! owns `embed` may own `embed-2`.
//!
//! A name is compared with the few that could resemble it, found by what they share, not with all.
//!
//! Not here: who owns a name, and what is done about look-alikes; search shows them last.

mod shape;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use alloy_primitives::Address;

use crate::{Digest, Name};

/// The names that people know.
#[derive(Debug)]
pub struct LookAlikes {
    names_max: usize,
    names: BTreeMap<Name, Known>,
    /// By when they were registered.
    orders: BTreeSet<(u64, Name)>,
    skeletons: BTreeMap<String, BTreeSet<Name>>,
    /// By a hash of the name itself and of each text that is left when one letter is taken out of it. Two
    /// names that are one edit apart share one of them.
    /// `None` stands before all names of a hash, to find them from.
    neighbours: BTreeSet<(u64, Option<Name>)>,
}

/// A name's place in history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// When it was registered, by the chain's order; the lower, the earlier.
    pub order: u64,
    /// Who owns it, where that is known.
    pub owner: Option<Address>,
}

/// Which name another one looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resemblance {
    /// The name that was there first.
    pub name: Name,
    /// In which way.
    pub why: Why,
}

/// In which way two names look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Their letters look the same: `0` and `o`, `rn` and `m`, one or two of them, hyphens.
    Shape,
    /// A word or number was added that says nothing, such as `official`.
    Addition(&'static str),
    /// One letter is another, missing, added, or has changed places.
    Letter,
}

impl LookAlikes {
    /// Knows no names, and at most so many.
    #[must_use]
    pub const fn new(names_max: usize) -> Self {
        Self {
            names_max,
            names: BTreeMap::new(),
            orders: BTreeSet::new(),
            skeletons: BTreeMap::new(),
            neighbours: BTreeSet::new(),
        }
    }

    /// Adds a name, or changes what is known about it. When there are too many, the latest goes. Says
    /// whether this one stayed.
    pub fn insert(&mut self, name: &Name, known: Known) -> bool {
        self.remove(name);
        self.names.insert(name.clone(), known);
        self.orders.insert((known.order, name.clone()));
        let skeleton = shape::skeleton(name.as_str());
        self.skeletons
            .entry(skeleton)
            .or_default()
            .insert(name.clone());
        for key in neighbour_keys(name) {
            self.neighbours.insert((key, Some(name.clone())));
        }
        while self.names.len() > self.names_max {
            let Some((_, latest)) = self.orders.last().cloned() else {
                break;
            };
            self.remove(&latest);
        }
        self.names.contains_key(name)
    }

    /// Forgets a name, and says whether it was known.
    pub fn remove(&mut self, name: &Name) -> bool {
        let Some(known) = self.names.remove(name) else {
            return false;
        };
        self.orders.remove(&(known.order, name.clone()));
        let skeleton = shape::skeleton(name.as_str());
        if let Some(names) = self.skeletons.get_mut(&skeleton) {
            names.remove(name);
            if names.is_empty() {
                self.skeletons.remove(&skeleton);
            }
        }
        for key in neighbour_keys(name) {
            self.neighbours.remove(&(key, Some(name.clone())));
        }
        true
    }

    /// What is known about a name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<Known> {
        self.names.get(name).copied()
    }

    /// How many names are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name that this one looks like, if one was there before it: the earliest of them. What is known
    /// about the name itself counts; a name that is not known comes after all that are.
    #[must_use]
    pub fn resembles(&self, name: &Name, owner: Option<Address>) -> Option<Resemblance> {
        let known = self.get(name);
        let owner = known.map_or(owner, |known| known.owner);
        let earlier = |other: &Name| {
            let them = self.get(other)?;
            let first = known.is_none_or(|us| (them.order, other) < (us.order, name));
            let same = owner.is_some() && owner == them.owner;
            (first && !same && other != name).then_some(them.order)
        };
        let mut best: Option<(u64, Why, &Name)> = None;
        for (other, why) in self.alike(name) {
            if let Some(order) = earlier(other) {
                let found = (order, why, other);
                best = Some(best.map_or(found, |best| best.min(found)));
            }
        }
        best.map(|(_, why, name)| Resemblance {
            name: name.clone(),
            why,
        })
    }

    /// All known names that look like this one, whichever was first.
    fn alike(&self, name: &Name) -> Vec<(&Name, Why)> {
        let text = name.as_str();
        let mut alike = Vec::new();
        let skeleton = shape::skeleton(text);
        if let Some(same) = self.skeletons.get(&skeleton) {
            alike.extend(same.iter().map(|other| (other, Why::Shape)));
        }
        for (base, added) in shape::bases(text) {
            if let Some(same) = self.skeletons.get(&base) {
                alike.extend(same.iter().map(|other| (other, Why::Addition(added))));
            }
        }
        for key in neighbour_keys(name) {
            let near = self.neighbours.range((key, None)..);
            let near = near.take_while(|(other, _)| *other == key);
            let near = near.filter_map(|(_, other)| other.as_ref());
            let near = near.filter(|other| shape::one_edit_apart(text, other.as_str()));
            alike.extend(near.map(|other| (other, Why::Letter)));
        }
        alike
    }
}

impl Default for LookAlikes {
    fn default() -> Self {
        Self::new(NAMES_MAX)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("looks the same"),
            Self::Addition("") => f.write_str("only a number was added"),
            Self::Addition(word) => write!(f, "only `{word}` was added"),
            Self::Letter => f.write_str("one letter differs"),
        }
    }
}

impl fmt::Display for Resemblance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "looks like `{}`: {}", self.name, self.why)
    }
}

/// Hashes, because the texts of long names take more room than the names; a collision only costs a
/// comparison, and nobody makes many of them with this hash.
fn neighbour_keys(name: &Name) -> BTreeSet<u64> {
    let texts = shape::neighbours(name.as_str()).into_iter();
    let keys = texts.map(|text| {
        let digest = Digest::of(text.as_bytes());
        let first = digest.as_bytes().first_chunk().copied();
        u64::from_le_bytes(first.unwrap_or_default())
    });
    keys.collect()
}

/// How many names are known unless said otherwise: some 50 MB at the longest.
const NAMES_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn by(order: u64, owner: u8) -> Known {
        Known {
            order,
            owner: Some(Address::repeat_byte(owner)),
        }
    }

    /// Knows these names, in this order, each of another owner.
    fn knows(names: &[&str]) -> LookAlikes {
        let mut known = LookAlikes::default();
        for (order, text) in (1..).zip(names) {
            assert!(known.insert(&name(text), by(u64::from(order), order)));
        }
        known
    }

    #[test]
    fn look_alikes_are_found() {
        let known = knows(&["embed", "modern", "face-detect", "ocr", "whisper2"]);
        let check = |text: &str, expected: Option<(&str, Why)>| {
            let found = known.resembles(&name(text), None);
            let found = found.map(|it| (it.name.to_string(), it.why));
            let expected = expected.map(|(name, why)| (name.to_owned(), why));
            assert_eq!(found, expected, "{text}");
        };
        check("embed", None);
        check("ernbed", Some(("embed", Why::Shape)));
        check("em-bed", Some(("embed", Why::Shape)));
        check("embbed", Some(("embed", Why::Shape)));
        check("modem", Some(("modern", Why::Shape)));
        check("facedetect", Some(("face-detect", Why::Shape)));
        check("face-cletect", Some(("face-detect", Why::Shape)));
        check("embad", Some(("embed", Why::Letter)));
        check("embde", Some(("embed", Why::Letter)));
        check("embeds", Some(("embed", Why::Letter)));
        check("mbeds", None);
        check("embed-official", Some(("embed", Why::Addition("official"))));
        check("the-embed", Some(("embed", Why::Addition("the"))));
        check("theembed", Some(("embed", Why::Addition("the"))));
        check("the-ernbed-v2", Some(("embed", Why::Addition("the"))));
        check("embed-17", Some(("embed", Why::Addition(""))));
        check("embed2", Some(("embed", Why::Addition(""))));
        check("official", None);
        // Short names are one letter from many others, and other numbers are other names.
        check("acr", None);
        check("whisper3", None);
        check("whisper", None);
        check("unrelated", None);
    }

    #[test]
    fn the_later_one_is_the_look_alike() {
        let known = knows(&["ernbed", "embed", "chat-official", "chat", "speech2"]);
        let resembles = |text: &str| {
            let found = known.resembles(&name(text), None);
            found.map(|it| it.name.to_string())
        };
        assert_eq!(resembles("ernbed"), None);
        assert_eq!(resembles("embed").as_deref(), Some("ernbed"));
        // Nobody gets hold of a plain name by taking it with an addition first.
        assert_eq!(resembles("chat"), None);
        assert_eq!(resembles("chat-official"), None);
        assert_eq!(resembles("speech"), None);
        // The earliest of several.
        assert_eq!(resembles("em-bed").as_deref(), Some("ernbed"));
    }

    #[test]
    fn names_of_one_owner_are_alike_by_right() {
        let mut known = knows(&["embed"]);
        let mine = Some(Address::repeat_byte(1));
        assert_eq!(known.resembles(&name("embed2"), mine), None);
        assert!(known.resembles(&name("embed2"), None).is_some());
        known.insert(&name("embed2"), by(9, 1));
        assert_eq!(known.resembles(&name("embed2"), None), None);
        // What is known about a name counts for more than what is said.
        known.insert(&name("embed3"), by(10, 3));
        assert!(known.resembles(&name("embed3"), mine).is_some());
        let unowned = Known {
            order: 0,
            owner: None,
        };
        known.insert(&name("embedd"), unowned);
        assert!(known.resembles(&name("embeds"), None).is_some());
    }

    #[test]
    fn the_latest_names_go_when_there_are_too_many() {
        let mut known = LookAlikes::new(2);
        assert!(known.insert(&name("first"), by(1, 1)));
        assert!(known.insert(&name("third"), by(3, 1)));
        assert!(known.insert(&name("second"), by(2, 1)));
        assert!(!known.insert(&name("fourth"), by(4, 1)));
        assert_eq!(known.len(), 2);
        assert_eq!(known.get(&name("third")), None);
        assert_eq!(known.get(&name("second")), Some(by(2, 1)));
        assert!(known.remove(&name("first")) && !known.remove(&name("first")));
        assert!(known.remove(&name("second")));
        assert!(known.is_empty() && known.orders.is_empty());
        assert!(known.skeletons.is_empty() && known.neighbours.is_empty());
    }

    #[test]
    fn reasons_read_well() {
        let check = |why, text: &str| {
            let name = name("embed");
            assert_eq!(Resemblance { name, why }.to_string(), text);
        };
        check(Why::Shape, "looks like `embed`: looks the same");
        check(
            Why::Addition("pro"),
            "looks like `embed`: only `pro` was added",
        );
        check(
            Why::Addition(""),
            "looks like `embed`: only a number was added",
        );
        check(Why::Letter, "looks like `embed`: one letter differs");
    }

    proptest! {
        #[test]
        fn lookups_equal_a_scan(
            texts in prop::collection::btree_set("[ab0o1lrnm][ab0o1lrnm2-]{3,6}", 1..20),
            wanted in "[abolrnm][ab0o1lrnm2-]{3,6}",
        ) {
            let names: Vec<Name> = texts.iter().filter_map(|it| it.parse().ok()).collect();
            let mut known = LookAlikes::default();
            for (order, name) in (0..).zip(&names) {
                known.insert(name, Known { order, owner: None });
            }
            let alike = |other: &&Name| {
                let skeleton = shape::skeleton(other.as_str());
                let bases = shape::bases(&wanted);
                **other != name(&wanted)
                    && (skeleton == shape::skeleton(&wanted)
                        || bases.iter().any(|(base, _)| *base == skeleton)
                        || shape::one_edit_apart(&wanted, other.as_str()))
            };
            let own = names.iter().position(|it| it.as_str() == wanted);
            let earlier = &names[..own.unwrap_or(names.len())];
            let found = known.resembles(&name(&wanted), None).map(|it| it.name);
            prop_assert_eq!(found.as_ref(), earlier.iter().find(alike));
        }

        #[test]
        fn nothing_leaks(steps in prop::collection::vec(("[abm][abm-]{1,5}", any::<bool>(), 0u64..9), 0..40)) {
            let mut known = LookAlikes::new(5);
            for (text, add, order) in &steps {
                if *add {
                    known.insert(&name(text), Known { order: *order, owner: None });
                } else {
                    known.remove(&name(text));
                }
                prop_assert!(known.len() <= 5 && known.orders.len() == known.len());
            }
            for (text, _, _) in &steps {
                known.remove(&name(text));
            }
            prop_assert!(known.is_empty() && known.orders.is_empty());
            prop_assert!(known.skeletons.is_empty() && known.neighbours.is_empty());
        }
    }
}

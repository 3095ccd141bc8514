//! What the index holds: services, and who offers them at what price.
//!
//! All are plain values, so that the index does not care which record they came from.
//!
//! Not here: whether any of it is true. Whoever fills the index has checked signatures and the chain,
//! and says so by `verified`.

use std::collections::{BTreeMap, BTreeSet};

use rialto_channels::Amount;
use semver::Version;

use crate::{MethodName, Name, PeerId, fixed::scaled};

/// One service as one publisher describes it, and its listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service's name.
    pub service: Name,
    /// The publisher's account, as text. Several publishers may use one name; the chain knows whose it is.
    pub publisher: String,
    /// One line that says what it is.
    pub title: String,
    /// What it does.
    pub description: String,
    /// Its methods, each with its documentation.
    pub methods: BTreeMap<MethodName, String>,
    /// The interfaces that it exports, such as `rialto:embed/api@0.1.0`.
    pub interfaces: BTreeSet<String>,
    /// Words to be found by.
    pub tags: BTreeSet<String>,
    /// The licence, as its manifest spells it.
    pub licence: String,
    /// The version of the manifest.
    pub version: Version,
    /// Why it should not be used any more, where its publisher said so.
    pub deprecated: Option<String>,
    /// The chain says that the name belongs to this publisher and this is its manifest.
    pub verified: bool,
    /// The better known name that this one looks like; [`LookAlikes`](crate::LookAlikes) knows.
    pub resembles: Option<Name>,
    /// How long the description itself is good, in seconds since the Unix epoch; 0 for as long as somebody
    /// offers the service.
    pub expires: u64,
    /// What it means, for search by meaning.
    pub meaning: Option<Vector>,
    /// Who offers it; one listing a provider. What is replaced or dropped is the oldest, at the front.
    pub listings: Vec<Listing>,
}

/// One provider's offer of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Who.
    pub provider: PeerId,
    /// What a call of each method costs, in base units of the token: the price, or the most where it is
    /// metered. A method without a price is not offered.
    pub prices: BTreeMap<MethodName, Amount>,
    /// Where the host is, such as `eu-west`, as its operator says.
    pub region: Option<String>,
    /// What it computes on, as its operator says.
    pub hardware: Vec<String>,
    /// How much of its capacity is in use, in thousandths.
    pub load_permille: u16,
    /// When the offer ends, in seconds since the Unix epoch.
    pub expires: u64,
    /// How good the provider is known to be, in thousandths.
    pub reputation_permille: u16,
    /// The chain knows this provider.
    pub verified: bool,
}

/// A meaning as a language model's embedding, each component rounded to eight bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    components: Box<[i8]>,
    /// The length of the vector, rounded up.
    norm: u64,
}

/// A vector has no components, or more than [`VECTOR_DIMENSIONS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a vector has 1 to {VECTOR_DIMENSIONS_MAX} components, not {0}")]
pub struct VectorError(usize);

impl Vector {
    /// The vector of these components. A unit vector is best multiplied with 127 before it is rounded.
    ///
    /// # Errors
    /// [`VectorError`] for none or too many components.
    pub fn new(components: Vec<i8>) -> Result<Self, VectorError> {
        if components.is_empty() || components.len() > VECTOR_DIMENSIONS_MAX {
            return Err(VectorError(components.len()));
        }
        let square = dot(&components, &components).unsigned_abs();
        let root = square.isqrt();
        let rounded_down = root.saturating_mul(root) < square;
        Ok(Self {
            components: components.into(),
            norm: root.saturating_add(u64::from(rounded_down)),
        })
    }

    /// How near two meanings are, in thousandths of the cosine between them; 0 where they point apart or
    /// come from models with different numbers of dimensions.
    #[must_use]
    pub fn nearness_permille(&self, other: &Self) -> u16 {
        if self.components.len() != other.components.len() {
            return 0;
        }
        let dot = u64::try_from(dot(&self.components, &other.components)).unwrap_or(0);
        let whole = self.norm.saturating_mul(other.norm);
        u16::try_from(scaled(dot, 1_000, whole).min(1_000)).unwrap_or(1_000)
    }
}

impl Entry {
    /// What the entry takes without its listings, in bytes: its texts and, for each, what keeping it costs.
    pub(super) fn text_bytes(&self) -> usize {
        let methods = self.methods.iter();
        let methods = methods.flat_map(|(name, docs)| [name.as_str(), docs]);
        let sets = self.interfaces.iter().chain(&self.tags);
        let single = [
            self.service.as_str(),
            &self.publisher,
            &self.title,
            &self.description,
            &self.licence,
            self.version.pre.as_str(),
            self.version.build.as_str(),
            self.deprecated.as_deref().unwrap_or(""),
        ];
        let texts = methods
            .chain(sets.map(String::as_str))
            .chain(single)
            .map(bytes_of);
        texts.fold(0, usize::saturating_add)
    }

    /// Everything that the entry takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let vector = self.meaning.as_ref().map_or(0, |it| it.components.len());
        let listings = self.listings.iter().map(Listing::bytes);
        listings.fold(
            self.text_bytes().saturating_add(vector),
            usize::saturating_add,
        )
    }

    /// When nothing of the entry is good any more.
    pub(super) fn ends(&self) -> u64 {
        let listings = self.listings.iter().map(|listing| listing.expires);
        listings.fold(self.expires, u64::max)
    }

    /// Puts a listing in the place of its provider's last one, and drops what is too much: first expired
    /// ones, then unverified ones, then the oldest. Says whether the new one stayed.
    pub(super) fn list(&mut self, listing: Listing, listings_max: usize, now: u64) -> bool {
        let provider = listing.provider;
        self.listings.retain(|old| old.provider != provider);
        self.listings.push(listing);
        while self.listings.len() > listings_max {
            let order = |(at, old): &(usize, &Listing)| (old.expires > now, old.verified, *at);
            let Some((at, _)) = self.listings.iter().enumerate().min_by_key(order) else {
                break;
            };
            self.listings.remove(at);
        }
        self.listings
            .last()
            .is_some_and(|last| last.provider == provider)
    }
}

impl Listing {
    /// What the listing takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let methods = self.prices.keys().map(MethodName::as_str);
        let hardware = self.hardware.iter().map(String::as_str);
        let region = self.region.iter().map(String::as_str);
        let texts = methods.chain(hardware).chain(region).map(bytes_of);
        texts.fold(LISTING_BYTES, usize::saturating_add)
    }

    /// What a call costs: of this method, or of the cheapest.
    #[must_use]
    pub fn price(&self, method: Option<&MethodName>) -> Option<Amount> {
        match method {
            Some(method) => self.prices.get(method).copied(),
            None => self.prices.values().min().copied(),
        }
    }
}

fn bytes_of(text: &str) -> usize {
    text.len().saturating_add(TEXT_OVERHEAD_BYTES)
}

/// Of as many components as the shorter has; 1,024 x 128 x 128 is far from an overflow.
fn dot(one: &[i8], other: &[i8]) -> i64 {
    let products = one.iter().zip(other);
    let products = products.map(|(a, b)| i32::from(*a).saturating_mul(i32::from(*b)));
    i64::from(products.fold(0, i32::saturating_add))
}

/// The most components of a vector.
pub const VECTOR_DIMENSIONS_MAX: usize = 1_024;

/// What keeping one text costs beside its bytes, about.
const TEXT_OVERHEAD_BYTES: usize = 32;

/// What keeping one listing costs beside its texts, about.
const LISTING_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fixture;
    use proptest::prelude::*;

    fn vector(components: &[i8]) -> Vector {
        Vector::new(components.to_vec()).unwrap()
    }

    #[test]
    fn nearness_is_the_cosine() {
        let check = |one: &[i8], other: &[i8], expected: u16| {
            assert_eq!(vector(one).nearness_permille(&vector(other)), expected);
        };
        check(&[127, 0], &[127, 0], 1_000);
        check(&[127, 0], &[0, 127], 0);
        check(&[127, 0], &[-127, 0], 0);
        check(&[3, 4], &[4, 3], 960);
        // A long vector is no nearer than a short one.
        check(&[30, 40], &[4, 3], 960);
        check(&[0, 0], &[1, 1], 0);
        check(&[1, 1], &[1, 1, 1], 0);
        assert_eq!(Vector::new(vec![]), Err(VectorError(0)));
        assert_eq!(Vector::new(vec![0; 1_025]), Err(VectorError(1_025)));
    }

    #[test]
    fn listings_are_dropped_by_rule() {
        let names = |entry: &Entry| -> Vec<u8> {
            let keys = entry.listings.iter().map(|it| it.provider.key()[0]);
            keys.collect()
        };
        let listing = |provider: u8, expires: u64, verified: bool| Listing {
            expires,
            verified,
            ..fixture::listing(provider)
        };
        let mut entry = fixture::entry("embed");
        entry.listings.clear();
        for (provider, expires, verified) in [(1, 90, true), (2, 90, false), (3, 90, false)] {
            assert!(entry.list(listing(provider, expires, verified), 3, 0));
        }
        // A provider's new listing takes the place of its old one and is the youngest.
        assert!(entry.list(listing(2, 90, false), 3, 0));
        assert_eq!(names(&entry), [1, 3, 2]);
        assert!(entry.list(listing(4, 99, true), 3, 0));
        assert_eq!(names(&entry), [1, 2, 4], "the oldest unverified one went");
        assert!(entry.list(listing(5, 99, true), 3, 0));
        assert_eq!(names(&entry), [1, 4, 5]);
        assert!(
            !entry.list(listing(6, 99, false), 3, 0),
            "no room for strangers"
        );
        assert!(
            entry.list(listing(6, 99, false), 3, 95),
            "but 1 has expired"
        );
        assert_eq!(names(&entry), [4, 5, 6]);
    }

    #[test]
    fn every_text_counts() {
        let plain = fixture::entry("embed");
        let grown = |change: &dyn Fn(&mut Entry)| {
            let mut entry = plain.clone();
            change(&mut entry);
            entry.bytes() - plain.bytes()
        };
        assert_eq!(grown(&|entry| entry.title.push_str("1234")), 4);
        assert_eq!(grown(&|entry| entry.deprecated = Some("12".into())), 2);
        assert_eq!(grown(&|entry| entry.tags.extend(["1".into()])), 33);
        assert_eq!(grown(&|entry| entry.meaning = Some(vector(&[1; 384]))), 384);
        assert_eq!(
            grown(&|entry| entry.version = "1.0.0+abcd".parse().unwrap()),
            4
        );
        assert_eq!(
            grown(&|entry| entry.listings[0].region = Some("eu".into())),
            34
        );
    }

    proptest! {
        #[test]
        fn nearness_is_symmetric_and_greatest_with_itself(
            one in prop::collection::vec(any::<i8>(), 8),
            other in prop::collection::vec(any::<i8>(), 8),
        ) {
            let (one, other) = (vector(&one), vector(&other));
            prop_assert_eq!(one.nearness_permille(&other), other.nearness_permille(&one));
            prop_assert!(one.nearness_permille(&other) <= 1_000);
        }
    }
}

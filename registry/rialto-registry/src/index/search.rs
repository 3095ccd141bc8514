//! Answering queries: filters, ranks, and why each hit is one.
//!
//! A list by words and a list by meaning are merged by reciprocal rank fusion (Cormack, Clarke and
//! Büttcher, 2009), so that neither's scores need to be compared with the other's. What is deprecated,
//! unverified or looks like a better known name comes last, however well it matches.
//!
//! Not here: making a query's vector.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use rialto_channels::Amount;

use super::{Document, Entry, Fields, Index, Listing, Vector, postings::Found};
use crate::{MethodName, Name};

/// What is looked for. Every part that is set must fit, but for text and meaning, which rank.
#[derive(Debug, Clone)]
pub struct Query {
    /// Words; the last may be a beginning. The first sixteen count.
    pub text: String,
    /// What the words mean, by the model that made the entries' vectors.
    pub semantic: Option<Vector>,
    /// The service's name.
    pub name: Option<Name>,
    /// An interface: with its version, without one, or a package such as `rialto:embed` alone.
    pub interface: Option<String>,
    /// A tag.
    pub tag: Option<String>,
    /// A method that the service must offer.
    pub method: Option<MethodName>,
    /// The most that a call may cost, in base units: of the method, or of the cheapest one.
    pub price_max: Option<Amount>,
    /// A region, or its beginning up to a hyphen: `eu` is where `eu-west` is.
    pub region: Option<String>,
    /// A part of what a provider calls its hardware.
    pub hardware: Option<String>,
    /// Show also what nobody offers now.
    pub unoffered: bool,
    /// The most hits, at most [`HITS_MAX`].
    pub limit: usize,
}

/// An entry that fits a query.
#[derive(Debug, Clone)]
pub struct Hit<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// The listings that fit, best first: verified, well reputed, cheap, idle.
    pub listings: Vec<&'a Listing>,
    /// Where the words stand.
    pub fields: Fields,
    /// How near the meaning is, in thousandths, where that made it a hit.
    pub nearness_permille: Option<u16>,
    /// Why to be careful.
    pub flags: Flags,
}

/// Why to be careful with a hit. Any of them puts it last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Its publisher advises against it.
    pub deprecated: bool,
    /// The chain does not vouch for its publisher.
    pub unverified: bool,
    /// Its name looks like a better known one.
    pub look_alike: bool,
}

impl Flags {
    /// The flags of an entry.
    #[must_use]
    pub const fn of(entry: &Entry) -> Self {
        Self {
            deprecated: entry.deprecated.is_some(),
            unverified: !entry.verified,
            look_alike: entry.resembles.is_some(),
        }
    }

    /// Whether any is set.
    #[must_use]
    pub const fn any(self) -> bool {
        self.deprecated || self.unverified || self.look_alike
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            text: String::new(),
            semantic: None,
            name: None,
            interface: None,
            tag: None,
            method: None,
            price_max: None,
            region: None,
            hardware: None,
            unoffered: false,
            limit: LIMIT_DEFAULT,
        }
    }
}

impl Query {
    /// A query by words alone.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    /// Whether a listing fits.
    fn takes(&self, listing: &Listing, now: u64) -> bool {
        let price = listing.price(self.method.as_ref());
        let affordable = match (self.price_max, price) {
            (Some(max), Some(price)) => price <= max,
            (Some(_), None) => false,
            (None, price) => price.is_some() || self.method.is_none(),
        };
        let region = self.region.as_ref().is_none_or(|wanted| {
            let known = listing.region.as_deref().unwrap_or("").to_lowercase();
            let rest = known.strip_prefix(&wanted.to_lowercase());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        let hardware = self.hardware.as_ref().is_none_or(|wanted| {
            let wanted = wanted.to_lowercase();
            let mut known = listing.hardware.iter();
            known.any(|known| known.to_lowercase().contains(&wanted))
        });
        listing.expires > now && affordable && region && hardware
    }

    /// Whether only an entry that is offered can fit.
    const fn needs_listing(&self) -> bool {
        !self.unoffered
            || self.price_max.is_some()
            || self.region.is_some()
            || self.hardware.is_some()
    }
}

impl Index {
    /// The entries that fit a query at `now`, seconds since the Unix epoch, best first. Without text and
    /// meaning, all that pass the filters fit.
    #[must_use]
    pub fn search(&self, query: &Query, now: u64) -> Vec<Hit<'_>> {
        let Some(filter) = Filter::new(self, query, now) else {
            return Vec::new();
        };
        let end = query.text.floor_char_boundary(QUERY_BYTES_MAX);
        let text = query.text.get(..end).unwrap_or("");
        let mut merged: BTreeMap<u64, Merged<'_>> = BTreeMap::new();
        if !text.trim().is_empty() {
            merge(&mut merged, filter.by_words(self.postings.score(text)));
        }
        if let Some(wanted) = &query.semantic {
            merge(&mut merged, filter.by_meaning(wanted));
        }
        if text.trim().is_empty() && query.semantic.is_none() {
            let ids = filter.ids();
            let all = ids.filter_map(|id| filter.candidate(id, Found::default(), None));
            merge(&mut merged, all.collect());
        }
        let mut merged: Vec<Merged<'_>> = merged.into_values().collect();
        merged.sort_by_key(|it| (it.flagged(), Reverse(it.score), it.candidate.standing));
        let merged = merged.into_iter().take(query.limit.min(HITS_MAX));
        merged.map(|it| filter.hit(&it)).collect()
    }
}

/// What decides between hits that match equally well; the least is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing<'a> {
    unverified: bool,
    reputation_permille: Reverse<u16>,
    price: Amount,
    service: &'a Name,
    publisher: &'a str,
}

/// An entry that passed the filters.
#[derive(Debug, Clone)]
struct Candidate<'a> {
    id: u64,
    document: &'a Document,
    found: Found,
    nearness_permille: Option<u16>,
    standing: Standing<'a>,
}

/// A candidate with its ranks in all lists.
#[derive(Debug)]
struct Merged<'a> {
    candidate: Candidate<'a>,
    score: u64,
}

impl Merged<'_> {
    const fn flagged(&self) -> bool {
        Flags::of(&self.candidate.document.entry).any()
    }
}

/// A query's filters, looked up once.
struct Filter<'a, 'q> {
    index: &'a Index,
    query: &'q Query,
    now: u64,
    named: Option<BTreeSet<u64>>,
    sets: Vec<&'a BTreeSet<u64>>,
}

impl<'a, 'q> Filter<'a, 'q> {
    /// Nothing where no entry can fit.
    fn new(index: &'a Index, query: &'q Query, now: u64) -> Option<Self> {
        let named = match &query.name {
            Some(name) => Some(index.ids.get(name)?.values().copied().collect()),
            None => None,
        };
        let mut sets = Vec::new();
        if let Some(interface) = &query.interface {
            sets.push(index.interfaces.get(interface)?);
        }
        if let Some(tag) = &query.tag {
            sets.push(index.tags.get(&tag.to_lowercase())?);
        }
        Some(Self {
            index,
            query,
            now,
            named,
            sets,
        })
    }

    /// The entries that names and keys leave, or more.
    fn ids(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        let sets = self.sets.iter().copied().chain(&self.named);
        match sets.min_by_key(|set| set.len()) {
            Some(smallest) => Box::new(smallest.iter().copied()),
            None => Box::new(self.index.documents.keys().copied()),
        }
    }

    fn candidate(
        &self,
        id: u64,
        found: Found,
        nearness_permille: Option<u16>,
    ) -> Option<Candidate<'a>> {
        let mut sets = self.sets.iter().copied().chain(&self.named);
        if !sets.all(|set| set.contains(&id)) {
            return None;
        }
        let document = self.index.documents.get(&id)?;
        let entry = &document.entry;
        let method = self.query.method.as_ref();
        let known = method.is_none_or(|method| entry.methods.contains_key(method));
        if !known || document.ends <= self.now {
            return None;
        }
        let mut offered = false;
        let mut reputation_permille = 0;
        let mut price = Amount::MAX;
        for listing in self.listings(entry) {
            offered = true;
            reputation_permille = reputation_permille.max(listing.reputation_permille);
            price = price.min(listing.price(method).unwrap_or(Amount::MAX));
        }
        if !offered && self.query.needs_listing() {
            return None;
        }
        let standing = Standing {
            unverified: !entry.verified,
            reputation_permille: Reverse(reputation_permille),
            price,
            service: &entry.service,
            publisher: &entry.publisher,
        };
        Some(Candidate {
            id,
            document,
            found,
            nearness_permille,
            standing,
        })
    }

    fn listings(&self, entry: &'a Entry) -> impl Iterator<Item = &'a Listing> {
        let listings = entry.listings.iter();
        listings.filter(|listing| self.query.takes(listing, self.now))
    }

    /// The best of what the words found. Those that match worse are not even looked at when enough that need
    /// no care match better.
    fn by_words(&self, mut found: Vec<(u64, Found)>) -> Vec<Candidate<'a>> {
        found.sort_unstable_by_key(|(id, found)| (Reverse(found.score), *id));
        let mut candidates: Vec<Candidate<'a>> = Vec::new();
        let mut safe = 0_usize;
        for (id, found) in found {
            let last = candidates.last().map(|last| last.found.score);
            if safe >= RANKED_MAX && last.is_some_and(|last| found.score < last) {
                break;
            }
            if let Some(candidate) = self.candidate(id, found, None) {
                let flagged = Flags::of(&candidate.document.entry).any();
                safe = safe.saturating_add(usize::from(!flagged));
                candidates.push(candidate);
            }
        }
        candidates
    }

    /// All that mean something like it. Vectors have no inverted index: each is compared, a few hundred
    /// multiplications an entry.
    fn by_meaning(&self, wanted: &Vector) -> Vec<Candidate<'a>> {
        let near = |id| {
            let entry = &self.index.documents.get(&id)?.entry;
            let nearness = entry.meaning.as_ref()?.nearness_permille(wanted);
            let found = Found {
                score: u64::from(nearness),
                fields: Fields::default(),
            };
            let near = nearness >= NEARNESS_MIN_PERMILLE;
            near.then(|| self.candidate(id, found, Some(nearness)))?
        };
        self.ids().filter_map(near).collect()
    }

    fn hit(&self, merged: &Merged<'a>) -> Hit<'a> {
        let entry = &merged.candidate.document.entry;
        let mut listings: Vec<&Listing> = self.listings(entry).collect();
        let method = self.query.method.as_ref();
        listings.sort_by_key(|it| {
            let price = it.price(method).unwrap_or(Amount::MAX);
            let reputation = Reverse(it.reputation_permille);
            (
                !it.verified,
                reputation,
                price,
                it.load_permille,
                it.provider,
            )
        });
        Hit {
            entry,
            listings,
            fields: merged.candidate.found.fields,
            nearness_permille: merged.candidate.nearness_permille,
            flags: Flags::of(entry),
        }
    }
}

/// Ranks candidates and adds what their ranks are worth.
fn merge<'a>(merged: &mut BTreeMap<u64, Merged<'a>>, mut candidates: Vec<Candidate<'a>>) {
    let order = |it: &Candidate<'a>| {
        let flagged = Flags::of(&it.document.entry).any();
        (flagged, Reverse(it.found.score), it.standing)
    };
    if candidates.len() > RANKED_MAX {
        candidates.select_nth_unstable_by(RANKED_MAX, |one, other| order(one).cmp(&order(other)));
        candidates.truncate(RANKED_MAX);
    }
    candidates.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
    for (rank, candidate) in (RANK_OFFSET..).zip(candidates) {
        let score = RANK_UNIT.checked_div(rank).unwrap_or(0);
        let id = candidate.id;
        let sum = merged.entry(id).or_insert_with(|| Merged {
            candidate: candidate.clone(),
            score: 0,
        });
        sum.score = sum.score.saturating_add(score);
        let known = &mut sum.candidate;
        known.found.fields = known.found.fields.and(candidate.found.fields);
        known.nearness_permille = known.nearness_permille.or(candidate.nearness_permille);
    }
}

/// The most hits of one search.
pub const HITS_MAX: usize = 200;

const LIMIT_DEFAULT: usize = 20;

/// How much of a query's text is read.
const QUERY_BYTES_MAX: usize = 1_024;

/// How many of each list have a rank; no fewer than are shown.
const RANKED_MAX: usize = 500;

/// The constant of reciprocal rank fusion, plus one for the first rank.
const RANK_OFFSET: u64 = 61;
const RANK_UNIT: u64 = 1_000_000_000;

/// Meanings less near than this have nothing to do with each other.
const NEARNESS_MIN_PERMILLE: u16 = 250;

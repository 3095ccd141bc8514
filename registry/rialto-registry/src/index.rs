//! The local index: what can be called on the mesh, as far as this machine has heard, found by words, by
//! meaning, by interface, price, region and hardware.
//!
//! Words go through an inverted index and meanings through a comparison with every vector; both lists are
//! merged by rank. All of it is integers, so the same index answers the same query the same everywhere.
//!
//! It is bounded in entries and bytes. When it is full, what goes first is expired, then unverified, then
//! longest not heard of; strangers never displace what the chain vouches for.
//!
//! Not here: reading records, making vectors, asking peers, choosing a provider for a call.

mod entry;
#[cfg(test)]
pub(crate) mod fixture;
mod postings;
mod search;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

pub use entry::{Entry, Listing, VECTOR_DIMENSIONS_MAX, Vector, VectorError};
pub use postings::{Field, Fields};
pub use search::{Flags, HITS_MAX, Hit, Query};

use crate::{Name, PeerId};
use postings::{Analysis, Postings};

/// How much an [`Index`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexLimits {
    /// The most entries.
    pub entries_max: usize,
    /// The most listings of one entry.
    pub listings_max: usize,
    /// The most bytes of text in one entry, without its listings; each text counts 32 more.
    pub text_bytes_max: usize,
    /// The most bytes of one listing.
    pub listing_bytes_max: usize,
    /// The most bytes of all entries with their listings and vectors. The words of the inverted index come
    /// on top, at about as many again.
    pub bytes_max: usize,
}

/// What can be called on the mesh.
#[derive(Debug)]
pub struct Index {
    limits: IndexLimits,
    documents: BTreeMap<u64, Document>,
    /// By name and publisher.
    ids: BTreeMap<Name, BTreeMap<String, u64>>,
    postings: Postings,
    interfaces: Sets,
    tags: Sets,
    /// Who is dropped first, of those that have not expired.
    ages: BTreeSet<(bool, u64, u64)>,
    /// When each one expires.
    ends: BTreeSet<(u64, u64)>,
    bytes: usize,
    /// Counts up with whatever is heard.
    heard: u64,
}

/// Why an index does not take what it is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More text than one entry may have.
    #[error("entry has {bytes} bytes of text: shorten it to {max}")]
    EntryTooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// More than one listing may have.
    #[error("listing has {bytes} bytes: shorten it to {max}")]
    ListingTooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// Neither the description nor any listing is good any more.
    #[error("everything in it has expired: ask for newer records")]
    Expired,
    /// A later version is known.
    #[error("version {known} is known: remove it first to go back")]
    Outdated {
        /// The later one.
        known: Version,
    },
    /// The chain vouches for what is known, and not for this.
    #[error("a verified entry is known: verify this one first")]
    Unverified,
    /// The entry that the listing is for is not there.
    #[error("no such entry: insert it first")]
    Unknown,
    /// All that is kept is worth more.
    #[error("no room for what is not verified")]
    Full,
}

#[derive(Debug)]
struct Document {
    entry: Entry,
    bytes: usize,
    ends: u64,
    age: u64,
}

/// Keys, and the entries that have them.
#[derive(Debug, Default)]
struct Sets(BTreeMap<String, BTreeSet<u64>>);

impl IndexLimits {
    /// For a machine that has a few hundred megabytes to spare when the mesh is large.
    pub const DEFAULT: Self = Self {
        entries_max: 100_000,
        listings_max: 64,
        text_bytes_max: 16 << 10,
        listing_bytes_max: 4 << 10,
        bytes_max: 256 << 20,
    };
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new(limits: IndexLimits) -> Self {
        Self {
            limits,
            documents: BTreeMap::new(),
            ids: BTreeMap::new(),
            postings: Postings::default(),
            interfaces: Sets::default(),
            tags: Sets::default(),
            ages: BTreeSet::new(),
            ends: BTreeSet::new(),
            bytes: 0,
            heard: 0,
        }
    }

    /// Takes an entry with its listings, in the place of the publisher's last one of that name. Listings
    /// that have expired are left out, and those of the last entry go with it.
    ///
    /// # Errors
    /// [`Refusal`]; the index is as before, but for what had to make room.
    pub fn insert(&mut self, mut entry: Entry, now: u64) -> Result<(), Refusal> {
        let bytes = entry.text_bytes();
        let max = self.limits.text_bytes_max;
        if bytes > max {
            return Err(Refusal::EntryTooLarge { bytes, max });
        }
        for listing in std::mem::take(&mut entry.listings) {
            self.check_listing(&listing)?;
            if listing.expires > now {
                entry.list(listing, self.limits.listings_max, now);
            }
        }
        let known = self.id(&entry.service, &entry.publisher);
        if let Some(known) = known.and_then(|id| self.documents.get(&id)) {
            check_succession(known, &entry, now)?;
        }
        let document = Document::new(entry, self.next_age());
        if document.ends <= now {
            return Err(Refusal::Expired);
        }
        let replaced = known.and_then(|id| Some((id, self.detach(id)?)));
        if let Err(full) = self.make_room(1, document.bytes, document.entry.verified, now) {
            if let Some((id, document)) = replaced {
                self.attach(id, document);
            }
            return Err(full);
        }
        self.attach(document.age, document);
        Ok(())
    }

    /// Takes a provider's listing of an entry that is there, in the place of the provider's last one.
    ///
    /// # Errors
    /// [`Refusal`]; the entry is as before.
    pub fn list(
        &mut self,
        service: &Name,
        publisher: &str,
        listing: Listing,
        now: u64,
    ) -> Result<(), Refusal> {
        self.check_listing(&listing)?;
        if listing.expires <= now {
            return Err(Refusal::Expired);
        }
        let id = self.id(service, publisher).ok_or(Refusal::Unknown)?;
        let mut old = self.unhook(id).ok_or(Refusal::Unknown)?;
        let before = old.entry.listings.clone();
        let taken = old.entry.list(listing, self.limits.listings_max, now);
        let result = if taken {
            self.make_room(1, old.entry.bytes(), old.entry.verified, now)
        } else {
            Err(Refusal::Full)
        };
        if result.is_ok() {
            old.age = self.next_age();
        } else {
            old.entry.listings = before;
        }
        self.hook(id, Document::new(old.entry, old.age));
        result
    }

    /// Takes a provider's listing out, and says whether it was there. The entry stays until it expires.
    pub fn unlist(&mut self, service: &Name, publisher: &str, provider: PeerId) -> bool {
        self.change(service, publisher, |entry| {
            let before = entry.listings.len();
            entry.listings.retain(|old| old.provider != provider);
            entry.listings.len() < before
        })
    }

    /// Notes which better known name an entry's name looks like, and says whether the entry is there.
    pub fn note_resemblance(
        &mut self,
        service: &Name,
        publisher: &str,
        resembles: Option<Name>,
    ) -> bool {
        self.change(service, publisher, |entry| {
            entry.resembles = resembles;
            true
        })
    }

    /// Notes what an entry means, and says whether the entry is there.
    pub fn note_meaning(&mut self, service: &Name, publisher: &str, meaning: Vector) -> bool {
        self.change(service, publisher, |entry| {
            entry.meaning = Some(meaning);
            true
        })
    }

    /// Takes an entry out.
    pub fn remove(&mut self, service: &Name, publisher: &str) -> Option<Entry> {
        let id = self.id(service, publisher)?;
        Some(self.detach(id)?.entry)
    }

    /// Drops what has expired at `now`, seconds since the Unix epoch, and says how many entries went. To be
    /// called every minute or so; a search never shows what has expired.
    pub fn expire(&mut self, now: u64) -> usize {
        let before = self.documents.len();
        while let Some(id) = self.first_expired(now) {
            self.detach(id);
        }
        let stale = |document: &&Document| {
            let mut listings = document.entry.listings.iter();
            listings.any(|listing| listing.expires <= now)
        };
        let stale: Vec<_> = self.documents.values().filter(stale).collect();
        let stale: Vec<_> = stale
            .into_iter()
            .map(|it| (it.entry.service.clone(), it.entry.publisher.clone()))
            .collect();
        for (service, publisher) in stale {
            self.change(&service, &publisher, |entry| {
                entry.listings.retain(|listing| listing.expires > now);
                true
            });
        }
        before.saturating_sub(self.documents.len())
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, service: &Name, publisher: &str) -> Option<&Entry> {
        let document = self.documents.get(&self.id(service, publisher)?)?;
        Some(&document.entry)
    }

    /// All entries, the longest known first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.documents.values().map(|document| &document.entry)
    }

    /// Whose entries of a name there are.
    pub fn publishers(&self, service: &Name) -> impl Iterator<Item = &str> {
        let ids = self.ids.get(service);
        ids.into_iter()
            .flatten()
            .map(|(publisher, _)| publisher.as_str())
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The bytes of all entries, as [`IndexLimits::bytes_max`] counts them.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn id(&self, service: &Name, publisher: &str) -> Option<u64> {
        self.ids.get(service)?.get(publisher).copied()
    }

    fn next_age(&mut self) -> u64 {
        self.heard = self.heard.saturating_add(1);
        self.heard
    }

    fn check_listing(&self, listing: &Listing) -> Result<(), Refusal> {
        let (bytes, max) = (listing.bytes(), self.limits.listing_bytes_max);
        if bytes > max {
            return Err(Refusal::ListingTooLarge { bytes, max });
        }
        Ok(())
    }

    fn first_expired(&self, now: u64) -> Option<u64> {
        let (ends, id) = self.ends.first()?;
        (*ends <= now).then_some(*id)
    }

    /// Drops entries until so many more fit. What is not verified never displaces what is.
    fn make_room(
        &mut self,
        entries: usize,
        bytes: usize,
        verified: bool,
        now: u64,
    ) -> Result<(), Refusal> {
        let too_many = |index: &Self| {
            index.ends.len().saturating_add(entries) > index.limits.entries_max
                || index.bytes.saturating_add(bytes) > index.limits.bytes_max
        };
        while too_many(self) {
            let oldest = || self.ages.first().map(|(known, _, id)| (*known, *id));
            let id = match (self.first_expired(now), oldest()) {
                (Some(expired), _) => expired,
                (None, Some((known, id))) if verified || !known => id,
                (None, Some(_) | None) => return Err(Refusal::Full),
            };
            self.detach(id);
        }
        Ok(())
    }

    /// Changes what is neither searched by words nor filtered by keys.
    fn change(
        &mut self,
        service: &Name,
        publisher: &str,
        change: impl FnOnce(&mut Entry) -> bool,
    ) -> bool {
        let Some(id) = self.id(service, publisher) else {
            return false;
        };
        let Some(mut old) = self.unhook(id) else {
            return false;
        };
        let changed = change(&mut old.entry);
        self.hook(id, Document::new(old.entry, old.age));
        changed
    }

    /// Puts an entry into every list.
    fn attach(&mut self, id: u64, document: Document) {
        let entry = &document.entry;
        self.postings.add(id, Analysis::of(entry));
        for key in interface_keys(entry) {
            self.interfaces.add(key, id);
        }
        for tag in &entry.tags {
            self.tags.add(tag.to_lowercase(), id);
        }
        let publishers = self.ids.entry(entry.service.clone()).or_default();
        publishers.insert(entry.publisher.clone(), id);
        self.hook(id, document);
    }

    /// Takes an entry out of every list.
    fn detach(&mut self, id: u64) -> Option<Document> {
        let document = self.unhook(id)?;
        let entry = &document.entry;
        self.postings.remove(id, &Analysis::of(entry));
        for key in interface_keys(entry) {
            self.interfaces.remove(&key, id);
        }
        for tag in &entry.tags {
            self.tags.remove(&tag.to_lowercase(), id);
        }
        if let Some(publishers) = self.ids.get_mut(&entry.service) {
            publishers.remove(&entry.publisher);
            if publishers.is_empty() {
                self.ids.remove(&entry.service);
            }
        }
        Some(document)
    }

    fn hook(&mut self, id: u64, document: Document) {
        self.ages
            .insert((document.entry.verified, document.age, id));
        self.ends.insert((document.ends, id));
        self.bytes = self.bytes.saturating_add(document.bytes);
        self.documents.insert(id, document);
    }

    fn unhook(&mut self, id: u64) -> Option<Document> {
        let document = self.documents.remove(&id)?;
        self.ages
            .remove(&(document.entry.verified, document.age, id));
        self.ends.remove(&(document.ends, id));
        self.bytes = self.bytes.saturating_sub(document.bytes);
        Some(document)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new(IndexLimits::DEFAULT)
    }
}

impl Document {
    fn new(entry: Entry, age: u64) -> Self {
        Self {
            bytes: entry.bytes(),
            ends: entry.ends(),
            entry,
            age,
        }
    }
}

impl Sets {
    fn add(&mut self, key: String, id: u64) {
        self.0.entry(key).or_default().insert(id);
    }

    fn remove(&mut self, key: &str, id: u64) {
        if let Some(ids) = self.0.get_mut(key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn get(&self, key: &str) -> Option<&BTreeSet<u64>> {
        self.0.get(key)
    }
}

/// Whether an entry may take the place of the one that is known.
fn check_succession(known: &Document, entry: &Entry, now: u64) -> Result<(), Refusal> {
    let old = &known.entry;
    if known.ends <= now || (entry.verified && !old.verified) {
        return Ok(());
    }
    if old.verified && !entry.verified {
        return Err(Refusal::Unverified);
    }
    if entry.version < old.version {
        return Err(Refusal::Outdated {
            known: old.version.clone(),
        });
    }
    Ok(())
}

/// What an entry's interfaces are asked for by: as they are, without the version, and by package alone.
fn interface_keys(entry: &Entry) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for interface in &entry.interfaces {
        let versionless = interface.split('@').next().unwrap_or(interface);
        let package = versionless.split('/').next().unwrap_or(versionless);
        keys.extend([interface.as_str(), versionless, package].map(str::to_owned));
    }
    keys
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

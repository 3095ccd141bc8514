//! Properties of the index after any history.
//!
//! Not here: what single queries find.

use proptest::prelude::*;
use rialto_channels::Amount;

use super::*;

const NOW: u64 = 50;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What a random history does.
#[derive(Debug, Clone)]
enum Step {
    Insert(Box<Entry>),
    Remove(Name),
    List(Name, Listing),
    Unlist(Name, u8),
    Expire(u64),
}

fn any_listing() -> impl Strategy<Value = Listing> {
    let region = prop::option::of(prop::sample::select(vec!["eu", "eu-west", "us"]));
    (1u8..4, 0u128..4, region, 40u64..120, any::<bool>()).prop_map(
        |(provider, price, region, expires, verified)| Listing {
            prices: [("embed".parse().unwrap(), Amount::new(price))].into(),
            region: region.map(str::to_owned),
            expires,
            verified,
            ..fixture::listing(provider)
        },
    )
}

fn any_name() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["face", "face-detect", "ocr", "embed"]).prop_map(name)
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let tag = prop::sample::select(vec!["image", "text"]);
    let version = prop::sample::select(vec!["1.0.0", "2.0.0"]);
    let listings = prop::collection::vec(any_listing(), 0..3);
    let text = prop::sample::select(vec!["finds faces", "reads texts, faces", ""]);
    (any_name(), tag, version, listings, text, any::<bool>()).prop_map(
        |(service, tag, version, listings, text, verified)| Entry {
            service,
            tags: [tag.to_owned()].into(),
            version: version.parse().unwrap(),
            listings,
            description: text.into(),
            verified,
            ..fixture::entry("x")
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_entry().prop_map(|entry| Step::Insert(Box::new(entry))),
        1 => any_name().prop_map(Step::Remove),
        3 => (any_name(), any_listing()).prop_map(|(name, listing)| Step::List(name, listing)),
        1 => (any_name(), 1u8..4).prop_map(|(name, provider)| Step::Unlist(name, provider)),
        1 => (40u64..120).prop_map(Step::Expire),
    ]
}

fn play(steps: Vec<Step>, limits: IndexLimits) -> Index {
    let mut index = Index::new(limits);
    for step in steps {
        match step {
            Step::Insert(entry) => drop(index.insert(*entry, NOW)),
            Step::Remove(name) => drop(index.remove(&name, "0xa")),
            Step::List(name, listing) => drop(index.list(&name, "0xa", listing, NOW)),
            Step::Unlist(name, provider) => {
                index.unlist(&name, "0xa", PeerId::from_key([provider; 32]));
            }
            Step::Expire(now) => {
                index.expire(now);
            }
        }
    }
    index
}

/// The filters, one entry at a time.
fn fits(entry: &Entry, query: &Query, now: u64) -> bool {
    let key = |text: &str| {
        query
            .interface
            .as_deref()
            .is_none_or(|it| text.starts_with(it))
    };
    let listing = |it: &Listing| {
        let region = it.region.as_deref().unwrap_or("");
        let cheapest = it.prices.values().min();
        it.expires > now
            && query.price_max.is_none_or(|max| *cheapest.unwrap() <= max)
            && query
                .region
                .as_deref()
                .is_none_or(|wanted| region == wanted || region.starts_with(&format!("{wanted}-")))
    };
    query.name.as_ref().is_none_or(|it| *it == entry.service)
        && query.tag.as_ref().is_none_or(|it| entry.tags.contains(it))
        && entry.interfaces.iter().any(|it| key(it))
        && entry.listings.iter().any(listing)
}

proptest! {
    #[test]
    fn filters_equal_a_scan(
        steps in prop::collection::vec(any_step(), 0..30),
        name in prop::option::of(any_name()),
        tag in prop::option::of(prop::sample::select(vec!["image", "text", "none"])),
        region in prop::option::of(prop::sample::select(vec!["eu", "us", "asia"])),
        price_max in prop::option::of(0u128..4),
        now in 40u64..120,
    ) {
        let index = play(steps, IndexLimits::DEFAULT);
        let query = Query {
            name,
            tag: tag.map(str::to_owned),
            region: region.map(str::to_owned),
            price_max: price_max.map(Amount::new),
            interface: Some("rialto:embed/api".into()),
            ..Query::default()
        };
        let hits = index.search(&query, now);
        let mut found: Vec<&Name> = hits.iter().map(|hit| &hit.entry.service).collect();
        found.sort();
        let all = index.documents.values().map(|document| &document.entry);
        let mut wanted: Vec<&Name> =
            all.filter(|it| fits(it, &query, now)).map(|it| &it.service).collect();
        wanted.sort();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn nothing_leaks(steps in prop::collection::vec(any_step(), 0..40), entries_max in 1usize..4) {
        let mut index = play(steps, IndexLimits { entries_max, ..IndexLimits::DEFAULT });
        prop_assert!(index.len() <= entries_max);
        let bytes: usize = index.documents.values().map(|it| it.entry.bytes()).sum();
        prop_assert_eq!(index.bytes(), bytes);
        prop_assert_eq!(index.ages.len(), index.len());
        prop_assert_eq!(index.ends.len(), index.len());
        // The inverted index is that of what is left, and no more.
        let mut fresh = Postings::default();
        for (id, document) in &index.documents {
            fresh.add(*id, Analysis::of(&document.entry));
        }
        prop_assert_eq!(index.postings.dump(), fresh.dump());
        index.expire(u64::MAX);
        prop_assert!(index.is_empty() && index.ids.is_empty() && index.postings.is_empty());
        prop_assert!(index.interfaces.0.is_empty() && index.tags.0.is_empty());
        prop_assert!(index.ages.is_empty() && index.ends.is_empty() && index.bytes() == 0);
    }

    #[test]
    fn any_text_is_a_query(text in any::<String>(), tag in any::<String>(), more in ".{0,2000}") {
        let mut index = Index::default();
        let described = Entry {
            description: text.clone(),
            ..fixture::bare("any")
        };
        index.insert(described, NOW).unwrap();
        let query = Query {
            tag: Some(tag.clone()),
            interface: Some(tag),
            region: Some(more.clone()),
            hardware: Some(text.clone()),
            ..Query::text(&more)
        };
        prop_assert!(index.search(&query, NOW).is_empty());
        for text in [&text, &more] {
            prop_assert!(index.search(&Query::text(text), NOW).len() <= 1);
        }
    }

    #[test]
    fn order_of_arrival_does_not_matter(entries in prop::collection::vec(any_entry(), 0..6)) {
        let shown = |entries: &mut dyn Iterator<Item = &Entry>| {
            let mut index = Index::default();
            for entry in entries {
                let mut entry = entry.clone();
                // One publisher an entry, so that none replaces another.
                entry.publisher = format!("{entry:?}");
                let _ = index.insert(entry, 0);
            }
            let hits = index.search(&Query::text("find faces"), NOW);
            hits.into_iter().map(|hit| hit.entry.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(shown(&mut entries.iter()), shown(&mut entries.iter().rev()));
    }
}

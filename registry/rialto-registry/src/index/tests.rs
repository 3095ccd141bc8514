use rialto_channels::Amount;

use super::*;

const NOW: u64 = 50;

fn limits(entries_max: usize) -> IndexLimits {
    IndexLimits {
        entries_max,
        ..IndexLimits::DEFAULT
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn index(entries: impl IntoIterator<Item = Entry>) -> Index {
    let mut index = Index::default();
    for entry in entries {
        index.insert(entry, NOW).unwrap();
    }
    index
}

fn names<'a>(hits: &'a [Hit<'_>]) -> Vec<&'a str> {
    hits.iter().map(|hit| hit.entry.service.as_str()).collect()
}

fn changed(service: &str, change: impl FnOnce(&mut Entry)) -> Entry {
    let mut entry = fixture::entry(service);
    change(&mut entry);
    entry
}

fn described(service: &str, description: &str) -> Entry {
    Entry {
        description: description.into(),
        ..fixture::bare(service)
    }
}

#[test]
fn words_find_what_is_meant() {
    let index = index([
        described("face-detect", "Finds the faces of people in a picture."),
        described("ocr", "Reads text in a picture, but not in a face."),
        described("translate", "Translates text."),
    ]);
    let check = |text: &str, expected: &[&str]| {
        let hits = index.search(&Query::text(text), NOW);
        assert_eq!(names(&hits), expected, "{text:?}");
    };
    check("find faces", &["face-detect", "ocr"]);
    check("translation of texts", &["translate", "ocr"]);
    check("facedet", &["face-detect"]);
    check("the", &[]);
    check("!?", &[]);
    check("", &["face-detect", "ocr", "translate"]);
    let hits = index.search(&Query::text("faces"), NOW);
    let fields: Vec<Field> = hits[0].fields.iter().collect();
    assert_eq!(fields, [Field::Name, Field::Description]);
    assert_eq!(hits[0].nearness_permille, None);
    assert_eq!(hits[0].flags, Flags::default());
}

#[test]
fn filters_narrow() {
    let far = changed("far", |entry| {
        entry.interfaces = ["rialto:embed/api@0.2.0".into()].into();
        entry.tags = ["Image".into()].into();
        let listing = &mut entry.listings[0];
        listing.region = Some("eu-west".into());
        listing.hardware = vec!["NVIDIA H100 80GB".into()];
        let prices = [("embed", 500), ("count", 1)];
        listing.prices = prices
            .map(|(method, price)| (method.parse().unwrap(), Amount::new(price)))
            .into();
    });
    let index = index([fixture::entry("near"), far]);
    let check = |query: Query, expected: &[&str]| {
        let hits = index.search(&query, NOW);
        assert_eq!(names(&hits), expected, "{query:?}");
        assert!(hits.iter().all(|hit| hit.listings.len() == 1));
    };
    let of = |change: &dyn Fn(&mut Query)| {
        let mut query = Query::default();
        change(&mut query);
        query
    };
    let interface = |text: &str| of(&|it| it.interface = Some(text.into()));
    check(interface("rialto:embed/api@0.2.0"), &["far"]);
    check(interface("rialto:embed/api"), &["far", "near"]);
    check(interface("rialto:embed"), &["far", "near"]);
    check(interface("rialto:emb"), &[]);
    check(of(&|it| it.name = Some(name("near"))), &["near"]);
    check(of(&|it| it.name = Some(name("nea"))), &[]);
    check(of(&|it| it.tag = Some("image".into())), &["far"]);
    let region = |text: &str| of(&|it| it.region = Some(text.into()));
    check(region("EU"), &["far"]);
    check(region("eu-west"), &["far"]);
    check(region("e"), &[]);
    check(of(&|it| it.hardware = Some("h100".into())), &["far"]);
    let price = |max: u128| of(&|it| it.price_max = Some(Amount::new(max)));
    check(price(0), &[]);
    check(price(1), &["far"]);
    check(price(100), &["far", "near"]);
    let embed = |max: u128| {
        of(&|it| {
            it.price_max = Some(Amount::new(max));
            it.method = Some("embed".parse().unwrap());
        })
    };
    check(embed(99), &[]);
    check(embed(100), &["near"]);
    check(embed(500), &["near", "far"]);
    check(of(&|it| it.method = Some("gone".parse().unwrap())), &[]);
    check(of(&|it| it.limit = 1), &["far"]);
    check(of(&|it| it.limit = 0), &[]);
}

#[test]
fn one_listing_must_fit_in_every_way() {
    let split = changed("split", |entry| {
        let cheap = Listing {
            prices: [("embed".parse().unwrap(), Amount::new(1))].into(),
            ..fixture::listing(1)
        };
        let near = Listing {
            region: Some("eu".into()),
            ..fixture::listing(2)
        };
        entry.listings = vec![cheap, near];
    });
    let index = index([split]);
    let mut query = Query {
        region: Some("eu".into()),
        ..Query::default()
    };
    let hits = index.search(&query, NOW);
    let providers: Vec<_> = hits[0].listings.iter().map(|it| it.provider).collect();
    assert_eq!(providers, [PeerId::from_key([2; 32])]);
    query.price_max = Some(Amount::new(1));
    assert!(index.search(&query, NOW).is_empty());
}

#[test]
fn listings_come_best_first() {
    let listing = |provider, verified, reputation_permille, load_permille| Listing {
        verified,
        reputation_permille,
        load_permille,
        ..fixture::listing(provider)
    };
    let index = index([changed("embed", |entry| {
        entry.listings = vec![
            listing(1, false, 900, 0),
            listing(2, true, 500, 900),
            listing(3, true, 500, 100),
            listing(4, true, 800, 900),
        ];
    })]);
    let hits = index.search(&Query::default(), NOW);
    let order = hits[0].listings.iter().map(|it| it.provider.key()[0]);
    assert_eq!(order.collect::<Vec<_>>(), [4, 3, 2, 1]);
}

#[test]
fn what_needs_care_comes_last_and_says_so() {
    let index = index([
        changed("embed-old", |it| it.deprecated = Some("use embed".into())),
        changed("embed-unknown", |it| it.verified = false),
        changed("embed-official", |it| it.resembles = Some(name("embed"))),
        described(
            "plain",
            "can embed, too, at the very end of a rather long text",
        ),
    ]);
    let hits = index.search(&Query::text("embed"), NOW);
    assert_eq!(hits.len(), 4);
    assert_eq!(names(&hits)[0], "plain");
    assert!(!hits[0].flags.any());
    let flags = |service: &str| {
        let hit = hits
            .iter()
            .find(|hit| hit.entry.service.as_str() == service);
        hit.unwrap().flags
    };
    assert!(flags("embed-old").deprecated && !flags("embed-old").unverified);
    assert!(flags("embed-unknown").unverified && !flags("embed-unknown").look_alike);
    assert!(flags("embed-official").look_alike && !flags("embed-official").deprecated);
}

#[test]
fn ties_are_broken_by_reputation_price_and_name() {
    let of = |service: &str, reputation_permille: u16, price: u128| {
        changed(service, |entry| {
            let listing = &mut entry.listings[0];
            listing.reputation_permille = reputation_permille;
            listing.prices = [("embed".parse().unwrap(), Amount::new(price))].into();
        })
    };
    let index = index([
        of("d", 500, 100),
        of("c", 500, 100),
        of("b", 500, 99),
        of("e", 501, 900),
    ]);
    for text in ["", "vectors", "embed"] {
        let hits = index.search(&Query::text(text), NOW);
        assert_eq!(names(&hits), ["e", "b", "c", "d"], "{text:?}");
    }
}

#[test]
fn meanings_and_words_are_merged() {
    let vector = |components: [i8; 3]| Some(Vector::new(components.to_vec()).unwrap());
    let of = |service: &str, text: &str, meaning: [i8; 3]| Entry {
        meaning: vector(meaning),
        ..described(service, text)
    };
    let index = index([
        of("both", "find faces", [120, 40, 0]),
        of("meaning", "locate heads", [127, 0, 0]),
        of("word", "faces of dice", [0, 127, 0]),
        of("neither", "weather", [0, 0, 127]),
        described("mute", "no vector"),
    ]);
    let query = Query {
        semantic: vector([127, 0, 0]),
        ..Query::text("faces")
    };
    let hits = index.search(&query, NOW);
    assert_eq!(names(&hits)[0], "both");
    assert_eq!(hits.len(), 3, "{:?}", names(&hits));
    let by_name = |service: &str| {
        let mut hits = hits.iter();
        hits.find(|hit| hit.entry.service.as_str() == service)
            .unwrap()
    };
    assert_eq!(by_name("meaning").nearness_permille, Some(1_000));
    assert!(by_name("meaning").fields.is_empty());
    assert_eq!(by_name("word").nearness_permille, None);
    assert!(by_name("word").fields.contains(Field::Description));
    assert!(by_name("both").nearness_permille.is_some() && !by_name("both").fields.is_empty());
}

#[test]
fn what_has_expired_is_not_shown_and_goes() {
    let mut index = index([
        fixture::entry("offered"),
        changed("described", |it| it.expires = 200),
        changed("half", |it| {
            let later = Listing {
                expires: 300,
                ..fixture::listing(2)
            };
            it.listings.push(later);
        }),
    ]);
    let shown = |index: &Index, unoffered: bool, now: u64| {
        let query = Query {
            unoffered,
            ..Query::default()
        };
        names(&index.search(&query, now)).join(" ")
    };
    assert_eq!(shown(&index, false, 99), "described half offered");
    assert_eq!(shown(&index, false, 100), "half");
    assert_eq!(shown(&index, true, 100), "half described");
    assert_eq!(index.expire(99), 0);
    assert_eq!(index.expire(100), 1);
    assert!(index.get(&name("offered"), "0xa").is_none());
    assert_eq!(index.get(&name("half"), "0xa").unwrap().listings.len(), 1);
    assert_eq!(index.get(&name("described"), "0xa").unwrap().listings, []);
    assert_eq!(index.expire(300), 2);
    assert!(index.is_empty() && index.bytes() == 0 && index.postings.is_empty());
    assert_eq!(
        index.insert(fixture::entry("late"), 100),
        Err(Refusal::Expired)
    );
}

#[test]
fn who_is_dropped_when_it_is_full() {
    let mut index = Index::new(limits(3));
    let unverified = |service: &str| changed(service, |it| it.verified = false);
    index.insert(fixture::entry("verified-1"), NOW).unwrap();
    index.insert(unverified("stranger-1"), NOW).unwrap();
    index.insert(unverified("stranger-2"), NOW).unwrap();
    // What is heard of again is young again.
    let listing = fixture::listing(1);
    index
        .list(&name("stranger-1"), "0xa", listing, NOW)
        .unwrap();
    index.insert(unverified("stranger-3"), NOW).unwrap();
    let kept = |index: &Index| {
        let names: Vec<&str> = index.ids.keys().map(Name::as_str).collect();
        names.join(" ")
    };
    assert_eq!(kept(&index), "stranger-1 stranger-3 verified-1");
    index.insert(fixture::entry("verified-2"), NOW).unwrap();
    index.insert(fixture::entry("verified-3"), NOW).unwrap();
    assert_eq!(kept(&index), "verified-1 verified-2 verified-3");
    assert_eq!(
        index.insert(unverified("stranger-4"), NOW),
        Err(Refusal::Full)
    );
    assert_eq!(kept(&index), "verified-1 verified-2 verified-3");
    let lasting = changed("verified-4", |it| it.expires = 500);
    index.insert(lasting, NOW).unwrap();
    assert_eq!(kept(&index), "verified-2 verified-3 verified-4");
    // The expired go first, and even a stranger may have their place.
    let stranger = changed("stranger-5", |it| {
        it.verified = false;
        it.expires = 500;
    });
    index.insert(stranger, 100).unwrap();
    assert_eq!(kept(&index), "stranger-5 verified-3 verified-4");
}

#[test]
fn bytes_are_bounded() {
    let one = fixture::entry("embed").bytes();
    let mut index = Index::new(IndexLimits {
        bytes_max: one * 2 + one / 2,
        text_bytes_max: one,
        listing_bytes_max: 250,
        ..IndexLimits::DEFAULT
    });
    for service in ["aaaaa", "bbbbb", "ccccc"] {
        index.insert(fixture::entry(service), NOW).unwrap();
    }
    assert_eq!(index.len(), 2);
    assert!(index.get(&name("aaaaa"), "0xa").is_none());
    let long = changed("ddddd", |it| it.description = "x".repeat(one));
    let refused = index.insert(long, NOW).unwrap_err();
    assert!(matches!(refused, Refusal::EntryTooLarge { .. }));
    let wide = Listing {
        hardware: vec!["x".repeat(200)],
        ..fixture::listing(2)
    };
    let refused = index.list(&name("ccccc"), "0xa", wide, NOW).unwrap_err();
    assert!(matches!(refused, Refusal::ListingTooLarge { .. }));
    // A listing more makes room by dropping another entry, never its own.
    for provider in 2..5 {
        let listing = fixture::listing(provider);
        index.list(&name("bbbbb"), "0xa", listing, NOW).unwrap();
    }
    assert_eq!(index.len(), 1);
    assert_eq!(
        index.bytes(),
        index.get(&name("bbbbb"), "0xa").unwrap().bytes()
    );
    let full = (5..99).find_map(|provider| {
        let listing = fixture::listing(provider);
        index.list(&name("bbbbb"), "0xa", listing, NOW).err()
    });
    assert_eq!(full, Some(Refusal::Full));
    assert!(index.bytes() <= one * 2 + one / 2 && index.len() == 1);
}

#[test]
fn later_and_verified_entries_replace() {
    let of = |version: &str, verified: bool| {
        changed("embed", |it| {
            it.version = version.parse().unwrap();
            it.verified = verified;
        })
    };
    let mut index = index([of("1.1.0", false)]);
    let outdated = |version: &str| Refusal::Outdated {
        known: version.parse().unwrap(),
    };
    assert_eq!(
        index.insert(of("1.0.9", false), NOW),
        Err(outdated("1.1.0"))
    );
    assert_eq!(index.insert(of("1.0.9", true), NOW), Ok(()));
    assert_eq!(
        index.insert(of("2.0.0", false), NOW),
        Err(Refusal::Unverified)
    );
    assert_eq!(index.insert(of("1.2.0", true), NOW), Ok(()));
    assert_eq!(index.insert(of("1.1.0", true), NOW), Err(outdated("1.2.0")));
    assert_eq!(index.len(), 1);
    // Another publisher's entry of that name is another entry.
    let other = changed("embed", |it| {
        it.publisher = "0xb".into();
        it.verified = false;
    });
    assert_eq!(index.insert(other, NOW), Ok(()));
    assert_eq!(index.len(), 2);
    assert!(index.remove(&name("embed"), "0xa").is_some());
    assert!(index.remove(&name("embed"), "0xa").is_none());
    assert!(index.get(&name("embed"), "0xb").is_some());
}

#[test]
fn single_listings_come_and_go() {
    let mut index = index([fixture::entry("embed")]);
    let embed = name("embed");
    let other = name("other");
    let two = PeerId::from_key([2; 32]);
    let ended = Listing {
        expires: NOW,
        ..fixture::listing(2)
    };
    assert_eq!(index.list(&embed, "0xa", ended, NOW), Err(Refusal::Expired));
    let listing = || fixture::listing(2);
    assert_eq!(
        index.list(&other, "0xa", listing(), NOW),
        Err(Refusal::Unknown)
    );
    assert_eq!(index.list(&embed, "0xa", listing(), NOW), Ok(()));
    assert_eq!(index.search(&Query::default(), NOW)[0].listings.len(), 2);
    assert!(index.unlist(&embed, "0xa", two));
    assert!(!index.unlist(&embed, "0xa", two));
    assert!(!index.unlist(&other, "0xa", two));
    assert_eq!(index.search(&Query::default(), NOW)[0].listings.len(), 1);
    assert!(index.note_resemblance(&embed, "0xa", Some(other.clone())));
    assert!(index.search(&Query::default(), NOW)[0].flags.look_alike);
    assert!(!index.note_resemblance(&other, "0xa", None));
}

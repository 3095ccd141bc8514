//! Entries for tests.

use rialto_channels::Amount;

use super::{Entry, Listing};
use crate::PeerId;

/// A verified entry with one listing that ends at 100.
pub(crate) fn entry(service: &str) -> Entry {
    Entry {
        title: "Turns text into vectors".into(),
        description: "Embeds sentences, so that near meanings are near.".into(),
        methods: [("embed".parse().unwrap(), "Embeds one text.".into())].into(),
        interfaces: ["rialto:embed/api@0.1.0".into()].into(),
        tags: ["text".into()].into(),
        ..bare(service)
    }
}

/// A verified entry that says nothing but its name, with one listing that ends at 100.
pub(crate) fn bare(service: &str) -> Entry {
    Entry {
        service: service.parse().unwrap(),
        publisher: "0xa".into(),
        title: String::new(),
        description: String::new(),
        methods: [].into(),
        interfaces: [].into(),
        tags: [].into(),
        licence: "Apache-2.0".into(),
        version: "1.0.0".parse().unwrap(),
        deprecated: None,
        verified: true,
        resembles: None,
        expires: 0,
        meaning: None,
        listings: vec![listing(1)],
    }
}

/// A listing that ends at 100.
pub(crate) fn listing(provider: u8) -> Listing {
    Listing {
        provider: PeerId::from_key([provider; 32]),
        prices: [("embed".parse().unwrap(), Amount::new(100))].into(),
        region: None,
        hardware: Vec::new(),
        load_permille: 0,
        expires: 100,
        reputation_permille: 500,
        verified: true,
    }
}

//! What fuzz targets call: manifests and registration files that anyone may publish, outlines that peers
//! give, addresses, and what is signed, with the properties that must hold for all that are accepted. A
//! broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: TOML (the
//! caller brings the decoder, as the node does) and the loop that makes inputs (`fuzz/`).

mod signed;

use std::str;

use crate::registration::{SERVICES_MAX, WORD_BYTES_MAX};
use crate::{
    Digest, Limits, Manifest, MethodName, Name, Outline, RawManifest, Registration, Source, outline,
};
pub use signed::{offer, sealed, signed_manifest};

/// A manifest's text: refused with reasons, or correct by construction.
pub fn manifest(data: &[u8], decode: impl Fn(&str) -> Option<RawManifest>) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Some(raw) = decode(text) else {
        return;
    };
    match Manifest::try_from(raw) {
        Ok(manifest) => check(&manifest),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

/// A registration file, or a URI that holds one: refused, or within its bounds, and read again as it was read.
pub fn registration(data: &[u8]) {
    let read = match str::from_utf8(data) {
        Ok(uri) if uri.starts_with("data:") => Registration::from_data_uri(uri),
        Ok(_) | Err(_) => Registration::read(data),
    };
    let Ok(read) = read else {
        return;
    };
    assert!(read.name.len() <= WORD_BYTES_MAX && read.services.len() <= SERVICES_MAX);
    assert!(!read.name.chars().any(|c| c.is_control() && c != '\n'));
    match Registration::read(read.to_value().to_string().as_bytes()) {
        Ok(again) => assert_eq!(again, read),
        Err(error) => panic!("what was read cannot be read again: {error}"),
    }
}

fn check(manifest: &Manifest) {
    assert_eq!(
        manifest.name().as_str().parse::<Name>().as_ref(),
        Ok(manifest.name())
    );
    let version = manifest.version().to_string();
    assert_eq!(version.parse().ok().as_ref(), Some(manifest.version()));
    for line in [manifest.description(), manifest.license()] {
        assert!(!line.trim().is_empty() && line.len() <= 1_000);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let bounds = manifest.limits().bounds();
    for (method, price) in manifest.prices() {
        assert_eq!(method.as_str().parse::<MethodName>().as_ref(), Ok(method));
        assert_eq!(manifest.price(method), Some(price));
        // Every call within the limits can be quoted, and more input never costs less.
        let most = price.ceiling(manifest.limits().input_bytes_max, &bounds);
        let least = price.ceiling(0, &bounds);
        assert!(matches!((least, most), (Ok(least), Ok(most)) if least <= most));
    }
    if let Some(royalty) = manifest.royalty() {
        assert!(!royalty.publisher.is_zero());
    }
    for model in manifest.models() {
        assert_eq!(manifest.model(model.name.as_str()), Some(model));
        assert_eq!(
            model.digest.to_string().parse::<Digest>().as_ref(),
            Ok(&model.digest)
        );
        source(model.source.as_ref());
    }
    assert!(manifest.models().is_empty() || manifest.grants().tensor);
    for ((_, limit), (_, cap)) in manifest.limits().all().zip(Limits::CAP.all()) {
        assert!((1..=cap).contains(&limit));
    }
}

/// A peer's outline: refused, or one that says the same when it is written again and has a place for
/// each of its chunks and no other.
pub fn outline(data: &[u8]) {
    let Ok(outline) = Outline::decode(data) else {
        return;
    };
    assert_eq!(outline.encode(), data);
    assert!(data.len() <= outline::ENCODED_BYTES_MAX && outline.bytes() <= outline::BYTES_MAX);
    let places = (0..).map_while(|index| outline.place(index));
    let (count, bytes) = places.fold((0_usize, 0_u64), |(count, bytes), (start, length)| {
        assert!(start == bytes && (1..=outline::CHUNK_BYTES).contains(&length));
        (count.saturating_add(1), bytes.saturating_add(length))
    });
    assert_eq!((count, bytes), (outline.chunks().len(), outline.bytes()));
}

/// An address: refused with a reason, or one that reads back.
pub fn address(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match text.parse::<Source>() {
        Ok(found) => source(Some(&found)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn source(source: Option<&Source>) {
    match source {
        Some(Source::Wheel(wheel)) => {
            assert!(!wheel.requirement().starts_with('-'));
            assert!(wheel.path().split('/').all(|part| part != ".."));
        }
        Some(found @ (Source::Url(_) | Source::Oci(_) | Source::Object(_) | Source::Hub(_))) => {
            assert_eq!(found.to_string().parse::<Source>().as_ref(), Ok(found));
        }
        Some(Source::File(path)) => assert!(!path.as_os_str().is_empty()),
        None => {}
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_are_refused_or_read_back() {
        replay::seeds("outline", outline);
    }

    #[test]
    fn addresses_are_refused_or_read_back() {
        replay::seeds("source", address);
    }

    #[test]
    fn manifests_are_refused_or_correct() {
        replay::seeds("manifest", |data| {
            manifest(data, |text| toml::from_str(text).ok());
        });
    }

    #[test]
    fn registrations_are_refused_or_within_bounds() {
        replay::seeds("registration", registration);
    }
}

//! Files from strangers: random bytes, damaged real headers, huge counts. All are refused with a
//! reason or load; none panics or takes memory out of proportion.

use bytes::Bytes;
use proptest::prelude::*;
use rialto_lm::{
    Budget, LoadError, Model,
    gguf::{File, GgufError, Limits},
};

use crate::sample;

fn parse(bytes: &[u8]) -> Result<File, GgufError> {
    File::parse(&Bytes::copy_from_slice(bytes), &Limits::default())
}

fn header(version: u32, tensors: u64, entries: u64) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes
}

fn key(bytes: &mut Vec<u8>, key: &str, kind: u32) {
    bytes.extend(u64::try_from(key.len()).unwrap().to_le_bytes());
    bytes.extend(key.as_bytes());
    bytes.extend(kind.to_le_bytes());
}

fn tensor(bytes: &mut Vec<u8>, name: &str, extents: &[u64], kind: u32, offset: u64) {
    bytes.extend(u64::try_from(name.len()).unwrap().to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(u32::try_from(extents.len()).unwrap().to_le_bytes());
    extents
        .iter()
        .for_each(|extent| bytes.extend(extent.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
}

fn check(bytes: &[u8], reason: &str) {
    let found = parse(bytes).unwrap_err().to_string();
    assert!(found.contains(reason), "{found:?} does not say {reason:?}");
}

#[test]
fn headers_with_impossible_numbers_are_refused_with_the_reason() {
    check(b"", "ends inside magic");
    check(b"GGML\x03\0\0\0", "does not start");
    check(&header(1, 0, 0), "version 1");
    check(&header(0x0300_0000, 0, 0), "version 50331648");
    check(&header(3, u64::MAX, 0), "tensors: 18446744073709551615");
    check(&header(3, 0, u64::MAX), "metadata entries");
    check(&header(3, 5, 0), "ends inside a tensor's name");
    let mut long = header(3, 0, 1);
    long.extend(u64::MAX.to_le_bytes());
    check(&long, "a metadata key: 18446744073709551615");
}

#[test]
fn values_that_cannot_be_are_refused_with_the_reason() {
    let with = |kind: u32, rest: &[&[u8]]| {
        let mut bytes = header(3, 0, 1);
        key(&mut bytes, "a", kind);
        rest.iter().for_each(|part| bytes.extend(*part));
        bytes
    };
    check(&with(99, &[]), "value type 99");
    check(
        &with(9, &[&9_u32.to_le_bytes(), &1_u64.to_le_bytes()]),
        "value type 9, which is unknown or nested",
    );
    check(
        &with(9, &[&0_u32.to_le_bytes(), &u64::MAX.to_le_bytes()]),
        "items of an array",
    );
    check(
        &with(9, &[&10_u32.to_le_bytes(), &1_000_000_u64.to_le_bytes()]),
        "ends inside an array",
    );
    check(&with(8, &[&u64::MAX.to_le_bytes()]), "a metadata string");
    check(&with(7, &[&[2]]), "truth value is 2");
    let mut twice = header(3, 0, 2);
    for _ in 0..2 {
        key(&mut twice, "a", 7);
        twice.push(1);
    }
    check(&twice, "`a` occurs twice");
    let mut alignment = header(3, 0, 1);
    key(&mut alignment, "general.alignment", 4);
    alignment.extend(24_u32.to_le_bytes());
    check(&alignment, "no power of two");
}

#[test]
fn tensors_that_cannot_be_are_refused_with_the_reason() {
    let with = |list: &[(&str, &[u64], u32, u64)]| {
        let mut bytes = header(3, u64::try_from(list.len()).unwrap(), 0);
        list.iter()
            .for_each(|(name, extents, kind, at)| tensor(&mut bytes, name, extents, *kind, *at));
        bytes.resize(bytes.len().next_multiple_of(32) + 128, 0);
        bytes
    };
    assert!(parse(&with(&[("a", &[16], 0, 0), ("b", &[16], 0, 64)])).is_ok());
    check(
        &with(&[("a", &[16], 0, 0), ("b", &[16], 0, 32)]),
        "lies over another",
    );
    check(&with(&[("a", &[16], 0, 16)]), "not aligned");
    check(&with(&[("a", &[33], 0, 0)]), "after the file");
    check(&with(&[("a", &[16], 0, u64::MAX - 31)]), "after the file");
    check(&with(&[("a", &[0], 0, 0)]), "empty");
    check(&with(&[("a", &[], 0, 0)]), "1 to 4 axes");
    check(&with(&[("a", &[1, 1, 1, 1, 1], 0, 0)]), "1 to 4 axes");
    check(&with(&[("a", &[31], 2, 0)]), "whole blocks");
    check(
        &with(&[("a", &[1 << 22, 1 << 22, 1 << 22, 1 << 22], 0, 0)]),
        "address space",
    );
    check(&with(&[("a", &[16], 4, 0)]), "element type 4");
    check(
        &with(&[("a", &[8], 0, 0), ("a", &[8], 0, 32)]),
        "occurs twice",
    );
}

#[test]
fn the_sample_loads_and_every_shorter_file_is_refused() {
    let file = sample::file();
    let load = |bytes: &[u8]| {
        Model::load(
            &Bytes::copy_from_slice(bytes),
            &Limits::default(),
            &Budget::new(1 << 26),
        )
    };
    load(&file).unwrap();
    for length in (0..file.len()).step_by(61) {
        load(&file[..length]).unwrap_err();
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_and_nothing_is_kept() {
    let file = Bytes::from(sample::file());
    let roomy = Budget::new(1 << 26);
    let model = Model::load(&file, &Limits::default(), &roomy).unwrap();
    let needed = roomy.used();
    assert!(needed > u64::try_from(model.weights_bytes()).unwrap());
    drop(model);
    assert_eq!(roomy.used(), 0);
    for bytes_max in [0, needed / 2, needed - 1] {
        let tight = Budget::new(bytes_max);
        let error = Model::load(&file, &Limits::default(), &tight).unwrap_err();
        assert!(matches!(error, LoadError::OutOfMemory { .. }), "{error}");
        assert_eq!(tight.used(), 0);
    }
    Model::load(&file, &Limits::default(), &Budget::new(needed)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), version in 2_u32..4, counts in any::<(u8, u8)>()) {
        let _ = parse(&bytes);
        let mut file = header(version, u64::from(counts.0), u64::from(counts.1));
        file.extend(&bytes);
        let _ = parse(&file);
    }

    #[test]
    fn damaged_models_load_or_are_refused(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), in_header: bool) {
        let mut file = sample::file();
        let length = if in_header { sample::header_bytes().min(file.len()) } else { file.len() };
        for (at, byte) in damage {
            let at = at.index(length);
            file[at] = byte;
        }
        if let Ok(model) = Model::load(&Bytes::from(file), &Limits::default(), &Budget::new(1 << 26)) {
            sample::try_out(model);
        }
    }
}

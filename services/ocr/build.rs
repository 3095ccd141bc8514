//! Takes the characters that the recognising model knows out of the model's file, so that a fresh
//! instance parses nothing.
//!
//! An ONNX file is a protobuf message; its metadata are pairs of texts in field 14.

use std::fmt::Write as _;

#[path = "../build/assets.rs"]
mod assets;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../build/assets.rs");
    let model = assets::read("rapidocr/recognise.onnx");
    let list = fields(&model)
        .filter(|(number, _)| *number == METADATA)
        .map(|(_, pair)| (text(pair, 1), text(pair, 2)))
        .find(|(key, _)| key == "character")
        .map(|(_, value)| value)
        .expect("the model names its characters");
    let mut out = String::from("[\n");
    let mut count = 0;
    for line in list.lines() {
        let mut characters = line.chars();
        let (Some(character), None) = (characters.next(), characters.next()) else {
            panic!("{line:?} is not one character");
        };
        writeln!(out, "    {character:?},").expect("a string takes everything");
        count += 1;
    }
    // The output's width: a blank before all, a space after all.
    assert_eq!(count + 2, 6_625, "another model is installed");
    out.push(']');
    std::fs::write(assets::out("characters.rs"), out).expect("OUT_DIR is writable");
}

/// `ModelProto.metadata_props`.
const METADATA: u64 = 14;

/// The fields of a message that hold bytes; others are passed over.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        while !message.is_empty() {
            let tag = varint(&mut message);
            match tag & 7 {
                0 => drop(varint(&mut message)),
                1 => drop(take(&mut message, 8)),
                2 => {
                    let length = usize::try_from(varint(&mut message)).expect("a length");
                    return Some((tag >> 3, take(&mut message, length)));
                }
                5 => drop(take(&mut message, 4)),
                kind => panic!("no protobuf: wire type {kind}"),
            }
        }
        None
    })
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(message, 1) else {
            panic!("a byte");
        };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at_checked(length).expect("the file is cut");
    *message = rest;
    taken
}

fn text(pair: &[u8], field: u64) -> String {
    fields(pair)
        .find(|(number, _)| *number == field)
        .map(|(_, bytes)| String::from_utf8(bytes.to_vec()).expect("text"))
        .unwrap_or_default()
}

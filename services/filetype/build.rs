//! Turns the model's configuration and the table of content types into static Rust tables, so that a
//! fresh instance parses nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

#[path = "../build/assets.rs"]
mod assets;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../build/assets.rs");
    let config = parse("magika/config.min.json");
    let types = parse("magika/content_types_kb.min.json");
    let types: BTreeMap<&str, &Value> = types
        .as_object()
        .expect("the content types are an object")
        .iter()
        .map(|(label, value)| (label.as_str(), value))
        .collect();
    let index = |label: &str| {
        types
            .keys()
            .position(|known| *known == label)
            .unwrap_or_else(|| panic!("no content type is called `{label}`"))
    };
    check(&config);

    let mut out = String::new();
    constants(&mut out, &config);
    for label in ["empty", "txt", "unknown"] {
        writeln!(
            out,
            "/// The content type `{label}`.\npub const {}: &ContentType = &CONTENT_TYPES[{}];",
            label.to_uppercase(),
            index(label)
        )
        .expect("a string takes everything");
    }
    content_types(&mut out, &types);
    outputs(&mut out, &config, &index);
    std::fs::write(assets::out("tables.rs"), out).expect("OUT_DIR is writable");
}

fn parse(name: &str) -> Value {
    serde_json::from_slice(&assets::read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Features that this model does not use and the service does not implement.
fn check(config: &Value) {
    assert_eq!(config["mid_size"], 0, "this model reads no middle part");
    assert_eq!(config["use_inputs_at_offsets"], false, "nor fixed offsets");
}

fn constants(out: &mut String, config: &Value) {
    for (key, name, docs) in [
        (
            "beg_size",
            "BEG_SIZE",
            "Bytes of the beginning that the model sees.",
        ),
        (
            "end_size",
            "END_SIZE",
            "Bytes of the end that the model sees.",
        ),
        (
            "block_size",
            "BLOCK_SIZE",
            "Bytes read from each end, before white space is stripped.",
        ),
        (
            "min_file_size_for_dl",
            "MIN_SIZE",
            "Bytes below which the model is not asked.",
        ),
    ] {
        let value = config[key].as_u64().expect(key);
        writeln!(out, "/// {docs}\npub const {name}: usize = {value};")
            .expect("a string takes everything");
    }
    let padding = config["padding_token"].as_i64().expect("padding_token");
    writeln!(
        out,
        "/// Stands where the file has no byte.\npub const PADDING: i32 = {padding};"
    )
    .expect("a string takes everything");
}

fn content_types(out: &mut String, types: &BTreeMap<&str, &Value>) {
    writeln!(
        out,
        "/// Every known content type, by label.\npub static CONTENT_TYPES: [ContentType; {}] = [",
        types.len()
    )
    .expect("a string takes everything");
    for (label, value) in types {
        let is_text = value["is_text"].as_bool().expect("is_text");
        // Defaults as in the reference implementation.
        let mime_default = if is_text {
            "text/plain"
        } else {
            "application/octet-stream"
        };
        let text = |key: &str, default: &str| value[key].as_str().unwrap_or(default).to_owned();
        let extensions: Vec<&str> = value["extensions"]
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        writeln!(
            out,
            "    ContentType {{ label: {label:?}, mime_type: {:?}, group: {:?}, description: {:?}, \
             extensions: &{extensions:?}, is_text: {is_text} }},",
            text("mime_type", mime_default),
            text("group", "unknown"),
            text("description", label),
        )
        .expect("a string takes everything");
    }
    out.push_str("];\n");
}

fn outputs(out: &mut String, config: &Value, index: &dyn Fn(&str) -> usize) {
    let labels = config["target_labels_space"].as_array().expect("labels");
    let usual = config["medium_confidence_threshold"]
        .as_f64()
        .expect("medium_confidence_threshold");
    writeln!(
        out,
        "/// What each score of the model stands for, in the model's order.\n\
         pub static OUTPUTS: [Output; {}] = [",
        labels.len()
    )
    .expect("a string takes everything");
    for label in labels {
        let label = label.as_str().expect("a label is a string");
        let shown = config["overwrite_map"][label].as_str().unwrap_or(label);
        let threshold = config["thresholds"][label].as_f64().unwrap_or(usual);
        writeln!(
            out,
            "    Output {{ content_type: &CONTENT_TYPES[{}], threshold: {threshold:?} }},",
            index(shown)
        )
        .expect("a string takes everything");
    }
    out.push_str("];\n");
}

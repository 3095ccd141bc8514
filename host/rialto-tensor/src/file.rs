//! What an ONNX file says about itself, read without building anything from it.

use tract_onnx::{
    pb::{GraphProto, ModelProto},
    prelude::Framework as _,
};

/// What is of interest before and beside a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    /// For people and guests; bounded in number and size.
    pub(crate) metadata: Vec<(String, String)>,
    /// Whether an operator's results differ from run to run.
    pub(crate) draws_random_numbers: bool,
}

impl About {
    /// Decodes a file.
    ///
    /// # Errors
    /// Why it is no ONNX file.
    pub(crate) fn of(file: &[u8]) -> Result<Self, String> {
        let model = tract_onnx::onnx()
            .proto_model_for_read(&mut &*file)
            .map_err(|error| format!("{error:#}"))?;
        let graph = model.graph.as_ref().ok_or("it has no graph")?;
        Ok(Self {
            metadata: metadata(&model, file.len()),
            draws_random_numbers: is_random(graph),
        })
    }
}

/// Operators whose results differ from run to run.
pub(crate) const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Names what the file says about itself: its producer, its operator sets, its sizes, and its own
/// properties behind `property.`, which is where exporters put licences and descriptions.
pub(crate) fn metadata(model: &ModelProto, file_bytes: usize) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut say = |key: &str, value: &str| {
        if !value.is_empty() {
            entries.push((cut(key, KEY_BYTES_MAX), cut(value, VALUE_BYTES_MAX)));
        }
    };
    say("producer.name", &model.producer_name);
    say("producer.version", &model.producer_version);
    say("domain", &model.domain);
    say("description", &model.doc_string);
    if model.model_version != 0 {
        say("version", &model.model_version.to_string());
    }
    say("ir-version", &model.ir_version.to_string());
    for set in model.opset_import.iter().take(OPERATOR_SETS_MAX) {
        let domain = if set.domain.is_empty() {
            "ai.onnx"
        } else {
            &set.domain
        };
        say(&format!("opset.{domain}"), &set.version.to_string());
    }
    if let Some(graph) = &model.graph {
        say("graph.name", &graph.name);
        say("graph.nodes", &graph.node.len().to_string());
        let parameters: i64 = graph
            .initializer
            .iter()
            .map(|tensor| {
                let extents = tensor.dims.iter();
                extents.fold(1_i64, |product, extent| product.saturating_mul(*extent))
            })
            .fold(0, i64::saturating_add);
        say("graph.parameters", &parameters.to_string());
    }
    say("file.bytes", &file_bytes.to_string());
    for property in &model.metadata_props {
        say(&format!("property.{}", property.key), &property.value);
    }
    entries.truncate(ENTRIES_MAX);
    entries
}

fn is_random(graph: &GraphProto) -> bool {
    graph.node.iter().any(|node| {
        RANDOM.contains(&node.op_type.as_str())
            || node
                .attribute
                .iter()
                .any(|attribute| attribute.g.iter().chain(&attribute.graphs).any(is_random))
    })
}

/// The longest beginning of so many bytes.
fn cut(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or_default().to_owned()
}

const ENTRIES_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 4 << 10;
const OPERATOR_SETS_MAX: usize = 16;

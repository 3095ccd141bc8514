//! From a model's file to a graph that may be planned.
//!
//! The file is decoded and looked through before tract builds anything from it: its size in nodes,
//! the tensors that it declares, and the operators that it uses.

use std::collections::BTreeSet;

use tract_onnx::{
    Onnx,
    pb::{
        GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
        tensor_proto::{DataLocation, DataType},
        tensor_shape_proto::dimension::Value as Dimension,
        type_proto::{Tensor as TensorType, Value as TypeValue},
    },
    prelude::{DatumType, Framework, InferenceModel},
};

use super::{Config, attributes, convert, fold::fold};
use crate::{Port, file};

/// A model before its shapes are fixed.
#[derive(Debug)]
pub(super) struct Graph {
    /// Nodes in topological order, none of them dead.
    pub(super) model: InferenceModel,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) metadata: Vec<(String, String)>,
}

/// Why a graph is not accepted, in general or for given shapes.
#[derive(Debug)]
pub(crate) enum Refusal {
    Malformed(String),
    TooLarge(String),
    Unsupported(String),
}

/// Decodes, checks and builds a graph.
pub(super) fn parse(bytes: &[u8], config: &Config) -> Result<Graph, Refusal> {
    let onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    let mut proto = onnx.proto_model_for_read(&mut &*bytes).map_err(malformed)?;
    let ModelProto {
        graph: Some(graph), ..
    } = &mut proto
    else {
        return Err(Refusal::Malformed("it has no graph".to_owned()));
    };
    check_nodes(graph, &onnx, config)?;
    check_tensors(graph, config)?;
    let (inputs, outputs) = ports(graph)?;
    for value in graph
        .input
        .iter_mut()
        .chain(&mut graph.output)
        .chain(&mut graph.value_info)
    {
        forget_names_of_axes(value);
    }
    let parsed = onnx.parse(&proto, None).map_err(malformed)?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        return Err(Refusal::Malformed(format!("nothing computes `{name}`")));
    }
    let metadata = file::metadata(&proto, bytes.len());
    let model = parsed.model.into_compact().map_err(malformed)?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let model = fold(model, size.saturating_mul(FOLDED_MAX), config)?;
    Ok(Graph {
        model,
        inputs,
        outputs,
        metadata,
    })
}

/// A refusal for what tract calls an error.
pub(super) fn malformed(error: impl std::fmt::Display) -> Refusal {
    let text: String = format!("{error:#}")
        .chars()
        .take(REASON_CHARS_MAX)
        .collect();
    Refusal::Malformed(text)
}

fn check_nodes(graph: &GraphProto, onnx: &Onnx, config: &Config) -> Result<(), Refusal> {
    let (nodes, nodes_max) = (graph.node.len(), config.nodes_max);
    if nodes > nodes_max {
        return Err(Refusal::TooLarge(format!(
            "it has {nodes} nodes, more than {nodes_max}"
        )));
    }
    let missing: BTreeSet<&str> = graph
        .node
        .iter()
        .map(|node| node.op_type.as_str())
        .filter(|op| !onnx.op_register.0.contains_key(*op))
        .take(LISTED_MAX)
        .collect();
    if !missing.is_empty() {
        let missing: Vec<&str> = missing.into_iter().collect();
        let reason = format!("the engine does not implement {}", missing.join(", "));
        return Err(Refusal::Unsupported(reason));
    }
    graph.node.iter().try_for_each(check_node)
}

fn check_node(node: &NodeProto) -> Result<(), Refusal> {
    let has_graph = node
        .attribute
        .iter()
        .any(|a| a.g.is_some() || !a.graphs.is_empty());
    if has_graph {
        let reason = format!("node `{}` ({}) is control flow", node.name, node.op_type);
        return Err(Refusal::Unsupported(reason));
    }
    if file::RANDOM.contains(&node.op_type.as_str()) {
        let reason = format!(
            "node `{}` ({}) draws random numbers",
            node.name, node.op_type
        );
        return Err(Refusal::Unsupported(reason));
    }
    attributes::check(node)
}

/// Checks every tensor that the file carries, in initializers and in attributes.
fn check_tensors(graph: &GraphProto, config: &Config) -> Result<(), Refusal> {
    if !graph.sparse_initializer.is_empty() {
        return Err(Refusal::Unsupported(
            "it has sparse initializers".to_owned(),
        ));
    }
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let in_attributes =
        attributes.flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
    graph
        .initializer
        .iter()
        .chain(in_attributes)
        .try_for_each(|tensor| check_tensor(tensor, config))
}

pub(crate) fn check_tensor(tensor: &TensorProto, config: &Config) -> Result<(), Refusal> {
    let name = &tensor.name;
    if tensor.data_location == Some(i32::from(DataLocation::External))
        || !tensor.external_data.is_empty()
    {
        let reason = format!("tensor `{name}` is in another file; pack the model into one file");
        return Err(Refusal::Unsupported(reason));
    }
    let datum = DataType::try_from(tensor.data_type)
        .ok()
        .and_then(|data_type| DatumType::try_from(data_type).ok())
        .ok_or_else(|| {
            let reason = format!("tensor `{name}` has element type {}", tensor.data_type);
            Refusal::Unsupported(reason)
        })?;
    let size = u64::try_from(datum.size_of()).ok();
    let bytes = tensor.dims.iter().try_fold(size, |bytes, extent| {
        let extent = u64::try_from(*extent).ok()?;
        Some(bytes?.checked_mul(extent.max(1)))
    });
    match bytes.flatten() {
        Some(bytes) if bytes <= config.tensor_bytes_max => Ok(()),
        _ => Err(Refusal::TooLarge(format!(
            "tensor `{name}` has shape {:?}",
            tensor.dims
        ))),
    }
}

pub(crate) fn ports(graph: &GraphProto) -> Result<(Vec<Port>, Vec<Port>), Refusal> {
    let initialized: BTreeSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph
        .input
        .iter()
        .filter(|value| !initialized.contains(value.name.as_str()));
    let inputs: Vec<Port> = inputs.map(port).collect::<Result<_, _>>()?;
    let outputs: Vec<Port> = graph.output.iter().map(port).collect::<Result<_, _>>()?;
    for ports in [&inputs, &outputs] {
        let names: BTreeSet<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        if names.len() != ports.len() {
            return Err(Refusal::Malformed(
                "two inputs or two outputs have one name".to_owned(),
            ));
        }
    }
    if outputs.is_empty() {
        return Err(Refusal::Malformed("it has no outputs".to_owned()));
    }
    let computed = graph.node.iter().flat_map(|node| &node.output);
    let known: BTreeSet<&str> = computed
        .map(String::as_str)
        .chain(initialized)
        .chain(inputs.iter().map(|port| port.name.as_str()))
        .collect();
    if let Some(port) = outputs
        .iter()
        .find(|port| !known.contains(port.name.as_str()))
    {
        return Err(Refusal::Malformed(format!(
            "nothing computes output `{}`",
            port.name
        )));
    }
    Ok((inputs, outputs))
}

fn port(value: &ValueInfoProto) -> Result<Port, Refusal> {
    let name = value.name.clone();
    let Some(TypeValue::TensorType(TensorType { elem_type, shape })) = value
        .r#type
        .as_ref()
        .and_then(|declared| declared.value.as_ref())
    else {
        return Err(Refusal::Unsupported(format!("`{name}` is no tensor")));
    };
    let element = DataType::try_from(*elem_type)
        .ok()
        .and_then(|data_type| DatumType::try_from(data_type).ok())
        .and_then(convert::element)
        .ok_or_else(|| {
            Refusal::Unsupported(format!("`{name}` has element type {elem_type} of ONNX"))
        })?;
    let Some(shape) = shape else {
        return Err(Refusal::Unsupported(format!(
            "`{name}` declares no number of axes"
        )));
    };
    if shape.dim.len() > AXES_MAX {
        let reason = format!(
            "`{name}` has {} axes, more than {AXES_MAX}",
            shape.dim.len()
        );
        return Err(Refusal::TooLarge(reason));
    }
    let extent = |value: &Dimension| match value {
        // Zero and negative extents are how some exporters write "any".
        Dimension::DimValue(extent) if *extent > 0 => u32::try_from(*extent).ok().map(Some),
        Dimension::DimValue(_) | Dimension::DimParam(_) => Some(None),
    };
    let shape = shape
        .dim
        .iter()
        .map(|dim| dim.value.as_ref().map_or(Some(None), extent));
    let shape = shape.collect::<Option<Vec<Option<u32>>>>();
    let shape =
        shape.ok_or_else(|| Refusal::TooLarge(format!("`{name}` has an extent above 32 bits")))?;
    Ok(Port {
        name,
        element,
        shape,
    })
}

/// Makes named axes unknown ones: their extents are fixed for each plan, and tract would parse the
/// names as expressions, of any depth.
fn forget_names_of_axes(value: &mut ValueInfoProto) {
    let declared = value
        .r#type
        .as_mut()
        .and_then(|declared| declared.value.as_mut());
    if let Some(TypeValue::TensorType(TensorType {
        shape: Some(shape), ..
    })) = declared
    {
        for dim in &mut shape.dim {
            if matches!(dim.value, Some(Dimension::DimParam(_))) {
                dim.value = None;
            }
        }
    }
}

/// The most axes of an input or output.
const AXES_MAX: usize = 8;
/// How much of tract's explanation is kept; it may quote the whole node.
const REASON_CHARS_MAX: usize = 400;
/// How many missing operators are named.
const LISTED_MAX: usize = 8;
/// How many times its file's size a graph may grow by folding: bytes widened to floats, twice over.
const FOLDED_MAX: u64 = 8;

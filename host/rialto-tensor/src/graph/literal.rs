//! Tensors that a file carries, as ours.
//!
//! Non-goals: weights in other files.

use bytes::Bytes;
use tract_onnx::pb::{TensorProto, tensor_proto::DataType};

use super::refusal::Refusal;
use crate::{Config, Element, Tensor, tract::graph::check_tensor};

/// Our name for one of ONNX's element types.
pub(super) fn element(number: i32) -> Result<Element, Refusal> {
    let known = DataType::try_from(number).ok().and_then(of);
    known.ok_or_else(|| Refusal::unsupported(format!("element type {number} of ONNX")))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "ONNX adds element types")]
const fn of(datum: DataType) -> Option<Element> {
    match datum {
        DataType::Float => Some(Element::F32),
        DataType::Float16 => Some(Element::F16),
        DataType::Bfloat16 => Some(Element::Bf16),
        DataType::Int64 => Some(Element::I64),
        DataType::Int32 => Some(Element::I32),
        DataType::Int8 => Some(Element::I8),
        DataType::Uint8 => Some(Element::U8),
        DataType::Bool => Some(Element::Bool),
        _ => None,
    }
}

/// Reads a tensor, whichever of its fields holds the data.
pub(super) fn tensor(proto: &TensorProto, config: &Config) -> Result<Tensor, Refusal> {
    check_tensor(proto, config)?;
    let name = &proto.name;
    let element = element(proto.data_type).map_err(|_| {
        Refusal::unsupported(format!(
            "tensor `{name}` has element type {}",
            proto.data_type
        ))
    })?;
    let shape: Result<Vec<u32>, _> = proto.dims.iter().map(|dim| u32::try_from(*dim)).collect();
    let shape = shape
        .map_err(|_| Refusal::malformed(format!("tensor `{name}` has shape {:?}", proto.dims)))?;
    let data = if proto.raw_data.is_empty() {
        fields(proto, element)
    } else if element == Element::Bool {
        proto
            .raw_data
            .iter()
            .map(|byte| u8::from(*byte != 0))
            .collect()
    } else {
        Bytes::copy_from_slice(&proto.raw_data)
    };
    Tensor::new(element, shape, data)
        .map_err(|error| Refusal::malformed(format!("tensor `{name}`: {error}")))
}

/// Data in the fields of its type; small types come as the low bytes of 32 bits.
fn fields(proto: &TensorProto, element: Element) -> Bytes {
    let low = |count: usize| {
        let words = proto.int32_data.iter().map(|word| word.to_le_bytes());
        words.flat_map(move |bytes| bytes.into_iter().take(count))
    };
    match element {
        Element::F32 => proto
            .float_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Element::I64 => proto
            .int64_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Element::Bool => proto
            .int32_data
            .iter()
            .map(|word| u8::from(*word != 0))
            .collect(),
        Element::I32 | Element::F16 | Element::Bf16 | Element::I8 | Element::U8 => {
            low(element.size_bytes()).collect()
        }
    }
}

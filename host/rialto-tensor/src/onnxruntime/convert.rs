//! Tensors to ONNX Runtime's values and back, element by element: no unsafe code, one copy each way.

use half::{bf16, f16};
use ort::value::{
    DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, ValueType,
};

use crate::{Element, RunError, Tensor};

/// Our element type, where we have it.
pub(super) fn element(of: TensorElementType) -> Option<Element> {
    let pairs = Element::ALL.map(|element| (element, ort_type(element)));
    let found = pairs.into_iter().find(|(_, theirs)| *theirs == of);
    found.map(|(element, _)| element)
}

const fn ort_type(of: Element) -> TensorElementType {
    match of {
        Element::F32 => TensorElementType::Float32,
        Element::F16 => TensorElementType::Float16,
        Element::Bf16 => TensorElementType::Bfloat16,
        Element::I64 => TensorElementType::Int64,
        Element::I32 => TensorElementType::Int32,
        Element::I8 => TensorElementType::Int8,
        Element::U8 => TensorElementType::Uint8,
        Element::Bool => TensorElementType::Bool,
    }
}

/// A value that owns its elements.
pub(super) fn to_ort(tensor: &Tensor) -> Result<DynValue, RunError> {
    match tensor.element() {
        Element::F32 => make(tensor, f32::from_le_bytes),
        Element::F16 => make(tensor, f16::from_le_bytes),
        Element::Bf16 => make(tensor, bf16::from_le_bytes),
        Element::I64 => make(tensor, i64::from_le_bytes),
        Element::I32 => make(tensor, i32::from_le_bytes),
        Element::I8 => make(tensor, i8::from_le_bytes),
        Element::U8 => make(tensor, u8::from_le_bytes),
        Element::Bool => make(tensor, |[byte]: [u8; 1]| byte != 0),
    }
}

fn make<T, const N: usize>(tensor: &Tensor, read: fn([u8; N]) -> T) -> Result<DynValue, RunError>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    let (bytes, _) = tensor.data().as_chunks::<N>();
    let values: Vec<T> = bytes.iter().map(|bytes| read(*bytes)).collect();
    let shape: Vec<i64> = tensor
        .shape()
        .iter()
        .map(|extent| i64::from(*extent))
        .collect();
    let made = OrtTensor::from_array((shape, values)).map_err(|error| failed(&error))?;
    Ok(made.into_dyn())
}

/// A copy of a value's elements.
pub(super) fn from_ort(value: &DynValue) -> Result<Tensor, RunError> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(RunError::Unsupported("an output is no tensor".to_owned()));
    };
    let Some(element) = element(*ty) else {
        return Err(RunError::Unsupported(format!(
            "an output has elements of type {ty}"
        )));
    };
    match element {
        Element::F32 => take(value, element, f32::to_le_bytes),
        Element::F16 => take(value, element, f16::to_le_bytes),
        Element::Bf16 => take(value, element, bf16::to_le_bytes),
        Element::I64 => take(value, element, i64::to_le_bytes),
        Element::I32 => take(value, element, i32::to_le_bytes),
        Element::I8 => take(value, element, i8::to_le_bytes),
        Element::U8 => take(value, element, u8::to_le_bytes),
        Element::Bool => take(value, element, |value: bool| [u8::from(value)]),
    }
}

fn take<T, const N: usize>(
    value: &DynValue,
    element: Element,
    write: fn(T) -> [u8; N],
) -> Result<Tensor, RunError>
where
    T: PrimitiveTensorElementType + Copy,
{
    let (shape, values) = value
        .try_extract_tensor::<T>()
        .map_err(|error| failed(&error))?;
    let too_large = || RunError::OutOfBudget("an output's extents exceed 32 bits".to_owned());
    let extents = shape.iter().map(|extent| u32::try_from(*extent).ok());
    let extents: Vec<u32> = extents.collect::<Option<_>>().ok_or_else(too_large)?;
    let mut bytes = vec![0; values.len().checked_mul(N).ok_or_else(too_large)?];
    let (places, _) = bytes.as_chunks_mut::<N>();
    for (place, value) in places.iter_mut().zip(values) {
        *place = write(*value);
    }
    Tensor::new(element, extents, bytes.into()).map_err(|error| RunError::Engine(error.to_string()))
}

fn failed(error: &ort::Error) -> RunError {
    RunError::Engine(error.message().to_owned())
}

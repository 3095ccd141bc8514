//! Tensors and element types, ours and tract's.

use bytes::Bytes;
use tract_onnx::prelude::{DatumType, Tensor as TractTensor};

use crate::{Element, RunError, Tensor};

#[cfg(not(target_endian = "little"))]
compile_error!("tensors are little-endian: converting them on this machine needs code");

/// Our name for one of tract's types.
pub(super) fn element(datum: DatumType) -> Option<Element> {
    Element::ALL
        .into_iter()
        .find(|element| self::datum(*element) == Some(datum))
}

/// tract's name for one of our types; none where tract has no such type.
pub(super) fn datum(element: Element) -> Option<DatumType> {
    match element {
        Element::F32 => Some(DatumType::F32),
        Element::F16 => Some(DatumType::F16),
        Element::Bf16 => None,
        Element::I64 => Some(DatumType::I64),
        Element::I32 => Some(DatumType::I32),
        Element::I8 => Some(DatumType::I8),
        Element::U8 => Some(DatumType::U8),
        Element::Bool => Some(DatumType::Bool),
    }
}

/// A shape as tract counts.
pub(super) fn extents(shape: &[u32]) -> Vec<usize> {
    // `Tensor` has checked that the product is addressable; an extent beside a zero may still not
    // be, and then tract refuses the shape.
    shape
        .iter()
        .map(|extent| usize::try_from(*extent).unwrap_or(usize::MAX))
        .collect()
}

/// Copies one of our tensors for tract.
pub(super) fn to_tract(tensor: &Tensor) -> Result<TractTensor, RunError> {
    let element = tensor.element();
    let datum =
        datum(element).ok_or_else(|| RunError::Unsupported(format!("tract has no {element}")))?;
    let mut copy = TractTensor::zero_dt(datum, &extents(tensor.shape()))
        .map_err(|error| RunError::OutOfBudget(error.to_string()))?;
    // Booleans are 0 or 1 already: `Tensor::new` has checked.
    copy.as_bytes_mut().copy_from_slice(tensor.data());
    Ok(copy)
}

/// Copies one of tract's tensors for us, as `element`.
pub(super) fn from_tract(tensor: &TractTensor, element: Element) -> Result<Tensor, RunError> {
    let failed = |reason: String| RunError::Engine(reason);
    let wanted = datum(element).ok_or_else(|| failed(format!("tract has no {element}")))?;
    let found = tensor.datum_type();
    // tract computes shapes in a type of its own, which the graph declares as i64.
    let tensor = if found == DatumType::TDim && wanted == DatumType::I64 {
        tensor
            .cast_to_dt(wanted)
            .map_err(|error| failed(error.to_string()))?
    } else if found.unquantized() == wanted {
        std::borrow::Cow::Borrowed(tensor)
    } else {
        return Err(failed(format!("an output of {element} came as {found:?}")));
    };
    let shape = tensor
        .shape()
        .iter()
        .map(|extent| u32::try_from(*extent))
        .collect::<Result<_, _>>();
    let shape = shape.map_err(|_| failed("an output has an extent above 4,294,967,295".into()))?;
    let data = Bytes::copy_from_slice(tensor.as_bytes());
    Tensor::new(element, shape, data).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_tract_has_round_trips() {
        for element in Element::ALL {
            let data: Vec<u8> = (0..6 * element.size_bytes())
                .map(|i| u8::try_from(if element == Element::Bool { i % 2 } else { i }).unwrap())
                .collect();
            let tensor = Tensor::new(element, vec![2, 3], data.into()).unwrap();
            if element == Element::Bf16 {
                assert!(to_tract(&tensor).is_err());
            } else {
                let there = to_tract(&tensor).unwrap();
                assert_eq!(super::element(there.datum_type()), Some(element));
                assert_eq!(from_tract(&there, element).unwrap(), tensor);
            }
        }
    }
}

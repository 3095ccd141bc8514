//! What is known of a tensor before it exists: element type and shape.
//!
//! A [`Spec`] can only be made if its size is one that the machine can count, so sizes derived from
//! it need no further checks. Non-goals: strides, devices, values.

use std::fmt;

use super::error::InferError;
use crate::{Element, Tensor};

/// The element type and shape of a tensor; its bytes are known to be countable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    element: Element,
    shape: Vec<u32>,
}

/// The most axes of a tensor.
pub const RANK_MAX: usize = 8;

impl Spec {
    /// The spec of a tensor; an empty shape is a scalar.
    ///
    /// # Errors
    /// [`InferError::TooLarge`] if there are more than [`RANK_MAX`] axes, or if the bytes do not fit
    /// 62 bits even with every extent of zero counted as one (so that no stride can overflow).
    pub fn new(element: Element, shape: impl Into<Vec<u32>>) -> Result<Self, InferError> {
        let shape = shape.into();
        let refuse = |reason: String| InferError::TooLarge {
            shape: shape.clone(),
            element,
            reason,
        };
        if shape.len() > RANK_MAX {
            return Err(refuse(format!("{} axes, at most {RANK_MAX}", shape.len())));
        }
        let bytes = shape
            .iter()
            .try_fold(element.size_bytes(), |bytes, extent| {
                bytes
                    .checked_mul(usize::try_from((*extent).max(1)).ok()?)
                    .filter(|bytes| *bytes <= BYTES_MAX)
            });
        if bytes.is_none() {
            return Err(refuse("more bytes than can be counted".to_owned()));
        }
        Ok(Self { element, shape })
    }

    /// The spec of a scalar.
    #[must_use]
    pub const fn scalar(element: Element) -> Self {
        Self {
            element,
            shape: Vec::new(),
        }
    }

    /// The spec of an existing tensor.
    ///
    /// # Errors
    /// As [`Spec::new`].
    pub fn of(tensor: &Tensor) -> Result<Self, InferError> {
        Self::new(tensor.element(), tensor.shape())
    }

    /// The element type.
    #[must_use]
    pub const fn element(&self) -> Element {
        self.element
    }

    /// The extent of each axis, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// The number of axes.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        product(&self.shape)
    }

    /// The size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.elements() * self.element.size_bytes()
    }

    /// The same shape with another element type.
    ///
    /// # Errors
    /// As [`Spec::new`].
    pub fn with_element(&self, element: Element) -> Result<Self, InferError> {
        Self::new(element, self.shape.clone())
    }

    /// The extent of an axis, zero where there is no such axis.
    pub fn extent(&self, axis: usize) -> usize {
        self.shape.get(axis).map_or(0, |extent| size(*extent))
    }

    /// The shape as sizes.
    pub fn sizes(&self) -> Vec<usize> {
        self.shape.iter().map(|extent| size(*extent)).collect()
    }

    /// Elements before, on and after an axis: the tensor seen as a three-dimensional one.
    pub fn around(&self, axis: usize) -> (usize, usize, usize) {
        let before = product(self.shape.get(..axis).unwrap_or_default());
        let after = product(self.shape.get(axis + 1..).unwrap_or_default());
        (before, self.extent(axis), after)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.element, self.shape)
    }
}

/// An extent as a size; extents beyond the address space cannot pass [`Spec::new`].
pub fn size(extent: u32) -> usize {
    usize::try_from(extent).unwrap_or(usize::MAX)
}

/// A size as an extent, if it is one.
pub fn extent(size: usize) -> Option<u32> {
    u32::try_from(size).ok()
}

/// The product of extents that passed [`Spec::new`].
pub fn product(shape: &[u32]) -> usize {
    shape.iter().map(|extent| size(*extent)).product()
}

/// Row-major strides in elements.
pub fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut stride = 1_usize;
    let mut strides: Vec<usize> = sizes
        .iter()
        .rev()
        .map(|extent| {
            let this = stride;
            stride = stride.saturating_mul((*extent).max(1));
            this
        })
        .collect();
    strides.reverse();
    strides
}

/// The shape to which all of these broadcast by NumPy's rule: aligned at the last axis, extents equal
/// or one. None if they do not.
pub fn broadcast(shapes: &[&[u32]]) -> Option<Vec<u32>> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut joint = vec![1_u32; rank];
    for shape in shapes {
        for (into, extent) in joint.iter_mut().rev().zip(shape.iter().rev()) {
            match (*into, *extent) {
                (have, new) if have == new => {}
                (1, new) => *into = new,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    Some(joint)
}

/// The strides with which a tensor of shape `from` is read as one of shape `to`: zero on axes that
/// repeat.
pub fn broadcast_strides(from: &[u32], to: &[u32]) -> Vec<usize> {
    let sizes: Vec<usize> = from.iter().map(|extent| size(*extent)).collect();
    let own = strides(&sizes);
    let missing = to.len().saturating_sub(from.len());
    let repeated = std::iter::repeat_n(0, missing);
    repeated
        .chain(
            own.iter()
                .zip(from)
                .zip(to.iter().skip(missing))
                .map(|((stride, from), to)| if *from == 1 && *to != 1 { 0 } else { *stride }),
        )
        .collect()
}

/// The most bytes of a tensor: strides and offsets fit a signed word with room to add two.
const BYTES_MAX: usize = usize::MAX >> 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_counted_are_refused() {
        for shape in [
            vec![u32::MAX; 3],
            vec![u32::MAX, 0, u32::MAX, u32::MAX],
            vec![1; 9],
        ] {
            let refused = Spec::new(Element::F32, shape).unwrap_err();
            assert!(matches!(refused, InferError::TooLarge { .. }), "{refused}");
        }
        let spec = Spec::new(Element::I64, [2, 0, 3]).unwrap();
        assert_eq!((spec.elements(), spec.bytes()), (0, 0));
        assert_eq!(Spec::scalar(Element::F16).bytes(), 2);
        assert_eq!(spec.to_string(), "i64[2, 0, 3]");
    }

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        let check = |shapes: &[&[u32]], want: Option<&[u32]>| {
            assert_eq!(broadcast(shapes).as_deref(), want, "{shapes:?}");
        };
        check(&[&[2, 3], &[3]], Some(&[2, 3]));
        check(&[&[2, 1], &[1, 3]], Some(&[2, 3]));
        check(&[&[], &[4]], Some(&[4]));
        check(&[&[0], &[1]], Some(&[0]));
        check(&[&[0], &[2]], None);
        check(&[&[2, 3], &[2]], None);
        check(&[&[2, 1], &[3], &[4, 1, 1]], Some(&[4, 2, 3]));
        assert_eq!(broadcast_strides(&[3, 1], &[2, 3, 4]), [0, 1, 0]);
    }
}

//! Dense tensors in main memory.
//!
//! Non-goals: arithmetic, strides, devices.

use bytes::Bytes;

use crate::Element;

/// A dense, row-major, little-endian array. Cheap to clone; immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    element: Element,
    shape: Vec<u32>,
    data: Bytes,
}

/// Why bytes are no tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The number of bytes does not fit the shape.
    #[error("shape {shape:?} of {element} needs {expected} bytes, found {found}")]
    Length {
        /// The shape.
        shape: Vec<u32>,
        /// The element type.
        element: Element,
        /// The bytes that the shape needs.
        expected: usize,
        /// The bytes that are there.
        found: usize,
    },
    /// The shape needs more bytes than the machine can address.
    #[error("shape {shape:?} is too large")]
    Overflow {
        /// The shape.
        shape: Vec<u32>,
    },
    /// A boolean is neither 0 nor 1.
    #[error("the boolean at index {index} is {value} instead of 0 or 1")]
    Boolean {
        /// Its index in row-major order.
        index: usize,
        /// Its byte.
        value: u8,
    },
}

impl Tensor {
    /// Makes a tensor of `data`; an empty shape is a scalar.
    ///
    /// # Errors
    /// [`TensorError`] unless `data` holds exactly the bytes that the shape needs, with booleans of 0
    /// and 1 only.
    pub fn new(element: Element, shape: Vec<u32>, data: Bytes) -> Result<Self, TensorError> {
        let Some(expected) = bytes_needed(element, &shape) else {
            return Err(TensorError::Overflow { shape });
        };
        if data.len() != expected {
            return Err(TensorError::Length {
                shape,
                element,
                expected,
                found: data.len(),
            });
        }
        if element == Element::Bool
            && let Some(index) = data.iter().position(|byte| *byte > 1)
        {
            return Err(TensorError::Boolean {
                index,
                value: data[index],
            });
        }
        Ok(Self {
            element,
            shape,
            data,
        })
    }

    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    /// [`TensorError`] unless `values` fill the shape exactly.
    pub fn from_f32(shape: Vec<u32>, values: &[f32]) -> Result<Self, TensorError> {
        let data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(Element::F32, shape, data)
    }

    /// A tensor of 32-bit integers.
    ///
    /// # Errors
    /// [`TensorError`] unless `values` fill the shape exactly.
    pub fn from_i32(shape: Vec<u32>, values: &[i32]) -> Result<Self, TensorError> {
        let data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(Element::I32, shape, data)
    }

    /// A tensor of 64-bit integers.
    ///
    /// # Errors
    /// [`TensorError`] unless `values` fill the shape exactly.
    pub fn from_i64(shape: Vec<u32>, values: &[i64]) -> Result<Self, TensorError> {
        let data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(Element::I64, shape, data)
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

    /// The elements in row-major order, little-endian.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// The values, if they are 32-bit floats.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let (values, _) = self.data.as_chunks::<4>();
        (self.element == Element::F32).then(|| {
            values
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        })
    }

    /// Takes the tensor apart: element type, shape, data.
    #[must_use]
    pub fn into_parts(self) -> (Element, Vec<u32>, Bytes) {
        (self.element, self.shape, self.data)
    }
}

/// The bytes that a shape needs, unless no machine has so many.
fn bytes_needed(element: Element, shape: &[u32]) -> Option<usize> {
    shape
        .iter()
        .try_fold(element.size_bytes(), |bytes, extent| {
            bytes.checked_mul(usize::try_from(*extent).ok()?)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_must_fit_the_shape() {
        let make = |element, shape: &[u32], length| {
            Tensor::new(element, shape.to_vec(), Bytes::from(vec![0; length]))
        };
        for element in Element::ALL {
            let size = element.size_bytes();
            assert!(make(element, &[], size).is_ok(), "a scalar");
            assert!(make(element, &[2, 3], 6 * size).is_ok());
            assert!(make(element, &[2, 0], 0).is_ok(), "nothing");
            assert!(matches!(
                make(element, &[2, 3], 5),
                Err(TensorError::Length { .. })
            ));
            let huge = make(element, &[u32::MAX; 3], 0);
            assert!(matches!(huge, Err(TensorError::Overflow { .. })));
        }
        let error = make(Element::F32, &[2], 7).unwrap_err().to_string();
        assert_eq!(error, "shape [2] of f32 needs 8 bytes, found 7");
    }

    #[test]
    fn booleans_are_zero_or_one() {
        let make = |data: &'static [u8]| Tensor::new(Element::Bool, vec![2], data.into());
        assert!(make(&[0, 1]).is_ok());
        assert_eq!(
            make(&[1, 2]),
            Err(TensorError::Boolean { index: 1, value: 2 })
        );
    }

    proptest! {
        #[test]
        fn floats_round_trip(values in prop::collection::vec(any::<f32>(), 0..40)) {
            let length = u32::try_from(values.len()).unwrap();
            let back = Tensor::from_f32(vec![length], &values).unwrap().to_f32().unwrap();
            prop_assert!(values.iter().map(|v| v.to_bits()).eq(back.iter().map(|v| v.to_bits())));
        }

        #[test]
        fn never_panics(shape in prop::collection::vec(any::<u32>(), 0..6), length in 0..100_usize) {
            for element in Element::ALL {
                let _ = Tensor::new(element, shape.clone(), Bytes::from(vec![0; length]));
            }
        }
    }
}

//! Tensors, operations and models on the host's engine. Needs the grant `tensor`, and each model by its
//! name.
//!
//! ```no_run
//! use rialto_sdk::tensor::{Model, Tensor};
//!
//! # fn main() -> Result<(), rialto_sdk::tensor::Error> {
//! let model = Model::open("magika")?;
//! let bytes = Tensor::from_i32(&[1, 2048], &[0; 2048])?;
//! let scores = model.run_one(&[("bytes", &bytes)], "target_label")?.to_f32()?;
//! # let _ = scores;
//! # Ok(())
//! # }
//! ```
//!
//! Operations are methods of [`Tensor`]: they are recorded, and run on the host's [device] when a result
//! is read. What lies between never crosses the sandbox, and what is dropped before it is needed by
//! itself is fused away.
//!
//! ```no_run
//! use rialto_sdk::tensor::{Reduction, Tensor};
//!
//! # fn main() -> Result<(), rialto_sdk::tensor::Error> {
//! let a = Tensor::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! let lengths = a.mul(&a)?.reduce(Reduction::Sum, &[-1], true)?.sqrt()?;
//! let unit = a.div(&lengths)?.to_f32()?;
//! # let _ = unit;
//! # Ok(())
//! # }
//! ```

pub mod device;
mod operations;
mod options;

use std::fmt;

pub use options::{
    Activation, Attention, Combine, Conv, Matmul, Norm, Number, Padding, Pooling, Range, Reduction,
    Rope, Source, Window,
};

pub use crate::bindings::compute::rialto::tensor::models::{Abilities, Port};
pub use crate::bindings::compute::rialto::tensor::types::Dtype;

use crate::bindings::compute::rialto::tensor::{models, tensors, types};

/// A dense, row-major array that the host owns. Dropping it frees it.
#[derive(Debug)]
pub struct Tensor(tensors::Tensor);

impl Tensor {
    /// Copies little-endian bytes into a new tensor; an empty shape is a scalar.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] unless `data` holds exactly what `shape` and `element` need;
    /// [`Error::OutOfBudget`] if the call has no memory or handles left.
    pub fn from_bytes(element: Dtype, shape: &[u32], data: &[u8]) -> Result<Self, Error> {
        Ok(Self(tensors::Tensor::from_bytes(element, shape, data)?))
    }

    /// The element type.
    #[must_use]
    pub fn element(&self) -> Dtype {
        self.0.element()
    }

    /// The extent of each axis, outermost first.
    #[must_use]
    pub fn shape(&self) -> Vec<u32> {
        self.0.shape()
    }

    /// The size in bytes.
    #[must_use]
    pub fn byte_length(&self) -> u64 {
        self.0.byte_length()
    }

    /// Copies the whole tensor back as little-endian bytes. Metered by the host.
    ///
    /// # Errors
    /// [`Error::OutOfBudget`] if the call may not read that much.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.read(0, self.0.byte_length())?)
    }

    fn expect(&self, element: Dtype) -> Result<(), Error> {
        let found = self.element();
        if found == element {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "the tensor's elements are {}, not {}",
            name(found),
            name(element)
        )))
    }
}

/// Typed ways in and out; the bytes that cross the sandbox are little-endian.
macro_rules! elements {
    ($($rust:ident, $dtype:ident, $from:ident, $to:ident;)*) => { impl Tensor { $(
        #[doc = concat!("Copies `", stringify!($rust), "` values into a new tensor; an empty shape is a scalar.")]
        ///
        /// # Errors
        /// [`Error::InvalidArgument`] unless `data` has as many values as `shape` holds.
        pub fn $from(shape: &[u32], data: &[$rust]) -> Result<Self, Error> {
            let bytes: Vec<u8> = data.iter().flat_map(|value| value.to_le_bytes()).collect();
            Self::from_bytes(Dtype::$dtype, shape, &bytes)
        }

        #[doc = concat!("Copies a tensor of `", stringify!($rust), "` back. Metered by the host.")]
        ///
        /// # Errors
        /// [`Error::InvalidArgument`] if the elements are of another type;
        /// [`Error::OutOfBudget`] if the call may not read that much.
        pub fn $to(&self) -> Result<Vec<$rust>, Error> {
            self.expect(Dtype::$dtype)?;
            let bytes = self.to_bytes()?;
            let (values, _) = bytes.as_chunks();
            Ok(values.iter().map(|value| $rust::from_le_bytes(*value)).collect())
        }
    )* } };
}

elements! {
    f32, F32, from_f32, to_f32;
    i64, I64, from_i64, to_i64;
    i32, I32, from_i32, to_i32;
    i8, I8, from_i8, to_i8;
    u8, U8, from_u8, to_u8;
}

/// A loaded model, shared by all instances on the host.
#[derive(Debug)]
pub struct Model(models::Model);

impl Model {
    /// Opens a model by the name under which the manifest grants it.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the manifest or the host's policy does not allow it.
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(models::Model::open(name)?))
    }

    /// The inputs, in the graph's order.
    #[must_use]
    pub fn inputs(&self) -> Vec<Port> {
        self.0.inputs()
    }

    /// The outputs, in the graph's order.
    #[must_use]
    pub fn outputs(&self) -> Vec<Port> {
        self.0.outputs()
    }

    /// What runs this model here.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    /// Runs the graph once; `outputs` names what to keep, in the wanted order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if names, shapes or element types do not fit the model;
    /// [`Error::OutOfBudget`] if the call has no time or memory left; [`Error::Engine`] if the engine
    /// fails, which is not the service's fault.
    pub fn run(&self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>, Error> {
        let inputs: Vec<(String, &tensors::Tensor)> = inputs
            .iter()
            .map(|(name, tensor)| ((*name).to_owned(), &tensor.0))
            .collect();
        let outputs: Vec<String> = outputs.iter().map(|name| (*name).to_owned()).collect();
        let kept = self.0.run(&inputs, &outputs)?;
        Ok(kept.into_iter().map(Tensor).collect())
    }

    /// Runs the graph once and keeps one output.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_one(&self, inputs: &[(&str, &Tensor)], output: &str) -> Result<Tensor, Error> {
        let mut kept = self.run(inputs, &[output])?;
        kept.pop()
            .ok_or_else(|| Error::Engine(format!("the engine returned no `{output}`")))
    }
}

/// Why the host refused. Converts into `String`, so `?` works in functions that return one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A shape, length, name or range does not fit; nothing ran.
    InvalidArgument(String),
    /// The manifest does not grant this model, or the host's policy denies it.
    NotGranted(String),
    /// The engine does not implement this operation or element type.
    Unsupported(String),
    /// The call's budget of memory, handles or time is spent.
    OutOfBudget(String),
    /// The engine failed while running; the service is not at fault.
    Engine(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, detail) = match self {
            Self::InvalidArgument(detail) => ("invalid argument", detail),
            Self::NotGranted(detail) => ("not granted", detail),
            Self::Unsupported(detail) => ("unsupported by the engine", detail),
            Self::OutOfBudget(detail) => ("out of budget", detail),
            Self::Engine(detail) => ("engine failed", detail),
        };
        write!(f, "{kind}: {detail}")
    }
}

impl std::error::Error for Error {}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::InvalidArgument(detail) => Self::InvalidArgument(detail),
            types::Error::NotGranted(detail) => Self::NotGranted(detail),
            types::Error::Unsupported(detail) => Self::Unsupported(detail),
            types::Error::OutOfBudget(detail) => Self::OutOfBudget(detail),
            types::Error::Engine(detail) => Self::Engine(detail),
        }
    }
}

fn name(element: Dtype) -> &'static str {
    match element {
        Dtype::F32 => "f32",
        Dtype::F16 => "f16",
        Dtype::Bf16 => "bf16",
        Dtype::I64 => "i64",
        Dtype::I32 => "i32",
        Dtype::I8 => "i8",
        Dtype::U8 => "u8",
        Dtype::Boolean => "boolean",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_text() {
        let error = Error::from(types::Error::NotGranted("model `x`".to_owned()));
        assert_eq!(error, Error::NotGranted("model `x`".to_owned()));
        assert_eq!(String::from(error), "not granted: model `x`");
    }
}

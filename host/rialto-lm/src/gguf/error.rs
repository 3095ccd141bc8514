//! Why a file is no GGUF file that can be used.

/// Why a file is refused. All of these are the file's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    #[error("the file does not start with `GGUF`")]
    NotGguf,
    /// A version that is not read here.
    #[error("version {0} is not supported, only 2 and 3 (little-endian)")]
    Version(u32),
    /// The file ends too early.
    #[error("the file ends inside {0}")]
    Truncated(&'static str),
    /// A number exceeds a limit.
    #[error("{what}: {found}, more than {max}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many the file has.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A key or a tensor's name is not UTF-8, or empty.
    #[error("{0} is empty or not UTF-8")]
    Name(&'static str),
    /// A metadata key or a tensor's name occurs twice.
    #[error("`{0}` occurs twice")]
    Repeated(String),
    /// A metadata type that the format does not have, or an array of arrays.
    #[error("`{key}` has value type {kind}, which is unknown or nested")]
    ValueType {
        /// The key.
        key: String,
        /// The type's number.
        kind: u32,
    },
    /// A truth value other than 0 and 1.
    #[error("a truth value is {0}, not 0 or 1")]
    Boolean(u8),
    /// `general.alignment` is no power of two, or too large.
    #[error("general.alignment is no power of two within the limit")]
    Alignment,
    /// A tensor has an element type that is not read here.
    #[error("tensor `{tensor}` has element type {kind}, which is not supported")]
    Element {
        /// The tensor.
        tensor: String,
        /// The type's number.
        kind: u32,
    },
    /// A tensor's shape does not work.
    #[error("tensor `{tensor}`: {reason}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A tensor lies outside the file, is not aligned, or lies over another.
    #[error("tensor `{tensor}`: {reason}")]
    Place {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: &'static str,
    },
}

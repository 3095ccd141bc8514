//! Metadata values.

use bytes::{Buf, Bytes};

use super::{GgufError, Limits, cursor::Cursor, limit};

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number or truth value.
    Scalar(Scalar),
    /// A string, which need not be UTF-8.
    String(Bytes),
    /// Scalars or strings in a row.
    Array(Array),
}

/// A number or truth value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Any of the unsigned integers.
    Unsigned(u64),
    /// Any of the signed integers.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A truth value.
    Boolean(bool),
}

/// An array, still as it lies in the file; checked when the file was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    kind: Kind,
    items: usize,
    bytes: Bytes,
}

impl Value {
    /// The number, if it is an integer that is not negative.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Scalar(scalar) => scalar.unsigned(),
            Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The number, if it is a floating-point number.
    #[must_use]
    pub const fn float(&self) -> Option<f32> {
        match self {
            Self::Scalar(scalar) => scalar.float(),
            Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub const fn boolean(&self) -> Option<bool> {
        match self {
            Self::Scalar(Scalar::Boolean(value)) => Some(*value),
            Self::Scalar(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The string, if it is one and UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String(bytes) => str::from_utf8(bytes).ok(),
            Self::Scalar(_) | Self::Array(_) => None,
        }
    }

    /// The array, if it is one.
    #[must_use]
    pub const fn array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            Self::Scalar(_) | Self::String(_) => None,
        }
    }
}

impl Scalar {
    /// The number, if it is an integer that is not negative.
    #[must_use]
    pub fn unsigned(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            Self::Float(_) | Self::Boolean(_) => None,
        }
    }

    /// The number, if it is a floating-point number.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a setting's precision is f32"
    )]
    pub const fn float(self) -> Option<f32> {
        match self {
            Self::Float(value) => Some(value as f32),
            Self::Unsigned(_) | Self::Signed(_) | Self::Boolean(_) => None,
        }
    }
}

impl Array {
    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items
    }

    /// Whether there is no item.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Bytes in the file, with the lengths of strings.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// The items of an array of strings; nothing for another array.
    pub fn strings(&self) -> impl Iterator<Item = Bytes> + use<> {
        let items = if self.kind == Kind::String {
            self.items
        } else {
            0
        };
        let mut bytes = self.bytes.clone();
        (0..items).map_while(move |_| {
            let length = usize::try_from(bytes.try_get_u64_le().ok()?).ok()?;
            (length <= bytes.len()).then(|| bytes.split_to(length))
        })
    }

    /// The items of an array of scalars; nothing for an array of strings.
    pub fn scalars(&self) -> impl Iterator<Item = Scalar> + use<> {
        let kind = self.kind;
        let items = if kind == Kind::String { 0 } else { self.items };
        let mut bytes = self.bytes.clone();
        (0..items).map_while(move |_| {
            let width = kind.width();
            (width <= bytes.len())
                .then(|| bytes.split_to(width))
                .and_then(|item| scalar(kind, item).ok())
        })
    }
}

/// The format's value types, without arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    U64,
    I64,
    F64,
}

impl Kind {
    const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one scalar; of a string, of its length.
    const fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
        }
    }
}

/// One key with its value.
pub(super) fn entry(cursor: &mut Cursor, limits: &Limits) -> Result<(String, Value), GgufError> {
    let key = cursor.name("a metadata key", limits.key_bytes_max)?;
    let number = cursor.u32("a value type")?;
    let value = if number == ARRAY {
        Value::Array(array(cursor, limits, &key)?)
    } else {
        match Kind::from_number(number) {
            Some(Kind::String) => {
                Value::String(cursor.string("a metadata string", limits.string_bytes_max)?)
            }
            Some(kind) => {
                let width = u64::try_from(kind.width()).unwrap_or(u64::MAX);
                Value::Scalar(scalar(kind, cursor.take(width, "a metadata value")?)?)
            }
            None => return Err(GgufError::ValueType { key, kind: number }),
        }
    };
    Ok((key, value))
}

fn array(cursor: &mut Cursor, limits: &Limits, key: &str) -> Result<Array, GgufError> {
    let number = cursor.u32("an array's type")?;
    let kind = Kind::from_number(number).ok_or_else(|| GgufError::ValueType {
        key: key.to_owned(),
        kind: number,
    })?;
    let count = cursor.u64("an array's length")?;
    limit("items of an array", count, limits.array_items_max)?;
    let width = u64::try_from(kind.width()).unwrap_or(u64::MAX);
    let least = count.saturating_mul(width);
    if least > cursor.left() {
        return Err(GgufError::Truncated("an array"));
    }
    let bytes = if kind == Kind::String {
        strings(cursor, count, limits)?
    } else {
        cursor.take(least, "an array")?
    };
    if kind == Kind::Bool
        && let Some(byte) = bytes.iter().find(|byte| **byte > 1)
    {
        return Err(GgufError::Boolean(*byte));
    }
    let items = usize::try_from(count).map_err(|_| GgufError::Truncated("an array"))?;
    Ok(Array { kind, items, bytes })
}

/// Walks over the strings of an array, and returns them with their lengths.
fn strings(cursor: &mut Cursor, count: u64, limits: &Limits) -> Result<Bytes, GgufError> {
    let start = cursor.aligned_rest(1);
    for _ in 0..count {
        cursor.string("a string of an array", limits.string_bytes_max)?;
    }
    let length = start.len() - usize::try_from(cursor.left()).unwrap_or(0);
    Ok(start.slice(..length))
}

/// One scalar; `bytes` has its width.
fn scalar(kind: Kind, mut bytes: Bytes) -> Result<Scalar, GgufError> {
    Ok(match kind {
        Kind::U8 => Scalar::Unsigned(bytes.get_u8().into()),
        Kind::I8 => Scalar::Signed(bytes.get_i8().into()),
        Kind::U16 => Scalar::Unsigned(bytes.get_u16_le().into()),
        Kind::I16 => Scalar::Signed(bytes.get_i16_le().into()),
        Kind::U32 => Scalar::Unsigned(bytes.get_u32_le().into()),
        Kind::I32 => Scalar::Signed(bytes.get_i32_le().into()),
        Kind::F32 => Scalar::Float(bytes.get_f32_le().into()),
        Kind::Bool => match bytes.get_u8() {
            byte @ (0 | 1) => Scalar::Boolean(byte == 1),
            byte => return Err(GgufError::Boolean(byte)),
        },
        Kind::U64 | Kind::String => Scalar::Unsigned(bytes.get_u64_le()),
        Kind::I64 => Scalar::Signed(bytes.get_i64_le()),
        Kind::F64 => Scalar::Float(bytes.get_f64_le()),
    })
}

const ARRAY: u32 = 9;

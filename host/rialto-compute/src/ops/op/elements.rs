//! Element-wise operations by name.

/// Operations on one element. Integers wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the mathematical ones")]
pub enum Unary {
    Neg,
    Abs,
    /// -1, 0 or 1; NaN stays.
    Sign,
    Exp,
    Ln,
    Sqrt,
    /// The reciprocal of the square root.
    Rsqrt,
    Reciprocal,
    Tanh,
    Sigmoid,
    Relu,
    /// Exact: by the error function.
    Gelu,
    /// Approximate: by the hyperbolic tangent.
    GeluTanh,
    Silu,
    Erf,
    Floor,
    Ceil,
    /// To the nearest, halves to even.
    Round,
    Sin,
    Cos,
    /// Of a boolean; of an integer, bit by bit.
    Not,
}

/// Operations on two elements. Integers wrap; division and remainder by zero give zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the mathematical ones")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// Integers truncate towards zero.
    Div,
    /// The remainder, with the sign of the left.
    Rem,
    /// Power; a negative integer exponent truncates like the quotient would.
    Pow,
    /// The smaller; NaN if either is.
    Min,
    /// The larger; NaN if either is.
    Max,
    /// Of booleans; of integers, bit by bit.
    And,
    Or,
    Xor,
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// What follows a product or a convolution, before its result is rounded to the element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as in Unary")]
pub enum Activation {
    Relu,
    Gelu,
    GeluTanh,
    Silu,
    Sigmoid,
    Tanh,
}

impl Activation {
    /// The element-wise operation that it is.
    #[must_use]
    pub const fn unary(self) -> Unary {
        match self {
            Self::Relu => Unary::Relu,
            Self::Gelu => Unary::Gelu,
            Self::GeluTanh => Unary::GeluTanh,
            Self::Silu => Unary::Silu,
            Self::Sigmoid => Unary::Sigmoid,
            Self::Tanh => Unary::Tanh,
        }
    }
}

//! One element-wise operation as an expression.

use rialto_compute::{
    Element,
    ops::{Binary, Compare, ElementOp, Unary, accepts::is_float},
};

/// What a step computes, in registers, rounded or wrapped to its element type. `source` is the type
/// of its first operand. None if inference promised other operands.
pub(super) fn expression(
    op: ElementOp,
    (source, element): (Element, Element),
    args: &[String],
) -> Option<String> {
    let text = match (op, args) {
        (ElementOp::Unary(unary), [a]) => self::unary(unary, element, a)?,
        (ElementOp::Binary(binary), [a, b]) => self::binary(binary, element, a, b),
        (ElementOp::Compare(compare), [a, b]) => self::compare(compare, source, a, b),
        (ElementOp::Select, [c, a, b]) => return Some(format!("select({b}, {a}, {c} != 0)")),
        (ElementOp::Cast, [a]) => cast(source, element, a),
        _ => return None,
    };
    if source == element && op == ElementOp::Cast {
        return Some(text);
    }
    Some(wrapped(element, &text))
}

/// An expression rounded or wrapped to its type.
pub(super) fn wrapped(element: Element, text: &str) -> String {
    match element {
        Element::F16 => format!("round_f16({text})"),
        Element::Bf16 => format!("round_bf16({text})"),
        Element::I8 => format!("extractBits({text}, 0u, 8u)"),
        Element::U8 => format!("(({text}) & 255)"),
        Element::F32 | Element::I32 | Element::I64 | Element::Bool => text.to_owned(),
    }
}

fn unary(op: Unary, element: Element, a: &str) -> Option<String> {
    if element == Element::Bool {
        return (op == Unary::Not).then(|| format!("({a} ^ 1)"));
    }
    if is_float(element) {
        return Some(float(op, a));
    }
    let [neg, abs, sign, relu] = if element == Element::I64 {
        ["l_neg(", "l_abs(", "l_sign(", "l_relu("]
    } else {
        ["(0 - ", "abs(", "i_sign(", "max(0, "]
    };
    let function = if op == Unary::Neg {
        neg
    } else if op == Unary::Abs {
        abs
    } else if op == Unary::Sign {
        sign
    } else if op == Unary::Relu {
        relu
    } else if op == Unary::Not {
        "(~"
    } else {
        return None;
    };
    Some(format!("{function}{a})"))
}

/// A function of a float.
pub(super) fn float(op: Unary, a: &str) -> String {
    match op {
        Unary::Neg => format!("(-{a})"),
        Unary::Abs => format!("abs({a})"),
        Unary::Sign => format!("sign_({a})"),
        Unary::Exp => format!("exp_({a})"),
        Unary::Ln => format!("ln_({a})"),
        Unary::Sqrt => format!("sqrt_({a})"),
        Unary::Rsqrt => format!("rsqrt_({a})"),
        Unary::Reciprocal => format!("(1.0 / {a})"),
        Unary::Tanh => format!("tanh_({a})"),
        Unary::Sigmoid => format!("sigmoid_({a})"),
        Unary::Relu => format!("relu_({a})"),
        Unary::Gelu => format!("gelu_({a})"),
        Unary::GeluTanh => format!("gelu_tanh_({a})"),
        Unary::Silu => format!("silu_({a})"),
        Unary::Erf => format!("erf_({a})"),
        Unary::Floor => format!("floor({a})"),
        Unary::Ceil => format!("ceil({a})"),
        Unary::Round => format!("round({a})"),
        Unary::Sin => format!("sin_({a})"),
        Unary::Cos => format!("cos_({a})"),
        // Inference keeps floats from it; a copy is harmless.
        Unary::Not => a.to_owned(),
    }
}

/// An operation on two registers of a type, not yet rounded or wrapped.
pub(super) fn binary(op: Binary, element: Element, a: &str, b: &str) -> String {
    let kind = if is_float(element) {
        0
    } else if element == Element::I64 {
        1
    } else {
        2
    };
    match (op, kind) {
        (Binary::Add, 1) => format!("l_add({a}, {b})"),
        (Binary::Sub, 1) => format!("l_sub({a}, {b})"),
        (Binary::Mul, 1) => format!("l_mul({a}, {b})"),
        (Binary::Div, 1) => format!("l_div({a}, {b})"),
        (Binary::Rem, 1) => format!("l_rem({a}, {b})"),
        (Binary::Pow, 1) => format!("l_pow({a}, {b})"),
        (Binary::Min, 1) => format!("l_min({a}, {b})"),
        (Binary::Max, 1) => format!("l_max({a}, {b})"),
        (Binary::Add, _) => format!("({a} + {b})"),
        (Binary::Sub, _) => format!("({a} - {b})"),
        (Binary::Mul, _) => format!("({a} * {b})"),
        (Binary::Div, 0) => format!("({a} / {b})"),
        (Binary::Div, _) => format!("i_div({a}, {b})"),
        (Binary::Rem, 0) => format!("rem_({a}, {b})"),
        (Binary::Rem, _) => format!("i_rem({a}, {b})"),
        (Binary::Pow, 0) => format!("pow_({a}, {b})"),
        (Binary::Pow, _) => format!("i_pow({a}, {b})"),
        (Binary::Min, 0) => format!("min_({a}, {b})"),
        (Binary::Min, _) => format!("min({a}, {b})"),
        (Binary::Max, 0) => format!("max_({a}, {b})"),
        (Binary::Max, _) => format!("max({a}, {b})"),
        (Binary::And, _) => format!("({a} & {b})"),
        (Binary::Or, _) => format!("({a} | {b})"),
        (Binary::Xor, _) => format!("({a} ^ {b})"),
    }
}

/// A comparison; with a NaN only "not equal" holds, so that one is the opposite of "equal".
fn compare(op: Compare, source: Element, a: &str, b: &str) -> String {
    let test = if source == Element::I64 {
        match op {
            Compare::Equal => format!("l_eq({a}, {b})"),
            Compare::NotEqual => format!("!l_eq({a}, {b})"),
            Compare::Less => format!("l_lt({a}, {b})"),
            Compare::LessEqual => format!("!l_lt({b}, {a})"),
            Compare::Greater => format!("l_lt({b}, {a})"),
            Compare::GreaterEqual => format!("!l_lt({a}, {b})"),
        }
    } else {
        match op {
            Compare::Equal => format!("({a} == {b})"),
            Compare::NotEqual => format!("!({a} == {b})"),
            Compare::Less => format!("({a} < {b})"),
            Compare::LessEqual => format!("({a} <= {b})"),
            Compare::Greater => format!("({a} > {b})"),
            Compare::GreaterEqual => format!("({a} >= {b})"),
        }
    };
    format!("select(0, 1, {test})")
}

/// A conversion between registers, before wrapping.
fn cast(from: Element, to: Element, a: &str) -> String {
    let (floats, longs) = (
        (is_float(from), is_float(to)),
        (from == Element::I64, to == Element::I64),
    );
    match (to, floats, longs) {
        (Element::Bool, (true, _), _) => format!("select(1, 0, {a} == 0.0)"),
        (Element::Bool, _, (true, _)) => format!("select(0, 1, ({a}.x | {a}.y) != 0u)"),
        (Element::Bool, ..) => format!("select(0, 1, {a} != 0)"),
        (_, (true, true), _) | (_, _, (true, true)) => a.to_owned(),
        (_, (_, true), (true, _)) => format!("l_float({a})"),
        (_, (_, true), _) => format!("f32({a})"),
        (_, (true, _), (_, true)) => format!("l_from({a})"),
        (Element::I8, (true, _), _) => format!("clamp(to_i32({a}), -128, 127)"),
        (Element::U8, (true, _), _) => format!("clamp(to_i32({a}), 0, 255)"),
        (_, (true, _), _) => format!("to_i32({a})"),
        (_, _, (true, _)) => format!("bitcast<i32>({a}.x)"),
        (_, _, (_, true)) => format!("l_of({a})"),
        _ => a.to_owned(),
    }
}

//! How a tile writes its sums: bias and activation, then four neighbours at a time where rows allow it.
//!
//! Non-goals: the sums (`tile`).

use std::fmt::Write as _;

use rialto_compute::{
    Element,
    ops::{Activation, Unary},
};

use crate::ops::step::float;

/// Adds the bias, applies the activation and writes the sums.
pub(super) fn store(
    side: usize,
    (element, register): (Element, &str),
    out: usize,
    bias: Option<(usize, Option<String>)>,
    activation: Option<Activation>,
    quads: bool,
) -> String {
    let mut text = String::new();
    for row in 0..side / 16 {
        let _ = write!(
            text,
            "{{\nlet row = row0 + ty * 4u + {}u;\nif (row < m) {{\n",
            row / 4 * 64 + row % 4
        );
        for column in 0..side / 64 {
            let _ = write!(
                text,
                "{{\nvar v = s{row}_{column};\nlet column = column0 + tx * 4u + {}u;\nif (column < n) {{\n",
                column * 64
            );
            match &bias {
                Some((n, None)) => {
                    let one = |lane: u32| format!("load{n}(min(column + {lane}u, n - 1u))");
                    let _ = writeln!(
                        text,
                        "v += vec4<{register}>({}, {}, {}, {});",
                        one(0),
                        one(1),
                        one(2),
                        one(3)
                    );
                }
                Some((n, Some(place))) => {
                    let _ = writeln!(text, "v += vec4<{register}>(load{n}({place}));");
                }
                None => {}
            }
            if let Some(activation) = activation {
                let unary = activation.unary();
                if register == "i32" && unary == Unary::Relu {
                    text.push_str("v = max(v, vec4<i32>(0));\n");
                } else {
                    let one = |lane: &str| float(unary, &format!("v.{lane}"));
                    let _ = writeln!(
                        text,
                        "v = vec4<f32>({}, {}, {}, {});",
                        one("x"),
                        one("y"),
                        one("z"),
                        one("w")
                    );
                }
            }
            text.push_str("let to = (i * m + row) * n + column;\n");
            text.push_str(&write_quad(element, out, quads));
            text.push_str("}\n}\n");
        }
        text.push_str("}\n}\n");
    }
    text
}

fn write_quad(element: Element, out: usize, quads: bool) -> String {
    let pair = |round: &str| {
        format!(
            "b{out}[to >> 2u] = vec2<u32>({round}(v.x) | ({round}(v.y) << 16u), {round}(v.z) | ({round}(v.w) << 16u));\n"
        )
    };
    match (quads, element) {
        (true, Element::F16) => pair("to_f16"),
        (true, Element::Bf16) => pair("to_bf16"),
        (true, _) => format!("b{out}[to >> 2u] = v;\n"),
        (false, _) => format!(
            "b{out}[to] = v.x;\nif (column + 1u < n) {{ b{out}[to + 1u] = v.y; }}\n\
             if (column + 2u < n) {{ b{out}[to + 2u] = v.z; }}\nif (column + 3u < n) {{ b{out}[to + 3u] = v.w; }}\n"
        ),
    }
}

//! How a tile reads its operands: blocks of four by four elements from matrices or from windows.
//!
//! Non-goals: what is done with them (`tile`).

use std::fmt::Write as _;

use rialto_compute::Element;

use super::{Image, Layout, Side};
use crate::kernel::{Kernel, Operand};

/// The cells of four elements.
pub(super) const fn quad_cell(element: Element) -> &'static str {
    match element {
        Element::F32 => "vec4<f32>",
        Element::I32 => "vec4<i32>",
        Element::F16 | Element::Bf16 => "vec2<u32>",
        Element::I8 | Element::U8 | Element::Bool | Element::I64 => "u32",
    }
}

/// Writes the function that reads four by four elements of a side: vectors along x, one for each k.
/// Sizes are those of x and k, with their expressions.
pub(super) fn block(
    kernel: &mut Kernel,
    (name, side): (&str, &Side<'_>),
    [(x, x_text), (k, k_text)]: [(usize, &str); 2],
    register: &str,
) {
    let texts = [x_text, k_text];
    let text = match side.layout {
        Layout::Matrix { along_x } => {
            let contiguous = if along_x { x } else { k };
            if contiguous.is_multiple_of(4) {
                let quad = quad(kernel, name, side.operand, register);
                if along_x {
                    quads_along_x(&quad, texts)
                } else {
                    quads_along_k(&quad, texts, register)
                }
            } else {
                singles(kernel, (name, side), along_x, texts, register)
            }
        }
        Layout::Windows(image) => windows(kernel, side, &image, texts),
    };
    kernel.push(&format!(
        "fn {name}_block(k0: u32, x0: u32, base: u32) -> Block {{\nvar r: Block;\n{text}return r;\n}}\n"
    ));
}

/// A vector for each k, as it lies in memory.
fn quads_along_x(quad: &str, [x_text, k_text]: [&str; 2]) -> String {
    let mut text = String::new();
    for (lane, part) in PARTS.iter().enumerate() {
        let _ = writeln!(
            text,
            "if (k0 + {lane}u < {k_text} && x0 < {x_text}) {{ r.{part} = {quad}((base + (k0 + {lane}u) * {x_text} + x0) >> 2u); }}"
        );
    }
    text
}

/// Vectors lie along k: four of them are turned.
fn quads_along_k(quad: &str, [x_text, k_text]: [&str; 2], register: &str) -> String {
    let mut text = String::new();
    for (lane, part) in PARTS.iter().enumerate() {
        let _ = writeln!(
            text,
            "var q{part}: vec4<{register}>;\nif (x0 + {lane}u < {x_text} && k0 < {k_text}) {{ q{part} = {quad}((base + (x0 + {lane}u) * {k_text} + k0) >> 2u); }}"
        );
    }
    for (part, lane) in PARTS.iter().zip(["x", "y", "z", "w"]) {
        let _ = writeln!(
            text,
            "r.{part} = vec4<{register}>(qa.{lane}, qb.{lane}, qc.{lane}, qd.{lane});"
        );
    }
    text
}

/// Element by element, where rows are no multiples of four.
fn singles(
    kernel: &mut Kernel,
    (name, side): (&str, &Side<'_>),
    along_x: bool,
    [x_text, k_text]: [&str; 2],
    register: &str,
) -> String {
    let from = kernel.read(side.operand);
    let place = if along_x {
        format!("base + kk * {x_text} + xx")
    } else {
        format!("base + xx * {k_text} + kk")
    };
    kernel.push(&format!(
        "fn {name}_one(kk: u32, xx: u32, base: u32) -> {register} {{\n\
         if (kk < {k_text} && xx < {x_text}) {{ return load{from}({place}); }}\nreturn {register}(0);\n}}\n"
    ));
    let mut text = String::new();
    for (lane, part) in PARTS.iter().enumerate() {
        let one = |x: u32| format!("{name}_one(k0 + {lane}u, x0 + {x}u, base)");
        let _ = writeln!(
            text,
            "r.{part} = vec4<{register}>({}, {}, {}, {});",
            one(0),
            one(1),
            one(2),
            one(3)
        );
    }
    text
}

/// Writes the function that reads four neighbours; returns its name.
pub(in crate::ops) fn quad(
    kernel: &mut Kernel,
    name: &str,
    operand: &Operand,
    register: &str,
) -> String {
    let element = operand.spec.element();
    let n = kernel.read_as(&operand.part, quad_cell(element));
    let text = match element {
        Element::F16 => "return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));",
        Element::Bf16 => {
            "return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));"
        }
        Element::I8 => {
            "let v = bitcast<i32>(w); return vec4<i32>(extractBits(v, 0u, 8u), extractBits(v, 8u, 8u), extractBits(v, 16u, 8u), extractBits(v, 24u, 8u));"
        }
        Element::U8 | Element::Bool => {
            "return vec4<i32>(vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u) & vec4<u32>(255u));"
        }
        Element::F32 | Element::I32 | Element::I64 => "return w;",
    };
    kernel.push(&format!(
        "fn {name}_quad(q: u32) -> vec4<{register}> {{ let w = b{n}[q]; {text} }}\n"
    ));
    format!("{name}_quad")
}

/// Reads windows: `k` counts channels and taps, `x` counts places in the result.
fn windows(
    kernel: &mut Kernel,
    side: &Side<'_>,
    image: &Image,
    [x_text, k_text]: [&str; 2],
) -> String {
    let mut text = String::new();
    let from = kernel.read(side.operand);
    let [h, w] = image.input.map(|size| kernel.size(size));
    let [_, ow] = image.output.map(|size| kernel.size(size));
    let [kh, kw] = image.kernel.map(|size| kernel.size(size));
    let [[down, down_step, above], [right, right_step, before]] = image.windows.map(|window| {
        [window.stride, window.dilation, window.before].map(|word| kernel.word(word))
    });
    kernel.push(&format!(
        "fn tap(k: u32) -> vec3<u32> {{ let c = k / ({kh} * {kw}); let t = k % ({kh} * {kw});\n\
         return vec3<u32>(c, (t / {kw}) * {down_step}, (t % {kw}) * {right_step}); }}\n\
         fn corner(x: u32) -> vec2<u32> {{ return vec2<u32>((x / {ow}) * {down} - {above}, (x % {ow}) * {right} - {before}); }}\n\
         fn pixel(base: u32, k: u32, x: u32, t: vec3<u32>, c: vec2<u32>) -> f32 {{\n\
         let place = t.yz + c;\nif (k < {k_text} && x < {x_text} && place.x < {h} && place.y < {w}) {{\n\
         return load{from}(base + (t.x * {h} + place.x) * {w} + place.y);\n}}\nreturn 0.0;\n}}\n",
    ));
    for lane in 0..4 {
        let _ = writeln!(
            text,
            "let t{lane} = tap(k0 + {lane}u);\nlet c{lane} = corner(x0 + {lane}u);"
        );
    }
    for (lane, part) in PARTS.iter().enumerate() {
        let one = |x: u32| format!("pixel(base, k0 + {lane}u, x0 + {x}u, t{lane}, c{x})");
        let _ = writeln!(
            text,
            "r.{part} = vec4<f32>({}, {}, {}, {});",
            one(0),
            one(1),
            one(2),
            one(3)
        );
    }
    text
}

/// The vectors of a block, one for each of four neighbours on the inner axis.
const PARTS: [&str; 4] = ["a", "b", "c", "d"];

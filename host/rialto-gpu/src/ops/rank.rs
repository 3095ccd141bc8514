//! The best elements on an axis: arg-max, arg-min, top-k.

use rialto_compute::{
    Element,
    ops::{ArgReduce, EvalError, Spec, TopK, accepts::is_float, spec::extent},
};

use super::layout::value;
use crate::{
    kernel::{Kernel, Operand, register, spread},
    stream::Stream,
};

/// Adds `better(a, b)`: whether the element at place `a` comes before the one at place `b`. NaN is
/// best, both zeros are equal; equals are ranked by who calls.
fn better(kernel: &mut Kernel, input: &Operand, largest: bool) {
    let n = kernel.read(input);
    let element = input.spec.element();
    let key = if is_float(element) {
        let sign = if largest { "k" } else { "(0 - k)" };
        format!(
            "fn key(a: u32) -> i32 {{ let x = load{n}(a); if (is_nan(x)) {{ return 2147483647; }}\n\
             if (x == 0.0) {{ return 0; }}\nlet b = bitcast<i32>(x);\n\
             let k = select(b, i32(-2147483647) - 1 - b, b < 0);\nreturn {sign}; }}\n"
        )
    } else {
        let (register, not) = (register(element), if largest { "" } else { "~" });
        format!("fn key(a: u32) -> {register} {{ return {not}load{n}(a); }}\n")
    };
    let test = if element == Element::I64 {
        "l_lt(key(b), key(a))"
    } else {
        "key(a) > key(b)"
    };
    kernel.push(&format!(
        "{key}fn better(a: u32, b: u32) -> bool {{ return {test}; }}\n"
    ));
}

/// The place of the best element; long lines in parts.
pub(super) fn arg(
    stream: &mut Stream<'_>,
    op: &ArgReduce,
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let (outer, n, inner) = input.spec.around(op.axis);
    let parts = if n > 128 { n.isqrt() } else { 1 };
    let each = n.div_ceil(parts);
    let count = extent(outer * parts * inner).unwrap_or(u32::MAX);
    let spec = Spec::new(Element::I32, [count])?;
    let partial = stream.map("arg", &spec, |kernel| {
        better(kernel, input, op.largest);
        let [n, inner, parts, each] = [n, inner, parts, each].map(|size| kernel.size(size));
        let text = format!(
            "let inner = {inner};\nlet part = (i / inner) % {parts};\nlet base = (i / inner / {parts}) * {n} * inner + i % inner;\n\
             let start = min(part * {each}, {n} - 1u);\nlet end = min(start + {each}, {n});\nvar best = start;\n\
             for (var j = start + 1u; j < end; j++) {{ if (better(base + j * inner, base + best * inner)) {{ best = j; }} }}\n\
             return i32(best);"
        );
        value(kernel, &spec, &text);
    })?;
    stream.map("arg", result, |kernel| {
        better(kernel, input, op.largest);
        let from = kernel.read(&partial);
        let [n, inner, parts] = [n, inner, parts].map(|size| kernel.size(size));
        let text = format!(
            "let inner = {inner};\nlet outer = i / inner;\nlet base = outer * {n} * inner + i % inner;\n\
             let first = outer * {parts} * inner + i % inner;\nvar best = u32(load{from}(first));\n\
             for (var j = 1u; j < {parts}; j++) {{\nlet at = u32(load{from}(first + j * inner));\n\
             if (better(base + at * inner, base + best * inner)) {{ best = at; }}\n}}\n\
             return vec2<u32>(best, 0u);"
        );
        value(kernel, result, &text);
    })
}

/// The best elements and their places, by a sorting network over places.
pub(super) fn top_k(
    stream: &mut Stream<'_>,
    op: &TopK,
    input: &Operand,
    results: &[Spec],
) -> Result<Option<Vec<Operand>>, EvalError> {
    let [values, places] = results else {
        return Ok(None);
    };
    let (outer, n, inner) = input.spec.around(op.axis);
    if values.elements() == 0 {
        let values = stream.map("top-k", values, |_| {})?;
        let places = stream.map("top-k", places, |_| {})?;
        return Ok(Some(vec![values, places]));
    }
    let width = n.next_power_of_two();
    let lines = outer * inner;
    let Some(count) = lines.checked_mul(width).and_then(extent) else {
        return Ok(None);
    };
    let spec = Spec::new(Element::I32, [count])?;
    let order = stream.map("top-k", &spec, |kernel| {
        let width = kernel.size(width);
        value(kernel, &spec, &format!("return i32(i % {width});"));
    })?;
    let mut run = 2;
    while run <= width {
        let mut distance = run / 2;
        while distance > 0 {
            sort(stream, op, input, (&order, lines, width), (run, distance))?;
            distance /= 2;
        }
        run *= 2;
    }
    let k = usize::try_from(op.k).unwrap_or(n);
    let place = format!(
        "let line = (i / ({k} * {inner})) * {inner} + i % {inner};\nlet at = u32(load{o}(line * {width} + (i / {inner}) % {k}));\n",
        k = "KK",
        inner = "II",
        width = "WW",
        o = "OO"
    );
    let mut made = Vec::with_capacity(2);
    for result in [values, places] {
        let picked = stream.map("top-k", result, |kernel| {
            let o = kernel.read(&order);
            let [n_text, k_text, inner_text, width_text] =
                [n, k, inner, width].map(|size| kernel.size(size));
            let place = place
                .replace("KK", &k_text)
                .replace("II", &inner_text)
                .replace("WW", &width_text)
                .replace("OO", &o.to_string());
            let last = if made.is_empty() {
                let x = kernel.read(input);
                format!(
                    "return load{x}((line / {inner_text} * {n_text} + at) * {inner_text} + line % {inner_text});"
                )
            } else {
                "return vec2<u32>(at, 0u);".to_owned()
            };
            value(kernel, result, &format!("{place}{last}"));
        })?;
        made.push(picked);
    }
    Ok(Some(made))
}

/// One pass of the network over all lines: pairs at a distance, in runs of alternating direction.
fn sort(
    stream: &mut Stream<'_>,
    op: &TopK,
    input: &Operand,
    (order, lines, width): (&Operand, usize, usize),
    (run, distance): (usize, usize),
) -> Result<(), EvalError> {
    let (_, n, inner) = input.spec.around(op.axis);
    let mut kernel = Kernel::new("top-k");
    better(&mut kernel, input, op.largest);
    let b = kernel.write(&order.part, "i32");
    let pairs = lines * (width / 2);
    let [n, inner, width, run, distance, count] =
        [n, inner, width, run, distance, pairs].map(|size| kernel.size(size));
    kernel.groups = spread(pairs.div_ceil(256));
    let body = format!(
        "let pair = group * 256u + lane;\nif (pair >= {count}) {{ return; }}\n\
         let half = {width} / 2u;\nlet line = pair / half;\nlet q = pair % half;\n\
         let i = (q / {distance}) * {distance} * 2u + q % {distance};\nlet j = i + {distance};\n\
         let base = line / {inner} * {n} * {inner} + line % {inner};\n\
         let a = u32(b{b}[line * {width} + i]);\nlet c = u32(b{b}[line * {width} + j]);\n\
         var before = a < c;\n\
         if (a >= {n} || c >= {n}) {{ before = a < {n} || (c >= {n} && a < c); }}\n\
         else {{ let pa = base + a * {inner}; let pc = base + c * {inner};\n\
         if (better(pa, pc)) {{ before = true; }} else if (better(pc, pa)) {{ before = false; }} }}\n\
         let forward = (i & {run}) == 0u;\n\
         if (before != forward) {{ b{b}[line * {width} + i] = i32(c); b{b}[line * {width} + j] = i32(a); }}\n"
    );
    stream.add(kernel.finish(256, &body))
}

//! Pooling: the maximum or mean of moving windows.

use rialto_compute::ops::{EvalError, Pool, PoolKind, Spec, Window, accepts::is_float};

use super::layout::value;
use crate::{kernel::Operand, stream::Stream};

/// Pools planes of one or two axes.
pub(super) fn pool<const N: usize>(
    stream: &mut Stream<'_>,
    op: &Pool<N>,
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let axes = |spec: &Spec| {
        if N == 1 {
            [1, spec.extent(2)]
        } else {
            [spec.extent(2), spec.extent(3)]
        }
    };
    let whole = axes(&input.spec);
    let (mut taps, mut windows) = (whole, [Window::default(); 2]);
    if let Some(extents) = op.extents {
        let given = extents.iter().zip(&op.windows).rev();
        for ((tap, window), (size, own)) in taps.iter_mut().zip(&mut windows).rev().zip(given) {
            (*tap, *window) = (rialto_compute::ops::spec::size(*size), *own);
        }
    }
    let float = is_float(input.spec.element());
    stream.map("pool", result, |kernel| {
        let x = kernel.read(input);
        let [oh, ow] = axes(result).map(|size| kernel.size(size));
        let [h, w] = whole.map(|size| kernel.size(size));
        let [th, tw] = taps.map(|size| kernel.size(size));
        let [[down, down_step, above], [right, right_step, before]] = windows.map(|window| {
            [window.stride, window.dilation, window.before].map(|word| kernel.word(word))
        });
        let (first, join, last) = match (op.kind, float) {
            (PoolKind::Max, true) => ("-infinity()", "all = max_(all, v);", "all"),
            (PoolKind::Max, false) => ("i32(-2147483647) - 1", "all = max(all, v);", "all"),
            (PoolKind::Mean, _) => ("0.0", "all += v; count += 1u;", "all / f32(count)"),
            (PoolKind::MeanWithPadding, _) => ("0.0", "all += v;", "all / f32(th * tw)"),
        };
        let long = input.spec.element() == rialto_compute::Element::I64;
        let (first, join) = if long {
            ("vec2<u32>(0u, 0x80000000u)", "all = l_max(all, v);")
        } else {
            (first, join)
        };
        let text = format!(
            "let ox = i % {ow};\nlet oy = (i / {ow}) % {oh};\nlet plane = i / ({ow} * {oh});\nlet th = {th};\nlet tw = {tw};\n\
             var all = {first};\nvar count = 0u;\n\
             for (var ty = 0u; ty < th; ty++) {{\nlet y = oy * {down} + ty * {down_step} - {above};\nif (y >= {h}) {{ continue; }}\n\
             for (var tx = 0u; tx < tw; tx++) {{\nlet x = ox * {right} + tx * {right_step} - {before};\nif (x >= {w}) {{ continue; }}\n\
             let v = load{x}((plane * {h} + y) * {w} + x);\n{join}\n}}\n}}\nreturn {last};",
        );
        value(kernel, result, &text);
    })
}

//! Convolution as a product of the weights with the image's windows, which are never in memory.
//!
//! Groups with few output channels are computed element by element: a tile would be mostly empty.

use rialto_compute::ops::{
    Activation, Conv, EvalError, Spec, Window, accepts::is_float, spec::size,
};

use super::{
    layout::value,
    step::float,
    tile::{Image, Layout, Product, Side, product},
};
use crate::{
    kernel::{Kernel, Operand},
    stream::Stream,
};

/// A convolution over one or two axes.
pub(super) fn conv<const N: usize>(
    stream: &mut Stream<'_>,
    op: &Conv<N>,
    (input, weight, bias): (&Operand, &Operand, Option<&Operand>),
    result: &Spec,
) -> Result<Operand, EvalError> {
    debug_assert!(is_float(result.element()));
    let axes = |spec: &Spec| {
        if N == 1 {
            [1, spec.extent(2)]
        } else {
            [spec.extent(2), spec.extent(3)]
        }
    };
    let mut windows = [Window::default(); 2];
    for (into, window) in windows.iter_mut().rev().zip(op.windows.iter().rev()) {
        *into = *window;
    }
    let image = Image {
        windows,
        input: axes(&input.spec),
        kernel: axes(&weight.spec),
        output: axes(result),
    };
    let groups = size(op.groups).max(1);
    let shape = Shape {
        image,
        groups,
        channels: weight.spec.extent(1),
        outputs: weight.spec.extent(0) / groups,
        activation: op.activation,
    };
    if shape.outputs < OUTPUTS_MIN {
        return direct(stream, &shape, (input, weight, bias), result);
    }
    let [kh, kw] = image.kernel;
    let [oh, ow] = image.output;
    let k = shape.channels * kh * kw;
    let plain = image.kernel == [1, 1] && windows == [Window::default(); 2];
    let mut kernel = Kernel::new("conv");
    let groups_text = kernel.size(groups);
    let weights = kernel.size(shape.outputs * k);
    let pixels = kernel.size(shape.channels * image.input.iter().product::<usize>());
    let outputs = kernel.size(shape.outputs);
    let whole = Product {
        op: "conv",
        sizes: [shape.outputs, oh * ow, k],
        batch: result.extent(0) * groups,
        sides: [
            Side {
                operand: weight,
                layout: Layout::Matrix { along_x: false },
                base: format!("(i % {groups_text}) * {weights}"),
            },
            Side {
                operand: input,
                layout: if plain {
                    Layout::Matrix { along_x: true }
                } else {
                    Layout::Windows(image)
                },
                base: format!("i * {pixels}"),
            },
        ],
        setup: String::new(),
        bias: bias.map(|bias| (bias, Some(format!("(i % {groups_text}) * {outputs} + row")))),
        activation: op.activation,
    };
    product(stream, kernel, &whole, result)
}

struct Shape {
    image: Image,
    groups: usize,
    /// Input channels a group.
    channels: usize,
    /// Output channels a group.
    outputs: usize,
    activation: Option<Activation>,
}

/// Each element by itself.
fn direct(
    stream: &mut Stream<'_>,
    shape: &Shape,
    (input, weight, bias): (&Operand, &Operand, Option<&Operand>),
    result: &Spec,
) -> Result<Operand, EvalError> {
    let Image {
        windows,
        input: whole,
        kernel: taps,
        output,
    } = shape.image;
    stream.map("conv", result, |kernel| {
        let (x, w) = (kernel.read(input), kernel.read(weight));
        let [oh, ow] = output.map(|size| kernel.size(size));
        let [h, wide] = whole.map(|size| kernel.size(size));
        let [th, tw] = taps.map(|size| kernel.size(size));
        let [groups, channels, outputs] =
            [shape.groups, shape.channels, shape.outputs].map(|size| kernel.size(size));
        let [[down, down_step, above], [right, right_step, before]] = windows.map(|window| {
            [window.stride, window.dilation, window.before].map(|word| kernel.word(word))
        });
        let mut last = "sum".to_owned();
        if let Some(bias) = bias {
            let b = kernel.read(bias);
            last = format!("sum + load{b}(o)");
        }
        if let Some(activation) = shape.activation {
            last = float(activation.unary(), &format!("({last})"));
        }
        let text = format!(
            "let ox = i % {ow};\nlet oy = (i / {ow}) % {oh};\nlet plane = i / ({ow} * {oh});\n\
             let all = {outputs} * {groups};\nlet o = plane % all;\nlet image = plane / all;\nlet g = o / {outputs};\n\
             var sum = 0.0;\nfor (var c = 0u; c < {channels}; c++) {{\n\
             let base = (image * {groups} + g) * {channels} + c;\n\
             for (var ty = 0u; ty < {th}; ty++) {{\nlet y = oy * {down} + ty * {down_step} - {above};\nif (y >= {h}) {{ continue; }}\n\
             for (var tx = 0u; tx < {tw}; tx++) {{\nlet x = ox * {right} + tx * {right_step} - {before};\nif (x >= {wide}) {{ continue; }}\n\
             sum += load{x}((base * {h} + y) * {wide} + x) * load{w}(((o * {channels} + c) * {th} + ty) * {tw} + tx);\n\
             }}\n}}\n}}\nreturn {last};",
        );
        value(kernel, result, &text);
    })
}

/// Output channels a group for which tiles are worth while.
const OUTPUTS_MIN: usize = 8;

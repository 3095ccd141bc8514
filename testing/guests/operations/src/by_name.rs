//! An operation by its name, its attributes as numbers.

use crate::operations::Array;
use rialto_sdk::tensor::{
    Activation, Attention, Combine, Conv, Dtype, Error, Matmul, Norm, Number, Padding, Pooling,
    Range, Reduction, Rope, Source, Tensor, Window,
};

/// The tensor of a content.
pub(crate) fn tensor(array: &Array) -> Result<Tensor, String> {
    let element = element(&array.element)?;
    Ok(Tensor::from_bytes(element, &array.shape, &array.data)?)
}

/// The content of a tensor.
pub(crate) fn array(tensor: &Tensor) -> Result<Array, String> {
    let element = ELEMENTS.iter().find(|(_, it)| *it == tensor.element());
    Ok(Array {
        element: element.map_or("", |(name, _)| *name).to_owned(),
        shape: tensor.shape(),
        data: tensor.to_bytes()?,
    })
}

fn element(name: &str) -> Result<Dtype, String> {
    let found = ELEMENTS.iter().find(|(known, _)| *known == name);
    let (_, element) = found.ok_or_else(|| format!("no element type `{name}`"))?;
    Ok(*element)
}

/// Attributes, taken one after another; those that are missing are zero.
pub(crate) struct Attributes<'a>(std::slice::Iter<'a, f64>);

impl<'a> Attributes<'a> {
    pub(crate) fn new(values: &'a [f64]) -> Self {
        Self(values.iter())
    }

    fn float(&mut self) -> f64 {
        self.0.next().copied().unwrap_or(0.0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "attributes are rounded")]
    fn single(&mut self) -> f32 {
        self.float() as f32
    }

    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    fn int(&mut self) -> i64 {
        self.float() as i64
    }

    fn axis(&mut self) -> i32 {
        i32::try_from(self.int()).unwrap_or(i32::MAX)
    }

    fn count(&mut self) -> u32 {
        u32::try_from(self.int()).unwrap_or(u32::MAX)
    }

    fn flag(&mut self) -> bool {
        self.int() != 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(usize::try_from(self.int()).ok()?).copied()
    }

    /// After its length.
    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = usize::try_from(self.count()).unwrap_or(0).min(LIST_MAX);
        (0..length).map(|_| each(self)).collect()
    }

    fn window(&mut self) -> Window {
        let (stride, dilation) = (self.count(), self.count());
        let window = Window::new().stride(stride).dilation(dilation);
        let (before, after) = (self.count(), self.count());
        window.padding(before, after)
    }

    fn element(&mut self) -> Dtype {
        let elements = ELEMENTS.map(|(_, element)| element);
        self.pick(&elements).unwrap_or(Dtype::F32)
    }

    /// A whole number for integers.
    fn number(&mut self) -> Number {
        if self.flag() {
            Number::Integer(self.int())
        } else {
            Number::Float(self.float())
        }
    }

    fn source(&mut self) -> Source {
        let seed = self.int().unsigned_abs();
        Source::new(seed).stream(self.int().unsigned_abs())
    }

    fn conv<'b, const N: usize>(&mut self, bias: Option<&'b Tensor>) -> Conv<'b, N> {
        let windows = std::array::from_fn(|_| self.window());
        let mut conv = Conv::new().windows(windows).groups(self.count());
        if let Some(activation) = self.pick(&ACTIVATIONS) {
            conv = conv.activation(activation);
        }
        match bias {
            Some(bias) => conv.bias(bias),
            None => conv,
        }
    }

    fn norm<'b>(&mut self, scale: Option<&'b Tensor>, bias: Option<&'b Tensor>) -> Norm<'b> {
        let axes = self.count();
        let mut norm = Norm::new(self.single()).axes(axes);
        if let Some(scale) = scale {
            norm = norm.scale(scale);
        }
        match bias {
            Some(bias) => norm.bias(bias),
            None => norm,
        }
    }
}

/// Runs an operation; fewer operands than it needs are an error of this guest's.
pub(crate) fn run(op: &str, attributes: &[f64], inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    if let Some(made) = source(op, &mut Attributes::new(attributes)) {
        return Ok(vec![made?]);
    }
    let mut at = Attributes::new(attributes);
    let Some((x, rest)) = inputs.split_first() else {
        return Err(format!("{op}: no operand"));
    };
    if op == "top-k" {
        let (axis, k) = (at.axis(), at.count());
        let (values, places) = if at.flag() {
            x.top_k(axis, k)?
        } else {
            x.bottom_k(axis, k)?
        };
        return Ok(vec![values, places]);
    }
    let made = unary(op, x).or_else(|| layout(op, &mut at, x, inputs));
    let made = made.or_else(|| reduction(op, &mut at, x));
    let made = made.or_else(|| {
        let (y, rest) = rest.split_first()?;
        let made = binary(op, x, y).or_else(|| linear(op, &mut at, [x, y], rest));
        made.or_else(|| index(op, &mut at, [x, y], rest))
    });
    let made = made.or_else(|| norm(op, &mut at, x, rest));
    Ok(vec![made.ok_or_else(|| format!("no operation `{op}`"))??])
}

type Made = Option<Result<Tensor, Error>>;

fn source(op: &str, at: &mut Attributes<'_>) -> Made {
    let element = at.element();
    let shape = at.list(Attributes::count);
    Some(match op {
        "full" => Tensor::full(element, &shape, at.number()),
        "iota" => {
            let axis = at.axis();
            let start = at.number();
            Tensor::iota(element, &shape, axis, start, at.number())
        }
        "random-uniform" => {
            let source = at.source();
            let low = at.single();
            Tensor::random_uniform(element, &shape, source, low..at.single())
        }
        "random-normal" => {
            let source = at.source();
            let mean = at.single();
            Tensor::random_normal(element, &shape, source, mean, at.single())
        }
        _ => return None,
    })
}

fn unary(op: &str, x: &Tensor) -> Made {
    Some(match op {
        "neg" => x.neg(),
        "abs" => x.abs(),
        "sign" => x.sign(),
        "exp" => x.exp(),
        "ln" => x.ln(),
        "sqrt" => x.sqrt(),
        "rsqrt" => x.rsqrt(),
        "reciprocal" => x.reciprocal(),
        "tanh" => x.tanh(),
        "sigmoid" => x.sigmoid(),
        "relu" => x.relu(),
        "gelu" => x.gelu(),
        "gelu-tanh" => x.gelu_tanh(),
        "silu" => x.silu(),
        "erf" => x.erf(),
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "round" => x.round(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "not" => x.not(),
        _ => return None,
    })
}

fn binary(op: &str, x: &Tensor, y: &Tensor) -> Made {
    Some(match op {
        "add" => x.add(y),
        "sub" => x.sub(y),
        "mul" => x.mul(y),
        "div" => x.div(y),
        "rem" => x.rem(y),
        "pow" => x.pow(y),
        "min" => x.min(y),
        "max" => x.max(y),
        "and" => x.and(y),
        "or" => x.or(y),
        "xor" => x.xor(y),
        "equal" => x.equal(y),
        "not-equal" => x.not_equal(y),
        "less" => x.less(y),
        "less-equal" => x.less_equal(y),
        "greater" => x.greater(y),
        "greater-equal" => x.greater_equal(y),
        _ => return None,
    })
}

fn linear(op: &str, at: &mut Attributes<'_>, [x, y]: [&Tensor; 2], rest: &[Tensor]) -> Made {
    let third = rest.first();
    Some(match op {
        "matmul" => {
            let mut options = Matmul::new();
            if at.flag() {
                options = options.transpose_left();
            }
            if at.flag() {
                options = options.transpose_right();
            }
            if let Some(activation) = at.pick(&ACTIVATIONS) {
                options = options.activation(activation);
            }
            if let Some(bias) = third {
                options = options.bias(bias);
            }
            x.matmul_with(y, &options)
        }
        "conv1d" => x.conv1d_with(y, &at.conv(third)),
        "conv2d" => x.conv2d_with(y, &at.conv(third)),
        "attention" => {
            let mut options = Attention::new();
            if at.flag() {
                options = options.causal();
            }
            if at.flag() {
                options = options.scale(at.single());
            }
            if let Some(mask) = rest.get(1) {
                options = options.mask(mask);
            }
            x.attention_with(y, third?, &options)
        }
        "rope" => {
            let mut rope = Rope::new(at.count()).base(at.single());
            if at.flag() {
                rope = rope.interleaved();
            }
            x.rope(y, rope)
        }
        "select" => x.select(y, third?),
        _ => return None,
    })
}

fn index(op: &str, at: &mut Attributes<'_>, [x, y]: [&Tensor; 2], rest: &[Tensor]) -> Made {
    let third = rest.first();
    Some(match op {
        "gather" => x.gather(y, at.axis()),
        "gather-elements" => x.gather_elements(y, at.axis()),
        "scatter" => {
            let axis = at.axis();
            x.scatter(y, third?, axis, at.pick(&COMBINES)?)
        }
        "scatter-elements" => {
            let axis = at.axis();
            x.scatter_elements(y, third?, axis, at.pick(&COMBINES)?)
        }
        "quantise" => {
            let axis = at.flag().then(|| at.axis());
            x.quantise(y, third?, axis)
        }
        "dequantise" => {
            let to = at.element();
            let axis = at.flag().then(|| at.axis());
            x.dequantise(y, third?, axis, to)
        }
        _ => return None,
    })
}

fn norm(op: &str, at: &mut Attributes<'_>, x: &Tensor, rest: &[Tensor]) -> Made {
    Some(match op {
        "layer-norm" => x.layer_norm(&at.norm(rest.first(), rest.get(1))),
        "rms-norm" => x.rms_norm(&at.norm(rest.first(), None)),
        _ => return None,
    })
}

fn reduction(op: &str, at: &mut Attributes<'_>, x: &Tensor) -> Made {
    Some(match op {
        "reduce" => {
            let kind = at.pick(&REDUCTIONS)?;
            if at.flag() {
                let axes = at.list(Attributes::axis);
                x.reduce(kind, &axes, at.flag())
            } else {
                x.reduce_all(kind)
            }
        }
        "softmax" => x.softmax(at.axis()),
        "log-softmax" => x.log_softmax(at.axis()),
        "arg-max" => {
            let axis = at.axis();
            x.arg_max(axis, at.flag())
        }
        "arg-min" => {
            let axis = at.axis();
            x.arg_min(axis, at.flag())
        }
        "cumulative-sum" => {
            let axis = at.axis();
            let exclusive = at.flag();
            x.cumulative_sum(axis, exclusive, at.flag())
        }
        "pool1d" => {
            let (kind, extent) = (at.pick(&POOLINGS)?, at.count());
            x.pool1d(kind, extent, at.window())
        }
        "pool2d" => {
            let (kind, rows, columns) = (at.pick(&POOLINGS)?, at.count(), at.count());
            let height = at.window();
            x.pool2d(kind, [rows, columns], [height, at.window()])
        }
        _ => return None,
    })
}

fn layout(op: &str, at: &mut Attributes<'_>, x: &Tensor, inputs: &[Tensor]) -> Made {
    Some(match op {
        "cast" => x.cast(at.element()),
        "slice" => x.slice(&at.list(|at| {
            let (start, end, bounded, step) = (at.int(), at.int(), at.flag(), at.int());
            let range = if bounded {
                Range::from(start..end)
            } else {
                Range::from(start..)
            };
            range.step(step)
        })),
        "reshape" => x.reshape(&at.list(Attributes::count)),
        "transpose" => x.transpose(&at.list(Attributes::axis)),
        "broadcast-to" => x.broadcast_to(&at.list(Attributes::count)),
        "concatenate" => {
            let all: Vec<&Tensor> = inputs.iter().collect();
            Tensor::concatenate(&all, at.axis())
        }
        "pad" => {
            let extents = at.list(|at| (at.count(), at.count()));
            let padding = match at.int() {
                0 => Padding::Constant(at.number()),
                1 => Padding::Edge,
                _ => Padding::Reflect,
            };
            x.pad(&extents, padding)
        }
        _ => return None,
    })
}

const ELEMENTS: [(&str, Dtype); 8] = [
    ("f32", Dtype::F32),
    ("f16", Dtype::F16),
    ("bf16", Dtype::Bf16),
    ("i64", Dtype::I64),
    ("i32", Dtype::I32),
    ("i8", Dtype::I8),
    ("u8", Dtype::U8),
    ("boolean", Dtype::Boolean),
];
const ACTIVATIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Sigmoid,
    Activation::Tanh,
];
const COMBINES: [Combine; 5] = [
    Combine::Replace,
    Combine::Add,
    Combine::Mul,
    Combine::Min,
    Combine::Max,
];
const REDUCTIONS: [Reduction; 5] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::Max,
    Reduction::Min,
    Reduction::Prod,
];
const POOLINGS: [Pooling; 3] = [Pooling::Max, Pooling::Mean, Pooling::MeanWithPadding];
const LIST_MAX: usize = 1 << 16;

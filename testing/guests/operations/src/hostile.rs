//! Random arguments for every operation: mostly nonsense, sometimes not.

use crate::by_name;
use rialto_sdk::tensor::{Dtype, Tensor};

/// Calls operations, reads what came of them, and counts what fitted and what did not.
pub(crate) fn attack(seed: u64, calls: u32) -> Vec<u32> {
    let mut draw = Draw(seed);
    let (mut held, mut fitted, mut refused): (Vec<Tensor>, u32, u32) = (Vec::new(), 0, 0);
    for _ in 0..calls {
        let op = OPS[draw.below(OPS.len())];
        let attributes: Vec<f64> = (0..draw.below(24)).map(|_| draw.attribute()).collect();
        let count = 1 + draw.below(4);
        let inputs: Vec<Tensor> = (0..count).filter_map(|_| draw.tensor()).collect();
        let made = by_name::run(op, &attributes, &inputs);
        let read = made.and_then(|made| {
            if draw.below(2) == 0 {
                for tensor in &made {
                    tensor.to_bytes()?;
                }
            }
            Ok(made)
        });
        match read {
            Ok(made) => {
                fitted += 1;
                held.extend(made);
            }
            Err(_) => refused += 1,
        }
        while held.len() > 64 {
            held.swap_remove(draw.below(64));
        }
    }
    vec![fitted, refused]
}

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn attribute(&mut self) -> f64 {
        const ODD: [f64; 12] = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            -2.0,
            1e9,
            4_294_967_295.0,
            -4_294_967_296.0,
            9.2e18,
            0.5,
            1e-40,
            65_536.0,
        ];
        if self.below(4) == 0 {
            return ODD[self.below(ODD.len())];
        }
        f64::from(u32::try_from(self.below(4)).unwrap_or(0))
    }

    fn tensor(&mut self) -> Option<Tensor> {
        const ELEMENTS: [Dtype; 8] = [
            Dtype::F32,
            Dtype::F16,
            Dtype::Bf16,
            Dtype::I64,
            Dtype::I32,
            Dtype::I8,
            Dtype::U8,
            Dtype::Boolean,
        ];
        let rank = [2, 3, 4, 1, 0, 8, 9][self.below(7)];
        let shape: Vec<u32> = (0..rank).map(|_| [2, 1, 3, 4, 0][self.below(5)]).collect();
        let element = ELEMENTS[if self.below(2) == 0 { 0 } else { self.below(8) }];
        let width = match element {
            Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Boolean => 1,
        };
        let count: u32 = shape.iter().product();
        let bytes = usize::try_from(count).ok()? * width;
        let data: Vec<u8> = (0..bytes)
            .map(|_| match element {
                Dtype::Boolean => u8::from(self.below(2) == 1),
                _ => u8::try_from(self.next() & 0xff).unwrap_or(0),
            })
            .collect();
        Tensor::from_bytes(element, &shape, &data).ok()
    }
}

const OPS: [&str; 58] = [
    "full",
    "iota",
    "random-uniform",
    "random-normal",
    "neg",
    "abs",
    "exp",
    "ln",
    "tanh",
    "gelu",
    "floor",
    "not",
    "add",
    "mul",
    "div",
    "rem",
    "pow",
    "max",
    "xor",
    "equal",
    "less",
    "select",
    "cast",
    "matmul",
    "matmul",
    "matmul",
    "conv1d",
    "conv1d",
    "conv2d",
    "conv2d",
    "pool1d",
    "pool2d",
    "attention",
    "attention",
    "softmax",
    "log-softmax",
    "layer-norm",
    "rms-norm",
    "rope",
    "gather",
    "gather-elements",
    "scatter",
    "scatter-elements",
    "reduce",
    "reduce",
    "arg-max",
    "arg-min",
    "top-k",
    "cumulative-sum",
    "quantise",
    "dequantise",
    "slice",
    "reshape",
    "transpose",
    "concatenate",
    "pad",
    "pad",
    "broadcast-to",
];

//! The same elements elsewhere.

use rialto_compute::ops::{Number, Pad, PadMode, Range};

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn arrangements(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let element = draw.pick(&Element::ALL);
        let x = draw.tensor(element, &shape, true);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        for at in (1..order.len()).rev() {
            let other = draw.below(at as u64 + 1) as usize;
            order.swap(at, other);
        }
        compare(&Op::Transpose(order), &[&x], 0.0, 0.0);
        let ranges: Vec<Range> = shape.iter().map(|_| Range {
            start: draw.below(12) as i64 - 6,
            end: if draw.below(2) == 0 { None } else { Some(draw.below(12) as i64 - 6) },
            step: draw.pick(&[1, 1, 2, -1, -2]),
        }).collect();
        compare(&Op::Slice(ranges), &[&x], 0.0, 0.0);
        let small = draw.narrower(&shape);
        let y = draw.tensor(element, &small, true);
        compare(&Op::BroadcastTo(shape.clone()), &[&y], 0.0, 0.0);
        compare(&Op::Reshape(vec![shape.iter().product()]), &[&x], 0.0, 0.0);
        let mut sizes = || shape.iter().map(|_| draw.below(3) as u32).collect::<Vec<u32>>();
        let (before, after) = (sizes(), sizes());
        for mode in [PadMode::Constant(Number::Int(3)), PadMode::Edge, PadMode::Reflect] {
            let op = Op::Pad(Pad { before: before.clone(), after: after.clone(), mode });
            if rialto_compute::ops::infer(&op, &[&Spec::of(&x).unwrap()]).is_ok() {
                compare(&op, &[&x], 0.0, 0.0);
            }
        }
    }

    #[test]
    fn joined(shape in shapes(), axis in 0..4_usize, count in 1..30_usize, seed in any::<u64>()) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        let element = draw.pick(&Element::ALL);
        let parts: Vec<Tensor> = (0..count).map(|_| {
            let mut shape = shape.clone();
            shape[axis] = draw.below(4) as u32;
            draw.tensor(element, &shape, true)
        }).collect();
        let operands: Vec<&Tensor> = parts.iter().collect();
        compare(&Op::Concat { axis }, &operands, 0.0, 0.0);
    }
}

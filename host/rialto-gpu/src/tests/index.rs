//! By index, by rank, and eight-bit integers.

use rialto_compute::ops::{ArgReduce, Combine, Quantise, TopK, accepts::elements};

use super::*;

#[test]
fn long_ranks() {
    let mut draw = Draw(13);
    for element in [Element::F32, Element::I64, Element::U8, Element::F16] {
        let x = draw.tensor(element, &[2, 3000], true);
        for largest in [true, false] {
            compare(
                &Op::ArgReduce(ArgReduce {
                    axis: 1,
                    largest,
                    keep: false,
                }),
                &[&x],
                0.0,
                0.0,
            );
            compare(
                &Op::TopK(TopK {
                    axis: 1,
                    k: 50,
                    largest,
                }),
                &[&x],
                0.0,
                0.0,
            );
        }
    }
}

#[test]
fn indices_outside_are_found() {
    let mut draw = Draw(17);
    let x = draw.tensor(Element::F32, &[5, 2], false);
    for (index, last) in [(5_i64, 1), (-6, 0), (i64::MIN, 2), (1 << 32, 3)] {
        let at = Tensor::from_i64(vec![4], &[0, index, -5, last]).unwrap();
        compare(&Op::Gather { axis: 0 }, &[&x, &at], 0.0, 0.0);
    }
    let at = Tensor::from_i32(vec![2, 2], &[0, 2, i32::MIN, 1]).unwrap();
    compare(&Op::GatherElements { axis: 1 }, &[&x, &at], 0.0, 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn by_index(shape in prop::collection::vec(1..5_u32, 1..4), axis in 0..4_usize, count in 0..7_u32, seed in any::<u64>()) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        let extent = shape[axis];
        let element = draw.pick(&Element::ALL);
        let x = draw.tensor(element, &shape, true);
        let at = draw.indices(&[count, 2], extent);
        compare(&Op::Gather { axis }, &[&x, &at], 0.0, 0.0);
        let mut own: Vec<u32> = shape.iter().map(|extent| draw.below(u64::from(*extent) + 1) as u32).collect();
        own[axis] = count;
        let places = draw.indices(&own, extent);
        compare(&Op::GatherElements { axis }, &[&x, &places], 0.0, 0.0);
        for combine in [Combine::Replace, Combine::Add, Combine::Mul, Combine::Min, Combine::Max] {
            let op = Op::Scatter { axis, combine };
            let element = draw.pick(elements(&op));
            let x = draw.tensor(element, &shape, true);
            let at = draw.indices(&[count], extent);
            let mut sliced = shape.clone();
            sliced[axis] = count;
            let updates = draw.tensor(element, &sliced, true);
            compare(&op, &[&x, &at, &updates], 1.0, 0.0);
            let updates = draw.tensor(element, &own, true);
            compare(&Op::ScatterElements { axis, combine }, &[&x, &places, &updates], 1.0, 0.0);
        }
    }

    #[test]
    fn ranks(shape in prop::collection::vec(1..8_u32, 1..4), axis in 0..4_usize, [largest, keep] in any::<[bool; 2]>(), seed in any::<u64>()) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        let op = Op::ArgReduce(ArgReduce { axis, largest, keep });
        for element in elements(&op) {
            let x = draw.tensor(*element, &shape, true);
            compare(&op, &[&x], 0.0, 0.0);
            let k = draw.below(u64::from(shape[axis]) + 1) as u32;
            compare(&Op::TopK(TopK { axis, k, largest }), &[&x], 0.0, 0.0);
        }
    }

    #[test]
    fn bytes(shape in shapes(), axis in 0..5_usize, seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let axis = Some(axis).filter(|axis| *axis < shape.len());
        let own: Vec<u32> = axis.map(|axis| shape[axis]).into_iter().collect();
        let values: Vec<f32> = (0..own.iter().product::<u32>()).map(|_| 2.0_f32.powi(draw.below(6) as i32 - 3)).collect();
        let scale = Tensor::from_f32(own.clone(), &values).unwrap();
        let op = Quantise { axis };
        for byte in [Element::I8, Element::U8] {
            let zero = draw.tensor(byte, &own, false);
            for element in [Element::F32, Element::F16, Element::Bf16] {
                let x = draw.tensor(element, &shape, true);
                compare(&Op::Quantise(op), &[&x, &scale, &zero], 0.0, 0.0);
                let x = draw.tensor(byte, &shape, true);
                compare(&Op::Dequantise(op, element), &[&x, &scale, &zero], 0.0, 0.0);
            }
        }
    }
}

//! Quantised tensors.

use super::build::{Case, bytes, f32s, i64s, ramp, row, scalar};
use crate::{Element, Tensor};

fn i32s(shape: &[u32], values: &[i32]) -> Tensor {
    Tensor::from_i32(shape.to_vec(), values).unwrap()
}

#[test]
fn scales_are_one_or_one_for_each_place() {
    let zero = |value| bytes(Element::U8, &[], &[value]);
    let quantise = Case::new("QuantizeLinear", 1)
        .gives(&[(Element::U8, 1)])
        .on(row(&[-10.0, -0.25, 0.25, 0.75, 300.0]));
    quantise
        .clone()
        .with(scalar(0.5))
        .with(zero(3))
        .is_exactly(&bytes(Element::U8, &[5], &[0, 3, 3, 5, 255]));
    quantise
        .with(scalar(0.5))
        .is_exactly(&bytes(Element::U8, &[5], &[0, 0, 0, 2, 255]));
    let column = f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let axis = Case::new("QuantizeLinear", 2)
        .gives(&[(Element::I8, 2)])
        .int("axis", 0)
        .on(column);
    let zeros = bytes(Element::I8, &[2], &[0, 0xff]);
    axis.with(row(&[1.0, 2.0]))
        .with(zeros)
        .is_exactly(&bytes(Element::I8, &[2, 2], &[1, 2, 1, 1]));
    let back = Case::new("DequantizeLinear", 1).on(bytes(Element::U8, &[3], &[0, 128, 255]));
    back.with(scalar(0.5))
        .with(zero(128))
        .is(&[3], &[-64.0, 0.0, 63.5]);
    let bias = Case::new("DequantizeLinear", 1)
        .int("axis", 0)
        .on(i32s(&[2], &[100, -7]));
    bias.with(row(&[0.5, 2.0])).is(&[2], &[50.0, -14.0]);
}

#[test]
fn a_range_is_found_as_it_goes() {
    let dynamic = |x: Tensor| {
        let outputs = [
            (Element::U8, x.shape().len()),
            (Element::F32, 0),
            (Element::U8, 0),
        ];
        Case::new("DynamicQuantizeLinear", 1)
            .gives(&outputs)
            .on(x)
            .run()
            .unwrap()
    };
    // The standard's own example.
    let found = dynamic(row(&[0.0, 2.0, -3.0, -2.5, 1.34, 0.5]));
    assert_eq!(&found[0].data()[..], [153, 255, 0, 26, 221, 179]);
    assert!((found[1].to_f32().unwrap()[0] - 0.019_607_844).abs() < 1e-8);
    assert_eq!(&found[2].data()[..], [153]);
    let found = dynamic(row(&[1.0, 2.1, 1.3, 2.5, 3.34, 4.0]));
    assert_eq!(&found[0].data()[..], [64, 134, 83, 159, 213, 255]);
    let found = dynamic(row(&[0.0, 0.0]));
    assert_eq!(
        (&found[0].data()[..], found[1].to_f32().unwrap()),
        (&[0, 0][..], vec![1.0])
    );
}

#[test]
fn products_of_bytes_are_exact_however_long() {
    let product = |k: u32, zeros: [u8; 2]| {
        let long = usize::try_from(k).unwrap();
        let left: Vec<u8> = (0..long)
            .map(|i| u8::try_from(255 - i % 3).unwrap())
            .collect();
        let right: Vec<u8> = (0..long)
            .map(|i| u8::try_from(i * 7 % 256).unwrap())
            .collect();
        let expected: i64 = left
            .iter()
            .zip(&right)
            .map(|(a, b)| {
                (i64::from(*a) - i64::from(zeros[0])) * (i64::from(*b) - i64::from(zeros[1]))
            })
            .sum();
        Case::new("MatMulInteger", 2)
            .gives(&[(Element::I32, 2)])
            .on(bytes(Element::U8, &[1, k], &left))
            .with(bytes(Element::U8, &[k, 1], &right))
            .with(bytes(Element::U8, &[], &[zeros[0]]))
            .with(bytes(Element::U8, &[1], &[zeros[1]]))
            .is_exactly(&i32s(&[1, 1], &[i32::try_from(expected).unwrap()]));
    };
    for k in [1, 255, 256, 257, 2048] {
        for zeros in [[0, 0], [255, 0], [3, 128], [0, 255]] {
            product(k, zeros);
        }
    }
    let signed = Case::new("MatMulInteger", 2)
        .gives(&[(Element::I32, 2)])
        .on(bytes(Element::U8, &[2, 1], &[1, 200]))
        .with(bytes(Element::I8, &[1, 2], &[0x80, 0x7f]));
    signed
        .clone()
        .is_exactly(&i32s(&[2, 2], &[-128, 127, -25_600, 25_400]));
    // A zero point for each row of the left, and for each column of the right.
    let rows = signed.with(bytes(Element::U8, &[2], &[1, 100])).with(bytes(
        Element::I8,
        &[2],
        &[0x80, 0x7f],
    ));
    rows.is_exactly(&i32s(&[2, 2], &[0, 0, 0, 0]));
    Case::new("MatMulInteger", 2)
        .gives(&[(Element::I32, 2)])
        .on(ramp(&[1, 1]))
        .on(ramp(&[1, 1]))
        .fails("factors of f32");
    Case::new("QuantizeLinear", 1)
        .gives(&[(Element::U8, 1)])
        .on(i64s(&[1]))
        .with(scalar(1.0))
        .fails("input must be");
}

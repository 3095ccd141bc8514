//! Each instruction set against plain arithmetic, and against the others bit by bit.

use bytes::Bytes;

use super::*;
use crate::{
    blocks,
    cache::Budget,
    gguf::{Element, Tensor},
    matrix::{Matrix, Quantised},
};

fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A tensor with ordinary scales and random codes.
fn tensor(element: Element, rows: usize, columns: usize) -> Tensor {
    let bytes = rows * columns / element.block_items() * element.block_bytes();
    let mut state = 9_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap()
    };
    let mut bytes: Vec<u8> = (0..bytes).map(|_| random()).collect();
    for block in bytes.chunks_mut(element.block_bytes()) {
        block[..2].copy_from_slice(&0x2c66_u16.to_le_bytes());
        if element.block_bytes() > 2 {
            block[2..4].copy_from_slice(&0x3155_u16.to_le_bytes());
        }
    }
    Tensor {
        element,
        columns,
        rows,
        rank: 2,
        bytes: Bytes::from(bytes),
    }
}

/// Rows not a multiple of 16, tokens not a multiple of a tile, every layout.
#[test]
fn products_are_those_of_the_dequantised_numbers_and_equal_on_all_sets() {
    let (rows, columns, tokens) = (37, 256, 11);
    for element in [
        Element::Q4_0,
        Element::Q4_1,
        Element::Q5_0,
        Element::Q5_1,
        Element::Q8_0,
        Element::Q4K,
    ] {
        let tensor = tensor(element, rows, columns);
        let weights = blocks::dequantise(&tensor);
        let matrix = Matrix::new(&tensor, &Budget::new(1 << 30)).unwrap();
        let x = noise(5, tokens * columns);
        let mut first: Option<Vec<f32>> = None;
        for isa in Isa::all() {
            let quantised = Quantised::new(isa, &x, columns);
            let product = matrix.multiply(isa, 0..matrix.sixteens(), &quantised);
            let mut out = vec![0.0; tokens * rows];
            quantised.scatter(&product, matrix.sixteens(), 0, rows, &mut out);
            for (token, (x, out)) in x.chunks(columns).zip(out.chunks(rows)).enumerate() {
                for (row, found) in out.iter().enumerate() {
                    let weights = &weights[row * columns..][..columns];
                    let exact: f32 = weights.iter().zip(x).map(|(w, x)| w * x).sum();
                    let size: f32 = weights.iter().zip(x).map(|(w, x)| (w * x).powi(2)).sum();
                    let most = 0.02 * size.sqrt() + 0.01;
                    let name = isa.name();
                    assert!(
                        (found - exact).abs() < most,
                        "{element} {name} {token} {row}: {found} {exact}"
                    );
                }
            }
            assert!(
                *first.get_or_insert(out.clone()) == out,
                "{element} {}",
                isa.name()
            );
        }
    }
}

#[test]
fn a_row_comes_back_as_it_was() {
    for element in [Element::Q4_0, Element::Q4_1, Element::Q5_1, Element::Q8_0] {
        let tensor = tensor(element, 19, 64);
        let matrix = Matrix::new(&tensor, &Budget::new(1 << 30)).unwrap();
        let weights = blocks::dequantise(&tensor);
        for row in 0..19 {
            let mut found = vec![0.0; 64];
            matrix.row(row, &mut found);
            assert_eq!(found, weights[row * 64..][..64], "{element}");
        }
    }
}

#[test]
fn everything_else_is_right_and_equal_on_all_sets() {
    let (x, y) = (noise(1, 100), noise(2, 100));
    let mut first: Option<Vec<u32>> = None;
    for isa in Isa::all() {
        let mut normed = vec![0.0; 100];
        norm(isa, &x, &y, 1e-5, &mut normed);
        let mean = x.iter().map(|x| x * x).sum::<f32>() / 100.0;
        assert!((normed[50] - x[50] / (mean + 1e-5).sqrt() * y[50]).abs() < 1e-5);

        let mut soft: Vec<f32> = x.iter().map(|x| x * 30.0).collect();
        softmax(isa, &mut soft);
        assert!((soft.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((soft[3] / soft[4] / ((x[3] - x[4]) * 30.0).exp() - 1.0).abs() < 1e-4);

        let mut gate: Vec<f32> = x.iter().map(|x| x * 100.0).collect();
        silu_times(isa, &mut gate, &y);
        for (found, (x, y)) in gate.iter().zip(x.iter().zip(&y)) {
            let x = f64::from(*x) * 100.0;
            let exact = x / (1.0 + (-x).exp()) * f64::from(*y);
            assert!(
                (f64::from(*found) - exact).abs() < 1e-5 * exact.abs().max(1.0),
                "{found} {exact}"
            );
        }

        let mut mixed = vec![0.0; 16];
        mix(isa, &x[..3], &y[..48], &mut mixed);
        assert!((mixed[5] - (x[0] * y[5] + x[1] * y[21] + x[2] * y[37])).abs() < 1e-6);

        let all = [normed, soft, gate, mixed].concat();
        let bits: Vec<u32> = all.iter().map(|x| x.to_bits()).collect();
        assert!(*first.get_or_insert(bits.clone()) == bits, "{}", isa.name());
    }
}

#[test]
fn numbers_that_are_none_or_huge_do_not_stop_anything() {
    for isa in Isa::all() {
        for bad in [
            f32::NAN,
            f32::INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE / 8.0,
            0.0,
        ] {
            let mut x = [bad; 32];
            x[7] = 1.0;
            Quantised::new(isa, &[bad; 32], 32);
            let mut soft = [bad; 40];
            softmax(isa, &mut soft);
            let matrix =
                Matrix::new(&tensor(Element::Q8_0, 16, 32), &Budget::new(1 << 30)).unwrap();
            let tokens = Quantised::new(isa, &x, 32);
            assert_eq!(matrix.multiply(isa, 0..1, &tokens).len(), 1);
        }
    }
}

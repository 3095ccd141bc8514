//! Products of matrices, and what is drawn into them.

use super::build::{Case, constant_of, engine, f32s, file, number, ramp, row, run};
use crate::{
    Element, Engine, Tensor,
    tract::sample::{Axis, Message, node, value},
};

#[test]
fn rows_and_columns_are_matrices_for_the_product() {
    for (left, right, rank) in [
        (&[2, 3][..], &[3, 4][..], 2),
        (&[3], &[3, 4], 1),
        (&[2, 3], &[3], 1),
        (&[2, 1, 2, 3], &[5, 3, 2], 4),
        (&[4, 2, 3], &[3, 2], 3),
    ] {
        Case::new("MatMul", rank)
            .on(ramp(left))
            .on(ramp(right))
            .agrees();
        Case::new("MatMul", rank)
            .on(ramp(left))
            .with(ramp(right))
            .agrees();
    }
    Case::new("MatMul", 0)
        .on(row(&[1.0, 2.0]))
        .on(row(&[3.0, 4.0]))
        .is(&[], &[11.0]);
    Case::new("MatMul", 2)
        .on(ramp(&[2, 3]))
        .on(ramp(&[2, 3]))
        .fails("columns do not meet");
}

#[test]
fn a_general_product_turns_scales_and_adds() {
    let gemm = || Case::new("Gemm", 2);
    gemm().on(ramp(&[2, 3])).with(ramp(&[3, 4])).agrees();
    gemm()
        .on(ramp(&[2, 3]))
        .with(ramp(&[3, 4]))
        .with(ramp(&[4]))
        .agrees();
    gemm()
        .on(ramp(&[2, 3]))
        .with(ramp(&[3, 4]))
        .with(ramp(&[2, 4]))
        .agrees();
    gemm()
        .on(ramp(&[2, 3]))
        .with(ramp(&[3, 4]))
        .with(ramp(&[2, 1]))
        .agrees();
    let turned = gemm()
        .int("transA", 1)
        .int("transB", 1)
        .float("alpha", 0.5)
        .float("beta", -2.0);
    turned
        .clone()
        .on(ramp(&[3, 2]))
        .with(ramp(&[4, 3]))
        .with(ramp(&[1, 4]))
        .agrees();
    turned
        .on(ramp(&[3, 2]))
        .on(ramp(&[4, 3]))
        .on(ramp(&[2, 4]))
        .agrees();
    gemm().on(ramp(&[3])).on(ramp(&[3, 2])).fails("two axes");
    gemm()
        .on(ramp(&[2, 3]))
        .on(ramp(&[3, 4]))
        .on(ramp(&[5, 2, 4]))
        .fails("a bias of");
}

/// A graph of several nodes from `x` to `y`.
fn chain(nodes: &[Message], constants: &[(&str, Tensor)], rank: usize) -> Vec<u8> {
    let graph = nodes
        .iter()
        .fold(Message::default(), |graph, node| graph.message(1, node));
    let graph = constants.iter().fold(graph, |graph, (name, tensor)| {
        graph.message(5, &constant_of(name, tensor))
    });
    let port = |name| value(name, number(Element::F32), &vec![Axis::Named("n"); rank]);
    file(graph.message(11, &port("x")).message(12, &port("y")), 13)
}

fn both(file: Vec<u8>, x: &Tensor) {
    let inputs = || vec![("x".to_owned(), x.clone())];
    let embedded = crate::TractEngine::default()
        .load(file.clone().into(), "chain")
        .unwrap();
    let expected = run(embedded.as_ref(), inputs()).unwrap()[0]
        .to_f32()
        .unwrap();
    let model = engine().load(file.into(), "chain").unwrap();
    let found = run(model.as_ref(), inputs()).unwrap()[0].to_f32().unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 1e-4,
            "{found} instead of {expected}"
        );
    }
}

#[test]
fn what_follows_a_convolution_is_drawn_into_it() {
    let x = ramp(&[1, 2, 5, 5]);
    let weight = ("w", ramp(&[3, 2, 3, 3]));
    let column = |values: &[f32]| f32s(&[1, 3, 1, 1], values);
    let bias = ("b", column(&[0.5, -1.0, 2.0]));
    let factor = ("f", column(&[2.0, 0.5, -1.0]));
    let norm = [
        ("scale", row(&[1.0, 2.0, 0.5])),
        ("shift", row(&[0.0, 1.0, -1.0])),
        ("mean", row(&[0.5, 0.0, -0.5])),
        ("variance", row(&[1.0, 4.0, 0.25])),
    ];
    let conv = || node("Conv", &["x", "w"], "a", &[]);
    let last = |op, from: &str| node(op, &[from], "y", &[]);
    let plain = [
        conv(),
        node("Add", &["b", "a"], "c", &[]),
        last("Relu", "c"),
    ];
    both(chain(&plain, &[weight.clone(), bias.clone()], 4), &x);
    let scaled = [
        conv(),
        node("Mul", &["a", "f"], "c", &[]),
        node("Add", &["c", "b"], "d", &[]),
        last("Sigmoid", "d"),
    ];
    both(
        chain(&scaled, &[weight.clone(), factor, bias.clone()], 4),
        &x,
    );
    let batch = [
        conv(),
        node(
            "BatchNormalization",
            &["a", "scale", "shift", "mean", "variance"],
            "c",
            &[],
        ),
        last("Tanh", "c"),
    ];
    both(
        chain(&batch, &[&[weight.clone()][..], &norm].concat(), 4),
        &x,
    );
    // Two read the convolution: nothing may be drawn into it.
    let twice = [
        conv(),
        node("Add", &["a", "b"], "c", &[]),
        node("Relu", &["c"], "d", &[]),
        node("Mul", &["d", "a"], "y", &[]),
    ];
    both(chain(&twice, &[weight, bias], 4), &x);
}

#[test]
fn what_follows_a_product_is_drawn_into_it() {
    let constants = [("w", ramp(&[3, 4])), ("b", ramp(&[4])), ("c", ramp(&[4]))];
    let nodes = [
        node("MatMul", &["x", "w"], "a", &[]),
        node("Add", &["a", "b"], "d", &[]),
        node("Add", &["c", "d"], "e", &[]),
        node("Relu", &["e"], "y", &[]),
    ];
    both(chain(&nodes, &constants, 2), &ramp(&[5, 3]));
    let whole = [("w", ramp(&[3, 4])), ("b", ramp(&[5, 4]))];
    let nodes = [
        node("MatMul", &["x", "w"], "a", &[]),
        node("Add", &["a", "b"], "y", &[]),
    ];
    both(chain(&nodes, &whole, 2), &ramp(&[5, 3]));
}

//! A small fixed model to measure an engine with: rows through four square layers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Model, RunError, Tensor};

/// The model's file: `y = x w w w w` for `x` of shape [64, 512].
pub(super) fn file() -> Bytes {
    let weights: Vec<u8> = (0..SIDE * SIDE)
        .flat_map(|place| (if place % 3 == 0 { 0.01_f32 } else { -0.005 }).to_le_bytes())
        .collect();
    let side = u64::from(SIDE);
    let tensor = Field::default()
        .number(1, side)
        .number(1, side)
        .number(2, FLOAT)
        .bytes(8, b"w")
        .bytes(9, &weights);
    let mut graph = Field::default();
    for (from, to) in [("x", "a"), ("a", "b"), ("b", "c"), ("c", "y")] {
        let node = Field::default()
            .bytes(1, from.as_bytes())
            .bytes(1, b"w")
            .bytes(2, to.as_bytes())
            .bytes(4, b"MatMul");
        graph = graph.field(1, &node);
    }
    let graph = graph
        .bytes(2, b"probe")
        .field(5, &tensor)
        .field(11, &value("x"))
        .field(12, &value("y"));
    let operators = Field::default().number(2, 13);
    let model = Field::default()
        .number(1, 8)
        .field(7, &graph)
        .field(8, &operators);
    model.0.into()
}

/// Billions of multiplications and additions a second, measured for a few hundred milliseconds.
pub(super) fn measure(model: &dyn Model) -> Result<f64, RunError> {
    let values: Vec<f32> = (0..ROWS * SIDE)
        .map(|place| if place % 2 == 0 { 0.5 } else { -0.25 })
        .collect();
    let x = Tensor::from_f32(vec![ROWS, SIDE], &values);
    let x = x.map_err(|error| RunError::Engine(error.to_string()))?;
    let run = || model.run(vec![("x".to_owned(), x.clone())], &["y".to_owned()]);
    // The first one may plan.
    run()?;
    let (start, mut runs) = (Instant::now(), 0_u32);
    while start.elapsed() < MEASURED {
        run()?;
        runs = runs.saturating_add(1);
    }
    let operations = 2.0 * LAYERS * f64::from(ROWS) * f64::from(SIDE) * f64::from(SIDE);
    Ok(operations * f64::from(runs) / start.elapsed().as_secs_f64() / 1e9)
}

fn value(name: &str) -> Field {
    let axis = |extent: u32| Field::default().number(1, u64::from(extent));
    let shape = Field::default().field(1, &axis(ROWS)).field(1, &axis(SIDE));
    let tensor = Field::default().number(1, FLOAT).field(2, &shape);
    let declared = Field::default().field(1, &tensor);
    Field::default()
        .bytes(1, name.as_bytes())
        .field(2, &declared)
}

/// A protobuf message under construction.
#[derive(Default)]
struct Field(Vec<u8>);

impl Field {
    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    fn field(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 127);
                return;
            }
            self.0.push(low | 128);
        }
    }
}

const ROWS: u32 = 64;
const SIDE: u32 = 512;
const LAYERS: f64 = 4.0;
const MEASURED: Duration = Duration::from_millis(250);
/// ONNX's number for 32-bit floats.
const FLOAT: u64 = 1;

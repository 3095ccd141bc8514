//! One operator as a file: run with operands given, and folded, and by the embedded engine.

use std::sync::Arc;

use crate::{
    Config, CpuDevice, Element, Engine, GraphEngine, Model, Tensor, TractEngine,
    ops::Device,
    tract::sample::{Axis, Message, tensor, value},
};

/// One node under test.
#[derive(Debug, Clone)]
pub(super) struct Case {
    op: &'static str,
    opset: u64,
    attributes: Vec<Message>,
    operands: Vec<Operand>,
    outputs: Vec<(Element, usize)>,
}

#[derive(Debug, Clone)]
enum Operand {
    Given(Tensor),
    Constant(Tensor),
    Missing,
}

impl Case {
    /// A node with one output of f32, of so many axes.
    pub(super) fn new(op: &'static str, rank: usize) -> Self {
        Self {
            op,
            opset: 18,
            attributes: Vec::new(),
            operands: Vec::new(),
            outputs: vec![(Element::F32, rank)],
        }
    }

    pub(super) fn opset(mut self, opset: u64) -> Self {
        self.opset = opset;
        self
    }

    pub(super) fn gives(mut self, outputs: &[(Element, usize)]) -> Self {
        self.outputs = outputs.to_vec();
        self
    }

    pub(super) fn on(mut self, tensor: Tensor) -> Self {
        self.operands.push(Operand::Given(tensor));
        self
    }

    pub(super) fn with(mut self, tensor: Tensor) -> Self {
        self.operands.push(Operand::Constant(tensor));
        self
    }

    pub(super) fn without(mut self) -> Self {
        self.operands.push(Operand::Missing);
        self
    }

    pub(super) fn int(self, name: &str, value: i64) -> Self {
        self.attribute(
            Message::default()
                .bytes(1, name.as_bytes())
                .varint(3, value.cast_unsigned())
                .varint(20, 2),
        )
    }

    pub(super) fn ints(self, name: &str, values: &[i64]) -> Self {
        let attribute = Message::default().bytes(1, name.as_bytes());
        let attribute = values.iter().fold(attribute, |attribute, value| {
            attribute.varint(8, value.cast_unsigned())
        });
        self.attribute(attribute.varint(20, 7))
    }

    pub(super) fn float(self, name: &str, value: f32) -> Self {
        let mut attribute = Message::default().bytes(1, name.as_bytes());
        attribute.0.push(2 << 3 | 5);
        attribute.0.extend(value.to_le_bytes());
        self.attribute(attribute.varint(20, 1))
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        let attribute = Message::default()
            .bytes(1, name.as_bytes())
            .bytes(4, value.as_bytes());
        self.attribute(attribute.varint(20, 3))
    }

    pub(super) fn attribute(mut self, attribute: Message) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// The file; with every operand a constant if `folded`.
    fn file(&self, folded: bool) -> (Vec<u8>, Vec<(String, Tensor)>) {
        let mut node = Message::default();
        let mut graph = Message::default();
        let mut inputs = Vec::new();
        for (place, operand) in self.operands.iter().enumerate() {
            let name = format!("x{place}");
            let (tensor, constant) = match operand {
                Operand::Missing => {
                    node = node.bytes(1, b"");
                    continue;
                }
                Operand::Given(tensor) => (tensor, folded),
                Operand::Constant(tensor) => (tensor, true),
            };
            node = node.bytes(1, name.as_bytes());
            if constant {
                graph = graph.message(5, &constant_of(&name, tensor));
            } else {
                let axes = vec![Axis::Named("n"); tensor.shape().len()];
                graph = graph.message(11, &value(&name, number(tensor.element()), &axes));
                inputs.push((name, tensor.clone()));
            }
        }
        for (place, (element, rank)) in self.outputs.iter().enumerate() {
            let name = format!("y{place}");
            node = node.bytes(2, name.as_bytes());
            let axes = vec![Axis::Named("n"); *rank];
            graph = graph.message(12, &value(&name, number(*element), &axes));
        }
        node = node.bytes(3, b"it").bytes(4, self.op.as_bytes());
        let node = self
            .attributes
            .iter()
            .fold(node, |node, attribute| node.message(5, attribute));
        (file(graph.message(1, &node), self.opset), inputs)
    }

    /// What the engine gives, which is the same if everything is folded.
    pub(super) fn run(&self) -> Result<Vec<Tensor>, String> {
        let on = |folded: bool| {
            let (file, inputs) = self.file(folded);
            let model = engine()
                .load(file.into(), "case")
                .map_err(|error| error.to_string())?;
            run(model.as_ref(), inputs)
        };
        let results = on(false)?;
        assert_eq!(on(true).as_ref(), Ok(&results), "folded: {self:?}");
        Ok(results)
    }

    /// What the embedded engine gives.
    fn embedded(&self) -> Result<Vec<Tensor>, String> {
        let (file, inputs) = self.file(false);
        let model = TractEngine::default()
            .load(file.into(), "case")
            .map_err(|error| error.to_string())?;
        run(model.as_ref(), inputs)
    }

    /// Both engines agree.
    pub(super) fn agrees(&self) {
        let expected = self.embedded();
        let expected = expected.unwrap_or_else(|error| panic!("embedded: {error}: {self:?}"));
        let found = self
            .run()
            .unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.shape(), expected.shape(), "{self:?}");
            assert_eq!(found.element(), expected.element(), "{self:?}");
            match (found.to_f32(), expected.to_f32()) {
                (Some(found), Some(expected)) => close(&found, &expected, &format!("{self:?}")),
                _ => assert_eq!(found, expected, "{self:?}"),
            }
        }
    }

    /// The one result is this.
    pub(super) fn is(&self, shape: &[u32], expected: &[f32]) {
        let found = self
            .run()
            .unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(found[0].shape(), shape, "{self:?}");
        close(&found[0].to_f32().unwrap(), expected, &format!("{self:?}"));
    }

    /// The one result is this, to the bit.
    pub(super) fn is_exactly(&self, expected: &Tensor) {
        let found = self
            .run()
            .unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(&found[0], expected, "{self:?}");
    }

    /// It is refused, for this reason.
    pub(super) fn fails(&self, reason: &str) {
        let error = self.run().unwrap_err();
        assert!(error.contains(reason), "{error}: {self:?}");
    }
}

/// A file of one graph.
pub(super) fn file(graph: Message, opset: u64) -> Vec<u8> {
    Message::default()
        .varint(1, 8)
        .message(7, &graph)
        .message(8, &Message::default().varint(2, opset))
        .0
}

pub(super) fn cpu() -> Arc<dyn Device> {
    Arc::new(CpuDevice::new(1, 256 << 20))
}

/// An engine with small limits.
pub(super) fn engine() -> GraphEngine {
    GraphEngine::new(cpu(), cpu(), config())
}

pub(super) fn config() -> Config {
    Config {
        file_bytes_max: 8 << 20,
        tensor_bytes_max: 16 << 20,
        run_bytes_max: 64 << 20,
        multiply_adds_max: 1 << 30,
        ..Config::default()
    }
}

pub(super) fn run(model: &dyn Model, inputs: Vec<(String, Tensor)>) -> Result<Vec<Tensor>, String> {
    let names: Vec<String> = model
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    model.run(inputs, &names).map_err(|error| error.to_string())
}

/// A `TensorProto`.
pub(super) fn constant_of(name: &str, from: &Tensor) -> Message {
    let dims: Vec<i64> = from
        .shape()
        .iter()
        .map(|extent| i64::from(*extent))
        .collect();
    tensor(name, number(from.element()), &dims, from.data())
}

/// ONNX's number for an element type.
pub(super) const fn number(element: Element) -> u64 {
    match element {
        Element::F32 => 1,
        Element::U8 => 2,
        Element::I8 => 3,
        Element::I32 => 6,
        Element::I64 => 7,
        Element::Bool => 9,
        Element::F16 => 10,
        Element::Bf16 => 16,
    }
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found == expected || (found.is_nan() && expected.is_nan());
        let by = (found - expected).abs() / expected.abs().max(1.0);
        assert!(
            same || by < 1e-5,
            "{found} instead of {expected} at {place}: {what}"
        );
    }
}

/// Different numbers between -3 and 3.
pub(super) fn ramp(shape: &[u32]) -> Tensor {
    let count: u32 = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|place| f32::from(u16::try_from(place * 37 % 101).unwrap()) / 17.0 - 3.0)
        .collect();
    Tensor::from_f32(shape.to_vec(), &values).unwrap()
}

pub(super) fn f32s(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape.to_vec(), values).unwrap()
}

pub(super) fn row(values: &[f32]) -> Tensor {
    f32s(&[u32::try_from(values.len()).unwrap()], values)
}

pub(super) fn scalar(value: f32) -> Tensor {
    f32s(&[], &[value])
}

pub(super) fn i64s(values: &[i64]) -> Tensor {
    Tensor::from_i64(vec![u32::try_from(values.len()).unwrap()], values).unwrap()
}

pub(super) fn i64_of(shape: &[u32], values: &[i64]) -> Tensor {
    Tensor::from_i64(shape.to_vec(), values).unwrap()
}

pub(super) fn bytes(element: Element, shape: &[u32], data: &[u8]) -> Tensor {
    Tensor::new(element, shape.to_vec(), data.to_vec().into()).unwrap()
}

//! Small ONNX files for tests, written field by field in protobuf's wire format, so that tests can
//! also write what no exporter would.

/// A protobuf message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn varint(mut self, field: u64, value: u64) -> Self {
        self.raw_varint(field << 3);
        self.raw_varint(value);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(u64::try_from(bytes.len()).unwrap());
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value > 127 {
            self.0.push(u8::try_from(value & 127).unwrap() | 128);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }
}

pub(crate) const F32: u64 = 1;
pub(crate) const I64: u64 = 7;

/// An extent of a declared axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Axis<'a> {
    Fixed(i64),
    Named(&'a str),
}

/// A `ValueInfoProto`.
pub(crate) fn value(name: &str, element: u64, axes: &[Axis<'_>]) -> Message {
    let shape = axes.iter().fold(Message::default(), |shape, axis| {
        let dim = match axis {
            Axis::Fixed(extent) => Message::default().varint(1, extent.cast_unsigned()),
            Axis::Named(name) => Message::default().bytes(2, name.as_bytes()),
        };
        shape.message(1, &dim)
    });
    let tensor = Message::default().varint(1, element).message(2, &shape);
    let declared = Message::default().message(1, &tensor);
    Message::default()
        .bytes(1, name.as_bytes())
        .message(2, &declared)
}

/// A `NodeProto`.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Message]) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, name| {
        node.bytes(1, name.as_bytes())
    });
    let node = node
        .bytes(2, output.as_bytes())
        .bytes(3, output.as_bytes())
        .bytes(4, op.as_bytes());
    attributes
        .iter()
        .fold(node, |node, attribute| node.message(5, attribute))
}

/// An `AttributeProto` of one number, or of several.
pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    const INT: u64 = 2;
    const INTS: u64 = 7;
    let attribute = Message::default().bytes(1, name.as_bytes());
    match values {
        [value] => attribute.varint(3, value.cast_unsigned()).varint(20, INT),
        _ => values
            .iter()
            .fold(attribute, |attribute, value| {
                attribute.varint(8, value.cast_unsigned())
            })
            .varint(20, INTS),
    }
}

/// A `TensorProto` of raw data.
pub(crate) fn tensor(name: &str, element: u64, dims: &[i64], data: &[u8]) -> Message {
    let tensor = dims.iter().fold(Message::default(), |tensor, dim| {
        tensor.varint(1, dim.cast_unsigned())
    });
    tensor
        .varint(2, element)
        .bytes(8, name.as_bytes())
        .bytes(9, data)
}

pub(crate) fn i64s(name: &str, values: &[i64]) -> Message {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor(name, I64, &[i64::try_from(values.len()).unwrap()], &data)
}

/// The parts of a `ModelProto`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) nodes: Vec<Message>,
    pub(crate) initializers: Vec<Message>,
    pub(crate) inputs: Vec<Message>,
    pub(crate) outputs: Vec<Message>,
}

impl Sample {
    pub(crate) fn file(&self) -> Vec<u8> {
        let parts = [
            (1, &self.nodes),
            (5, &self.initializers),
            (11, &self.inputs),
            (12, &self.outputs),
        ];
        let graph = parts
            .into_iter()
            .fold(Message::default(), |graph, (field, messages)| {
                messages
                    .iter()
                    .fold(graph, |graph, message| graph.message(field, message))
            });
        let opset = Message::default().varint(2, 13);
        Message::default()
            .varint(1, 8)
            .message(7, &graph)
            .message(8, &opset)
            .0
    }

    /// One node from `x` of any length to `y`, with constants.
    pub(crate) fn one(op: &str, inputs: &[&str], constants: &[Message]) -> Self {
        Self {
            nodes: vec![node(op, inputs, "y", &[])],
            initializers: constants.to_vec(),
            inputs: vec![value("x", F32, &[Axis::Named("n")])],
            outputs: vec![value("y", F32, &[Axis::Named("n")])],
        }
    }
}

/// `y = softmax(a @ w + b)` and `z = a @ w`, for `a` of shape [n, 3] and `w` of shape [3, 2].
pub(crate) fn layer() -> Sample {
    let w: Vec<u8> = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0_f32]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let b: Vec<u8> = [0.5, -0.5_f32]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    Sample {
        nodes: vec![
            node("MatMul", &["a", "w"], "z", &[]),
            node("Add", &["z", "b"], "sum", &[]),
            node("Softmax", &["sum"], "y", &[]),
        ],
        initializers: vec![tensor("w", F32, &[3, 2], &w), tensor("b", F32, &[2], &b)],
        inputs: vec![value("a", F32, &[Axis::Named("n"), Axis::Fixed(3)])],
        outputs: vec![
            value("y", F32, &[Axis::Named("n"), Axis::Fixed(2)]),
            value("z", F32, &[Axis::Named("n"), Axis::Fixed(2)]),
        ],
    }
}

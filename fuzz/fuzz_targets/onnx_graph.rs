//! ONNX models' files from strangers, as programs of tensor operations.
#![no_main]

rialto_fuzz::target!(256 << 20, |data: &[u8]| rialto_tensor::fuzzing::onnx_graph(
    data
));

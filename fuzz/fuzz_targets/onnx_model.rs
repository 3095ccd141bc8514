//! ONNX models' files from strangers, loaded, planned and run.
#![no_main]

rialto_fuzz::target!(256 << 20, |data: &[u8]| rialto_tensor::fuzzing::onnx_model(
    data
));

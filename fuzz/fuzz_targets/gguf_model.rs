//! Language models' files from strangers, loaded and run.
#![no_main]

rialto_fuzz::target!(256 << 20, |data: &[u8]| rialto_lm::fuzzing::gguf_model(
    data
));

//! Language models' files from strangers: metadata, tensor table, vocabulary.
#![no_main]

rialto_fuzz::target!(256 << 20, |data: &[u8]| rialto_lm::fuzzing::gguf_file(data));

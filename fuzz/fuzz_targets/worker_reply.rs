//! What a worker process answers, as the host reads it.
#![no_main]

rialto_fuzz::target!(
    16 << 20,
    |data: &[u8]| rialto_tensor::fuzzing::worker_reply(data)
);

//! `wasi:random`: from the system, or from the call's seed where calls are deterministic.

use rand::RngCore as _;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::deterministic::Seed;
use crate::state::CallState;

/// The most random bytes of one host call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Defines the interfaces.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    random::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    insecure::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    insecure_seed::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

/// Where a call's randomness comes from.
pub(crate) enum Chance {
    /// The system's generator; guests cannot tell what it gave others.
    System,
    /// Streams that follow from the seed.
    Seeded(Box<Seeded>),
}

pub(crate) struct Seeded {
    secure: blake3::OutputReader,
    insecure: blake3::OutputReader,
    seed: Seed,
}

impl Chance {
    pub(crate) fn new(seed: Option<Seed>) -> Self {
        let Some(seed) = seed else {
            return Self::System;
        };
        Self::Seeded(Box::new(Seeded {
            secure: seed.stream("secure"),
            insecure: seed.stream("insecure"),
            seed,
        }))
    }

    fn fill(&mut self, secure: bool, bytes: &mut [u8]) {
        match self {
            Self::System => rand::rng().fill_bytes(bytes),
            Self::Seeded(seeded) if secure => seeded.secure.fill(bytes),
            Self::Seeded(seeded) => seeded.insecure.fill(bytes),
        }
    }

    fn number(&mut self, secure: bool) -> u64 {
        let mut bytes = [0; 8];
        self.fill(secure, &mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl CallState {
    fn random_bytes(&mut self, secure: bool, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.charge_host_call(len)?;
        if len > RANDOM_BYTES_MAX {
            wasmtime::bail!("{len} random bytes at once, more than {RANDOM_BYTES_MAX}");
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        self.chance.fill(secure, &mut bytes);
        Ok(bytes)
    }
}

impl random::Host for CallState {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(true, len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.charge_host_call(8)?;
        Ok(self.chance.number(true))
    }
}

impl insecure::Host for CallState {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(false, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.charge_host_call(8)?;
        Ok(self.chance.number(false))
    }
}

impl insecure_seed::Host for CallState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.charge_host_call(16)?;
        let mut bytes = [0; 16];
        match &self.chance {
            Chance::System => rand::rng().fill_bytes(&mut bytes),
            // The same each time, as from the other hosts.
            Chance::Seeded(seeded) => seeded.seed.stream("seed").fill(&mut bytes),
        }
        let number = u128::from_le_bytes(bytes);
        let low = u64::try_from(number & u128::from(u64::MAX))?;
        Ok((low, u64::try_from(number >> 64)?))
    }
}

//! A call whose answer depends on its arguments alone: where its clocks stand and its randomness comes from.
//!
//! The wall clock always shows one instant, the other clock passes a millisecond each time it is read, and all
//! randomness follows from a seed of component, method and arguments. So equal calls are equal, and others
//! are not.
//!
//! Non-goals: what else a guest may ask for (state, answers to requests), and whether engines give equal
//! bits; [`is_steady`] and the node say what holds for a service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::types::{Component, ComponentItem};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use crate::capabilities::calls::callee;
use crate::service::{Arguments, Part};
use crate::spec::Grants;

/// What the randomness of one call follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) [u8; 32]);

impl Seed {
    /// The seed of a call with these arguments, byte for byte as they came.
    pub(crate) fn of(component: &[u8; 32], method: &str, arguments: &Arguments) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("rialto seed of a deterministic call, 1");
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(component);
        part(method.as_bytes());
        match arguments {
            Arguments::Json(json) => {
                part(b"json");
                part(json);
            }
            Arguments::Raw(bytes) => {
                part(b"raw");
                part(bytes);
            }
            Arguments::Parts(parts) => {
                part(b"parts");
                for Part { name, content } in parts {
                    part(name.as_bytes());
                    part(content);
                }
            }
        }
        Self(hasher.finalize().into())
    }

    /// Bytes without end for one purpose.
    pub(crate) fn stream(&self, purpose: &str) -> blake3::OutputReader {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose.as_bytes());
        hasher.finalize_xof()
    }
}

/// 2025-01-01 00:00:00 UTC, always.
pub(crate) struct StandingClock;

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(1_735_689_600)
    }
}

/// Counts how often it is read. Begins at an hour, so that guests can look back.
pub(crate) struct ReadingClock(AtomicU64);

impl Default for ReadingClock {
    fn default() -> Self {
        Self(AtomicU64::new(3_600_000_000_000))
    }
}

impl HostMonotonicClock for ReadingClock {
    fn resolution(&self) -> u64 {
        STEP_NANOS
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(STEP_NANOS, Ordering::Relaxed)
    }
}

const STEP_NANOS: u64 = 1_000_000;

/// Whether nothing that the component can call answers differently to equal calls, engines aside.
pub(crate) fn is_steady(
    component: &Component,
    engine: &Engine,
    grants: &Grants,
    deterministic: bool,
) -> bool {
    let sends = grants
        .http
        .as_ref()
        .is_some_and(|origins| !origins.is_empty());
    component.imports(engine).all(|(name, import)| {
        let path = name.split('@').next().unwrap_or(name);
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        let varies = match package {
            "wasi:clocks" | "wasi:random" => !deterministic,
            "rialto:service" => interface == "context" && !deterministic,
            "wasi:http" => interface == "outgoing-handler" && sends,
            "wasi:keyvalue" | "fermyon:spin" | "rialto:mesh" => true,
            _ => callee(name).is_some(),
        };
        !(varies && has_functions(&import.ty, engine))
    })
}

/// Whether anything in an import can be called: components import interfaces for their types alone, too.
fn has_functions(import: &ComponentItem, engine: &Engine) -> bool {
    if let ComponentItem::ComponentInstance(instance) = import {
        let mut exports = instance.exports(engine);
        return exports.any(|(_, it)| matches!(it.ty, ComponentItem::ComponentFunc(_)));
    }
    matches!(import, ComponentItem::ComponentFunc(_))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn seeds_differ_with_everything_that_was_asked() {
        let json = |text: &'static str| Arguments::Json(Bytes::from_static(text.as_bytes()));
        let part = |name: &str, content: &'static str| Part {
            name: name.to_owned(),
            content: Bytes::from_static(content.as_bytes()),
        };
        let all = [
            Seed::of(&[0; 32], "a", &json("{}")),
            Seed::of(&[1; 32], "a", &json("{}")),
            Seed::of(&[0; 32], "b", &json("{}")),
            Seed::of(&[0; 32], "a", &json("{ }")),
            Seed::of(&[0; 32], "a", &Arguments::Raw(Bytes::from_static(b"{}"))),
            Seed::of(&[0; 32], "a", &Arguments::Parts(vec![part("a", "bc")])),
            Seed::of(&[0; 32], "a", &Arguments::Parts(vec![part("ab", "c")])),
        ];
        for (place, seed) in all.iter().enumerate() {
            assert!(!all[..place].contains(seed), "{place}");
        }
        assert_eq!(all[0], Seed::of(&[0; 32], "a", &json("{}")));
    }
}

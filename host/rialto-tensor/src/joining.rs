//! Several runs of one model as one: inputs one after another along the first axis, outputs cut apart.
//!
//! Larger products use the device better, if rows do not depend on each other. Whether they do, a
//! graph does not say: one that normalises or quantises over its whole input gives other values in
//! company. So nothing is believed: the first joined runs of each kind, and one in 64
//! afterwards, are done alone too and compared, bit by bit where the engine promises equal bits, else
//! as engines are compared with each other. A model that differs once is never joined again.
//!
//! Texts of different lengths are joined too where the graph has an input `attention_mask`, by
//! which those who export transformers say which places count: shorter ones are filled up with zeros. That
//! has a check of its own, so a graph that fails it still joins runs of equal lengths.
//!
//! Non-goals: whose runs are joined, and when (the host's queue).

mod place;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Abilities, Element, Model, Port, RunError, Tensor, engines::is_close};
use place::{crop, cut, fill, stack};

/// Of the joined runs of a kind, how many are one that is checked.
const CHECK_EVERY: u32 = 64;

/// Kinds whose runs are counted; beyond, every joined run is checked.
const KINDS_MAX: usize = 256;

/// The most runs that are one. Sizes are powers of two, so that an engine that plans for each shape
/// plans for few.
const JOINED_MAX: usize = 32;

/// The input that says which places of a text count.
const MASK: &str = "attention_mask";

/// Gives a model the ability to join runs, if its inputs and outputs have a first axis that the caller
/// chooses.
/// `file` is the model's: a graph that quantises by what it finds in its whole input is left as it is, since
/// its rows depend on each other even where a comparison happens not to show it.
#[must_use]
pub fn allow_joining(model: Arc<dyn Model>, file: &[u8]) -> Arc<dyn Model> {
    if quantises_as_it_goes(file) {
        return model;
    }
    let free = |port: &Port| matches!(port.shape.as_slice(), [None, ..]);
    let ports = || model.inputs().iter().chain(model.outputs());
    if model.inputs().is_empty() || !ports().all(free) {
        return model;
    }
    let masked = has_mask(model.inputs());
    Arc::new(Joining {
        model,
        refused: AtomicBool::new(false),
        filled_refused: AtomicBool::new(!masked),
        kinds: Mutex::default(),
    })
}

/// Whether the graph has an operator that takes its scale from all of its input. Operators' names lie in the
/// file as they are.
fn quantises_as_it_goes(file: &[u8]) -> bool {
    const NAME: &[u8] = b"DynamicQuantizeLinear";
    let mut rest = file;
    while let Some(place) = rest.iter().position(|byte| *byte == NAME[0]) {
        let here = rest.get(place..).unwrap_or_default();
        if here.starts_with(NAME) {
            return true;
        }
        rest = here.get(1..).unwrap_or_default();
    }
    false
}

/// Whether all inputs are rows of integers of one length, and one of them says which count.
fn has_mask(inputs: &[Port]) -> bool {
    let is_text = |port: &Port| {
        matches!(port.element, Element::I64 | Element::I32) && port.shape == [None, None]
    };
    inputs.iter().all(is_text) && inputs.iter().any(|port| port.name == MASK)
}

/// A model that joins runs as long as that changes nothing.
#[derive(Debug)]
struct Joining {
    model: Arc<dyn Model>,
    /// Whether joining changed something.
    refused: AtomicBool,
    /// Whether filling up changed something, or never was possible.
    filled_refused: AtomicBool,
    kinds: Mutex<HashMap<Kind, Seen>>,
}

/// Runs that are alike: the shapes of one run's inputs, filled up if so, and how many are joined.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    shapes: Vec<Vec<u32>>,
    count: usize,
    filled: bool,
}

/// What is known of a kind.
#[derive(Debug, Clone)]
struct Seen {
    /// Joined runs since the last check.
    unchecked: u32,
    /// For each output the axes that are as long as the inputs.
    lengths: Vec<Vec<usize>>,
}

/// A run's inputs by name.
type Inputs = Vec<(String, Tensor)>;

/// What a run gives.
type Outcome = Result<Vec<Tensor>, RunError>;

impl Model for Joining {
    fn inputs(&self) -> &[Port] {
        self.model.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.model.outputs()
    }

    fn abilities(&self) -> &Abilities {
        self.model.abilities()
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.model.metadata()
    }

    fn run(&self, inputs: Inputs, outputs: &[String]) -> Outcome {
        self.model.run(inputs, outputs)
    }

    fn joins(&self, inputs: &[(String, Vec<u32>)]) -> Option<Vec<(String, Vec<u32>)>> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let first = *inputs.first()?.1.first()?;
        let rows = |(_, shape): &(String, Vec<u32>)| shape.first() == Some(&first);
        if first == 0 || !inputs.iter().all(rows) {
            return None;
        }
        let mut class = inputs.to_vec();
        if let Some(length) = self.length(inputs.iter().map(|(_, shape)| shape.as_slice())) {
            for (_, shape) in &mut class {
                *shape = vec![first, filled_length(length)];
            }
        }
        Some(class)
    }

    fn run_joined(&self, mut runs: Vec<Inputs>, outputs: &[String]) -> Vec<Outcome> {
        let mut results = Vec::with_capacity(runs.len());
        while !runs.is_empty() {
            let rest = runs.split_off(power_below(runs.len()));
            results.extend(self.together(runs, outputs));
            runs = rest;
        }
        results
    }
}

impl Joining {
    /// Joins all of these runs, checks if it is time to, and falls back to each alone.
    fn together(&self, runs: Vec<Inputs>, outputs: &[String]) -> Vec<Outcome> {
        if runs.len() < 2 || self.refused.load(Ordering::Relaxed) {
            return self.apart(runs, outputs);
        }
        let Some((kind, lengths)) = self.kind(&runs) else {
            return self.apart(runs, outputs);
        };
        let seen = self.seen(&kind);
        if seen.is_none() && !differ(&runs) {
            // Equal rows cannot show whether rows depend on each other.
            return self.apart(runs, outputs);
        }
        let Some(whole) = self.whole(&runs, &kind, outputs) else {
            return self.apart(runs, outputs);
        };
        if let Some(seen) = seen {
            return match parts(&whole, &kind, &lengths, &seen.lengths) {
                Some(joined) => joined.into_iter().map(Ok).collect(),
                None => self.apart(runs, outputs),
            };
        }
        let apart = self.apart(runs, outputs);
        let alone: Option<Vec<&Vec<Tensor>>> =
            apart.iter().map(|alone| alone.as_ref().ok()).collect();
        if let Some(alone) = alone {
            self.check(&kind, &lengths, &whole, &alone);
        }
        apart
    }

    /// Compares joined runs with the same runs alone, and learns from it.
    fn check(&self, kind: &Kind, lengths: &[u32], whole: &[Tensor], alone: &[&Vec<Tensor>]) {
        let axes = axes_of_lengths(whole, kind, lengths, alone);
        let equal = axes
            .as_ref()
            .and_then(|axes| parts(whole, kind, lengths, axes))
            .is_some_and(|joined| {
                alone
                    .iter()
                    .zip(&joined)
                    .all(|(alone, joined)| self.same(joined, alone))
            });
        if let (true, Some(lengths)) = (equal, axes) {
            let mut kinds = self.kinds();
            if kinds.len() < KINDS_MAX || kinds.contains_key(kind) {
                let seen = Seen {
                    unchecked: 0,
                    lengths,
                };
                kinds.insert(kind.clone(), seen);
            }
            return;
        }
        let refused = if kind.filled {
            &self.filled_refused
        } else {
            &self.refused
        };
        refused.store(true, Ordering::Relaxed);
        tracing::info!(
            engine = self.abilities().engine,
            fingerprint = self.abilities().fingerprint,
            filled = kind.filled,
            "a model's rows depend on each other: such runs are not joined any more"
        );
    }

    fn same(&self, joined: &[Tensor], alone: &[Tensor]) -> bool {
        if self.abilities().deterministic {
            return joined == alone;
        }
        let mut pairs = joined.iter().zip(alone);
        joined.len() == alone.len() && pairs.all(|(joined, alone)| is_close(joined, alone))
    }

    fn apart(&self, runs: Vec<Inputs>, outputs: &[String]) -> Vec<Outcome> {
        let alone = |inputs| self.model.run(inputs, outputs);
        runs.into_iter().map(alone).collect()
    }

    /// What these runs are alike in, and the length of each; none if they cannot be joined.
    fn kind(&self, runs: &[Inputs]) -> Option<(Kind, Vec<u32>)> {
        let shapes = |run: &Inputs| -> Vec<Vec<u32>> {
            let shapes = run.iter().map(|(_, tensor)| tensor.shape().to_vec());
            shapes.collect()
        };
        let first = shapes(runs.first()?);
        if runs.iter().all(|run| shapes(run) == first) {
            let kind = Kind {
                shapes: first,
                count: runs.len(),
                filled: false,
            };
            return Some((kind, Vec::new()));
        }
        let length = |run: &Inputs| self.length(run.iter().map(|(_, tensor)| tensor.shape()));
        let lengths: Vec<u32> = runs.iter().map(length).collect::<Option<_>>()?;
        let filled = filled_length(lengths.iter().copied().max()?);
        let rows = *first.first()?.first()?;
        let alike = |run: &Inputs| {
            let mut tensors = run.iter();
            run.len() == first.len() && tensors.all(|(_, it)| it.shape().first() == Some(&rows))
        };
        runs.iter().all(alike).then(|| {
            let kind = Kind {
                shapes: vec![vec![rows, filled]; first.len()],
                count: runs.len(),
                filled: true,
            };
            (kind, lengths)
        })
    }

    /// The length of a text that may be filled up: of all inputs the second of two axes.
    fn length<'a>(&self, mut shapes: impl Iterator<Item = &'a [u32]>) -> Option<u32> {
        if self.filled_refused.load(Ordering::Relaxed) {
            return None;
        }
        let Some([_, first]) = shapes.next() else {
            return None;
        };
        let same = |shape: &[u32]| matches!(shape, [_, length] if length == first);
        (*first > 0 && shapes.all(same)).then_some(*first)
    }

    /// One run for all; none if it fails.
    fn whole(&self, runs: &[Inputs], kind: &Kind, outputs: &[String]) -> Option<Vec<Tensor>> {
        let inputs = kind.shapes.iter().enumerate().map(|(index, shape)| {
            let name = runs.first()?.get(index)?.0.clone();
            let part = |run: &Inputs| fill(&run.get(index)?.1, shape);
            let parts: Vec<Tensor> = runs.iter().map(part).collect::<Option<_>>()?;
            Some((name, stack(&parts)?))
        });
        self.model.run(inputs.collect::<Option<_>>()?, outputs).ok()
    }

    /// What is known of a kind, unless it is time for a check.
    fn seen(&self, kind: &Kind) -> Option<Seen> {
        let mut kinds = self.kinds();
        let seen = kinds.get_mut(kind)?;
        if seen.unchecked >= CHECK_EVERY {
            return None;
        }
        seen.unchecked += 1;
        Some(seen.clone())
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Seen>> {
        // No step under this lock leaves the map half-changed.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outputs of joined runs cut apart and to their lengths; none if they are not of that form.
fn parts(
    whole: &[Tensor],
    kind: &Kind,
    lengths: &[u32],
    axes: &[Vec<usize>],
) -> Option<Vec<Vec<Tensor>>> {
    let rows = *kind.shapes.first()?.first()?;
    let mut results = vec![Vec::with_capacity(whole.len()); kind.count];
    for (index, output) in whole.iter().enumerate() {
        let parts = cut(output, kind.count, rows)?;
        for (run, (result, part)) in results.iter_mut().zip(parts).enumerate() {
            result.push(if kind.filled {
                let mut shape = part.shape().to_vec();
                for axis in axes.get(index)? {
                    *shape.get_mut(*axis)? = *lengths.get(run)?;
                }
                crop(&part, &shape)?
            } else {
                part
            });
        }
    }
    Some(results)
}

/// Of each output the axes that follow the length of the inputs, by runs that were also done alone; none
/// if that does not explain the outputs' shapes.
fn axes_of_lengths(
    whole: &[Tensor],
    kind: &Kind,
    lengths: &[u32],
    alone: &[&Vec<Tensor>],
) -> Option<Vec<Vec<usize>>> {
    if !kind.filled {
        return Some(vec![Vec::new(); whole.len()]);
    }
    let filled = kind.shapes.first()?.get(1)?;
    let axes_of = |index: usize, output: &Tensor| {
        let mut axes = Vec::new();
        for (axis, extent) in output.shape().iter().enumerate().skip(1) {
            let own = alone
                .iter()
                .map(|run| run.get(index)?.shape().get(axis).copied());
            let own: Vec<u32> = own.collect::<Option<_>>()?;
            if extent == filled && own == lengths {
                axes.push(axis);
            } else if own.iter().any(|own| own != extent) {
                return None;
            }
        }
        Some(axes)
    };
    let outputs = whole.iter().enumerate();
    outputs
        .map(|(index, output)| axes_of(index, output))
        .collect()
}

/// To what length a text is filled up: two steps an octave, so that an engine that plans for each shape
/// plans for few, and a text grows by half at most.
const fn filled_length(length: u32) -> u32 {
    const LEAST: u32 = 16;
    if length <= LEAST {
        return LEAST;
    }
    let Some(power) = length.checked_next_power_of_two() else {
        return length;
    };
    let between = power / 4 * 3;
    if length <= between { between } else { power }
}

/// The largest power of two that is not above `count`, nor above [`JOINED_MAX`].
const fn power_below(count: usize) -> usize {
    let mut power = 1;
    while power * 2 <= count && power * 2 <= JOINED_MAX {
        power *= 2;
    }
    power
}

/// Whether any two runs have different inputs.
fn differ(runs: &[Inputs]) -> bool {
    runs.iter()
        .zip(runs.iter().skip(1))
        .any(|(one, other)| one != other)
}

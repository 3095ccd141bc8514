//! Several runs of one model as one: inputs one after another along the first axis, outputs cut apart.
//!
//! Larger products use the processor better, if rows do not depend on each other. Whether they do, a
//! graph does not say: one that normalises or quantises over its whole input gives other bits in
//! company. So nothing is believed: the first joined runs of each shape, and one in 64
//! afterwards, are done alone too and compared. A model whose bits differ once is never joined again.
//!
//! Non-goals: whose runs are joined, and when (the host's queue).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::{Abilities, Model, Port, RunError, Tensor};

/// Of the joined runs of a shape, how many are one that is checked.
const CHECK_EVERY: u32 = 64;

/// Shapes whose runs are counted; beyond, every joined run is checked.
const SHAPES_MAX: usize = 256;

/// The most runs that are one. Sizes are powers of two, so that an engine that plans for each shape
/// plans for few.
const JOINED_MAX: usize = 32;

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
    Arc::new(Joining {
        model,
        refused: AtomicBool::new(false),
        shapes: Mutex::default(),
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

/// A model that joins runs as long as that changes no bit.
#[derive(Debug)]
struct Joining {
    model: Arc<dyn Model>,
    /// Whether joining changed a bit.
    refused: AtomicBool,
    /// Joined runs since the last check, by the shapes of one run's inputs and the number joined.
    shapes: Mutex<HashMap<Joined, u32>>,
}

/// The shapes of one run's inputs, and how many runs are joined.
type Joined = (Vec<Vec<u32>>, usize);

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

    fn joins(&self, inputs: &[(String, Vec<u32>)]) -> bool {
        let mut rows = inputs.iter().map(|(_, shape)| shape.first());
        let first = rows.next().flatten();
        first.is_some_and(|first| *first > 0)
            && rows.all(|rows| rows == first)
            && !self.refused.load(Ordering::Relaxed)
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
        let check = self.is_check_due(&runs);
        if check && !differ(&runs) {
            // Equal rows cannot show whether rows depend on each other.
            return self.apart(runs, outputs);
        }
        let Some(joined) = self.joined(&runs, outputs) else {
            return self.apart(runs, outputs);
        };
        if !check {
            return joined.into_iter().map(Ok).collect();
        }
        let key = key(&runs);
        let apart = self.apart(runs, outputs);
        let equal = apart
            .iter()
            .zip(&joined)
            .all(|(alone, joined)| alone.as_ref().is_ok_and(|alone| alone == joined));
        if equal {
            let mut shapes = self.shapes();
            if shapes.len() < SHAPES_MAX || shapes.contains_key(&key) {
                shapes.insert(key, 0);
            }
        } else if apart.iter().all(Result::is_ok) {
            tracing::info!(
                engine = self.abilities().engine,
                fingerprint = self.abilities().fingerprint,
                "a model's rows depend on each other: its runs are not joined any more"
            );
            self.refused.store(true, Ordering::Relaxed);
        }
        apart
    }

    fn apart(&self, runs: Vec<Inputs>, outputs: &[String]) -> Vec<Outcome> {
        let alone = |inputs| self.model.run(inputs, outputs);
        runs.into_iter().map(alone).collect()
    }

    /// One run for all; none if it fails, or gives something that cannot be cut apart.
    fn joined(&self, runs: &[Inputs], outputs: &[String]) -> Option<Vec<Vec<Tensor>>> {
        let first = runs.first()?;
        let rows = *first.first()?.1.shape().first()?;
        let inputs = (0..first.len()).map(|index| {
            let name = first.get(index)?.0.clone();
            let parts = runs.iter().map(|run| run.get(index).map(|input| &input.1));
            Some((name, stack(&parts.collect::<Option<Vec<_>>>()?)?))
        });
        let whole = self
            .model
            .run(inputs.collect::<Option<_>>()?, outputs)
            .ok()?;
        let mut results = vec![Vec::with_capacity(whole.len()); runs.len()];
        for output in &whole {
            for (result, part) in results.iter_mut().zip(cut(output, runs.len(), rows)?) {
                result.push(part);
            }
        }
        Some(results)
    }

    fn is_check_due(&self, runs: &[Inputs]) -> bool {
        match self.shapes().get_mut(&key(runs)) {
            Some(count) if *count < CHECK_EVERY => {
                *count += 1;
                false
            }
            Some(_) | None => true,
        }
    }

    fn shapes(&self) -> MutexGuard<'_, HashMap<Joined, u32>> {
        // No step under this lock leaves the map half-changed.
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(runs: &[Inputs]) -> (Vec<Vec<u32>>, usize) {
    let first = runs.iter().take(1).flatten();
    let shapes = first.map(|(_, tensor)| tensor.shape().to_vec()).collect();
    (shapes, runs.len())
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

/// Tensors of one element type and shape, one after another along the first axis.
fn stack(parts: &[&Tensor]) -> Option<Tensor> {
    let first = parts.first()?;
    let same = |part: &&Tensor| part.element() == first.element() && part.shape() == first.shape();
    let (rows, rest) = first.shape().split_first()?;
    let rows = rows.checked_mul(u32::try_from(parts.len()).ok()?)?;
    if !parts.iter().all(same) {
        return None;
    }
    let mut data = BytesMut::with_capacity(parts.iter().map(|part| part.data().len()).sum());
    for part in parts {
        data.extend_from_slice(part.data());
    }
    let shape = [&[rows], rest].concat();
    Tensor::new(first.element(), shape, data.freeze()).ok()
}

/// A tensor cut into parts of so many rows; the parts share its bytes.
fn cut(whole: &Tensor, parts: usize, rows: u32) -> Option<Vec<Tensor>> {
    let (all, rest) = whole.shape().split_first()?;
    if usize::try_from(*all).ok()? != parts.checked_mul(usize::try_from(rows).ok()?)? {
        return None;
    }
    let bytes = whole.data().len() / parts;
    let part = |index: usize| {
        let data: Bytes = whole.data().slice(index * bytes..(index + 1) * bytes);
        Tensor::new(whole.element(), [&[rows], rest].concat(), data).ok()
    };
    (0..parts).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;
    use std::sync::atomic::AtomicUsize;

    /// Doubles its input; a model with `mixes` adds the largest value of the whole input.
    #[derive(Debug)]
    struct Fake {
        abilities: Abilities,
        port: Port,
        mixes: bool,
        runs: AtomicUsize,
    }

    impl Model for Fake {
        fn inputs(&self) -> &[Port] {
            std::slice::from_ref(&self.port)
        }

        fn outputs(&self) -> &[Port] {
            std::slice::from_ref(&self.port)
        }

        fn abilities(&self) -> &Abilities {
            &self.abilities
        }

        fn run(&self, inputs: Inputs, _outputs: &[String]) -> Outcome {
            self.runs.fetch_add(1, Ordering::Relaxed);
            let tensor = &inputs[0].1;
            let values = tensor.to_f32().unwrap();
            if values.contains(&-1.0) {
                return Err(RunError::Engine("no negative numbers".to_owned()));
            }
            let largest = values.iter().copied().fold(0.0, f32::max);
            let more = if self.mixes { largest } else { 0.0 };
            let values: Vec<f32> = values.iter().map(|value| value * 2.0 + more).collect();
            Ok(vec![
                Tensor::from_f32(tensor.shape().to_vec(), &values).unwrap(),
            ])
        }
    }

    fn fake(mixes: bool, shape: Vec<Option<u32>>) -> (Arc<Fake>, Arc<dyn Model>) {
        let text = || "fake".to_owned();
        let fake = Arc::new(Fake {
            abilities: Abilities {
                engine: text(),
                device: text(),
                deterministic: true,
                fingerprint: text(),
            },
            port: Port {
                name: "x".to_owned(),
                element: Element::F32,
                shape,
            },
            mixes,
            runs: AtomicUsize::new(0),
        });
        (Arc::clone(&fake), allow_joining(fake, b"a graph"))
    }

    fn runs(values: &[f32]) -> Vec<Inputs> {
        let run = |value: &f32| {
            let tensor = Tensor::from_f32(vec![1, 2], &[*value, 1.0]).unwrap();
            vec![("x".to_owned(), tensor)]
        };
        values.iter().map(run).collect()
    }

    fn firsts(results: Vec<Outcome>) -> Vec<f32> {
        let first = |result: Outcome| result.unwrap()[0].to_f32().unwrap()[0];
        results.into_iter().map(first).collect()
    }

    const SHAPE: [(&str, [u32; 2]); 1] = [("x", [1, 2])];

    fn shape() -> Vec<(String, Vec<u32>)> {
        SHAPE
            .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
            .to_vec()
    }

    #[test]
    fn runs_are_checked_once_and_then_one() {
        let (fake, model) = fake(false, vec![None, Some(2)]);
        assert!(model.joins(&shape()));
        let count = || fake.runs.swap(0, Ordering::Relaxed);
        let outputs = ["x".to_owned()];
        assert_eq!(
            firsts(model.run_joined(runs(&[1.0, 2.0, 3.0]), &outputs)),
            [2.0, 4.0, 6.0]
        );
        assert_eq!(count(), 4, "two together and each alone, and the third");
        assert_eq!(
            firsts(model.run_joined(runs(&[4.0, 5.0]), &outputs)),
            [8.0, 10.0]
        );
        assert_eq!(count(), 1);
        for _ in 0..CHECK_EVERY {
            model.run_joined(runs(&[4.0, 5.0]), &outputs);
        }
        assert_eq!(
            count(),
            usize::try_from(CHECK_EVERY).unwrap() + 2,
            "checked again"
        );
    }

    #[test]
    fn rows_that_depend_on_each_other_are_never_joined() {
        let (fake, model) = fake(true, vec![None, Some(2)]);
        let outputs = ["x".to_owned()];
        assert_eq!(
            firsts(model.run_joined(runs(&[3.0, 3.0]), &outputs)),
            [9.0, 9.0]
        );
        assert!(model.joins(&shape()), "equal rows show nothing");
        assert_eq!(
            firsts(model.run_joined(runs(&[2.0, 3.0]), &outputs)),
            [6.0, 9.0]
        );
        assert!(!model.joins(&shape()));
        fake.runs.store(0, Ordering::Relaxed);
        assert_eq!(
            firsts(model.run_joined(runs(&[2.0, 3.0]), &outputs)),
            [6.0, 9.0]
        );
        assert_eq!(fake.runs.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn one_bad_run_fails_alone() {
        let (_, model) = fake(false, vec![None, Some(2)]);
        let outputs = ["x".to_owned()];
        let results = model.run_joined(runs(&[1.0, -1.0, 2.0, 3.0]), &outputs);
        let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, true, true]);
        assert!(model.joins(&shape()), "the model is not at fault");
    }

    #[test]
    fn a_graph_that_quantises_as_it_goes_is_left_alone() {
        let (fake, _) = fake(false, vec![None, Some(2)]);
        let file = |name: &str| format!("D\u{1}DDynamic\u{12}{name}\u{2}").into_bytes();
        let joins = |file: &[u8]| {
            let model: Arc<dyn Model> = Arc::clone(&fake) as _;
            allow_joining(model, file).joins(&shape())
        };
        assert!(joins(&file("QuantizeLinear")));
        assert!(!joins(&file("DynamicQuantizeLinear")));
        assert!(!joins(b"DynamicQuantizeLinear"));
    }

    #[test]
    fn a_model_of_one_row_is_left_alone() {
        let (_, model) = fake(false, vec![Some(1), Some(2)]);
        assert!(!model.joins(&shape()));
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(
            [1, 2, 3, 4, 7, 8, 31, 32, 1_000].map(power_below),
            [1, 2, 2, 4, 4, 8, 16, 32, 32]
        );
    }
}

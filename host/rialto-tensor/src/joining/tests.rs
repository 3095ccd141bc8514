//! Joining by a model that is easy to reckon.

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
    assert_eq!(model.joins(&shape()), Some(shape()));
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
    assert!(model.joins(&shape()).is_some(), "equal rows show nothing");
    assert_eq!(
        firsts(model.run_joined(runs(&[2.0, 3.0]), &outputs)),
        [6.0, 9.0]
    );
    assert_eq!(model.joins(&shape()), None);
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
    assert!(model.joins(&shape()).is_some(), "the model is not at fault");
}

#[test]
fn a_graph_that_quantises_as_it_goes_is_left_alone() {
    let (fake, _) = fake(false, vec![None, Some(2)]);
    let file = |name: &str| format!("D\u{1}DDynamic\u{12}{name}\u{2}").into_bytes();
    let joins = |file: &[u8]| {
        let model: Arc<dyn Model> = Arc::clone(&fake) as _;
        allow_joining(model, file).joins(&shape()).is_some()
    };
    assert!(joins(&file("QuantizeLinear")));
    assert!(!joins(&file("DynamicQuantizeLinear")));
    assert!(!joins(b"DynamicQuantizeLinear"));
}

#[test]
fn a_model_of_one_row_is_left_alone() {
    let (_, model) = fake(false, vec![Some(1), Some(2)]);
    assert_eq!(model.joins(&shape()), None);
}

#[test]
fn sizes_are_powers_of_two() {
    assert_eq!(
        [1, 2, 3, 4, 7, 8, 31, 32, 1_000].map(power_below),
        [1, 2, 2, 4, 4, 8, 16, 32, 32]
    );
}

/// A text of token ids and a mask: each token's square, and the sum of the tokens that count. One that
/// `counts` adds the length of the whole input, as a graph without masks would.
#[derive(Debug)]
struct Text {
    abilities: Abilities,
    ports: [Port; 2],
    counts: bool,
    shapes: Mutex<Vec<Vec<u32>>>,
}

impl Model for Text {
    fn inputs(&self) -> &[Port] {
        &self.ports
    }

    fn outputs(&self) -> &[Port] {
        &self.ports
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn run(&self, inputs: Inputs, _outputs: &[String]) -> Outcome {
        let (ids, mask) = (&inputs[0].1, &inputs[1].1);
        self.shapes.lock().unwrap().push(ids.shape().to_vec());
        let length = usize::try_from(ids.shape()[1]).unwrap();
        let values = |tensor: &Tensor| -> Vec<i64> {
            let chunks = tensor.data().chunks(8);
            chunks
                .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()))
                .collect()
        };
        let (ids, mask) = (values(ids), values(mask));
        let more = if self.counts {
            i64::try_from(length).unwrap()
        } else {
            0
        };
        let squares: Vec<i64> = ids.iter().map(|id| id * id).collect();
        let rows = ids.chunks(length).zip(mask.chunks(length));
        let sums: Vec<i64> = rows
            .map(|(ids, mask)| ids.iter().zip(mask).map(|(id, on)| id * on).sum::<i64>() + more)
            .collect();
        let rows = inputs[0].1.shape()[0];
        Ok(vec![
            Tensor::from_i64(inputs[0].1.shape().to_vec(), &squares).unwrap(),
            Tensor::from_i64(vec![rows, 1], &sums).unwrap(),
        ])
    }
}

fn text(counts: bool) -> (Arc<Text>, Arc<dyn Model>) {
    let named = |name: &str| Port {
        name: name.to_owned(),
        element: Element::I64,
        shape: vec![None, None],
    };
    let (fake, _) = fake(false, vec![None, None]);
    let text = Arc::new(Text {
        abilities: fake.abilities.clone(),
        ports: [named("input_ids"), named(MASK)],
        counts,
        shapes: Mutex::default(),
    });
    (Arc::clone(&text), allow_joining(text, b"a graph"))
}

fn texts(lengths: &[u32], seed: i64) -> Vec<Inputs> {
    let run = |(index, length): (i64, &u32)| {
        let ids: Vec<i64> = (0..i64::from(*length))
            .map(|at| at + index + seed)
            .collect();
        let mask = vec![1; ids.len()];
        let tensor = |values: &[i64]| Tensor::from_i64(vec![1, *length], values).unwrap();
        vec![
            ("input_ids".to_owned(), tensor(&ids)),
            (MASK.to_owned(), tensor(&mask)),
        ]
    };
    (1..).zip(lengths).map(run).collect()
}

fn check_texts(text: &Text, model: &dyn Model, lengths: &[u32], seed: i64) {
    let alone: Vec<_> = texts(lengths, seed)
        .into_iter()
        .map(|inputs| text.run(inputs, &[]).unwrap())
        .collect();
    text.shapes.lock().unwrap().clear();
    let joined = model.run_joined(texts(lengths, seed), &[]);
    let joined: Vec<_> = joined.into_iter().map(Result::unwrap).collect();
    assert_eq!(joined, alone);
}

#[test]
fn texts_of_different_lengths_are_filled_up_and_joined() {
    let (text, model) = text(false);
    let shapes = |length: u32| {
        let shape = |name: &str| (name.to_owned(), vec![1, length]);
        vec![shape("input_ids"), shape(MASK)]
    };
    assert_eq!(model.joins(&shapes(13)), Some(shapes(16)));
    assert_eq!(model.joins(&shapes(24)), Some(shapes(24)));
    check_texts(&text, model.as_ref(), &[13, 16, 5, 9], 0);
    check_texts(&text, model.as_ref(), &[9, 10, 3, 16], 5);
    assert_eq!(*text.shapes.lock().unwrap(), [[4, 16]], "one run");
    check_texts(&text, model.as_ref(), &[7, 7], 0);
    check_texts(&text, model.as_ref(), &[7, 7], 9);
    assert_eq!(*text.shapes.lock().unwrap(), [[2, 7]], "nothing to fill up");
}

#[test]
fn a_graph_that_does_not_heed_its_mask_joins_equal_lengths_only() {
    let (text, model) = text(true);
    check_texts(&text, model.as_ref(), &[13, 16], 0);
    let shapes: Vec<_> = texts(&[13], 0)
        .swap_remove(0)
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape().to_vec()))
        .collect();
    assert_eq!(model.joins(&shapes), Some(shapes));
    check_texts(&text, model.as_ref(), &[13, 16], 0);
    assert_eq!(text.shapes.lock().unwrap().len(), 2, "each alone");
    check_texts(&text, model.as_ref(), &[6, 6], 0);
    check_texts(&text, model.as_ref(), &[6, 6], 3);
    assert_eq!(*text.shapes.lock().unwrap(), [[2, 6]]);
}

#[test]
fn lengths_grow_by_half_at_most() {
    assert_eq!(
        [1, 16, 17, 24, 25, 33, 48, 49, 64, 65, 512, u32::MAX].map(filled_length),
        [16, 16, 24, 24, 32, 48, 48, 64, 64, 96, 512, u32::MAX]
    );
}

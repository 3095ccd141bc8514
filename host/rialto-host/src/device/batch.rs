//! Runs of models, alone and joined.

use std::sync::Arc;
use std::time::Duration;

use rialto_compute::{Model, RunError, Tensor};
use rialto_scheduler::JobId;
use tokio::sync::oneshot;

use super::{Answer, Done, Work};

/// A model, what it runs on, and what is wanted of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) inputs: Vec<(String, Tensor)>,
    pub(crate) outputs: Vec<String>,
}

/// A run and who waits for it.
pub(super) struct Member {
    pub(super) run: Run,
    pub(super) sender: oneshot::Sender<Done<Result<Vec<Tensor>, RunError>>>,
}

/// Runs of equal keys can be joined: the same model, the same outputs, inputs that the model joins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The model's place in memory: each run that waits keeps its model there.
    model: usize,
    outputs: Vec<String>,
    inputs: Vec<(String, Vec<u32>)>,
}

impl Run {
    /// With what it can be joined; none if the model does not join runs.
    pub(super) fn key(&self) -> Option<Key> {
        let shapes = self.inputs.iter();
        let inputs: Vec<_> = shapes
            .map(|(name, tensor)| (name.clone(), tensor.shape().to_vec()))
            .collect();
        Some(Key {
            model: Arc::as_ptr(&self.model).cast::<()>().addr(),
            outputs: self.outputs.clone(),
            inputs: self.model.joins(&inputs)?,
        })
    }

    /// Runs alone.
    pub(crate) fn now(self) -> Result<Vec<Tensor>, RunError> {
        self.model.run(self.inputs, &self.outputs)
    }
}

/// Does the works of one batch and returns the answers that are to be given.
pub(super) fn work(jobs: Vec<(JobId, Work)>) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(jobs.len());
    let mut members = Vec::with_capacity(jobs.len());
    for (_, work) in jobs {
        match work {
            Work::Alone(work) => answers.push(work()),
            Work::Run(member) => members.push(member),
        }
    }
    let results = match members.as_mut_slice() {
        [] => Vec::new(),
        [one] => {
            let inputs = std::mem::take(&mut one.run.inputs);
            vec![one.run.model.run(inputs, &one.run.outputs)]
        }
        [first, ..] => {
            let (model, outputs) = (Arc::clone(&first.run.model), first.run.outputs.clone());
            let take = |member: &mut Member| std::mem::take(&mut member.run.inputs);
            model.run_joined(members.iter_mut().map(take).collect(), &outputs)
        }
    };
    for (member, result) in members.into_iter().zip(results) {
        answers.push(Box::new(move |took: Duration| {
            // Nobody waits any more if the call has ended.
            let _ = member.sender.send(Done { result, took });
        }));
    }
    answers
}

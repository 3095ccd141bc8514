//! From a recording to steps: what is needed, what is fused, what is freed when.
//!
//! A chain grows from its result towards its operands: an element-wise operation joins if its result
//! has the chain's shape and nothing outside the chain reads it. So every value is still made once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Step, Value, Work,
    recording::{Node, Origin, Recording},
};
use crate::ops::{
    cost::Cost,
    fused::{ElementOp, Fused, FusedStep, Source},
};

/// Steps and what they take.
pub(super) struct Plan {
    pub steps: Vec<Step>,
    pub cost: Cost,
    pub peak_bytes: u64,
    /// Values that steps read, and outputs.
    pub used: BTreeSet<Value>,
}

pub(super) fn plan(recording: &Recording, outputs: &[Value]) -> Plan {
    let needed = needed(recording, outputs);
    let readers = readers(recording, &needed, outputs);
    let mut taken = BTreeSet::new();
    let mut steps = Vec::new();
    let mut cost = Cost::default();
    for index in needed.iter().rev() {
        let Some(root) = recording
            .nodes
            .get(*index)
            .filter(|_| !taken.contains(index))
        else {
            continue;
        };
        let group = group(recording, *index, root, &readers);
        let (step, step_cost) = if group.len() > 1 {
            chain(recording, root, &group)
        } else {
            (single(root), root.cost)
        };
        taken.extend(group);
        cost = cost.plus(step_cost);
        steps.push(step);
    }
    steps.reverse();
    let peak_bytes = free(recording, outputs, &mut steps);
    let read = steps.iter().flat_map(|step| &step.operands);
    let used = read.chain(outputs).copied().collect();
    Plan {
        steps,
        cost,
        peak_bytes,
        used,
    }
}

/// The node that makes a value, if one does.
pub(super) fn maker(recording: &Recording, value: Value) -> Option<usize> {
    match recording.origins.get(value.index())? {
        Origin::Node(node) => Some(*node),
        Origin::Input | Origin::Constant(_) => None,
    }
}

/// The nodes that the outputs need.
pub(super) fn needed(recording: &Recording, outputs: &[Value]) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<Value> = outputs.to_vec();
    while let Some(value) = open.pop() {
        if let Some(node) = maker(recording, value)
            && needed.insert(node)
            && let Some(node) = recording.nodes.get(node)
        {
            open.extend(&node.operands);
        }
    }
    needed
}

/// Who reads each value: nodes, and `OUTSIDE` for outputs.
type Readers = BTreeMap<Value, BTreeSet<usize>>;

fn readers(recording: &Recording, needed: &BTreeSet<usize>, outputs: &[Value]) -> Readers {
    let mut readers = Readers::new();
    for node in needed {
        for operand in recording
            .nodes
            .get(*node)
            .iter()
            .flat_map(|node| &node.operands)
        {
            readers.entry(*operand).or_default().insert(*node);
        }
    }
    for output in outputs {
        readers.entry(*output).or_default().insert(OUTSIDE);
    }
    readers
}

/// The nodes that are computed in one pass with `root`, which is one of them.
fn group(recording: &Recording, index: usize, root: &Node, readers: &Readers) -> BTreeSet<usize> {
    let mut group = BTreeSet::from([index]);
    if ElementOp::of(&root.op).is_none() {
        return group;
    }
    let shape = |value: Value| recording.spec(value).map(crate::ops::spec::Spec::shape);
    let result = root.results.first().and_then(|value| shape(*value));
    // Operands come before what reads them, so looking again after each addition ends.
    loop {
        let next = operands(recording, &group).into_iter().find_map(|value| {
            let node = maker(recording, value)?;
            ElementOp::of(&recording.nodes.get(node)?.op)?;
            let alone = readers.get(&value)?.is_subset(&group);
            (alone && shape(value) == result).then_some(node)
        });
        let Some(node) = next else { return group };
        let mut larger = group.clone();
        larger.insert(node);
        let outside = operands(recording, &larger).len();
        if larger.len() > STEPS_MAX || outside > OPERANDS_MAX {
            return group;
        }
        group = larger;
    }
}

/// What a group reads and does not make.
fn operands(recording: &Recording, group: &BTreeSet<usize>) -> BTreeSet<Value> {
    group
        .iter()
        .filter_map(|node| recording.nodes.get(*node))
        .flat_map(|node| &node.operands)
        .filter(|value| maker(recording, **value).is_none_or(|maker| !group.contains(&maker)))
        .copied()
        .collect()
}

fn single(node: &Node) -> Step {
    Step {
        work: Work::Op(node.op.clone()),
        operands: node.operands.clone(),
        results: node.results.clone(),
        frees: Vec::new(),
    }
}

/// The step that computes a group, and its cost.
fn chain(recording: &Recording, root: &Node, group: &BTreeSet<usize>) -> (Step, Cost) {
    let operands: Vec<Value> = operands(recording, group).into_iter().collect();
    let numbered = operands.iter().enumerate();
    let mut places: BTreeMap<Value, Source> = numbered
        .map(|(index, value)| (*value, Source::Operand(index)))
        .collect();
    let (mut steps, mut cost) = (Vec::new(), Cost::default());
    let mut last = crate::ops::spec::Spec::scalar(crate::Element::F32);
    for node in group.iter().filter_map(|node| recording.nodes.get(*node)) {
        let Some((op, value)) = ElementOp::of(&node.op).zip(node.results.first()) else {
            continue;
        };
        if let Some(spec) = recording.spec(*value) {
            last.clone_from(spec);
        }
        let sources = node
            .operands
            .iter()
            .filter_map(|value| places.get(value).copied());
        steps.push(FusedStep {
            op,
            operands: sources.collect(),
            element: last.element(),
        });
        places.insert(*value, Source::Step(steps.len() - 1));
        cost.multiply_adds = cost.multiply_adds.saturating_add(node.cost.multiply_adds);
    }
    let moved = operands.iter().chain(&root.results);
    cost.bytes = moved.fold(0, |sum: u64, value| {
        sum.saturating_add(bytes(recording, *value))
    });
    let step = Step {
        work: Work::Fused(Fused {
            steps,
            result: last,
        }),
        operands,
        results: root.results.clone(),
        frees: Vec::new(),
    };
    (step, cost)
}

fn bytes(recording: &Recording, value: Value) -> u64 {
    recording
        .spec(value)
        .map_or(0, |spec| u64::try_from(spec.bytes()).unwrap_or(u64::MAX))
}

/// Notes what each step frees; returns the most bytes that values hold at a time, each by itself. (A
/// part of a tensor may keep the whole in memory; the device's own limit sees to that.)
fn free(recording: &Recording, outputs: &[Value], steps: &mut [Step]) -> u64 {
    let mut seen: BTreeSet<Value> = outputs.iter().copied().collect();
    for step in steps.iter_mut().rev() {
        let met: BTreeSet<Value> = step.operands.iter().chain(&step.results).copied().collect();
        step.frees = met
            .into_iter()
            .filter(|value| seen.insert(*value))
            .collect();
    }
    let (mut live, mut peak) = (0_u64, 0_u64);
    for step in steps {
        for value in &step.results {
            live = live.saturating_add(bytes(recording, *value));
        }
        peak = peak.max(live);
        for value in step
            .frees
            .iter()
            .filter(|value| maker(recording, **value).is_some())
        {
            live = live.saturating_sub(bytes(recording, *value));
        }
    }
    peak
}

/// Stands for a reader that no chain contains.
const OUTSIDE: usize = usize::MAX;
/// The most operations of a chain.
const STEPS_MAX: usize = 32;
/// The most operands of a chain.
const OPERANDS_MAX: usize = 12;

//! Recordings that go on: what to keep of a run, and what to forget.
//!
//! A caller with a recording that never ends computes what it needs together with what it would else
//! compute twice ([`Recording::with_shared`]), settles all of it, and then lets go of everything that no
//! live handle leads to ([`Recording::retain`]).

use std::collections::BTreeSet;

use super::{
    Value,
    fuse::{maker, needed},
    recording::{Origin, Recording},
};
use crate::ops::resident::Resident;

/// Where the values of a recording went when it forgot some.
#[derive(Debug, Clone, Default)]
pub struct Moved(Vec<Option<Value>>);

impl Moved {
    /// The value's new handle; none if it was forgotten.
    #[must_use]
    pub fn get(&self, value: Value) -> Option<Value> {
        self.0.get(value.index()).copied().flatten()
    }
}

impl Recording {
    /// How many operations are recorded.
    #[must_use]
    pub const fn operations(&self) -> usize {
        self.nodes.len()
    }

    /// How many values are known, settled ones included.
    #[must_use]
    pub const fn values(&self) -> usize {
        self.specs.len()
    }

    /// The tensor of a value that is settled, or was one from the start.
    #[must_use]
    pub fn settled(&self, value: Value) -> Option<&Resident> {
        match self.origins.get(value.index())? {
            Origin::Constant(resident) => Some(resident),
            Origin::Input | Origin::Node(_) => None,
        }
    }

    /// The `wanted` values, and after them what a program for them computes on its way and what is live or
    /// needed for what is live: settling all of these, no operation ever runs twice.
    #[must_use]
    pub fn with_shared(&self, wanted: &[Value], live: &[Value]) -> Vec<Value> {
        let now = needed(self, wanted);
        let later = needed(self, live);
        let read_later = later
            .difference(&now)
            .filter_map(|node| self.nodes.get(*node))
            .flat_map(|node| &node.operands);
        let mut known: BTreeSet<Value> = wanted.iter().copied().collect();
        let mut all = wanted.to_vec();
        for value in live.iter().chain(read_later) {
            if maker(self, *value).is_some_and(|node| now.contains(&node)) && known.insert(*value) {
                all.push(*value);
            }
        }
        all
    }

    /// Forgets everything that the `live` values do not need. Handles change: see [`Moved`].
    pub fn retain(&mut self, live: &[Value]) -> Moved {
        let nodes = needed(self, live);
        let mut kept: BTreeSet<Value> = live.iter().chain(&self.inputs).copied().collect();
        for node in nodes.iter().filter_map(|node| self.nodes.get(*node)) {
            kept.extend(node.operands.iter().chain(&node.results));
        }
        let mut moved = Moved(vec![None; self.specs.len()]);
        let mut next = 0;
        for value in &kept {
            if let Some(place) = moved.0.get_mut(value.index()) {
                *place = Some(Value(next));
                next += 1;
            }
        }
        let to = |value: &mut Value| {
            if let Some(new) = moved.get(*value) {
                *value = new;
            }
        };
        let mut index = 0;
        self.nodes.retain_mut(|node| {
            let keep = nodes.contains(&index);
            index += 1;
            if keep {
                node.operands.iter_mut().for_each(to);
                node.results.iter_mut().for_each(to);
            }
            keep
        });
        self.inputs.iter_mut().for_each(to);
        let places = moved.0.iter().map(Option::is_some);
        let mut flags = places.clone();
        self.specs.retain(|_| flags.next().unwrap_or(false));
        let mut flags = places;
        self.origins.retain(|_| flags.next().unwrap_or(false));
        let order: Vec<usize> = nodes.into_iter().collect();
        for origin in &mut self.origins {
            if let Origin::Node(node) = origin
                && let Ok(new) = order.binary_search(node)
            {
                *node = new;
            }
        }
        moved
    }

    /// Bytes of settled tensors that are none of `live`: operands that wait for what needs them.
    #[must_use]
    pub fn waiting_bytes(&self, live: &[Value]) -> u64 {
        let live: BTreeSet<usize> = live.iter().map(|value| value.index()).collect();
        let settled = self.origins.iter().enumerate();
        settled
            .filter(|(index, _)| !live.contains(index))
            .filter_map(|(_, origin)| match origin {
                Origin::Constant(resident) => u64::try_from(resident.spec().bytes()).ok(),
                Origin::Input | Origin::Node(_) => None,
            })
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Element, Tensor,
        ops::{Binary, Limits, Number, Op, Spec, Step, Unary, Work},
    };

    fn scalar(value: f32) -> Resident {
        Resident::host(Tensor::from_f32(Vec::new(), &[value]).unwrap()).unwrap()
    }

    #[test]
    fn an_endless_recording_stays_small() {
        let mut recording = Recording::new(Limits::default());
        let mut x = recording.resident(scalar(1.0)).unwrap();
        for _ in 0..10_000 {
            let y = recording.one(Op::Unary(Unary::Exp), &[x]).unwrap();
            recording.settle(y, scalar(2.0)).unwrap();
            let moved = recording.retain(&[y]);
            assert!(moved.get(x).is_none());
            x = moved.get(y).unwrap();
            assert_eq!(
                (recording.operations(), recording.waiting_bytes(&[x])),
                (0, 0)
            );
        }
        assert_eq!(x.index(), 0);
    }

    #[test]
    fn operands_that_wait_are_counted() {
        let mut recording = Recording::new(Limits::default());
        let x = recording.resident(scalar(1.0)).unwrap();
        let y = recording.one(Op::Unary(Unary::Exp), &[x]).unwrap();
        assert_eq!(recording.waiting_bytes(&[x, y]), 0);
        let moved = recording.retain(&[y]);
        let y = moved.get(y).unwrap();
        assert_eq!(recording.waiting_bytes(&[y]), 4, "x waits for y");
    }

    /// What a value says: the operation's number for made ones, the constant for settled ones.
    fn formula(recording: &Recording, value: Value) -> String {
        if let Some(resident) = recording.settled(value) {
            return format!("{:?}", resident.tensor().and_then(Tensor::to_f32));
        }
        let program = recording.program(&[value]).unwrap();
        let name = |step: &Step| match &step.work {
            Work::Op(op) => op.name().to_owned(),
            Work::Fused(chain) => format!("{chain:?}"),
        };
        program.steps().iter().map(name).collect()
    }

    proptest! {
        /// Forgetting changes nothing for what is kept; and what is shared is computed once.
        #[test]
        fn forgetting_keeps_what_live_values_need(
            choices in prop::collection::vec(any::<(u8, u8, u8, bool)>(), 1..40), wanted: u8,
        ) {
            let mut recording = Recording::new(Limits::default());
            let mut values = vec![recording.resident(scalar(1.0)).unwrap()];
            let mut live = Vec::new();
            for (kind, a, b, keep) in choices {
                let pick = |at: u8| values[usize::from(at) % values.len()];
                let full = Op::Full(Spec::scalar(Element::F32), Number::Float(0.5));
                let made = match kind % 4 {
                    0 => recording.resident(scalar(f32::from(kind))).unwrap(),
                    1 => recording.one(full, &[]).unwrap(),
                    2 => recording.one(Op::Unary(Unary::Exp), &[pick(a)]).unwrap(),
                    _ => recording.one(Op::Binary(Binary::Add), &[pick(a), pick(b)]).unwrap(),
                };
                values.push(made);
                if keep {
                    live.push(made);
                }
            }
            let before: Vec<String> = live.iter().map(|value| formula(&recording, *value)).collect();
            let moved = recording.retain(&live);
            let live: Vec<Value> = live.iter().map(|value| moved.get(*value).unwrap()).collect();
            let after: Vec<String> = live.iter().map(|value| formula(&recording, *value)).collect();
            prop_assert_eq!(before, after);
            let Some(wanted) = live.get(usize::from(wanted) % live.len().max(1)) else {
                return Ok(());
            };
            let all = recording.with_shared(&[*wanted], &live);
            let run: usize = needed(&recording, &all).len();
            prop_assert_eq!(run, needed(&recording, &[*wanted]).len(), "nothing more is computed");
            let total = needed(&recording, &live).len();
            for value in all {
                recording.settle(value, scalar(0.0)).unwrap();
            }
            prop_assert_eq!(needed(&recording, &live).len(), total - run, "nothing twice");
        }
    }
}

//! The tensors of one call that operations touched: what is recorded, what is settled, what waits.
//!
//! A slot stands for a guest's handle. Whatever no handle leads to is forgotten, so that a call of a
//! million small operations holds no more than its handles need. Pure: nothing runs here.

use rialto_compute::ops::{Limits, Op, Program, ProgramError, Recording, Resident, Spec, Value};

/// A call's recording.
#[derive(Debug)]
pub(crate) struct Recorder {
    recording: Recording,
    slots: Vec<Option<Value>>,
    free: Vec<usize>,
    /// Bytes of settled tensors without a handle, which operations wait for.
    waiting_bytes: u64,
}

/// A handle's place in a [`Recorder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// What to run, and what its results settle.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: Program,
    outputs: Vec<Value>,
}

impl Recorder {
    /// Nothing recorded; no tensor and no program's tensors together are larger than `bytes_max`.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let recording = Recording::new(Limits {
            nodes_max: OPERATIONS_MAX * 2,
            tensor_bytes_max: bytes_max,
            live_bytes_max: bytes_max,
            // Summed over the whole call by its owner.
            multiply_adds_max: u64::MAX,
        });
        Self {
            recording,
            slots: Vec::new(),
            free: Vec::new(),
            waiting_bytes: 0,
        }
    }

    /// Takes a tensor in.
    pub(crate) fn take_in(&mut self, resident: Resident) -> Result<Slot, ProgramError> {
        let value = self.recording.resident(resident)?;
        Ok(self.slot(value))
    }

    /// Records an operation.
    pub(crate) fn record(&mut self, op: Op, operands: &[Slot]) -> Result<Vec<Slot>, ProgramError> {
        let operands = self.values(operands);
        let results = self.recording.op(op, &operands)?;
        Ok(results.into_iter().map(|value| self.slot(value)).collect())
    }

    pub(crate) fn spec(&self, slot: Slot) -> Option<&Spec> {
        self.recording.spec(self.value(slot)?)
    }

    /// The tensor, if it is computed.
    pub(crate) fn settled(&self, slot: Slot) -> Option<&Resident> {
        self.recording.settled(self.value(slot)?)
    }

    /// The guest dropped its handle.
    pub(crate) fn forget(&mut self, slot: Slot) {
        if let Some(settled) = self.settled(slot) {
            let bytes = u64::try_from(settled.spec().bytes()).unwrap_or(u64::MAX);
            self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        }
        if let Some(place) = self.slots.get_mut(slot.0)
            && place.take().is_some()
        {
            self.free.push(slot.0);
        }
    }

    /// What must run so that these slots are settled; none if they are.
    pub(crate) fn plan(&self, wanted: &[Slot]) -> Result<Option<Plan>, ProgramError> {
        let mut wanted = self.values(wanted);
        wanted.retain(|value| self.recording.settled(*value).is_none());
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(None);
        }
        let outputs = self.recording.with_shared(&wanted, &self.live());
        let program = self.recording.program(&outputs)?;
        Ok(Some(Plan { program, outputs }))
    }

    /// Takes a plan's results, and forgets what they make needless.
    pub(crate) fn settle(
        &mut self,
        outputs: &Outputs,
        residents: Vec<Resident>,
    ) -> Result<(), ProgramError> {
        for (value, resident) in outputs.0.iter().zip(residents) {
            self.recording.settle(*value, resident)?;
        }
        self.compact();
        Ok(())
    }

    /// Puts a tensor in another's place, which has the same spec: it went to another device.
    pub(crate) fn put(&mut self, slot: Slot, resident: Resident) -> Result<(), ProgramError> {
        match self.value(slot) {
            Some(value) => self.recording.settle(value, resident),
            None => Ok(()),
        }
    }

    /// Forgets what no handle needs.
    pub(crate) fn compact(&mut self) {
        let live = self.live();
        let moved = self.recording.retain(&live);
        for slot in self.slots.iter_mut().flatten() {
            if let Some(value) = moved.get(*slot) {
                *slot = value;
            }
        }
        self.waiting_bytes = self.recording.waiting_bytes(&self.live());
    }

    /// Whether so much is recorded that it should run first.
    pub(crate) fn is_full(&self) -> bool {
        self.recording.operations() >= OPERATIONS_MAX || self.recording.values() >= VALUES_MAX
    }

    /// Whether enough was forgotten to go on.
    pub(crate) fn has_room(&self) -> bool {
        self.recording.operations() <= OPERATIONS_MAX / 2
            && self.recording.values() <= VALUES_MAX / 2
    }

    /// Whether anything is recorded that did not run.
    pub(crate) fn is_pending(&self) -> bool {
        self.recording.operations() > 0
    }

    /// Bytes of tensors that have no handle any more and that operations wait for.
    pub(crate) const fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Every slot.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let used = self.slots.iter().enumerate();
        used.filter(|(_, value)| value.is_some())
            .map(|(index, _)| Slot(index))
            .collect()
    }

    fn live(&self) -> Vec<Value> {
        self.slots.iter().flatten().copied().collect()
    }

    fn value(&self, slot: Slot) -> Option<Value> {
        self.slots.get(slot.0).copied().flatten()
    }

    fn values(&self, slots: &[Slot]) -> Vec<Value> {
        slots.iter().filter_map(|slot| self.value(*slot)).collect()
    }

    fn slot(&mut self, value: Value) -> Slot {
        let index = self.free.pop().unwrap_or(self.slots.len());
        if let Some(place) = self.slots.get_mut(index) {
            *place = Some(value);
        } else {
            self.slots.push(Some(value));
        }
        Slot(index)
    }
}

/// What a program's results settle.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<Value>);

impl Plan {
    /// The program, and what its results settle.
    pub(crate) fn into_parts(self) -> (Program, Outputs) {
        (self.program, Outputs(self.outputs))
    }
}

/// Operations that are recorded before they run.
const OPERATIONS_MAX: usize = 2_048;
/// Values that are recorded before what can run does.
const VALUES_MAX: usize = 40_000;

#[cfg(test)]
mod tests {
    use rialto_compute::{
        Tensor,
        ops::{Binary, Unary},
    };

    use super::*;

    fn tensor() -> Resident {
        Resident::host(Tensor::from_f32(vec![4], &[1.0; 4]).unwrap()).unwrap()
    }

    #[test]
    fn a_million_operations_of_which_nothing_is_kept_leave_nothing() {
        let mut recorder = Recorder::new(1 << 20);
        let x = recorder.take_in(tensor()).unwrap();
        for _ in 0..1_000_000 {
            if recorder.is_full() {
                recorder.compact();
            }
            let y = recorder.record(Op::Unary(Unary::Exp), &[x]).unwrap();
            recorder.forget(y[0]);
            assert!(recorder.slots.len() <= 2 && recorder.recording.operations() <= OPERATIONS_MAX);
        }
        recorder.compact();
        assert!(!recorder.is_pending());
        assert_eq!(recorder.slots(), [x]);
    }

    #[test]
    fn what_waits_for_its_reader_is_counted_until_that_has_run() {
        let mut recorder = Recorder::new(1 << 20);
        let x = recorder.take_in(tensor()).unwrap();
        let y = recorder.record(Op::Binary(Binary::Add), &[x, x]).unwrap()[0];
        recorder.forget(x);
        assert_eq!(recorder.waiting_bytes(), 16);
        recorder.compact();
        assert_eq!(recorder.waiting_bytes(), 16);
        let (program, outputs) = recorder.plan(&[y, y]).unwrap().unwrap().into_parts();
        assert_eq!(program.steps().len(), 1);
        recorder.settle(&outputs, vec![tensor()]).unwrap();
        assert_eq!(
            (recorder.waiting_bytes(), recorder.is_pending()),
            (0, false)
        );
        assert!(recorder.settled(y).is_some() && recorder.plan(&[y]).unwrap().is_none());
        // A slot that is given again means the new value.
        let z = recorder.take_in(tensor()).unwrap();
        assert_eq!(z, x);
    }

    #[test]
    fn what_live_handles_share_is_settled_with_the_first() {
        let mut recorder = Recorder::new(1 << 20);
        let x = recorder.take_in(tensor()).unwrap();
        let mut unary = |of| recorder.record(Op::Unary(Unary::Exp), &[of]).unwrap()[0];
        let state = unary(x);
        let (first, second) = (unary(state), unary(state));
        let (_, outputs) = recorder.plan(&[first]).unwrap().unwrap().into_parts();
        assert_eq!(outputs.0.len(), 2, "the state too, not the second");
        recorder.settle(&outputs, vec![tensor(), tensor()]).unwrap();
        let (program, _) = recorder.plan(&[second]).unwrap().unwrap().into_parts();
        assert_eq!(program.steps().len(), 1);
    }
}

//! Chains of element-wise operations, block by block.
//!
//! A block of each operand is converted into registers (f32, i64 or bytes), the steps run over whole
//! registers, and the last is written. The operation is looked up once a block and step; the loops
//! inside have no branch on it.

mod apply;
mod registers;

use super::{Context, View, threads};
use crate::{
    Element,
    cpu::budget::Buffer,
    ops::{
        EvalError, Fused, Source,
        accepts::is_float,
        spec::{broadcast_strides, size},
    },
};
use registers::Register;

pub(crate) use apply::unary_floats;

/// Elements of a block: registers of a typical chain fit the first cache.
const BLOCK: usize = 1024;

/// Runs a chain.
pub(crate) fn fused(
    context: &Context<'_>,
    chain: &Fused,
    operands: &[View<'_>],
) -> Result<Buffer, EvalError> {
    let mut out = context.buffer(chain.result.bytes())?;
    let element = chain.result.element();
    let loaders: Vec<Loader<'_>> = operands
        .iter()
        .map(|view| Loader::new(*view, chain.result.shape()))
        .collect();
    let slots = slots(chain);
    let unit = BLOCK * element.size_bytes();
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        run(chain, &loaders, &slots, first * BLOCK, part)
    })?;
    Ok(out)
}

/// Runs a chain over the elements from `start` on that fill `out`.
fn run(
    chain: &Fused,
    loaders: &[Loader<'_>],
    slots: &[usize],
    start: usize,
    out: &mut [u8],
) -> Result<(), EvalError> {
    let element = chain.result.element();
    let mut inputs: Vec<Register> = loaders
        .iter()
        .map(|loader| Register::new(loader.element, BLOCK))
        .collect();
    for (loader, register) in loaders.iter().zip(&mut inputs) {
        if loader.constant() {
            loader.load(0, register);
        }
    }
    let mut files: Vec<Register> = Vec::new();
    let mut at = start;
    for part in out.chunks_mut(BLOCK * element.size_bytes()) {
        let length = part.len() / element.size_bytes();
        for (loader, register) in loaders.iter().zip(&mut inputs) {
            if !loader.constant() {
                register.resize(length);
                loader.load(at, register);
            }
        }
        for (step, slot) in chain.steps.iter().zip(slots) {
            if files.len() <= *slot {
                files.resize_with(*slot + 1, || Register::new(Element::U8, 0));
            }
            let mut into = files.get_mut(*slot).map(std::mem::take).unwrap_or_default();
            into.shape(step.element, length);
            let find = |index: usize| {
                let register = match step.operands.get(index)? {
                    Source::Operand(operand) => inputs.get(*operand),
                    Source::Step(step) => slots.get(*step).and_then(|slot| files.get(*slot)),
                };
                register.map(|register| register.first(length))
            };
            let source = step
                .operands
                .first()
                .map(|source| type_of(chain, loaders, *source));
            let done = apply::step(
                step,
                source.unwrap_or(step.element),
                [find(0), find(1), find(2)],
                &mut into,
            );
            if done.is_none() {
                return Err(EvalError::Device {
                    op: "element-wise chain",
                    reason: format!("{:?} met operands of another type", step.op),
                });
            }
            if let Some(file) = files.get_mut(*slot) {
                *file = into;
            }
        }
        let last = slots.last().and_then(|slot| files.get(*slot));
        if let Some(register) = last {
            register.store(element, part);
        }
        at += length;
    }
    Ok(())
}

/// The element type that a source has.
fn type_of(chain: &Fused, loaders: &[Loader<'_>], source: Source) -> Element {
    match source {
        Source::Operand(index) => loaders.get(index).map(|loader| loader.element),
        Source::Step(index) => chain.steps.get(index).map(|step| step.element),
    }
    .unwrap_or(Element::F32)
}

/// A register for each step: one is used again once nothing reads what it holds.
fn slots(chain: &Fused) -> Vec<usize> {
    let mut last_use = vec![usize::MAX; chain.steps.len()];
    for (index, step) in chain.steps.iter().enumerate() {
        for source in &step.operands {
            if let Source::Step(from) = source
                && let Some(last) = last_use.get_mut(*from)
            {
                *last = index;
            }
        }
    }
    let (mut free, mut next, mut slots) = (Vec::new(), 0, Vec::new());
    for index in 0..chain.steps.len() {
        // Only what was last read by an earlier step is free: a step never writes over its operand.
        slots.push(free.pop().unwrap_or_else(|| {
            next += 1;
            next - 1
        }));
        for (from, last) in last_use.iter().enumerate() {
            if *last == index
                && let Some(slot) = slots.get(from)
            {
                free.push(*slot);
            }
        }
    }
    slots
}

/// Reads an operand as if it had the result's shape.
struct Loader<'a> {
    element: Element,
    bytes: &'a [u8],
    /// Extent and stride (in elements) of each axis, neighbours joined where they can be.
    axes: Vec<(usize, usize)>,
}

impl<'a> Loader<'a> {
    fn new(view: View<'a>, shape: &[u32]) -> Self {
        let strides = broadcast_strides(view.spec.shape(), shape);
        let mut axes: Vec<(usize, usize)> = Vec::new();
        for (extent, stride) in shape.iter().map(|extent| size(*extent)).zip(strides) {
            match axes.last_mut() {
                _ if extent == 1 => {}
                Some((outer, outer_stride)) if *outer_stride == stride * extent => {
                    *outer *= extent;
                    *outer_stride = stride;
                }
                _ => axes.push((extent, stride)),
            }
        }
        Self {
            element: view.spec.element(),
            bytes: view.data,
            axes,
        }
    }

    /// Whether all places read one element.
    fn constant(&self) -> bool {
        self.axes.iter().all(|(_, stride)| *stride == 0)
    }

    /// Fills the register with the elements from place `start` on.
    fn load(&self, start: usize, register: &mut Register) {
        let width = self.element.size_bytes();
        let Some(((inner, stride), outer)) = self.axes.split_last() else {
            register.fill(self.element, self.bytes);
            return;
        };
        if outer.is_empty() && *stride == 1 {
            let bytes = self.bytes.get(start * width..).unwrap_or_default();
            register.load(self.element, bytes, 0, register.len());
            return;
        }
        let (mut done, length, inner) = (0, register.len(), (*inner).max(1));
        while done < length {
            let place = start + done;
            let run = (inner - place % inner).min(length - done);
            let (mut rest, mut offset) = (place / inner, place % inner * stride);
            for (extent, stride) in outer.iter().rev() {
                offset += rest % extent * stride;
                rest /= extent;
            }
            let bytes = self.bytes.get(offset * width..).unwrap_or_default();
            if *stride == 0 {
                register.fill_part(self.element, bytes, done, run);
            } else {
                register.load(self.element, bytes, done, run);
            }
            done += run;
        }
    }
}

/// Whether elements are computed as floats.
fn floats(element: Element) -> bool {
    is_float(element)
}

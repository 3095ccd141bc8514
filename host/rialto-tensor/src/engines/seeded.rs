//! Inputs that any model may be tried with: the same ones every time.

use crate::{Element, Model, Port, Tensor};

/// Inputs for a model, with `extent` wherever the caller chooses, except for a leading axis of several,
/// which is most likely a batch: that has extent 1. None where they would be too large.
pub(super) fn inputs(model: &dyn Model, extent: u32) -> Option<Vec<(String, Tensor)>> {
    inputs_of(model, |port, place| {
        let leads = place == 0 && port.shape.len() > 1;
        if leads { 1 } else { extent }
    })
}

/// Inputs for a model, the same in every process, of the extents that `choose` gives to the axes (an
/// input and the axis's place) that the model leaves open. None where they would be too large.
pub fn inputs_of(
    model: &dyn Model,
    choose: impl Fn(&Port, usize) -> u32,
) -> Option<Vec<(String, Tensor)>> {
    let mut seed = Seed(0x5eed);
    let mut left = ELEMENTS_MAX;
    let input = |port: &Port| {
        let axes = port.shape.iter().enumerate();
        let shape: Vec<u32> = axes
            .map(|(place, axis)| axis.unwrap_or_else(|| choose(port, place)))
            .collect();
        let elements = shape.iter().try_fold(1_u64, |elements, extent| {
            elements.checked_mul(u64::from(*extent))
        })?;
        left = left.checked_sub(elements)?;
        let elements = usize::try_from(elements).ok()?;
        let mut data = Vec::with_capacity(elements.checked_mul(port.element.size_bytes())?);
        for _ in 0..elements {
            value(&mut seed, port.element, &mut data);
        }
        let tensor = Tensor::new(port.element, shape, data.into()).ok()?;
        Some((port.name.clone(), tensor))
    };
    model.inputs().iter().map(input).collect()
}

/// A float between -1 and 1; an integer that is an index into anything and a mask of anything.
fn value(seed: &mut Seed, element: Element, data: &mut Vec<u8>) {
    let bits = seed.next();
    let bit = (bits >> 31) & 1;
    // 24 bits are exact in a float.
    let float = f32::from_bits(0x3f80_0000 | (bits >> 9)).mul_add(2.0, -3.0);
    match element {
        Element::F32 => data.extend(float.to_le_bytes()),
        Element::F16 => data.extend(half::f16::from_f32(float).to_le_bytes()),
        Element::Bf16 => data.extend(half::bf16::from_f32(float).to_le_bytes()),
        Element::I64 => data.extend(i64::from(bit).to_le_bytes()),
        Element::I32 => data.extend(bit.to_le_bytes()),
        Element::I8 | Element::U8 | Element::Bool => data.push(u8::from(bit == 1)),
    }
}

/// A small generator (xorshift): fixed for ever, so that the same file is tried in the same way.
struct Seed(u32);

impl Seed {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// What a trial may cost.
const ELEMENTS_MAX: u64 = 4 << 20;

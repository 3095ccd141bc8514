//! Whether the device computes what the CPU does: looked at before it is used.
//!
//! A fixed set of operations, one of each kind of kernel, on values from a fixed seed. A device that
//! disagrees has a broken driver or compiler; its results would be silently wrong. Non-goals: precision
//! (tests have the tolerances).

use rialto_compute::{
    Element, Tensor,
    ops::{Cancel, Device, Limits, Op, Recording, Spec},
};

use self::cases::cases;
use crate::device::GpuDevice;

mod cases;

/// Where the device's results are not the other one's.
pub(crate) fn disagreement(device: &GpuDevice) -> Option<String> {
    cases().into_iter().find_map(|(op, shapes)| {
        let tensors: Option<Vec<Tensor>> = shapes
            .iter()
            .enumerate()
            .map(|(index, (element, shape))| tensor(*element, shape, index))
            .collect();
        let name = op.name();
        let verdict = tensors
            .ok_or_else(|| "its operands cannot be made".to_owned())
            .and_then(|tensors| compare(device, op, &tensors));
        verdict.err().map(|reason| format!("{name}: {reason}"))
    })
}

/// A tensor of sixteenths between -2 and 2, or of integers from 0 to 7, from the seed.
fn tensor(element: Element, shape: &[u32], seed: usize) -> Option<Tensor> {
    let count = Spec::new(element, shape).ok()?.elements();
    let mut state = u64::try_from(seed)
        .ok()?
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut data = Vec::with_capacity(count * element.size_bytes());
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [byte, ..] = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        let value = f32::from(byte & 63) / 16.0 - 2.0;
        match element {
            Element::F16 => data.extend(half::f16::from_f32(value).to_le_bytes()),
            Element::Bf16 => data.extend(half::bf16::from_f32(value).to_le_bytes()),
            Element::F32 => data.extend(value.to_le_bytes()),
            Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
                let most = if element == Element::Bool { 1 } else { 7 };
                data.push(byte & most);
                data.extend(std::iter::repeat_n(0, element.size_bytes() - 1));
            }
        }
    }
    Tensor::new(element, shape.to_vec(), data.into()).ok()
}

fn compare(device: &GpuDevice, op: Op, tensors: &[Tensor]) -> Result<(), String> {
    let text = |error: &dyn ToString| error.to_string();
    let mut recording = Recording::new(Limits::default());
    let mut values = Vec::new();
    for tensor in tensors {
        let spec = Spec::of(tensor).map_err(|error| text(&error))?;
        values.push(recording.input(spec).map_err(|error| text(&error))?);
    }
    let results = recording.op(op, &values).map_err(|error| text(&error))?;
    let program = recording.program(&results).map_err(|error| text(&error))?;
    let other = device.fallback().device();
    let found = device.run_on_host(&program, tensors, &Cancel::new());
    let want = other.run_on_host(&program, tensors, &Cancel::new());
    let (found, want) = found
        .and_then(|found| want.map(|want| (found, want)))
        .map_err(|error| text(&error))?;
    if found.len() != want.len() {
        return Err(format!("{} results instead of {}", found.len(), want.len()));
    }
    for (found, want) in found.iter().zip(&want) {
        same(found, want)?;
    }
    Ok(())
}

/// Whether two results are the same: floats within the tolerance, everything else to the bit.
fn same(found: &Tensor, want: &Tensor) -> Result<(), String> {
    if (found.element(), found.shape()) != (want.element(), want.shape()) {
        return Err(format!(
            "{} {:?} instead of {} {:?}",
            found.element(),
            found.shape(),
            want.element(),
            want.shape()
        ));
    }
    let (Some(found), Some(want)) = (floats(found), floats(want)) else {
        let mut bytes = found.data().iter().zip(want.data().iter());
        return match bytes.position(|(found, want)| found != want) {
            Some(at) => Err(format!("byte {at} is another")),
            None => Ok(()),
        };
    };
    let size = want
        .iter()
        .fold(1.0, |most: f32, value| most.max(value.abs()));
    for (at, (found, want)) in found.iter().zip(&want).enumerate() {
        if (found - want).abs() > size * TOLERANCE || found.is_nan() != want.is_nan() {
            return Err(format!("element {at} is {found} instead of {want}"));
        }
    }
    Ok(())
}

/// Elements as floats, if they are.
fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    let pairs = || tensor.data().as_chunks::<2>().0.iter();
    match tensor.element() {
        Element::F32 => {
            let cells = tensor.data().as_chunks::<4>().0.iter();
            Some(cells.map(|cell| f32::from_le_bytes(*cell)).collect())
        }
        Element::F16 => {
            let wide = |cell: &[u8; 2]| half::f16::from_le_bytes(*cell).to_f32();
            Some(pairs().map(wide).collect())
        }
        Element::Bf16 => {
            let wide = |cell: &[u8; 2]| half::bf16::from_le_bytes(*cell).to_f32();
            Some(pairs().map(wide).collect())
        }
        Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => None,
    }
}

/// Of the largest value: a rounding of bf16.
const TOLERANCE: f32 = 1.0 / 128.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_form_or_in_one_whole_number_is_not_the_same() {
        let row = |values: &[f32]| {
            let length = u32::try_from(values.len()).unwrap();
            Tensor::from_f32(vec![length], values).unwrap()
        };
        let bytes = |last: u8| Tensor::new(Element::U8, vec![2], vec![250, last].into()).unwrap();
        assert_eq!(same(&row(&[1.0, 2.0]), &row(&[1.001, 2.0])), Ok(()));
        assert_eq!(same(&bytes(7), &bytes(7)), Ok(()));
        for (found, want) in [
            (row(&[1.0]), row(&[1.0, 2.0])),
            (row(&[1.0, 2.1]), row(&[1.0, 2.0])),
            (row(&[f32::NAN]), row(&[1.0])),
            (bytes(8), bytes(7)),
            (bytes(7), row(&[1.0, 2.0])),
        ] {
            assert!(same(&found, &want).is_err(), "{found:?} {want:?}");
        }
    }
}

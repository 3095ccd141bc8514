//! Whether two engines give the same answers for one model.

use half::{bf16, f16};

use super::seeded;
use crate::{Element, Kind, Model, RunError, Tensor};

/// How two engines compare.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Comparison {
    /// All outputs are close.
    Agree {
        /// The largest difference, relative to the output's scale where that is above 1.
        difference: f64,
    },
    /// They are not, or only one of them fails.
    Differ(String),
    /// The reference does not run on any inputs that were tried.
    NotComparable(String),
}

/// Compares `candidate` with `reference` on seeded inputs, of the first size that the reference takes.
pub(super) fn compare(candidate: &dyn Model, reference: &dyn Model) -> Comparison {
    if candidate.inputs() != reference.inputs() {
        return Comparison::NotComparable("the engines see different inputs".to_owned());
    }
    let Some((extent, result)) = first_run(reference) else {
        return Comparison::NotComparable("its inputs are too large to try".to_owned());
    };
    let expected = match result {
        Ok(expected) => expected,
        Err(error) => return Comparison::NotComparable(error.to_string()),
    };
    let inputs = seeded::inputs(candidate, extent).unwrap_or_default();
    let found = match candidate.run(inputs, &names(reference)) {
        Ok(found) => found,
        Err(error) => return Comparison::Differ(format!("only one engine runs it: {error}")),
    };
    let mut difference = 0.0_f64;
    for ((name, found), expected) in names(reference).iter().zip(&found).zip(&expected) {
        match difference_of(found, expected) {
            Ok(by) => difference = difference.max(by),
            Err(reason) => return Comparison::Differ(format!("output `{name}` {reason}")),
        }
    }
    Comparison::Agree { difference }
}

/// Runs a model on seeded inputs, of the first size that it takes; none where it has no such inputs.
pub(super) fn trial(model: &dyn Model) -> Option<Result<Vec<Tensor>, RunError>> {
    first_run(model).map(|(_, result)| result)
}

fn first_run(model: &dyn Model) -> Option<(u32, Result<Vec<Tensor>, RunError>)> {
    let mut last = None;
    for extent in EXTENTS {
        let Some(inputs) = seeded::inputs(model, extent) else {
            continue;
        };
        let result = model.run(inputs, &names(model));
        let goes_on = matches!(&result, Err(error) if error.kind() != Kind::OutOfBudget);
        last = Some((extent, result));
        let chooses = model.inputs().iter().any(|port| port.shape.contains(&None));
        if !goes_on || !chooses {
            break;
        }
    }
    last
}

fn names(model: &dyn Model) -> Vec<String> {
    let ports = model.outputs().iter();
    ports.map(|port| port.name.clone()).collect()
}

/// Whether two engines could have given these for the same inputs.
pub(crate) fn is_close(found: &Tensor, expected: &Tensor) -> bool {
    difference_of(found, expected).is_ok()
}

/// The largest difference, or why it is too large.
fn difference_of(found: &Tensor, expected: &Tensor) -> Result<f64, String> {
    if found.element() != expected.element() || found.shape() != expected.shape() {
        return Err(format!(
            "is {} {:?} instead of {} {:?}",
            found.element(),
            found.shape(),
            expected.element(),
            expected.shape()
        ));
    }
    let (Some(found), Some(wanted)) = (floats(found), floats(expected)) else {
        return indices(found, expected);
    };
    let scale = wanted.iter().filter(|value| value.is_finite());
    let scale = scale.fold(1.0_f64, |scale, value| scale.max(value.abs()));
    let mut most = 0.0_f64;
    for (place, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let same = found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan());
        let by = if same {
            0.0
        } else {
            (found - wanted).abs() / scale
        };
        // An infinity or a NaN on one side only leaves no finite difference.
        if !by.is_finite() || by > tolerance(expected.element()) {
            return Err(format!("is {found} instead of {wanted} at place {place}"));
        }
        most = most.max(by);
    }
    Ok(most)
}

/// Indices and flags: where two scores are nearly equal, engines may choose either.
fn indices(found: &Tensor, expected: &Tensor) -> Result<f64, String> {
    let size = expected.element().size_bytes();
    let pairs = found.data().chunks(size).zip(expected.data().chunks(size));
    let (all, other) = pairs.fold((0_u64, 0_u64), |(all, other), (found, expected)| {
        (
            all.saturating_add(1),
            other.saturating_add(u64::from(found != expected)),
        )
    });
    if other.saturating_mul(100) > all {
        Err(format!("has other values in {other} of {all} places"))
    } else {
        Ok(0.0)
    }
}

fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let pairs = || tensor.data().as_chunks::<2>().0.iter();
    match tensor.element() {
        Element::F32 => {
            let (values, _) = tensor.data().as_chunks::<4>();
            let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Some(values.map(f64::from).collect())
        }
        Element::F16 => Some(pairs().map(|b| f16::from_le_bytes(*b).to_f64()).collect()),
        Element::Bf16 => Some(pairs().map(|b| bf16::from_le_bytes(*b).to_f64()).collect()),
        Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => None,
    }
}

/// The measured engines differ by at most 1.4e-4 on real models.
const fn tolerance(element: Element) -> f64 {
    match element {
        Element::F16 => 1e-2,
        Element::Bf16 => 4e-2,
        Element::F32 | Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            2e-3
        }
    }
}

/// Sizes that some model takes: lengths of texts, sides of pictures (multiples of 32), frames of sound.
pub const EXTENTS: [u32; 5] = [64, 16, 224, 512, 1];

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![u32::try_from(values.len()).unwrap()], values).unwrap()
    }

    #[test]
    fn differences_are_relative_to_the_outputs_scale() {
        let of = |found: &[f32], expected: &[f32]| difference_of(&row(found), &row(expected));
        assert_eq!(of(&[1.0, 2.0], &[1.0, 2.0]), Ok(0.0));
        assert!(of(&[0.001], &[0.0]).is_ok());
        assert!(of(&[0.01], &[0.0]).is_err());
        assert!(of(&[1000.01, 0.5], &[1000.0, 0.0]).is_ok());
        assert!(of(&[1000.0, 5.0], &[1000.0, 0.0]).is_err());
    }

    #[test]
    fn what_is_no_number_must_be_so_on_both_sides() {
        let of = |found: f32, expected: f32| difference_of(&row(&[found]), &row(&[expected]));
        assert_eq!(of(f32::NAN, f32::NAN), Ok(0.0));
        assert_eq!(of(f32::INFINITY, f32::INFINITY), Ok(0.0));
        for (found, expected) in [
            (f32::NAN, 0.0),
            (0.0, f32::NAN),
            (f32::INFINITY, 0.0),
            (0.0, f32::INFINITY),
            (f32::INFINITY, f32::NEG_INFINITY),
        ] {
            assert!(of(found, expected).is_err(), "{found} {expected}");
        }
    }

    #[test]
    fn shapes_and_indices_count() {
        assert!(difference_of(&row(&[1.0]), &row(&[1.0, 1.0])).is_err());
        let integers = |last: i64| {
            let mut values = vec![3_i64; 200];
            values[199] = last;
            Tensor::from_i64(vec![200], &values).unwrap()
        };
        assert_eq!(
            difference_of(&integers(4), &integers(3)),
            Ok(0.0),
            "one of 200"
        );
        let few = |value: i64| Tensor::from_i64(vec![2], &[1, value]).unwrap();
        assert!(difference_of(&few(1), &few(2)).is_err());
    }
}

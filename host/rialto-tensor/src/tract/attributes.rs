//! The whole numbers that a node's attributes give, checked before tract builds its operator.
//!
//! tract takes an axis, a kernel or a number of outputs as the file has it and counts up to it. Where
//! counting ends shows in no tensor's shape, so that the limits on tensors do not help.
//!
//! Non-goals: whether attributes suit their operator; tract says that.

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::graph::Refusal;

/// Refuses a node with a number that no graph needs.
pub(super) fn check(node: &NodeProto) -> Result<(), Refusal> {
    node.attribute
        .iter()
        .try_for_each(|attribute| check_attribute(node, attribute))
}

fn check_attribute(node: &NodeProto, attribute: &AttributeProto) -> Result<(), Refusal> {
    let name = attribute.name.as_str();
    let refused = |number: i64, max: u64| {
        Err(Refusal::TooLarge(format!(
            "node `{}` ({}) has `{name}` {number}; at most {max} is taken",
            node.name, node.op_type
        )))
    };
    if name == "perm" && !is_permutation(&attribute.ints) {
        return Err(Refusal::Malformed(format!(
            "node `{}` ({}) has `perm` {:?}, which is no permutation",
            node.name, node.op_type, attribute.ints
        )));
    }
    let max = if AXES.contains(&name) {
        AXIS_MAX
    } else if COUNTS.contains(&name) {
        COUNT_MAX
    } else {
        return Ok(());
    };
    let numbers = || attribute.ints.iter().copied().chain([attribute.i]);
    if let Some(number) = numbers().find(|number| number.unsigned_abs() > max) {
        return refused(number, max);
    }
    // The volume of a kernel, the cells of an output: tract lists each.
    let product = numbers().fold(1_u64, |product, number| {
        product.saturating_mul(number.unsigned_abs().max(1))
    });
    if name == "kernel_shape" && product > COUNT_MAX {
        return refused(i64::try_from(product).unwrap_or(i64::MAX), COUNT_MAX);
    }
    Ok(())
}

/// Whether each axis is there once. tract follows the cycles of anything else for ever.
fn is_permutation(axes: &[i64]) -> bool {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    let mut places = sorted.iter().enumerate();
    places.all(|(place, axis)| usize::try_from(*axis) == Ok(place))
}

/// Attributes that name axes, or count them.
const AXES: [&str; 7] = [
    "axis",
    "axes",
    "batch_axis",
    "batch_dims",
    "perm",
    "seq_axis",
    "time_axis",
];
/// More axes than any tensor has here; from the end, they count downward from -1.
const AXIS_MAX: u64 = 16;
/// Attributes that count elements, steps or outputs.
const COUNTS: [&str; 13] = [
    "blocksize",
    "dilations",
    "group",
    "hidden_size",
    "k",
    "kernel_shape",
    "num_outputs",
    "output_padding",
    "output_shape",
    "pads",
    "size",
    "split",
    "strides",
];
const COUNT_MAX: u64 = 1 << 24;

//! Operations whose result is their operand's memory, or a part of it.

use bytes::Bytes;

use crate::ops::{
    Op,
    spec::{Spec, strides},
};

/// The result of an operation that need not copy; none if it must.
pub(crate) fn view(op: &Op, operand: &Spec, data: &Bytes, result: &Spec) -> Option<Bytes> {
    let same = operand.shape() == result.shape();
    if let Op::Reshape(_) = op {
        Some(data.clone())
    } else if let Op::Cast(to) = op {
        (*to == operand.element()).then(|| data.clone())
    } else if let Op::BroadcastTo(_) | Op::Concat { .. } | Op::Pad(_) = op {
        same.then(|| data.clone())
    } else if let Op::Transpose(order) = op {
        // Only axes of one element change places.
        let moved = order.iter().filter(|axis| operand.extent(**axis) != 1);
        moved.is_sorted().then(|| data.clone())
    } else if let Op::Slice(ranges) = op {
        let sizes = operand.sizes();
        if result.elements() == 0 {
            return Some(Bytes::new());
        }
        let (mut start, mut whole) = (0, true);
        // From the last axis outwards: whole axes, then one range, then single elements.
        for ((range, size), stride) in ranges.iter().zip(&sizes).zip(strides(&sizes)).rev() {
            let span = range.on(*size)?;
            if span.count > 1 && (span.step != 1 || !whole) {
                return None;
            }
            whole = whole && span.count == *size;
            start += span.start * stride;
        }
        let width = operand.element().size_bytes();
        let range = start * width..start * width + result.bytes();
        (range.end <= data.len()).then(|| data.slice(range))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Element, ops::Range};

    #[test]
    fn contiguous_slices_share_memory() {
        let spec = Spec::new(Element::U8, [2, 3, 4]).unwrap();
        let data: Bytes = (0..24_u8).collect();
        let check = |starts: [i64; 3], ends: [i64; 3], shared: bool| {
            let ranges: Vec<Range> = starts
                .into_iter()
                .zip(ends)
                .map(|(start, end)| Range {
                    start,
                    end: Some(end),
                    step: 1,
                })
                .collect();
            let op = Op::Slice(ranges);
            let result = crate::ops::infer(&op, &[&spec]).unwrap().remove(0);
            let found = view(&op, &spec, &data, &result);
            assert_eq!(found.is_some(), shared, "{starts:?} to {ends:?}");
            if let Some(found) = found {
                assert_eq!(found.len(), result.bytes());
                let at = starts[0] * 12 + starts[1] * 4 + starts[2];
                assert_eq!(found.first().map(|byte| i64::from(*byte)), Some(at));
            }
        };
        check([1, 0, 0], [2, 3, 4], true);
        check([1, 1, 0], [2, 3, 4], true);
        check([1, 1, 1], [2, 2, 3], true);
        check([0, 1, 0], [2, 3, 4], false);
        check([0, 0, 1], [1, 2, 3], false);
    }
}

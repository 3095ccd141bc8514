//! Tensors stacked, cut apart, filled up and cropped.

use bytes::{Bytes, BytesMut};

use crate::Tensor;

/// Tensors of one element type and shape, one after another along the first axis.
pub(super) fn stack(parts: &[Tensor]) -> Option<Tensor> {
    let first = parts.first()?;
    let same = |part: &Tensor| part.element() == first.element() && part.shape() == first.shape();
    let (rows, rest) = first.shape().split_first()?;
    let rows = rows.checked_mul(u32::try_from(parts.len()).ok()?)?;
    if !parts.iter().all(same) {
        return None;
    }
    let mut data = BytesMut::with_capacity(parts.iter().map(|part| part.data().len()).sum());
    for part in parts {
        data.extend_from_slice(part.data());
    }
    let shape = [&[rows], rest].concat();
    Tensor::new(first.element(), shape, data.freeze()).ok()
}

/// A tensor cut into parts of so many rows; the parts share its bytes.
pub(super) fn cut(whole: &Tensor, parts: usize, rows: u32) -> Option<Vec<Tensor>> {
    let (all, rest) = whole.shape().split_first()?;
    if usize::try_from(*all).ok()? != parts.checked_mul(usize::try_from(rows).ok()?)? {
        return None;
    }
    let bytes = whole.data().len().checked_div(parts)?;
    let part = |index: usize| {
        let data: Bytes = whole.data().slice(index * bytes..(index + 1) * bytes);
        Tensor::new(whole.element(), [&[rows], rest].concat(), data).ok()
    };
    (0..parts).map(part).collect()
}

/// A tensor in the first corner of a larger one, with zeros around it.
pub(super) fn fill(tensor: &Tensor, shape: &[u32]) -> Option<Tensor> {
    if tensor.shape() == shape {
        return Some(tensor.clone());
    }
    let lines = Lines::of(tensor.shape(), shape)?;
    let size = tensor.element().size_bytes();
    let bytes = extent(shape)?.checked_mul(size)?;
    let mut data = BytesMut::zeroed(bytes);
    for (small, large) in lines.places() {
        let from = tensor
            .data()
            .get(small * size..)?
            .get(..lines.long * size)?;
        let into = data.get_mut(large * size..)?.get_mut(..lines.long * size)?;
        into.copy_from_slice(from);
    }
    Tensor::new(tensor.element(), shape.to_vec(), data.freeze()).ok()
}

/// The first corner of a tensor.
pub(super) fn crop(tensor: &Tensor, shape: &[u32]) -> Option<Tensor> {
    if tensor.shape() == shape {
        return Some(tensor.clone());
    }
    let lines = Lines::of(shape, tensor.shape())?;
    let size = tensor.element().size_bytes();
    let mut data = BytesMut::with_capacity(extent(shape)?.checked_mul(size)?);
    for (_, large) in lines.places() {
        data.extend_from_slice(
            tensor
                .data()
                .get(large * size..)?
                .get(..lines.long * size)?,
        );
    }
    Tensor::new(tensor.element(), shape.to_vec(), data.freeze()).ok()
}

/// Where the lines of a small box lie in itself and in a large one around it, in elements.
struct Lines {
    /// The extents of all axes but the last, small and large.
    axes: Vec<(usize, usize)>,
    /// Elements of a line.
    long: usize,
    /// Elements of a line of the large box.
    stride: usize,
}

impl Lines {
    /// None unless every extent of the small box is at most the large one's.
    fn of(small: &[u32], large: &[u32]) -> Option<Self> {
        let size = |extent: &u32| usize::try_from(*extent).ok();
        let pairs = small.iter().zip(large);
        let mut axes: Vec<_> = pairs
            .map(|(small, large)| Some((size(small)?, size(large)?)))
            .collect::<Option<_>>()?;
        let inside = small.len() == large.len() && axes.iter().all(|(small, large)| small <= large);
        let (long, stride) = axes.pop()?;
        inside.then_some(Self { axes, long, stride })
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let count: usize = self.axes.iter().map(|(small, _)| small).product();
        (0..count).map(|line| {
            let (mut rest, mut large, mut stride) = (line, 0, self.stride);
            for (small, all) in self.axes.iter().rev() {
                large += rest % small * stride;
                rest /= small;
                stride *= all;
            }
            (line * self.long, large)
        })
    }
}

fn extent(shape: &[u32]) -> Option<usize> {
    let mut extents = shape.iter();
    extents.try_fold(1_usize, |all, extent| {
        all.checked_mul(usize::try_from(*extent).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filled_with_zeros_behind() {
        let small = Tensor::from_i64(vec![2, 2], &[1, 2, 3, 4]).unwrap();
        let large = fill(&small, &[2, 3]).unwrap();
        assert_eq!(
            large,
            Tensor::from_i64(vec![2, 3], &[1, 2, 0, 3, 4, 0]).unwrap()
        );
        assert_eq!(fill(&small, &[2, 1]), None);
        assert_eq!(fill(&small, &[2, 2, 1]), None);
    }

    proptest! {
        #[test]
        fn cropping_undoes_filling(axes in prop::collection::vec((0_u32..4, 0_u32..4), 1..4)) {
            let small: Vec<u32> = axes.iter().map(|(small, _)| *small).collect();
            let large: Vec<u32> = axes.iter().map(|(small, more)| small + more).collect();
            let count = i64::from(small.iter().product::<u32>());
            let values: Vec<i64> = (1..=count).collect();
            let tensor = Tensor::from_i64(small.clone(), &values).unwrap();
            let filled = fill(&tensor, &large).unwrap();
            prop_assert_eq!(filled.shape(), &large[..]);
            prop_assert_eq!(crop(&filled, &small), Some(tensor));
        }
    }
}

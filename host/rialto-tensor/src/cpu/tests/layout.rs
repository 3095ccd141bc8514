//! Arrangement: slices, transpositions, concatenation, padding, sources.

use super::*;
use crate::ops::{Iota, Pad, PadMode, Range};

/// Checks that each element of `found` is the element of `from` at the place that `place` says.
fn moved(found: &Tensor, from: &Tensor, place: impl Fn(&[usize]) -> Vec<usize>) {
    let width = from.element().size_bytes();
    for (at, cell) in found.data().chunks(width).enumerate() {
        let place = ravel(from.shape(), &place(&unravel(found.shape(), at))) * width;
        assert_eq!(cell, &from.data()[place..place + width], "at {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slices(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let mut number = |low: i64, high: i64| {
            low + i64::try_from(draw.below(u64::try_from(high - low + 1).unwrap())).unwrap()
        };
        let ranges: Vec<Range> = shape
            .iter()
            .map(|_| {
                let step = [1, 1, 1, 2, 3, -1, -2][usize::try_from(number(0, 6)).unwrap()];
                let end = number(-8, 12);
                Range { start: number(-7, 7), end: (end < 8).then_some(end), step }
            })
            .collect();
        // What NumPy does, one axis at a time, by stepping.
        let picks: Vec<Vec<usize>> = ranges
            .iter()
            .zip(&shape)
            .map(|(range, extent)| {
                let extent = i64::from(*extent);
                let (low, high) = if range.step > 0 { (0, extent) } else { (-1, extent - 1) };
                let place = |at: i64| (if at < 0 { at + extent } else { at }).clamp(low, high);
                let end = range.end.map_or(if range.step > 0 { high } else { low }, place);
                let (mut at, mut picks) = (place(range.start), Vec::new());
                while (range.step > 0 && at < end) || (range.step < 0 && at > end) {
                    picks.push(usize::try_from(at).unwrap());
                    at += range.step;
                }
                picks
            })
            .collect();
        for element in Element::ALL {
            let input = draw.tensor(element, &shape, true);
            let found = run(&Op::Slice(ranges.clone()), &[&input]);
            let sizes: Vec<u32> = picks.iter().map(|p| u32::try_from(p.len()).unwrap()).collect();
            prop_assert_eq!(found.shape(), &sizes[..]);
            moved(&found, &input, |index| index.iter().zip(&picks).map(|(i, p)| p[*i]).collect());
        }
    }

    #[test]
    fn transpositions_and_broadcasts(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(|_| draw.next());
        let narrow = draw.narrower(&shape);
        for element in Element::ALL {
            let input = draw.tensor(element, &shape, true);
            let found = run(&Op::Transpose(order.clone()), &[&input]);
            moved(&found, &input, |index| {
                let mut from = vec![0; order.len()];
                order.iter().zip(index).for_each(|(axis, at)| from[*axis] = *at);
                from
            });
            let input = draw.tensor(element, &narrow, true);
            let found = run(&Op::BroadcastTo(shape.clone()), &[&input]);
            prop_assert_eq!(found.shape(), &shape[..]);
            moved(&found, &input, |index| {
                let own = &index[shape.len() - narrow.len()..];
                own.iter().zip(&narrow).map(|(i, e)| if *e == 1 { 0 } else { *i }).collect()
            });
            let flat = u32::try_from(Spec::of(&found).unwrap().elements()).unwrap();
            let reshaped = run(&Op::Reshape(vec![1, flat]), &[&found]);
            prop_assert_eq!(reshaped.data(), found.data());
        }
    }

    #[test]
    fn concatenation(shape in shapes(), axis in 0..4_usize, parts in 1..4_usize, seed in any::<u64>()) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        for element in Element::ALL {
            let tensors: Vec<Tensor> = (0..parts)
                .map(|_| {
                    let mut shape = shape.clone();
                    shape[axis] = u32::try_from(draw.below(4)).unwrap();
                    draw.tensor(element, &shape, true)
                })
                .collect();
            let operands: Vec<&Tensor> = tensors.iter().collect();
            let found = run(&Op::Concat { axis }, &operands);
            let mut start = 0;
            for tensor in &tensors {
                let length = i64::from(tensor.shape()[axis]);
                let mut ranges = vec![Range::default(); shape.len()];
                ranges[axis] = Range { start, end: Some(start + length), step: 1 };
                let part = run(&Op::Slice(ranges), &[&found]);
                prop_assert_eq!(part.data(), tensor.data());
                start += length;
            }
            prop_assert_eq!(i64::from(found.shape()[axis]), start);
        }
    }

    #[test]
    fn padding(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        for element in Element::ALL {
            let input = draw.tensor(element, &shape, true);
            for mode in [PadMode::Constant(Number::Int(1)), PadMode::Edge, PadMode::Reflect] {
                let most = |extent: u32| match mode {
                    PadMode::Constant(_) => 3,
                    PadMode::Edge => if extent == 0 { 0 } else { 3 },
                    PadMode::Reflect => extent.saturating_sub(1),
                };
                let mut amounts = || -> Vec<u32> {
                    shape.iter().map(|e| draw.below(u64::from(most(*e)) + 1) as u32).collect()
                };
                let (before, after) = (amounts(), amounts());
                let op = Op::Pad(Pad { before: before.clone(), after, mode });
                let found = run(&op, &[&input]);
                let one = scalar(element, Number::Int(1));
                let width = element.size_bytes();
                for (at, cell) in found.data().chunks(width).enumerate() {
                    let mut outside = false;
                    let index: Vec<usize> = unravel(found.shape(), at)
                        .into_iter()
                        .zip(before.iter().zip(&shape))
                        .map(|(at, (before, extent))| {
                            let place = at as i64 - i64::from(*before);
                            let last = i64::from(*extent) - 1;
                            outside |= place < 0 || place > last;
                            let place = match mode {
                                PadMode::Reflect if place > last => 2 * last - place,
                                PadMode::Reflect => place.abs(),
                                _ => place.clamp(0, last.max(0)),
                            };
                            place as usize
                        })
                        .collect();
                    if outside && matches!(mode, PadMode::Constant(_)) {
                        prop_assert_eq!(cell, &one.data()[..]);
                    } else {
                        let place = ravel(&shape, &index) * width;
                        prop_assert_eq!(cell, &input.data()[place..place + width]);
                    }
                }
            }
        }
    }

    #[test]
    fn sources(shape in shapes(), value in -100..100_i64, step in -3..4_i64) {
        for element in Element::ALL {
            let spec = Spec::new(element, shape.clone()).unwrap();
            let found = run(&Op::Full(spec.clone(), Number::Int(value)), &[]);
            let want = if is_float(element) {
                bytes_of(element, &[value as f64])
            } else if element == Element::Bool {
                vec![u8::from(value != 0)]
            } else {
                int_bytes(element, wrapped(element, value.into()))
            };
            prop_assert!(found.data().chunks(element.size_bytes()).all(|cell| cell == want));
            if element == Element::Bool || shape.is_empty() {
                continue;
            }
            let axis = shape.len() / 2;
            let (start, step) = (Number::Int(value), Number::Int(step));
            let op = Op::Iota(Iota { spec, axis, start, step });
            let found = run(&op, &[]);
            for (at, found) in floats(&found).into_iter().enumerate() {
                let Number::Int(step) = step else { unreachable!() };
                let at = unravel(&shape, at)[axis] as i64;
                let want = value + step * at;
                let want = if is_float(element) {
                    want as f64
                } else {
                    wrapped(element, want.into()) as f64
                };
                prop_assert_eq!(found, want);
            }
        }
    }
}

#[test]
fn large_transpositions_use_tiles() {
    let input = Draw(1).tensor(Element::F16, &[3, 70, 130], false);
    for order in [[0, 2, 1], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let found = run(&Op::Transpose(order.to_vec()), &[&input]);
        moved(&found, &input, |index| {
            let mut from = vec![0; 3];
            order
                .iter()
                .zip(index)
                .for_each(|(axis, at)| from[*axis] = *at);
            from
        });
    }
}

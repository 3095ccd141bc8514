//! Gathering, scattering, ranking.

use super::*;
use crate::ops::{ArgReduce, Combine, TopK, accepts::elements};

/// Index values, some counted from the end.
fn indices(draw: &mut Draw, shape: &[u32], extent: u32) -> (Tensor, Vec<usize>) {
    let count = shape.iter().map(|e| *e as usize).product();
    let values: Vec<i64> = (0..count)
        .map(|_| draw.below(2 * u64::from(extent)) as i64 - i64::from(extent))
        .collect();
    let places = values
        .iter()
        .map(|v| if *v < 0 { *v + i64::from(extent) } else { *v } as usize)
        .collect();
    let tensor = tensor_i64(shape, &values);
    let narrow = draw.below(2) == 0;
    (
        if narrow {
            run(&Op::Cast(Element::I32), &[&tensor])
        } else {
            tensor
        },
        places,
    )
}

fn combined(combine: Combine, element: Element, old: f64, new: f64) -> f64 {
    let value = match combine {
        Combine::Replace => new,
        Combine::Add => old + new,
        Combine::Mul => old * new,
        Combine::Min => old.min(new),
        Combine::Max => old.max(new),
    };
    if !is_float(element) {
        return wrapped(element, value as i128) as f64;
    }
    let rounded = Tensor::new(element, vec![], bytes_of(element, &[value]).into()).unwrap();
    floats(&rounded)[0]
}

const COMBINES: [Combine; 5] = [
    Combine::Replace,
    Combine::Add,
    Combine::Mul,
    Combine::Min,
    Combine::Max,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gathering(shape in shapes(), axis in 0..4_usize, wanted in prop::collection::vec(0..4_u32, 0..3), seed in any::<u64>()) {
        prop_assume!(axis < shape.len() && shape[axis] > 0);
        let mut draw = Draw(seed);
        for element in Element::ALL {
            let width = element.size_bytes();
            let data = draw.tensor(element, &shape, true);
            let (index, places) = indices(&mut draw, &wanted, shape[axis]);
            let found = run(&Op::Gather { axis }, &[&data, &index]);
            let want = [&shape[..axis], &wanted, &shape[axis + 1..]].concat();
            prop_assert_eq!(found.shape(), &want[..]);
            for (at, cell) in found.data().chunks(width).enumerate() {
                let out = unravel(found.shape(), at);
                let middle = ravel(&wanted, &out[axis..axis + wanted.len()]);
                let mut from = out[..axis].to_vec();
                from.push(places[middle]);
                from.extend(&out[axis + wanted.len()..]);
                let place = ravel(&shape, &from) * width;
                prop_assert_eq!(cell, &data.data()[place..place + width]);
            }
            let mut inner = shape.clone();
            inner.iter_mut().for_each(|e| *e = draw.below(u64::from(*e) + 1) as u32);
            let (index, places) = indices(&mut draw, &inner, shape[axis]);
            let found = run(&Op::GatherElements { axis }, &[&data, &index]);
            for (at, cell) in found.data().chunks(width).enumerate() {
                let mut from = unravel(&inner, at);
                from[axis] = places[at];
                let place = ravel(&shape, &from) * width;
                prop_assert_eq!(cell, &data.data()[place..place + width]);
            }
        }
    }

    #[test]
    fn scattering(shape in shapes(), axis in 0..4_usize, count in 0..6_u32, seed in any::<u64>()) {
        prop_assume!(axis < shape.len() && shape[axis] > 0);
        let mut draw = Draw(seed);
        for combine in COMBINES {
            for elements in [true, false] {
                let op = if elements {
                    Op::ScatterElements { axis, combine }
                } else {
                    Op::Scatter { axis, combine }
                };
                for element in self::elements(&op) {
                    let data = draw.tensor(*element, &shape, false);
                    let mut wanted = shape.clone();
                    wanted[axis] = count;
                    if elements {
                        for (at, extent) in wanted.iter_mut().enumerate() {
                            if at != axis { *extent = draw.below(u64::from(*extent) + 1) as u32; }
                        }
                    }
                    let updates = draw.tensor(*element, &wanted, false);
                    let flat = if elements { wanted.clone() } else { vec![count] };
                    let (index, places) = indices(&mut draw, &flat, shape[axis]);
                    let found = run(&op, &[&data, &index, &updates]);
                    let mut want = floats(&data);
                    let new = floats(&updates);
                    for (at, new) in new.into_iter().enumerate() {
                        let mut to = unravel(&wanted, at);
                        to[axis] = places[if elements { at } else { to[axis] }];
                        let old = &mut want[ravel(&shape, &to)];
                        *old = combined(combine, *element, *old, new);
                    }
                    prop_assert_eq!(floats(&found), want, "{:?} {}", combine, element);
                }
            }
        }
    }

    #[test]
    fn ranking(shape in shapes(), axis in 0..4_usize, largest in any::<bool>(), keep in any::<bool>(), seed in any::<u64>()) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        let k = draw.below(u64::from(shape[axis]) + 1) as u32;
        let op = Op::TopK(TopK { axis, k, largest });
        for element in elements(&op) {
            let input = draw.tensor(*element, &shape, true);
            let results = try_run(&op, &[&input]).unwrap();
            let mut out = shape.clone();
            out[axis] = k;
            prop_assert_eq!(results[0].shape(), &out[..]);
            // The order by definition: best first, NaN best of all, then by place.
            let (values, exact) = (floats(&input), is_float(*element));
            let whole = if exact { Vec::new() } else { ints(&input) };
            let order = |line: &[usize]| {
                let mut order: Vec<usize> = (0..shape[axis] as usize).collect();
                let place = |i: usize| {
                    let mut index = line.to_vec();
                    index[axis] = i;
                    ravel(&shape, &index)
                };
                order.sort_by(|a, b| {
                    let (a, b) = (place(*a), place(*b));
                    let ascending = if !exact {
                        whole[a].cmp(&whole[b])
                    } else if values[a].is_nan() || values[b].is_nan() {
                        return values[b].is_nan().cmp(&values[a].is_nan());
                    } else {
                        values[a].partial_cmp(&values[b]).unwrap()
                    };
                    if largest { ascending.reverse() } else { ascending }
                });
                order
            };
            let width = element.size_bytes();
            let places = ints(&results[1]);
            for (at, cell) in results[0].data().chunks(width).enumerate() {
                let line = unravel(&out, at);
                let want = order(&line)[line[axis]];
                prop_assert_eq!(places[at], want as i128);
                let mut from = line.clone();
                from[axis] = want;
                let from = ravel(&shape, &from) * width;
                prop_assert_eq!(cell, &input.data()[from..from + width]);
            }
            if shape[axis] > 0 {
                let found = run(&Op::ArgReduce(ArgReduce { axis, largest, keep }), &[&input]);
                let mut kept = shape.clone();
                kept[axis] = 1;
                for (at, found) in ints(&found).into_iter().enumerate() {
                    prop_assert_eq!(found, order(&unravel(&kept, at))[0] as i128);
                }
            }
        }
    }
}

#[test]
fn an_index_outside_is_an_error_that_names_it() {
    let data = tensor_f32(&[2, 3], &[0.0; 6]);
    for index in [3, -4, i64::MIN, i64::MAX] {
        let error = try_run(
            &Op::Gather { axis: 1 },
            &[&data, &tensor_i64(&[1], &[index])],
        );
        let text = error.unwrap_err().to_string();
        assert_eq!(
            text,
            format!("gather: index {index} is outside of 3 elements on axis 1")
        );
    }
    let update = tensor_f32(&[1, 3], &[1.0; 3]);
    let op = Op::Scatter {
        axis: 0,
        combine: Combine::Add,
    };
    assert!(try_run(&op, &[&data, &tensor_i64(&[1], &[2]), &update]).is_err());
}

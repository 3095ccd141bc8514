//! Resizing by the nearest element, or by lines between two.
//!
//! Each axis by itself: the places are known, so that it is a gather, or two and a sum.

use super::{Found, one};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{self, Fact, Operands, count},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Binary, Op},
};

/// Where a place of the result lies between the operand's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// Which element is the nearest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

#[derive(Debug, Clone)]
struct Resize {
    linear: bool,
    coordinates: Coordinates,
    nearest: Nearest,
    axes: Option<Vec<i64>>,
    /// Where the operands with factors and with extents are.
    scales: usize,
    sizes: Option<usize>,
}

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    let resize = match op {
        "Resize" if a.opset >= 11 => modern(a)?,
        "Resize" | "Upsample" if a.opset < 11 && !a.has("scales") => Resize {
            linear: linear(a)?,
            coordinates: Coordinates::Asymmetric,
            nearest: Nearest::Floor,
            axes: None,
            scales: 1,
            sizes: None,
        },
        _ => return Ok(None),
    };
    one(move |s, x| resized(s, x, &resize))
}

fn linear(a: &mut Attributes<'_>) -> Result<bool, Refusal> {
    match a.text_or("mode", "nearest")?.as_str() {
        "nearest" => Ok(false),
        "linear" | "bilinear" => Ok(true),
        other => Err(Refusal::unsupported(format!("`mode` of {other}"))),
    }
}

fn modern(a: &mut Attributes<'_>) -> Result<Resize, Refusal> {
    let coordinates = match a
        .text_or("coordinate_transformation_mode", "half_pixel")?
        .as_str()
    {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => {
            let reason = format!("`coordinate_transformation_mode` of {other}");
            return Err(Refusal::unsupported(reason));
        }
    };
    let nearest = match a.text_or("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(Refusal::unsupported(format!("`nearest_mode` of {other}"))),
    };
    a.only("antialias", 0)?;
    a.only("exclude_outside", 0)?;
    let policy = a.text_or("keep_aspect_ratio_policy", "stretch")?;
    if policy != "stretch" {
        return Err(Refusal::unsupported(format!(
            "`keep_aspect_ratio_policy` of {policy}"
        )));
    }
    // Of cubic resizing and of cropping.
    a.ignore("cubic_coeff_a");
    a.ignore("extrapolation_value");
    Ok(Resize {
        linear: linear(a)?,
        coordinates,
        nearest,
        axes: a.ints("axes")?,
        scales: 2,
        sizes: Some(3),
    })
}

fn resized(s: &mut Scope<'_>, x: &Operands, resize: &Resize) -> Result<Fact, Refusal> {
    let mut fact = x.at(0)?.clone();
    let axes = match &resize.axes {
        Some(axes) => fact::axes(axes, fact.rank())?,
        None => (0..fact.rank()).collect(),
    };
    let given = |place: usize| x.maybe(place).filter(|fact| fact.spec().elements() > 0);
    let lines: Vec<(u32, f64)> = if let Some(scales) = given(resize.scales) {
        let scales = scales.floats("a factor")?.into_iter().map(f64::from);
        let lines = scales.zip(&axes).map(|(scale, axis)| {
            let long = (f64::from(fact.extent(*axis)) * scale).floor();
            Ok((whole(long)?, scale))
        });
        lines.collect::<Result<_, Refusal>>()?
    } else {
        let sizes = resize.sizes.and_then(given);
        let sizes = sizes.ok_or_else(|| Refusal::malformed("neither factors nor extents"))?;
        let lines = sizes
            .ints("an extent")?
            .into_iter()
            .zip(&axes)
            .map(|(size, axis)| {
                let size = count(size, "an extent")?;
                Ok((size, f64::from(size) / f64::from(fact.extent(*axis).max(1))))
            });
        lines.collect::<Result<_, Refusal>>()?
    };
    if lines.len() != axes.len() {
        return Err(Refusal::malformed(
            "factors or extents are not one for each axis",
        ));
    }
    for (axis, (size, scale)) in axes.into_iter().zip(lines) {
        fact = along(s, &fact, axis, size, scale, resize)?;
    }
    Ok(fact)
}

fn along(
    s: &mut Scope<'_>,
    fact: &Fact,
    axis: usize,
    size: u32,
    scale: f64,
    resize: &Resize,
) -> Result<Fact, Refusal> {
    let extent = fact.extent(axis);
    let places = |place: u32| coordinate(resize.coordinates, place, size, extent, scale);
    if extent == size
        && (0..size.min(2)).all(|place| (places(place) - f64::from(place)).abs() < 1e-9)
    {
        return Ok(fact.clone());
    }
    s.listable(size)?;
    let last = f64::from(extent) - 1.0;
    if last < 0.0 {
        return Err(Refusal::malformed(
            "an axis without elements is not resized",
        ));
    }
    if !resize.linear {
        let near = (0..size).map(|place| nearest(resize.nearest, places(place)).clamp(0.0, last));
        let near: Vec<i64> = near.map(integer).collect();
        let near = s.row(&near)?;
        return s.op(Op::Gather { axis }, &[fact, &near]);
    }
    let points = (0..size).map(|place| places(place).clamp(0.0, last));
    let (mut lower, mut upper, mut weight) = (Vec::new(), Vec::new(), Vec::new());
    for point in points {
        let below = point.floor();
        lower.push(integer(below));
        upper.push(integer((below + 1.0).min(last)));
        #[expect(clippy::cast_possible_truncation, reason = "a weight of f32")]
        weight.push((point - below) as f32);
    }
    let (lower, upper) = (s.row(&lower)?, s.row(&upper)?);
    let mut line = vec![1; fact.rank()];
    if let Some(place) = line.get_mut(axis) {
        *place = size;
    }
    let weight = s.floats(&weight)?;
    let weight = s.reshape(&weight, &line)?;
    let weight = s.cast(&weight, fact.element())?;
    let near = s.op(Op::Gather { axis }, &[fact, &lower])?;
    let far = s.op(Op::Gather { axis }, &[fact, &upper])?;
    let step = s.binary(Binary::Sub, &far, &near)?;
    let step = s.binary(Binary::Mul, &step, &weight)?;
    s.binary(Binary::Add, &near, &step)
}

fn coordinate(how: Coordinates, place: u32, size: u32, extent: u32, scale: f64) -> f64 {
    let at = f64::from(place);
    match how {
        Coordinates::PytorchHalfPixel if size <= 1 => 0.0,
        Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (at + 0.5) / scale - 0.5,
        Coordinates::AlignCorners if size <= 1 => 0.0,
        Coordinates::AlignCorners => at * (f64::from(extent) - 1.0) / (f64::from(size) - 1.0),
        Coordinates::Asymmetric => at / scale,
    }
}

fn nearest(how: Nearest, point: f64) -> f64 {
    match how {
        Nearest::PreferFloor => (point - 0.5).ceil(),
        Nearest::PreferCeil => (point + 0.5).floor(),
        Nearest::Floor => point.floor(),
        Nearest::Ceil => point.ceil(),
    }
}

fn whole(size: f64) -> Result<u32, Refusal> {
    if (0.0..=f64::from(u32::MAX)).contains(&size) {
        count(integer(size), "an extent")
    } else {
        Err(Refusal::malformed(format!("an extent of {size}")))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "places on an axis of u32")]
const fn integer(value: f64) -> i64 {
    value as i64
}

//! Convolutions over one or two axes.

use super::{Found, one, transposed};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, count},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Conv, Op, Window},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Conv" => {
            let sliding = Sliding::read(a)?;
            let groups = count(a.int_or("group", 1)?, "groups")?;
            one(move |s, x| conv(s, x, &sliding, groups))
        }
        "ConvTranspose" => transposed::read(a),
        _ => Ok(None),
    }
}

fn conv(s: &mut Scope<'_>, x: &Operands, sliding: &Sliding, groups: u32) -> Result<Fact, Refusal> {
    let (input, weight) = (x.at(0)?, x.at(1)?);
    let taps = weight.shape().get(2..).unwrap_or_default();
    let windows = sliding.windows(input, taps)?;
    let mut operands = vec![input, weight];
    operands.extend(x.maybe(2));
    let bias = x.maybe(2).is_some();
    s.op(convolution(&windows, groups, bias)?, &operands)
}

/// The operation for so many axes.
pub(super) fn convolution(windows: &[Window], groups: u32, bias: bool) -> Result<Op, Refusal> {
    match *windows {
        [one] => Ok(Op::Conv1d(Conv {
            windows: [one],
            groups,
            bias,
            activation: None,
        })),
        [rows, columns] => Ok(Op::Conv2d(Conv {
            windows: [rows, columns],
            groups,
            bias,
            activation: None,
        })),
        _ => Err(Refusal::unsupported(format!(
            "windows over {} axes",
            windows.len()
        ))),
    }
}

/// How windows move, as the file says it.
#[derive(Debug, Clone)]
pub(super) struct Sliding {
    pub(super) extents: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    pads: Option<Vec<i64>>,
    auto: Auto,
    /// A last window that is not whole counts.
    pub(super) ceil: bool,
}

/// How padding is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auto {
    Given,
    /// As many windows as elements, over the stride; the odd one after (or before) the axis.
    Same {
        lower: bool,
    },
    None,
}

impl Sliding {
    pub(super) fn read(a: &mut Attributes<'_>) -> Result<Self, Refusal> {
        let auto = match a.text_or("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => Auto::Given,
            "SAME_UPPER" => Auto::Same { lower: false },
            "SAME_LOWER" => Auto::Same { lower: true },
            "VALID" => Auto::None,
            other => return Err(Refusal::unsupported(format!("`auto_pad` of {other}"))),
        };
        Ok(Self {
            extents: a.ints("kernel_shape")?,
            strides: a.ints("strides")?,
            dilations: a.ints("dilations")?,
            pads: a.ints("pads")?,
            auto,
            ceil: false,
        })
    }

    /// One window for each spatial axis, with so many taps.
    pub(super) fn windows(&self, input: &Fact, taps: &[u32]) -> Result<Vec<Window>, Refusal> {
        let axes = input.rank().saturating_sub(2);
        let fits = self.extents.as_ref().is_none_or(|extents| {
            extents
                .iter()
                .copied()
                .eq(taps.iter().map(|tap| i64::from(*tap)))
        });
        if taps.len() != axes || !fits {
            let shape = input.shape();
            return Err(Refusal::malformed(format!(
                "windows of {taps:?} over {shape:?}"
            )));
        }
        let windows = taps.iter().enumerate();
        windows
            .map(|(axis, taps)| self.window(axis, axes, input.extent(axis + 2), *taps))
            .collect()
    }

    fn window(&self, axis: usize, axes: usize, extent: u32, taps: u32) -> Result<Window, Refusal> {
        let stride = item(self.strides.as_deref(), axis, axes, 1)?;
        let dilation = item(self.dilations.as_deref(), axis, axes, 1)?;
        if stride == 0 || dilation == 0 || taps == 0 {
            return Err(Refusal::malformed("a stride, dilation or window of 0"));
        }
        let reach = dilation
            .checked_mul(taps - 1)
            .and_then(|reach| reach.checked_add(1))
            .ok_or_else(|| Refusal::TooLarge(format!("{taps} taps {dilation} apart")))?;
        let (before, mut after) = match self.auto {
            Auto::Given => (
                item(self.pads.as_deref(), axis, 2 * axes, 0)?,
                item(self.pads.as_deref(), axis + axes, 2 * axes, 0)?,
            ),
            Auto::None => (0, 0),
            Auto::Same { lower } => {
                let windows = u64::from(extent.div_ceil(stride));
                let needed = windows.saturating_sub(1) * u64::from(stride) + u64::from(reach);
                let all = count(
                    i64::try_from(needed.saturating_sub(u64::from(extent))).unwrap_or(i64::MAX),
                    "padding",
                )?;
                let half = all / 2;
                if lower {
                    (all - half, half)
                } else {
                    (half, all - half)
                }
            }
        };
        if self.ceil {
            after = whole(extent, reach, stride, before, after)?;
        }
        Ok(Window {
            stride,
            dilation,
            before,
            after,
        })
    }
}

/// The padding after an axis with which the last window is whole; one that would begin beyond the
/// elements and the padding before them does not count.
fn whole(extent: u32, reach: u32, stride: u32, before: u32, after: u32) -> Result<u32, Refusal> {
    let [extent, reach, stride, before, after] =
        [extent, reach, stride, before, after].map(i64::from);
    let room = extent + before + after - reach;
    if room < 0 {
        return Err(Refusal::malformed("no window fits"));
    }
    let mut windows = (room + stride - 1) / stride + 1;
    if (windows - 1) * stride >= extent + before {
        windows -= 1;
    }
    let needed = (windows - 1) * stride + reach - extent - before;
    count(needed.max(0), "padding")
}

/// One number of a list that has so many, if it is there.
pub(super) fn item(
    list: Option<&[i64]>,
    place: usize,
    length: usize,
    default: u32,
) -> Result<u32, Refusal> {
    let Some(list) = list else { return Ok(default) };
    let found = list.get(place).filter(|_| list.len() == length);
    let found =
        found.ok_or_else(|| Refusal::malformed(format!("{list:?} has not {length} entries")))?;
    count(*found, "a window's measure")
}

//! Convolution: windows unrolled in bounded tiles, then a matrix product.
//!
//! A group with one input channel is computed directly: the product would have too few rows.

mod unroll;

use super::{
    Context, View,
    budget::Buffer,
    cells::BLOCK,
    gemm::{Cell, Strides, multiply},
    matmul::epilogue,
    threads::{self, Crew},
};
use crate::ops::{Activation, EvalError, Window, spec::Spec};
use unroll::{Reach, unroll};

/// A convolution over two axes; over one it has a first axis of one element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub windows: [Window; 2],
    pub groups: usize,
    pub activation: Option<Activation>,
    /// Input channels a group.
    channels: usize,
    /// Output channels a group.
    outputs: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    output: [usize; 2],
}

impl Geometry {
    pub(crate) fn new(
        windows: &[Window],
        groups: u32,
        activation: Option<Activation>,
        [input, weight, result]: [&Spec; 3],
    ) -> Self {
        let groups = usize::try_from(groups).unwrap_or(1).max(1);
        let axes = |spec: &Spec| {
            if spec.rank() == 3 {
                [1, spec.extent(2)]
            } else {
                [spec.extent(2), spec.extent(3)]
            }
        };
        let windows = match windows {
            [height, width] => [*height, *width],
            [width] => [Window::default(), *width],
            _ => [Window::default(); 2],
        };
        Self {
            windows,
            groups,
            activation,
            channels: weight.extent(1),
            outputs: weight.extent(0) / groups,
            input: axes(input),
            kernel: axes(weight),
            output: axes(result),
        }
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn pixels(&self) -> usize {
        self.output.iter().product()
    }

    /// Whether the input itself is the unrolled matrix.
    fn is_product(&self) -> bool {
        let plain = |window: &Window| window.stride == 1 && window.before == 0 && window.after == 0;
        self.taps() == 1 && self.windows.iter().all(plain)
    }
}

/// A convolution of f32.
pub(crate) fn floats(
    context: &Context<'_>,
    geometry: &Geometry,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let [input, weight, rest @ ..] = operands else {
        return Err(context.bug("operands are missing"));
    };
    let mut out = context.buffer(result.bytes())?;
    let bias = rest.first().map(View::floats);
    let (input, weight) = (input.cells(), weight.cells());
    let (pixels, taps) = (geometry.pixels(), geometry.taps());
    let image = geometry.channels * geometry.input.iter().product::<usize>();
    let (rows, depth) = (geometry.outputs, geometry.channels * taps);
    // A unit is one group of one picture.
    let unit = rows * pixels * 4;
    let units = out.data.len() / unit.max(1);
    let share = context.share(units, (rows * pixels).saturating_mul(depth));
    let inner = if share > 1 { 1 } else { context.threads };
    let tile = tile(depth, pixels);
    let direct = geometry.channels == 1;
    let scratch = if direct || geometry.is_product() {
        0
    } else {
        depth * tile * 4
    };
    let _hold = context.budget.take(scratch * share)?;
    threads::split_from(
        context.crew_of(share),
        1,
        &mut out.data,
        unit,
        |first, part| {
            let mut columns = vec![0_u8; scratch];
            let (cells, _) = part.as_chunks_mut::<4>();
            for (index, out) in cells.chunks_mut((rows * pixels).max(1)).enumerate() {
                let unit = first + index;
                let group = unit % geometry.groups;
                let input = input
                    .get(unit * image..(unit + 1) * image)
                    .unwrap_or_default();
                let weight = weight
                    .get(group * rows * depth..(group + 1) * rows * depth)
                    .unwrap_or_default();
                if direct {
                    depthwise(geometry, input, weight, out);
                } else {
                    let crew = context.crew_of(inner);
                    product(crew, geometry, tile, [input, weight], &mut columns, out)?;
                }
                for (channel, plane) in out.chunks_mut(pixels.max(1)).enumerate() {
                    let bias = bias
                        .as_ref()
                        .and_then(|bias| bias.get(group * rows + channel));
                    if bias.is_some() || geometry.activation.is_some() {
                        let bias = bias.copied().unwrap_or(0.0);
                        for block in plane.chunks_mut(BLOCK) {
                            epilogue(block, |_| bias, geometry.activation);
                        }
                    }
                }
            }
            Ok(())
        },
    )?;
    Ok(out)
}

/// How many pixels are unrolled together.
fn tile(depth: usize, pixels: usize) -> usize {
    (TILE_BYTES_MAX / (depth * 4).max(1)).clamp(TILE_PIXELS_MIN, pixels.max(TILE_PIXELS_MIN))
}

/// One group of one picture, tile by tile.
fn product(
    crew: Crew<'_>,
    geometry: &Geometry,
    tile: usize,
    [input, weight]: [&[Cell]; 2],
    columns: &mut [u8],
    out: &mut [Cell],
) -> Result<(), EvalError> {
    let (pixels, rows) = (geometry.pixels(), geometry.outputs);
    let depth = geometry.channels * geometry.taps();
    let weights = (
        weight,
        Strides {
            row: depth,
            column: 1,
        },
    );
    let out_at = Strides {
        row: pixels,
        column: 1,
    };
    if geometry.is_product() {
        let right = (
            input,
            Strides {
                row: pixels,
                column: 1,
            },
        );
        return multiply(
            crew.threads,
            [rows, pixels, depth],
            (out, out_at),
            weights,
            right,
        );
    }
    for start in (0..pixels).step_by(tile.max(1)) {
        let width = tile.min(pixels - start);
        let filled = columns.get_mut(..depth * width * 4).unwrap_or_default();
        threads::split(crew, filled, width * 4, |first, part| {
            let (cells, _) = part.as_chunks_mut::<4>();
            for (index, row) in cells.chunks_mut(width).enumerate() {
                unroll(geometry, input, first + index, start, row);
            }
            Ok(())
        })?;
        let (filled, _) = filled.as_chunks::<4>();
        let right = (
            filled,
            Strides {
                row: width,
                column: 1,
            },
        );
        let out = out.get_mut(start..).unwrap_or_default();
        multiply(
            crew.threads,
            [rows, width, depth],
            (out, out_at),
            weights,
            right,
        )?;
    }
    Ok(())
}

/// A group with one input channel: each output line is a sum of shifted input lines.
fn depthwise(geometry: &Geometry, input: &[Cell], weight: &[Cell], out: &mut [Cell]) {
    let [height, width] = geometry.input;
    let [out_height, out_width] = geometry.output;
    let [kernel_height, kernel_width] = geometry.kernel;
    let reaches: Vec<Reach> = (0..kernel_width)
        .map(|x| Reach::new(&geometry.windows[1], x, width, out_width))
        .collect();
    let mut sums = vec![0.0_f32; out_width];
    let lines = out.chunks_mut(out_width.max(1)).enumerate();
    for (index, line) in lines {
        let (channel, y) = (index / out_height.max(1), index % out_height.max(1));
        sums.fill(0.0);
        for tap in 0..kernel_height {
            let source = geometry.windows[0]
                .place(y, tap, height)
                .and_then(|line| input.get(line * width..(line + 1) * width));
            let Some(source) = source else { continue };
            for (x, reach) in reaches.iter().enumerate() {
                let place = (channel * kernel_height + tap) * kernel_width + x;
                let factor = weight
                    .get(place)
                    .map_or(0.0, |cell| f32::from_le_bytes(*cell));
                let sums = sums.get_mut(reach.low..reach.high).unwrap_or_default();
                let source = source.get(reach.first..).unwrap_or_default();
                if reach.stride == 1 {
                    for (sum, cell) in sums.iter_mut().zip(source) {
                        *sum += factor * f32::from_le_bytes(*cell);
                    }
                } else {
                    for (sum, cell) in sums.iter_mut().zip(source.iter().step_by(reach.stride)) {
                        *sum += factor * f32::from_le_bytes(*cell);
                    }
                }
            }
        }
        for (cell, sum) in line.iter_mut().zip(&sums) {
            *cell = sum.to_le_bytes();
        }
    }
}

/// The most bytes of an unrolled tile, unless the least pixels need more.
const TILE_BYTES_MAX: usize = 2 << 20;
/// The least pixels of a tile: fewer starve the product.
const TILE_PIXELS_MIN: usize = 64;

//! The one call into `gemm`, behind checks that make it safe.
//!
//! Every output element is a sum over `k` in an order that does not depend on the number of threads.
//! This module has the crate's only unsafe code here: `gemm` takes pointers. A product in safe Rust
//! reaches a small part of its speed (figures in the notes on this crate).

use crate::ops::EvalError;

/// One f32 in memory, of any alignment.
pub(crate) type Cell = [u8; 4];

/// Where a matrix lies in a slice: distances in elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    /// Between neighbours in a column.
    pub row: usize,
    /// Between neighbours in a row.
    pub column: usize,
}

/// Names this device's version and the instruction set by which `gemm` chooses its kernels: equal
/// names give equal bits.
pub(crate) fn fingerprint() -> String {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known: [(&str, bool); 0] = [];
    let mut text = format!(
        "rialto cpu {} on {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    for (name, _) in known.iter().filter(|(_, here)| *here) {
        text.push('+');
        text.push_str(name);
    }
    text
}

/// `out = left * right` with `out` of `m` rows and `n` columns and `k` products an element.
///
/// # Errors
/// [`EvalError::Device`] if a matrix reaches beyond its slice: a bug in the caller.
pub(crate) fn multiply(
    threads: usize,
    [m, n, k]: [usize; 3],
    (out, out_at): (&mut [Cell], Strides),
    (left, left_at): (&[Cell], Strides),
    (right, right_at): (&[Cell], Strides),
) -> Result<(), EvalError> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    let fits = within(out.len(), m, n, out_at) && distinct(m, n, out_at);
    if !fits || !within(left.len(), m, k, left_at) || !within(right.len(), k, n, right_at) {
        return Err(EvalError::Device {
            op: "matmul",
            reason: "a matrix reaches beyond its memory".to_owned(),
        });
    }
    if k == 0 {
        for row in 0..m {
            for column in 0..n {
                if let Some(cell) = out.get_mut(row * out_at.row + column * out_at.column) {
                    *cell = [0; 4];
                }
            }
        }
        return Ok(());
    }
    let (left, right) = (Aligned::new(left), Aligned::new(right));
    if !out.as_ptr().cast::<f32>().is_aligned() {
        let mut scratch = vec![0.0_f32; out.len()];
        call(
            threads,
            [m, n, k],
            (&mut scratch, out_at),
            (&left, left_at),
            (&right, right_at),
        );
        for row in 0..m {
            for column in 0..n {
                let at = row * out_at.row + column * out_at.column;
                if let (Some(cell), Some(value)) = (out.get_mut(at), scratch.get(at)) {
                    *cell = value.to_le_bytes();
                }
            }
        }
        return Ok(());
    }
    call(
        threads,
        [m, n, k],
        (out, out_at),
        (&left, left_at),
        (&right, right_at),
    );
    Ok(())
}

/// A matrix that `gemm` may read: its pointer is aligned for f32.
enum Aligned<'a> {
    Borrowed(&'a [Cell]),
    Copied(Vec<f32>),
}

impl<'a> Aligned<'a> {
    fn new(cells: &'a [Cell]) -> Self {
        if cells.as_ptr().cast::<f32>().is_aligned() {
            return Self::Borrowed(cells);
        }
        Self::Copied(cells.iter().map(|cell| f32::from_le_bytes(*cell)).collect())
    }

    const fn pointer(&self) -> *const f32 {
        match self {
            Self::Borrowed(cells) => cells.as_ptr().cast(),
            Self::Copied(values) => values.as_ptr(),
        }
    }
}

/// The call itself; sizes, bounds and alignment are checked by [`multiply`].
#[expect(
    unsafe_code,
    clippy::cast_possible_wrap,
    reason = "gemm takes pointers and signed strides; all are checked to lie within slices"
)]
fn call<T>(
    threads: usize,
    [m, n, k]: [usize; 3],
    (out, out_at): (&mut [T], Strides),
    (left, left_at): (&Aligned<'_>, Strides),
    (right, right_at): (&Aligned<'_>, Strides),
) {
    debug_assert_eq!(size_of::<T>(), 4);
    let parallelism = if threads > 1 {
        gemm::Parallelism::Rayon(threads)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: `multiply` has checked that every element that the sizes and strides address lies
    // within its slice, that no two elements of `out` coincide, and that `out` is aligned for f32
    // (`T` is four bytes of any bit pattern); `Aligned` ensures the same of the operands. `out` is
    // borrowed mutably, so nothing else touches it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().cast::<f32>(),
            out_at.column as isize,
            out_at.row as isize,
            false,
            left.pointer(),
            left_at.column as isize,
            left_at.row as isize,
            right.pointer(),
            right_at.column as isize,
            right_at.row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Whether a matrix lies within so many elements.
fn within(length: usize, rows: usize, columns: usize, at: Strides) -> bool {
    if rows == 0 || columns == 0 {
        return true;
    }
    let last = (rows - 1)
        .checked_mul(at.row)
        .zip((columns - 1).checked_mul(at.column))
        .and_then(|(row, column)| row.checked_add(column));
    last.is_some_and(|last| last < length && isize::try_from(length).is_ok())
}

/// Whether no two elements of a matrix coincide.
fn distinct(rows: usize, columns: usize, at: Strides) -> bool {
    let row_major = at.column >= 1 && (rows == 1 || at.row / at.column >= columns);
    let column_major = at.row >= 1 && (columns == 1 || at.column / at.row >= rows);
    row_major || column_major
}

// The bytes of a tensor are little-endian; `gemm` reads them as the machine does.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "needs a little-endian machine"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[f32]) -> Vec<Cell> {
        values.iter().map(|value| value.to_le_bytes()).collect()
    }

    fn row_major(columns: usize) -> Strides {
        Strides {
            row: columns,
            column: 1,
        }
    }

    #[test]
    fn matrices_beyond_their_memory_are_refused() {
        let (a, b) = (cells(&[1.0; 6]), cells(&[1.0; 6]));
        let mut out = vec![[0; 4]; 4];
        let mut check = |sizes, out_at, a_at, b_at| {
            multiply(1, sizes, (&mut out, out_at), (&a, a_at), (&b, b_at)).is_ok()
        };
        assert!(check([2, 2, 3], row_major(2), row_major(3), row_major(2)));
        assert!(!check([2, 2, 4], row_major(2), row_major(4), row_major(2)));
        assert!(!check([2, 2, 3], row_major(3), row_major(3), row_major(2)));
        assert!(!check(
            [2, 2, 3],
            Strides { row: 1, column: 1 },
            row_major(3),
            row_major(2)
        ));
        assert!(!check(
            [2, 2, 3],
            row_major(2),
            row_major(usize::MAX),
            row_major(2)
        ));
        assert!(
            check([0, 2, 9], row_major(2), row_major(3), row_major(2)),
            "nothing to do"
        );
    }

    #[test]
    fn any_alignment_gives_the_same() {
        let values: Vec<f32> = (0_u8..12).map(f32::from).collect();
        let mut bytes = [0_u8; 12 * 4 + 1];
        for (into, byte) in bytes.iter_mut().skip(1).zip(cells(&values).as_flattened()) {
            *into = *byte;
        }
        let (shifted, _) = bytes.get(1..).unwrap().as_chunks::<4>();
        let straight = cells(&values);
        let mut out = [[[0; 4]; 9], [[0; 4]; 9]];
        let mut space = [0_u8; 37];
        let at = (row_major(3), row_major(4), row_major(3));
        for (out, left) in out.iter_mut().zip([&straight[..], shifted]) {
            multiply(1, [3, 3, 4], (out, at.0), (left, at.1), (left, at.2)).unwrap();
        }
        assert_eq!(out[0], out[1]);
        let (odd, _) = space.get_mut(1..).unwrap().as_chunks_mut::<4>();
        multiply(1, [3, 3, 4], (odd, at.0), (shifted, at.1), (shifted, at.2)).unwrap();
        assert_eq!(odd, out[0]);
    }
}

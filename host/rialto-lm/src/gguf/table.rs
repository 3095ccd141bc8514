//! The table of tensors, and where each lies.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Element, GgufError, Limits, cursor::Cursor, limit};

/// One tensor: whole blocks, row after row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// How the numbers are stored.
    pub element: Element,
    /// The length of a row: the first extent of the file.
    pub columns: usize,
    /// How many rows there are: the product of the other extents.
    pub rows: usize,
    /// How many extents the file gives, 1 to 4.
    pub rank: usize,
    /// The blocks.
    pub bytes: Bytes,
}

/// A tensor of the table before its bytes are cut out.
struct Entry {
    name: String,
    element: Element,
    columns: usize,
    rows: usize,
    rank: usize,
    offset: u64,
    length: u64,
}

/// Reads the table and cuts the tensors out of what follows it.
pub(super) fn tensors(
    cursor: &mut Cursor,
    count: u64,
    alignment: u64,
    limits: &Limits,
) -> Result<BTreeMap<String, Tensor>, GgufError> {
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(entry(cursor, limits)?);
    }
    let data = cursor.aligned_rest(alignment);
    entries.sort_by_key(|entry| entry.offset);
    let mut tensors = BTreeMap::new();
    let mut free_from = 0;
    for entry in entries {
        let place = |reason| GgufError::Place {
            tensor: entry.name.clone(),
            reason,
        };
        if entry.offset % alignment != 0 {
            return Err(place("it is not aligned"));
        }
        if entry.offset < free_from {
            return Err(place("it lies over another tensor"));
        }
        let end = entry.offset.checked_add(entry.length);
        let range = end.and_then(|end| {
            free_from = end;
            let range = usize::try_from(entry.offset).ok()?..usize::try_from(end).ok()?;
            (range.end <= data.len()).then_some(range)
        });
        let Some(range) = range else {
            return Err(place("it ends after the file"));
        };
        let tensor = Tensor {
            element: entry.element,
            columns: entry.columns,
            rows: entry.rows,
            rank: entry.rank,
            bytes: data.slice(range),
        };
        if tensors.contains_key(&entry.name) {
            return Err(GgufError::Repeated(entry.name));
        }
        tensors.insert(entry.name, tensor);
    }
    Ok(tensors)
}

fn entry(cursor: &mut Cursor, limits: &Limits) -> Result<Entry, GgufError> {
    let name = cursor.name("a tensor's name", limits.key_bytes_max)?;
    let rank = cursor.u32("a tensor's rank")?;
    if !(1..=RANK_MAX).contains(&rank) {
        return Err(shape(&name, "it has not 1 to 4 axes"));
    }
    let mut extents = [1_u64; 4];
    for extent in extents.iter_mut().take(usize::try_from(rank).unwrap_or(4)) {
        *extent = cursor.u64("a tensor's extent")?;
        limit("the extent of a tensor", *extent, limits.extent_max)?;
        if *extent == 0 {
            return Err(shape(&name, "an axis is empty"));
        }
    }
    let kind = cursor.u32("a tensor's type")?;
    let offset = cursor.u64("a tensor's offset")?;
    let Some(element) = Element::from_number(kind) else {
        return Err(GgufError::Element { tensor: name, kind });
    };
    let [columns, others @ ..] = extents;
    let rows = others
        .iter()
        .try_fold(1_u64, |all, one| all.checked_mul(*one));
    let sizes = rows.and_then(|rows| {
        let blocks = columns / u64::try_from(element.block_items()).ok()?;
        let row_bytes = blocks.checked_mul(u64::try_from(element.block_bytes()).ok()?)?;
        Some((
            usize::try_from(columns).ok()?,
            usize::try_from(rows).ok()?,
            rows.checked_mul(row_bytes)?,
        ))
    });
    let Some((columns, rows, length)) = sizes else {
        return Err(shape(&name, "it is larger than the address space"));
    };
    if columns % element.block_items() != 0 {
        return Err(shape(&name, "its rows are not whole blocks"));
    }
    Ok(Entry {
        name,
        element,
        columns,
        rows,
        rank: usize::try_from(rank).unwrap_or(4),
        offset,
        length,
    })
}

fn shape(tensor: &str, reason: &'static str) -> GgufError {
    GgufError::Shape {
        tensor: tensor.to_owned(),
        reason,
    }
}

const RANK_MAX: u32 = 4;

//! The vocabulary: two sorted static tables, one for pieces that start a word, one for the others.

/// Starts every input (`[CLS]`).
pub(crate) const START: u16 = 101;
/// Ends every input (`[SEP]`).
pub(crate) const END: u16 = 102;
/// Stands for a word that cannot be made up of pieces (`[UNK]`).
pub(crate) const UNKNOWN: u16 = 100;

/// Tokens that are recognised where a text spells them out; the build checks them.
pub(crate) const SPECIAL: [(&str, u16); 5] = [
    ("[PAD]", 0),
    ("[UNK]", UNKNOWN),
    ("[CLS]", START),
    ("[SEP]", END),
    ("[MASK]", 103),
];

/// Pieces that start a word.
pub(crate) const STARTS: Table = Table {
    text: include_bytes!(concat!(env!("OUT_DIR"), "/starts.text")),
    offsets: include_bytes!(concat!(env!("OUT_DIR"), "/starts.offsets")),
    ids: include_bytes!(concat!(env!("OUT_DIR"), "/starts.ids")),
};

/// Pieces that continue a word, without their `##`.
pub(crate) const CONTINUATIONS: Table = Table {
    text: include_bytes!(concat!(env!("OUT_DIR"), "/continuations.text")),
    offsets: include_bytes!(concat!(env!("OUT_DIR"), "/continuations.offsets")),
    ids: include_bytes!(concat!(env!("OUT_DIR"), "/continuations.ids")),
};

/// Pieces in byte order: their text one after another, where each starts (`u32`), their ids (`u16`).
#[derive(Clone, Copy)]
pub(crate) struct Table {
    text: &'static [u8],
    offsets: &'static [u8],
    ids: &'static [u8],
}

impl Table {
    /// The longest piece that `word` starts with, and the rest of the word.
    ///
    /// Narrows the range of pieces that share a prefix with the word, byte by byte: a piece that ends
    /// at the prefix is the first of its range.
    pub(crate) fn longest<'w>(&self, word: &'w [u8]) -> Option<(u16, &'w [u8])> {
        let (mut low, mut high) = (0, self.ids.len() / 2);
        let mut found = None;
        for (depth, &byte) in word.iter().enumerate() {
            low = self.first(low, high, |piece| piece.get(depth) >= Some(&byte));
            high = self.first(low, high, |piece| piece.get(depth) > Some(&byte));
            if low == high {
                break;
            }
            if self.piece(low).len() == depth + 1 {
                found = Some((low, depth + 1));
            }
        }
        let (index, length) = found?;
        Some((self.id(index)?, word.get(length..)?))
    }

    /// The first index from `low` to `high` whose piece satisfies `test`, which holds from there on.
    fn first(&self, low: usize, high: usize, test: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (low, high);
        while low < high {
            let middle = low + (high - low) / 2;
            if test(self.piece(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn piece(&self, index: usize) -> &'static [u8] {
        let (Some(start), Some(end)) = (self.offset(index), self.offset(index + 1)) else {
            return &[];
        };
        self.text.get(start..end).unwrap_or(&[])
    }

    fn offset(&self, index: usize) -> Option<usize> {
        let (offsets, _) = self.offsets.as_chunks();
        let offset = u32::from_le_bytes(*offsets.get(index)?);
        usize::try_from(offset).ok()
    }

    fn id(&self, index: usize) -> Option<u16> {
        let (ids, _) = self.ids.as_chunks();
        ids.get(index).map(|id| u16::from_le_bytes(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_finds_itself() {
        let mut count = 0;
        for table in [STARTS, CONTINUATIONS] {
            for index in 0..table.ids.len() / 2 {
                let piece = table.piece(index);
                assert_eq!(
                    table.longest(piece),
                    table.id(index).map(|id| (id, &[][..]))
                );
                count += 1;
            }
        }
        assert_eq!(count, 30_522);
    }

    #[test]
    fn the_longest_piece_wins() {
        let (_, rest) = STARTS.longest(b"embeddings").unwrap();
        assert_eq!(rest, b"beddings");
        assert_eq!(STARTS.longest("\u{10ffff}".as_bytes()), None);
        assert_eq!(STARTS.longest(b""), None);
    }
}

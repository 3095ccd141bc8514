//! How groups of entries lie in a segment: frames, each with its length, number and checksums.
//!
//! A segment starts with a head that holds a random key; every checksum in it is keyed, so that
//! bytes from outside (stored answers) cannot be made to look like frames. A frame is written
//! and synced before the next one is begun. So a frame that is not whole is the end of the log,
//! unless a whole one follows: then something acknowledged was damaged.

use crate::codec::Malformed;

/// Bytes before the first frame.
pub(in crate::embedded) const HEAD_BYTES: usize = 128;
/// Bytes before a frame's entries.
pub(in crate::embedded) const FRAME_HEAD_BYTES: usize = 64;

/// A segment's key for its checksums.
pub(super) type Key = [u8; 32];

/// The head of a new segment.
pub(super) fn segment_head(number: u64, key: &Key) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    put(&mut head, 0, SEGMENT_MAGIC);
    put(&mut head, 8, &VERSION.to_le_bytes());
    put(&mut head, 16, &number.to_le_bytes());
    put(&mut head, 24, key);
    let sum = blake3::hash(part(&head, 0, SEGMENT_SUM_AT).unwrap_or_default());
    put(&mut head, SEGMENT_SUM_AT, sum.as_bytes());
    head
}

/// The key in the head of segment `number`, or `None` if the head is damaged.
pub(super) fn segment_key(number: u64, bytes: &[u8]) -> Option<Key> {
    let fields = part(bytes, 0, SEGMENT_SUM_AT)?;
    let sum = part(bytes, SEGMENT_SUM_AT, 32)?;
    let own = part(fields, 0, 8)? == SEGMENT_MAGIC
        && u32_at(fields, 8)? == VERSION
        && u64_at(fields, 16)? == number
        && blake3::hash(fields).as_bytes() == sum;
    part(fields, 24, 32)
        .filter(|_| own)
        .and_then(|key| key.try_into().ok())
}

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedded) struct FrameHead {
    /// Number of its first entry.
    pub(in crate::embedded) first: u64,
    /// How many entries it holds; at least one.
    pub(in crate::embedded) count: u32,
    /// When it was written, in seconds since the Unix epoch.
    pub(in crate::embedded) recorded_at: u64,
}

impl FrameHead {
    /// Number of its last entry.
    pub(in crate::embedded) fn last(&self) -> u64 {
        self.first + u64::from(self.count.saturating_sub(1))
    }
}

/// Completes a frame: `bytes` are room for its head, and its entries.
pub(super) fn seal(bytes: &mut [u8], head: &FrameHead, key: &Key) -> Result<(), Malformed> {
    let entries = bytes
        .get(FRAME_HEAD_BYTES..)
        .ok_or(Malformed("frame without room for its head"))?;
    let len = u32::try_from(entries.len()).map_err(|_| Malformed("frame above 4 GiB"))?;
    let entries_sum = sum(key, entries);
    let mut own = [0; FRAME_HEAD_BYTES];
    put(&mut own, 0, FRAME_MAGIC);
    put(&mut own, 4, &len.to_le_bytes());
    put(&mut own, 8, &head.first.to_le_bytes());
    put(&mut own, 16, &head.count.to_le_bytes());
    put(&mut own, 24, &head.recorded_at.to_le_bytes());
    put(&mut own, ENTRIES_SUM_AT, &entries_sum);
    let head_sum = sum(key, part(&own, 0, HEAD_SUM_AT).unwrap_or_default());
    put(&mut own, HEAD_SUM_AT, &head_sum);
    put(bytes, 0, &own);
    Ok(())
}

/// A whole frame found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it starts.
    pub(super) at: usize,
    /// Its length, head included.
    pub(super) len: usize,
    /// Where the bytes start that came before it and are no frame; equal to `at` if none.
    pub(super) gap_at: usize,
    /// What it says.
    pub(super) head: FrameHead,
}

/// Every whole frame of a segment in the order of their places, whatever is between them.
pub(super) fn frames(bytes: &[u8], key: &Key) -> Vec<Found> {
    let mut found = Vec::new();
    let (mut at, mut gap_at) = (HEAD_BYTES, HEAD_BYTES);
    while at < bytes.len() {
        if let Some((head, len)) = frame_at(bytes, at, key) {
            found.push(Found {
                at,
                len,
                gap_at,
                head,
            });
            at += padded(len);
            gap_at = at;
        } else {
            at += ALIGN;
        }
    }
    found
}

/// Where the next frame starts after one of this length: frames are aligned.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

fn frame_at(bytes: &[u8], at: usize, key: &Key) -> Option<(FrameHead, usize)> {
    let own = part(bytes, at, FRAME_HEAD_BYTES)?;
    if part(own, 0, 4)? != FRAME_MAGIC {
        return None;
    }
    // The head first: only one that we wrote says how much there is to check.
    if sum(key, part(own, 0, HEAD_SUM_AT)?) != part(own, HEAD_SUM_AT, SUM_BYTES)? {
        return None;
    }
    let len = usize::try_from(u32_at(own, 4)?).ok()?;
    let entries = part(bytes, at + FRAME_HEAD_BYTES, len)?;
    if sum(key, entries) != part(own, ENTRIES_SUM_AT, SUM_BYTES)? {
        return None;
    }
    let head = FrameHead {
        first: u64_at(own, 8)?,
        count: u32_at(own, 16)?,
        recorded_at: u64_at(own, 24)?,
    };
    Some((head, FRAME_HEAD_BYTES + len))
}

fn sum(key: &Key, bytes: &[u8]) -> [u8; SUM_BYTES] {
    let hash = blake3::keyed_hash(key, bytes);
    let mut sum = [0; SUM_BYTES];
    for (to, from) in sum.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    sum
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = to.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn part(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(len)?)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(part(bytes, at, 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(part(bytes, at, 8)?.try_into().ok()?))
}

const SEGMENT_MAGIC: &[u8] = b"rialtolg";
const VERSION: u32 = 1;
const SEGMENT_SUM_AT: usize = 56;
const FRAME_MAGIC: &[u8] = b"rlfr";
const ENTRIES_SUM_AT: usize = 32;
const HEAD_SUM_AT: usize = 48;
const SUM_BYTES: usize = 16;
const ALIGN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [5; 32];

    fn frame(first: u64, entries: &[u8]) -> Vec<u8> {
        let mut bytes = [&[0; FRAME_HEAD_BYTES][..], entries].concat();
        let head = FrameHead {
            first,
            count: 2,
            recorded_at: 9,
        };
        seal(&mut bytes, &head, &KEY).unwrap();
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    fn segment(frames: &[Vec<u8>]) -> Vec<u8> {
        [
            segment_head(3, &KEY).to_vec(),
            frames.concat(),
            vec![0; 256],
        ]
        .concat()
    }

    fn firsts(bytes: &[u8]) -> Vec<(u64, bool)> {
        frames(bytes, &KEY)
            .iter()
            .map(|found| (found.head.first, found.gap_at == found.at))
            .collect()
    }

    #[test]
    fn a_head_is_of_one_segment_and_whole() {
        let head = segment_head(3, &KEY);
        assert_eq!(segment_key(3, &head), Some(KEY));
        assert_eq!(segment_key(4, &head), None);
        for bit in 0..(SEGMENT_SUM_AT + 32) * 8 {
            let mut bad = head;
            bad[bit / 8] ^= 1 << (bit % 8);
            let reserved = (12..16).contains(&(bit / 8));
            assert!(segment_key(3, &bad).is_none() || reserved, "bit {bit}");
        }
        assert_eq!(segment_key(3, &head[..40]), None);
    }

    #[test]
    fn whole_frames_are_found_in_order() {
        let bytes = segment(&[frame(1, b"abc"), frame(3, &[7; 500]), frame(5, b"")]);
        assert_eq!(firsts(&bytes), [(1, true), (3, true), (5, true)]);
    }

    #[test]
    fn a_frame_cut_anywhere_is_no_frame() {
        let whole = segment(&[frame(1, b"abc"), frame(3, &[7; 50])]);
        let second = HEAD_BYTES + frame(1, b"abc").len();
        for cut in second..second + FRAME_HEAD_BYTES + 50 {
            let mut torn = whole.clone();
            torn[cut..].fill(0);
            // A cut that takes zeros alone takes nothing.
            if torn != whole {
                assert_eq!(firsts(&torn), [(1, true)], "cut at {cut}");
            }
            assert_eq!(firsts(&whole[..cut]), [(1, true)], "short at {cut}");
        }
    }

    #[test]
    fn damage_before_a_whole_frame_shows_as_a_gap() {
        let whole = segment(&[frame(1, &[1; 40]), frame(3, &[7; 50]), frame(5, b"x")]);
        let second = HEAD_BYTES + frame(1, &[1; 40]).len();
        for at in [second, second + 5, second + 33, second + 70] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert_eq!(firsts(&bad), [(1, true), (5, false)], "damaged at {at}");
        }
    }

    #[test]
    fn a_frame_of_another_key_is_no_frame() {
        let bytes = segment(&[frame(1, b"abc")]);
        assert!(frames(&bytes, &[6; 32]).is_empty());
    }

    #[test]
    fn frames_inside_answers_are_not_taken_for_frames() {
        let mut inner = [&[0; FRAME_HEAD_BYTES][..], b"forged"].concat();
        let head = FrameHead {
            first: 99,
            count: 1,
            recorded_at: 0,
        };
        seal(&mut inner, &head, &[0; 32]).unwrap();
        let mut bytes = segment(&[frame(1, &inner)]);
        assert_eq!(firsts(&bytes), [(1, true)]);
        // Even when the frame around it is torn.
        bytes[HEAD_BYTES] ^= 1;
        assert_eq!(firsts(&bytes), []);
    }
}

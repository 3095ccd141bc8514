//! The fuzz target of the log: frames that we wrote, some of them damaged, and entries that nobody
//! wrote. A broken property panics.

use super::super::logged;
use super::frame::{FRAME_HEAD_BYTES, FrameHead, Key, frames, padded, seal, segment_head};

/// Frames as the first bytes tell, each with its entries; then, after a length of zero, changes of
/// single bytes. Exactly the frames without a change are found.
pub(crate) fn fuzz_log(data: &[u8]) {
    entries(data);
    // As hard to foresee as a segment's own: a constant one is guessed by watching comparisons, and then
    // entries pose as frames.
    let key: Key = *blake3::hash(data).as_bytes();
    let mut segment = segment_head(1, &key).to_vec();
    let mut written = Vec::new();
    let mut rest = data;
    while let Some((len, after)) = rest.split_first() {
        rest = after;
        let len = usize::from(*len).min(rest.len());
        if len == 0 || written.len() >= FRAMES_MAX {
            break;
        }
        let (body, after) = rest.split_at(len);
        rest = after;
        let at = segment.len();
        let mut frame = [&[0; FRAME_HEAD_BYTES], body].concat();
        let head = FrameHead {
            first: u64::try_from(written.len()).unwrap_or(u64::MAX),
            count: 1,
            recorded_at: u64::try_from(len).unwrap_or(u64::MAX),
        };
        if let Err(error) = seal(&mut frame, &head, &key) {
            panic!("a frame cannot be sealed: {error:?}");
        }
        written.push((at, frame.len(), head));
        frame.resize(padded(frame.len()), 0);
        segment.extend(frame);
    }
    let whole = segment.clone();
    for change in rest.chunks_exact(3) {
        if let [low, high, with] = change {
            let place = usize::from(u16::from_le_bytes([*low, *high]));
            if let Some(byte) = segment.get_mut(place) {
                *byte ^= with;
            }
        }
    }
    written.retain(|(at, len, _)| segment.get(*at..at + len) == whole.get(*at..at + len));
    let found: Vec<_> = frames(&segment, &key)
        .iter()
        .map(|found| (found.at, found.len, found.head))
        .collect();
    assert_eq!(found, written);
}

/// Entries are parts of their frame, one after another, or refused.
fn entries(frame: &[u8]) {
    let mut at = 0;
    while let Ok((parts, next)) = logged::parse(frame, at) {
        assert!(next > at && next <= frame.len());
        if let logged::Parts::Charge {
            channel,
            record,
            answer,
        } = parts
        {
            for part in [channel, Some(record), answer.clone()]
                .into_iter()
                .flatten()
            {
                assert!(part.start > at && part.end <= next);
            }
            if let Some(bytes) = answer.and_then(|answer| frame.get(answer)) {
                drop(logged::read_answer(bytes));
            }
        }
        at = next;
    }
}

const FRAMES_MAX: usize = 16;

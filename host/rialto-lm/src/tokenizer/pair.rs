//! Joins neighbouring tokens pair by pair, the most frequent pair of the training first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use crate::gguf::Array;

use super::{TokenizerError, alphabet};

/// What becomes of a pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    rank: u32,
    token: u32,
}

/// Reads the list of pairs. A pair whose parts or whole are no tokens never occurs, and is left out.
pub(super) fn merges(
    list: &Array,
    words: &HashMap<Box<[u8]>, u32>,
) -> Result<HashMap<(u32, u32), Merge>, TokenizerError> {
    let mut merges = HashMap::new();
    for (rank, text) in (0..).zip(list.strings()) {
        let text = str::from_utf8(&text).ok();
        let (left, right) = text
            .and_then(|text| text.split_once(' '))
            .ok_or(TokenizerError::Malformed("a merge is not two tokens"))?;
        let (Some(left), Some(right)) = (alphabet::bytes(left), alphabet::bytes(right)) else {
            continue;
        };
        let whole = [left.as_ref(), right.as_ref()].concat();
        let find = |bytes: &[u8]| words.get(bytes).copied();
        if let (Some(left), Some(right), Some(token)) = (find(&left), find(&right), find(&whole)) {
            merges.entry((left, right)).or_insert(Merge { rank, token });
        }
    }
    Ok(merges)
}

/// One token of a word, linked to its neighbours.
#[derive(Debug, Clone, Copy)]
struct Link {
    token: u32,
    previous: usize,
    next: usize,
}

/// Joins a word's tokens as far as possible. Takes n log n steps, however the word looks.
pub(super) fn join(
    word: impl Iterator<Item = u32>,
    merges: &HashMap<(u32, u32), Merge>,
    out: &mut Vec<u32>,
) {
    let mut links: Vec<Link> = (0..)
        .zip(word)
        .map(|(at, token)| Link::new(at, token))
        .collect();
    let mut queue = BinaryHeap::new();
    for left in 0..links.len() {
        candidate(&links, left, merges, &mut queue);
    }
    while let Some(Reverse((_, left, pair, token))) = queue.pop() {
        // Joined away, or another pair by now?
        let Some((first, right, second)) = neighbours(&links, left) else {
            continue;
        };
        if (first.token, second.token) != pair {
            continue;
        }
        if let Some(link) = links.get_mut(left) {
            link.token = token;
            link.next = second.next;
        }
        if let Some(link) = links.get_mut(right) {
            link.token = GONE;
        }
        if let Some(link) = links.get_mut(second.next) {
            link.previous = left;
        }
        candidate(&links, left, merges, &mut queue);
        candidate(&links, first.previous, merges, &mut queue);
    }
    out.extend(
        links
            .iter()
            .map(|link| link.token)
            .filter(|token| *token != GONE),
    );
}

impl Link {
    const fn new(at: usize, token: u32) -> Self {
        Self {
            token,
            previous: at.wrapping_sub(1),
            next: at + 1,
        }
    }
}

/// A pair that may be joined: rank, left place, the two tokens, the joined token.
type Candidate = Reverse<(u32, usize, (u32, u32), u32)>;

fn candidate(
    links: &[Link],
    left: usize,
    merges: &HashMap<(u32, u32), Merge>,
    queue: &mut BinaryHeap<Candidate>,
) {
    if let Some((first, _, second)) = neighbours(links, left) {
        let pair = (first.token, second.token);
        if let Some(merge) = merges.get(&pair) {
            queue.push(Reverse((merge.rank, left, pair, merge.token)));
        }
    }
}

fn neighbours(links: &[Link], left: usize) -> Option<(Link, usize, Link)> {
    let first = *links.get(left)?;
    let second = *links.get(first.next)?;
    (first.token != GONE).then_some((first, first.next, second))
}

/// Marks a token that was joined to the one before it. No vocabulary is so large.
const GONE: u32 = u32::MAX;

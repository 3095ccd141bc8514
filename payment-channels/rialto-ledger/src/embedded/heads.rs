//! What a channel's next state is checked against, for the channels used last.

use std::collections::HashMap;

use rialto_channels::ChannelId;

use crate::head::Head;

/// A bounded memory of heads: what was not used while `max` others were is forgotten, and read
/// from the tables when it is needed again.
#[derive(Debug)]
pub(super) struct Heads {
    max: usize,
    recent: HashMap<ChannelId, Head>,
    older: HashMap<ChannelId, Head>,
}

impl Heads {
    /// Keeps at least `max` and at most twice as many.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            recent: HashMap::new(),
            older: HashMap::new(),
        }
    }

    pub(super) fn get(&self, id: &ChannelId) -> Option<Head> {
        self.recent.get(id).or_else(|| self.older.get(id)).copied()
    }

    pub(super) fn put(&mut self, id: ChannelId, head: Head) {
        if self.recent.len() >= self.max && !self.recent.contains_key(&id) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, head);
    }
}

#[cfg(test)]
mod tests {
    use rialto_channels::{B256, U256};

    use super::*;

    #[test]
    fn the_last_used_are_kept_and_the_number_is_bounded() {
        let mut heads = Heads::new(3);
        let id = |number| ChannelId(B256::from(U256::from(number)));
        let head = |version| Head {
            version,
            ..Head::default()
        };
        for number in 0..100 {
            heads.put(id(number), head(number));
            assert!(heads.recent.len() + heads.older.len() <= 6);
            for kept in number.saturating_sub(2)..=number {
                assert_eq!(heads.get(&id(kept)), Some(head(kept)));
            }
        }
        assert_eq!(heads.get(&id(1)), None);
        heads.put(id(99), head(1_000));
        assert_eq!(heads.get(&id(99)), Some(head(1_000)));
    }
}

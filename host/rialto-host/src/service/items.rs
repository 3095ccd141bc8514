//! The items of a stream as one JSON array: what a call answers that takes the whole stream, and what
//! receipts hash.

use bytes::Bytes;

/// A JSON array that is written item by item.
///
/// Its text up to the last item is no JSON, since the array is not closed: the same items of a stream
/// that came to its end and of one that broke off have different texts, and so different hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemList {
    text: Vec<u8>,
    count: u64,
}

impl ItemList {
    /// Adds an item, which is JSON.
    pub fn push(&mut self, item: &[u8]) {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.text.extend_from_slice(item);
        self.count = self.count.saturating_add(1);
    }

    /// How many items there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The text so far: `[`, and the items with commas between them.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.text
    }

    /// The text of a stream that broke off.
    #[must_use]
    pub fn unfinished(self) -> Bytes {
        self.text.into()
    }

    /// The text of a whole stream: a JSON array.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.text.push(b']');
        self.text.into()
    }
}

impl Default for ItemList {
    fn default() -> Self {
        Self {
            text: vec![b'['],
            count: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_off_never_reads_like_what_is_whole() {
        let mut items = ItemList::default();
        assert_eq!(items.clone().finish(), "[]");
        for item in [r#""a""#, "[1]", "null"] {
            items.push(item.as_bytes());
            let whole = items.clone().finish();
            assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
            let broken = items.clone().unfinished();
            assert!(serde_json::from_slice::<serde_json::Value>(&broken).is_err());
            assert_eq!(broken, items.written());
        }
        assert_eq!(items.count(), 3);
        assert_eq!(items.finish(), r#"["a",[1],null]"#);
    }
}

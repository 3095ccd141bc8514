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

    /// The items of such a text, whole or not.
    #[must_use]
    pub fn split(text: &Bytes) -> Vec<Bytes> {
        let (mut items, mut begin) = (Vec::new(), 1);
        let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
        for (at, byte) in text.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'[' | b'{' => depth = depth.saturating_add(1),
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' if depth == 1 => {
                    items.push(text.slice(begin..at));
                    begin = at + 1;
                }
                _ => {}
            }
        }
        let end = if depth == 0 {
            text.len().saturating_sub(1)
        } else {
            text.len()
        };
        if begin < end {
            items.push(text.slice(begin..end));
        }
        items
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
        assert!(ItemList::split(&items.clone().finish()).is_empty());
        assert!(ItemList::split(&items.clone().unfinished()).is_empty());
        for item in [r#""a,\"]\\""#, r#"[1,{"b]":[2,""]}]"#, "null"] {
            items.push(item.as_bytes());
            let whole = items.clone().finish();
            assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
            let broken = items.clone().unfinished();
            assert!(serde_json::from_slice::<serde_json::Value>(&broken).is_err());
            assert_eq!(broken, items.written());
            for text in [whole, broken] {
                let split = ItemList::split(&text);
                assert_eq!(split.len() as u64, items.count());
                assert_eq!(split.last().unwrap(), item);
            }
        }
        assert_eq!(items.count(), 3);
        assert_eq!(items.finish(), r#"["a,\"]\\",[1,{"b]":[2,""]}],null]"#);
    }
}

//! What one call may ask for.

/// Texts in one call.
pub(crate) const TEXTS_MAX: usize = 64;

/// Bytes of one text. Far more than the model reads: 256 word pieces are a few KiB.
pub(crate) const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Refuses a call that is empty or too large.
///
/// # Errors
/// What is wrong and what is allowed, for the caller.
pub(crate) fn check(texts: &[String]) -> Result<(), String> {
    if texts.is_empty() {
        return Err("`texts` is empty: send at least one text".to_owned());
    }
    if texts.len() > TEXTS_MAX {
        return Err(format!(
            "`texts` has {} texts: send at most {TEXTS_MAX} a call",
            texts.len()
        ));
    }
    for (index, text) in texts.iter().enumerate() {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!(
                "`texts`: the text at index {index} has {} bytes: send at most {TEXT_BYTES_MAX}",
                text.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told() {
        assert_eq!(check(&["a".to_owned()]), Ok(()));
        assert_eq!(check(&[String::new()]), Ok(()));
        for (texts, expected) in [
            (vec![], "at least one text"),
            (vec![String::new(); 65], "has 65 texts: send at most 64"),
            (
                vec![String::new(), "x".repeat(TEXT_BYTES_MAX + 1)],
                "index 1 has 32769 bytes",
            ),
        ] {
            let error = check(&texts).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}

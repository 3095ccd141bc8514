//! The alphabet in which GPT-2's vocabulary writes bytes: printable Latin-1 characters stand for
//! themselves, and the other bytes, in order, for the characters from U+0100 on.

/// The bytes that a token's text stands for, if it is written in the alphabet.
pub(super) fn bytes(text: &str) -> Option<Box<[u8]>> {
    text.chars().map(byte).collect()
}

fn byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return printable(byte).then_some(byte);
    }
    // The 33 bytes up to the space, the 34 from delete on, and the soft hyphen.
    match u8::try_from(code.checked_sub(0x100)?).ok()? {
        index @ 0..33 => Some(index),
        index @ 33..67 => Some(index + (0x7F - 33)),
        67 => Some(0xAD),
        68.. => None,
    }
}

const fn printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_for_themselves_and_others_are_moved() {
        assert_eq!(bytes("Az~"), Some(Box::from(*b"Az~")));
        assert_eq!(bytes("\u{120}the"), Some(Box::from(*b" the")));
        assert_eq!(bytes("\u{10a}"), Some(Box::from(*b"\n")));
        assert_eq!(bytes("\u{143}"), Some(Box::from([0xAD])));
        assert_eq!(bytes(" "), None);
        assert_eq!(bytes("\u{144}"), None);
    }

    #[test]
    fn every_byte_has_one_character_in_order() {
        let others: Vec<u8> = (0x100..0x144)
            .map(|code| byte(char::from_u32(code).unwrap()).unwrap())
            .collect();
        let expected: Vec<u8> = (0..=u8::MAX).filter(|byte| !printable(*byte)).collect();
        assert_eq!(others, expected);
    }
}

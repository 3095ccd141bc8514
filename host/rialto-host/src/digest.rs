//! Digests by which a guest may name a model that its manifest grants.
//!
//! A content identifier of version 1 for raw bytes with SHA-256, in base 32, as object stores write it;
//! or the digest itself in hexadecimal digits, as manifests write it.

/// What a CID of raw bytes with SHA-256 begins with: version 1, raw, SHA-256, 32 bytes.
const RAW_SHA256: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

/// The digest that `text` names; none if it names none.
pub(crate) fn read(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex::decode_to_slice(text, &mut digest).is_ok() {
        return Some(digest);
    }
    let bytes = base32(text.strip_prefix('b')?)?;
    let digest = bytes.strip_prefix(&RAW_SHA256)?;
    digest.try_into().ok()
}

/// Bytes in base 32 (RFC 4648, lower case, no padding); the bits that are left over must be zero.
fn base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0 && count < 5).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn both_ways_of_writing_name_the_same_bytes() {
        let digest: [u8; 32] = Sha256::digest(b"hello world").into();
        // Written by Python's `base64.b32encode`.
        let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        assert_eq!(read(cid), Some(digest));
        assert_eq!(read(&hex::encode(digest)), Some(digest));
        assert_eq!(read(&hex::encode_upper(digest)), Some(digest));
    }

    #[test]
    fn anything_else_names_nothing() {
        let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        let other_codec = "bafybeifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        let wrong = [
            "",
            "b",
            "minilm",
            &cid[1..],
            &cid[..cid.len() - 1],
            &cid.to_uppercase(),
            &format!("{cid}a"),
            other_codec,
            "00",
        ];
        for text in wrong {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

//! Objects of S3-compatible stores: `s3://bucket/key`.
//!
//! Not here: which store is asked, and who asks; both are the operator's choice.

use std::{fmt, str::FromStr};

use crate::source::{SourceError, stays_inside};

/// One object of one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    bucket: String,
    key: String,
}

impl ObjectAddress {
    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key: parts with `/` between them, none of them empty, `.` or `..`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for ObjectAddress {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let parts = text.strip_prefix("s3://").and_then(|it| it.split_once('/'));
        match parts {
            Some((bucket, key))
                if is_bucket(bucket) && key.len() <= KEY_BYTES_MAX && stays_inside(key) =>
            {
                Ok(Self {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                })
            }
            Some(_) | None => Err(SourceError::Object(text.to_owned())),
        }
    }
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Three to 63 lowercase letters, digits, dots and hyphens, with a letter or digit at both ends.
fn is_bucket(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&text.len())
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || matches!(c, '.' | '-'))
        && !text.contains("..")
}

/// S3's own limit.
const KEY_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        let text = "s3://models.eu-1/a/b c/model.onnx";
        let object: ObjectAddress = text.parse().unwrap();
        assert_eq!(object.to_string(), text);
        assert_eq!(
            (object.bucket(), object.key()),
            ("models.eu-1", "a/b c/model.onnx")
        );
        let long = format!("s3://abc/{}", "k".repeat(1025));
        for bad in [
            "",
            "s3://",
            "s3://abc",
            "s3://abc/",
            "s3:///key",
            "s3://ab/key",
            "s3://Abc/key",
            "s3://a..c/key",
            "s3://-abc/key",
            "s3://u@abc/key",
            "s3://abc/../key",
            "s3://abc//key",
            "s3://abc/k\u{0}y",
            &long,
        ] {
            assert!(bad.parse::<ObjectAddress>().is_err(), "{bad:?}");
        }
    }
}

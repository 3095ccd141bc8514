//! What an operator gives a service: settings that anybody may read, and secrets that nobody else may.
//!
//! A secret is held in memory that is overwritten when it is dropped, and its `Debug` says nothing. What
//! leaves the host by a log line or an error goes through a [`Redactor`] first.
//!
//! Non-goals: reading secrets from files, and what a guest makes of them: an answer that tells one is the
//! service's own doing, as is a secret that was turned into something else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::CallError;

/// A secret value. Clones share it; the last one overwrites it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// The shortest secret: a shorter one could not be taken out of a log without taking out other words.
const SECRET_BYTES_MIN: usize = 8;
/// The longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 64 << 10;

impl Secret {
    /// Takes a value over.
    ///
    /// # Errors
    /// [`BadSecret`] for fewer than 8 or more than 65,536 bytes.
    pub fn new(value: Zeroizing<String>) -> Result<Self, BadSecret> {
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&value.len()) {
            return Err(BadSecret);
        }
        Ok(Self(Arc::new(value)))
    }

    pub(crate) fn value(&self) -> &str {
        &self.0
    }
}

/// How settings cross the socket to a [cell](crate::cell), and nothing else: a [`Secret`] has no encoding of
/// its own, so that none is written by accident.
pub(crate) mod crossing {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    use super::{Secret, Settings};

    type Raw<T> = (Vec<(T, T)>, Vec<(T, T)>);

    pub(crate) fn serialize<S: Serializer>(
        settings: &Settings,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let config = settings.config.iter();
        let secrets = settings.secrets.iter();
        let raw: Raw<&str> = (
            config.map(|(name, it)| (&**name, &**it)).collect(),
            secrets.map(|(name, it)| (&**name, it.value())).collect(),
        );
        raw.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Settings, D::Error> {
        let (config, secrets) = Raw::<String>::deserialize(deserializer)?;
        let secret = |(name, value)| Ok((name, Secret::new(Zeroizing::new(value))?));
        let secrets: Result<_, super::BadSecret> = secrets.into_iter().map(secret).collect();
        Ok(Settings {
            config: config.into_iter().collect(),
            secrets: secrets.map_err(D::Error::custom)?,
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The value cannot be a secret; it is not in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")]
pub struct BadSecret;

/// What `wasi:config` gives a service.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Settings by their names.
    pub config: BTreeMap<String, String>,
    /// Secrets by their names.
    pub secrets: BTreeMap<String, Secret>,
}

impl Settings {
    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let secret = self.secrets.get(name).map(Secret::value);
        secret.or_else(|| self.config.get(name).map(String::as_str))
    }

    /// All values, secrets included.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let config = self
            .config
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let secrets = self.secrets.iter();
        config.chain(secrets.map(|(name, secret)| (name.as_str(), secret.value())))
    }
}

/// Takes a service's secrets out of what leaves the host: the values as they are, their lines, and how JSON
/// writes them.
#[derive(Default)]
pub(crate) struct Redactor {
    /// Longest first, so that a part of a secret does not hide the rest of it.
    patterns: Vec<Zeroizing<Vec<u8>>>,
}

/// What stands in a secret's place.
const REDACTED: &str = "[secret]";

impl Redactor {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut patterns = Vec::new();
        for secret in settings.secrets.values() {
            let value = secret.value();
            let quoted = Zeroizing::new(Value::from(value).to_string());
            let quoted = quoted.trim_matches('"').as_bytes();
            let lines = value.lines().map(|line| line.trim().as_bytes());
            let lines = lines.filter(|line| line.len() >= SECRET_BYTES_MIN);
            let forms = [value.as_bytes(), value.trim().as_bytes(), quoted];
            for form in forms.into_iter().chain(lines) {
                if !form.is_empty()
                    && !patterns
                        .iter()
                        .any(|it: &Zeroizing<Vec<u8>>| ***it == *form)
                {
                    patterns.push(Zeroizing::new(form.to_vec()));
                }
            }
        }
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        Self { patterns }
    }

    /// The longest text that is taken out, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.patterns.first().map_or(0, |pattern| pattern.len())
    }

    /// Where to cut `bytes` near `at` so as not to cut through a secret.
    pub(crate) fn cut(&self, bytes: &[u8], at: usize) -> usize {
        let ends = self.patterns.iter().filter_map(|pattern| {
            let start = at.saturating_sub(pattern.len().saturating_sub(1));
            let mut near = bytes.get(start..)?.windows(pattern.len());
            let found = start.checked_add(near.position(|it| it == pattern.as_slice())?)?;
            (found < at).then(|| found.saturating_add(pattern.len()))
        });
        ends.fold(at, usize::max).min(bytes.len())
    }

    /// Bytes without secrets.
    pub(crate) fn bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut clean = Cow::Borrowed(bytes);
        for pattern in &self.patterns {
            if let Some(less) = without(&clean, pattern) {
                clean = Cow::Owned(less);
            }
        }
        clean
    }

    /// An error without secrets: what a service says itself, and what the engine says of its end.
    pub(crate) fn error(&self, error: CallError) -> CallError {
        if self.patterns.is_empty() {
            return error;
        }
        if let CallError::Refused { error } = error {
            return CallError::Refused {
                error: self.json(error),
            };
        }
        if let CallError::Trapped(text) = error {
            return CallError::Trapped(self.text(&text));
        }
        error
    }

    fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// JSON that stays JSON. Bytes are looked into, which JSON writes in base64.
    fn json(&self, json: Bytes) -> Bytes {
        let Ok(mut value) = serde_json::from_slice::<Value>(&json) else {
            return Bytes::from_static(b"null");
        };
        if self.clean(&mut value) {
            return value.to_string().into();
        }
        json
    }

    /// Whether anything was taken out.
    fn clean(&self, value: &mut Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => {
                let text = number.to_string();
                let found = matches!(self.bytes(text.as_bytes()), Cow::Owned(_));
                if found {
                    *value = Value::from(REDACTED);
                }
                found
            }
            Value::String(text) => self.clean_text(text),
            Value::Array(values) => {
                let cleaned = values.iter_mut().map(|value| self.clean(value));
                cleaned.fold(false, |any, one| any | one)
            }
            Value::Object(fields) => {
                let cleaned = fields.values_mut().map(|value| self.clean(value));
                cleaned.fold(false, |any, one| any | one)
            }
        }
    }

    fn clean_text(&self, text: &mut String) -> bool {
        if let Cow::Owned(clean) = self.bytes(text.as_bytes()) {
            *text = String::from_utf8_lossy(&clean).into_owned();
            return true;
        }
        let decoded = STANDARD.decode(text.as_bytes());
        if let Ok(bytes) = decoded
            && let Cow::Owned(clean) = self.bytes(&bytes)
        {
            *text = STANDARD.encode(clean);
            return true;
        }
        false
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns.len())
    }
}

/// `bytes` with every `pattern` replaced, if there is one.
fn without(bytes: &[u8], pattern: &[u8]) -> Option<Vec<u8>> {
    let find = |bytes: &[u8]| bytes.windows(pattern.len()).position(|it| it == pattern);
    let mut at = find(bytes)?;
    let (mut rest, mut clean) = (bytes, Vec::with_capacity(bytes.len()));
    loop {
        let (before, behind) = rest.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(REDACTED.as_bytes());
        // A find of it: what is behind is at least as long.
        (_, rest) = behind.split_at(pattern.len());
        match find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    clean.extend_from_slice(rest);
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secret = |value: &&str| Secret::new(Zeroizing::new((*value).to_owned())).unwrap();
        let secrets = secrets.iter().map(|it| ((*it).to_owned(), secret(it)));
        Redactor::new(&Settings {
            secrets: secrets.collect(),
            ..Settings::default()
        })
    }

    fn refused(redactor: &Redactor, json: &Value) -> Value {
        let error = CallError::Refused {
            error: json.to_string().into(),
        };
        let CallError::Refused { error } = redactor.error(error) else {
            panic!("another error");
        };
        serde_json::from_slice(&error).unwrap()
    }

    #[test]
    fn secrets_are_taken_out_of_texts() {
        let redactor = redactor(&["hunter22", "hunter22-and-more"]);
        let check = |text: &str, clean: &str| assert_eq!(redactor.text(text), clean);
        check("nothing here", "nothing here");
        check("a hunter22 b hunter22", "a [secret] b [secret]");
        check("hunter22-and-more!", "[secret]!");
        check("hunter2", "hunter2");
        let crashed = CallError::Trapped("at hunter22".to_owned());
        let clean = CallError::Trapped("at [secret]".to_owned());
        assert_eq!(redactor.error(crashed), clean);
    }

    #[test]
    fn no_part_of_a_secret_is_left_by_a_cut() {
        let redactor = redactor(&["hunter22"]);
        let text = b"0123456789 hunter22 and more";
        for (at, end) in [
            (5, 5),
            (11, 11),
            (12, 19),
            (18, 19),
            (19, 19),
            (25, 25),
            (99, 28),
        ] {
            assert_eq!(redactor.cut(text, at), end, "{at}");
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_known_by_each() {
        let redactor = redactor(&["-----BEGIN-----\nfirst part\nsecond part\nend\n"]);
        assert_eq!(redactor.text("it is second part, "), "it is [secret], ");
        assert_eq!(redactor.text("end"), "end", "too short to be told apart");
    }

    #[test]
    fn refusals_stay_json() {
        let redactor = redactor(&["quo\"te\\d", "12345678"]);
        let said = serde_json::json!({
            "a": "it is quo\"te\\d!",
            "number": 12345678,
            "bytes": STANDARD.encode("in bytes: 12345678"),
            "deep": [["12345678"], null, true, 1.5],
        });
        let clean = serde_json::json!({
            "a": "it is [secret]!",
            "number": "[secret]",
            "bytes": STANDARD.encode("in bytes: [secret]"),
            "deep": [["[secret]"], null, true, 1.5],
        });
        assert_eq!(refused(&redactor, &said), clean);
        let harmless = serde_json::json!({ "b": "quote", "a": 1234567 });
        assert_eq!(refused(&redactor, &harmless), harmless);
    }

    #[test]
    fn settings_cross_whole() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Crossing(#[serde(with = "crossing")] Settings);
        let secret = Secret::new(Zeroizing::new("hunter22".to_owned())).unwrap();
        let bytes = postcard::to_allocvec(&Crossing(Settings {
            config: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            secrets: BTreeMap::from([("key".to_owned(), secret)]),
        }));
        let Crossing(settings) = postcard::from_bytes(&bytes.unwrap()).unwrap();
        let all: Vec<_> = settings.all().collect();
        assert_eq!(all, [("a", "b"), ("key", "hunter22")]);
        let redactor = Redactor::new(&settings);
        assert_eq!(redactor.text("hunter22 b"), "[secret] b");
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::new(Zeroizing::new("hunter22".to_owned())).unwrap();
        let settings = Settings {
            secrets: BTreeMap::from([("key".to_owned(), secret)]),
            ..Settings::default()
        };
        let redactor = Redactor::new(&settings);
        let printed = format!("{settings:?} {settings:#?} {redactor:?}");
        assert!(!printed.contains("hunter22"), "{printed}");
        for short in ["", "1234567"] {
            assert!(Secret::new(Zeroizing::new(short.to_owned())).is_err());
        }
    }
}

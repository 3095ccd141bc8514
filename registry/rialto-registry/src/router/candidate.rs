//! Providers as the router sees them: an opaque key, and what their offer says.
//!
//! Not here: offers themselves and their signatures. Whoever keeps offers turns each into a
//! [`Candidate`], and prices it for the call at hand.

use std::{fmt, str::FromStr, sync::Arc};

use rialto_channels::Amount;

use super::units::{Millis, Permille};

/// A provider's key, opaque to the router: 1 to 128 bytes of text. Cheap to clone.
///
/// Health is kept for each key. A key that names peer *and* service keeps one service's failures from
/// counting against the peer's others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(Arc<str>);

/// What shares a retry budget and a record of latencies: usually a service's name, or an interface where
/// any service will do. 1 to 128 bytes of text. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(Arc<str>);

/// Where a provider says it runs, for example `eu-west`: 1 to 32 lowercase letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Arc<str>);

impl ProviderId {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ServiceId {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Region {
    /// The region as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no key of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// More bytes than a key may have.
    #[error("has {found} bytes, more than {max}")]
    TooLong {
        /// Bytes of the text.
        found: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// A character that a region may not have.
    #[error("contains {0:?}, which is no lowercase letter, digit or hyphen")]
    Character(char),
}

/// Bits that say what a provider can do and what a call needs, such as streaming or sessions. Their
/// meaning is the caller's; the router only asks for all that are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// True if all of `needed` are here.
    #[must_use]
    pub const fn include(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }
}

/// How a provider is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// By a connection of our own.
    Direct,
    /// Through a relay, whose bandwidth and patience are limited.
    Relayed,
}

/// One provider that offers what a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The provider.
    pub provider: ProviderId,
    /// The most that this one call costs there, in base units: the ceiling that a payment would sign, not an
    /// estimate. Exposure is reckoned with it.
    pub price: Amount,
    /// How busy it says it is, in thousandths; above 1,000 counts as 1,000.
    pub load_permille: u16,
    /// Where it says it runs.
    pub region: Option<Region>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How well its receipts speak for it. A newcomer gets whatever the caller thinks neutral.
    pub reputation: Permille,
    /// True if a channel with money in it is open already.
    pub channel_open: bool,
    /// How it is reached.
    pub reach: Reach,
    /// From this moment on, the offer is no longer binding.
    pub expires: Millis,
}

impl FromStr for ProviderId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_length(text, KEY_BYTES_MAX).map(|()| Self(text.into()))
    }
}

impl FromStr for ServiceId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_length(text, KEY_BYTES_MAX).map(|()| Self(text.into()))
    }
}

impl FromStr for Region {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_length(text, REGION_BYTES_MAX)?;
        let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
        match text.chars().find(|c| !allowed(c)) {
            Some(other) => Err(KeyError::Character(other)),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_length(text: &str, max: usize) -> Result<(), KeyError> {
    let found = text.len();
    if found == 0 {
        Err(KeyError::Empty)
    } else if found > max {
        Err(KeyError::TooLong { found, max })
    } else {
        Ok(())
    }
}

const KEY_BYTES_MAX: usize = 128;
const REGION_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_length() {
        let check = |text: &str, error: Option<KeyError>| {
            assert_eq!(text.parse::<ProviderId>().err(), error, "{text:?}");
            assert_eq!(text.parse::<ServiceId>().err(), error, "{text:?}");
        };
        check("12D3KooW/embed", None);
        check("", Some(KeyError::Empty));
        check(&"x".repeat(128), None);
        let (found, max) = (129, 128);
        check(&"x".repeat(129), Some(KeyError::TooLong { found, max }));
    }

    #[test]
    fn regions_are_plain_words() {
        assert!("eu-west1".parse::<Region>().is_ok());
        for (bad, error) in [
            ("", KeyError::Empty),
            ("EU", KeyError::Character('E')),
            ("eu west", KeyError::Character(' ')),
            ("é", KeyError::Character('é')),
        ] {
            assert_eq!(bad.parse::<Region>(), Err(error), "{bad:?}");
        }
        assert!("x".repeat(33).parse::<Region>().is_err());
    }

    #[test]
    fn all_that_is_needed_must_be_there() {
        assert!(Capabilities(0b111).include(Capabilities(0b101)));
        assert!(!Capabilities(0b011).include(Capabilities(0b101)));
        assert!(Capabilities::NONE.include(Capabilities::NONE));
    }
}

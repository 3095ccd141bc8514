//! Who may spend at the local door, and on what: anybody of this machine by the door's own budget, or whoever has a
//! key by the key's.
//!
//! Programs that know OpenAI's API always send some key: one that does not look like ours counts as none. One that
//! does, and is none any more, is refused rather than ignored.

use std::path::Path;

use alloy_primitives::Address;
use http::{HeaderMap, header};
use rialto_channels::Amount;

use super::is_forwarded;
use super::keys::{Key, Keys};
use crate::client::{Allowance, Allowances, StoreError};
use crate::problem::{ErrorCode, Problem};

/// What decides who may spend.
#[derive(Debug)]
pub(super) struct Access {
    keys: Keys,
    allowances: Allowances,
    /// Whether somebody without a key spends nothing: others than this machine reach the door.
    pub(super) needs_key: bool,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Guest {
    key: Option<Key>,
    allowance: Allowance,
}

impl Access {
    pub(super) fn new(data_dir: &Path, day_max: Amount, needs_key: bool) -> Self {
        Self {
            keys: Keys::of(data_dir),
            allowances: Allowances::new(&Keys::folder(data_dir), day_max),
            needs_key,
        }
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// 401 for a key of ours that is none, and where one is needed; 503 when keys cannot be read.
    pub(super) fn guest(&self, headers: &HeaderMap) -> Result<Guest, Problem> {
        let ours = bearer(headers).filter(|text| Keys::look_like(text));
        let key = match ours {
            Some(secret) => {
                let found = self.keys.find(secret).map_err(|error| unreadable(&error))?;
                Some(found.ok_or_else(unknown)?)
            }
            None if self.needs_key || is_forwarded(headers) => return Err(needed()),
            None => None,
        };
        let allowance = match &key {
            Some(key) => self.allowances.of(key.id(), Some(key.budget())),
            None => self.allowances.of(Address::ZERO, None),
        };
        Ok(Guest { key, allowance })
    }
}

impl Guest {
    /// What may be spent on a call of this service.
    ///
    /// # Errors
    /// 403 if the key is not for it.
    pub(super) fn allowance(&self, service: &str) -> Result<Allowance, Problem> {
        if self.may_use(service) {
            return Ok(self.allowance.clone());
        }
        let name = self.key.as_ref().map_or("", |key| key.name.as_str());
        let message = format!("the key `{name}` is not for this service");
        Err(Problem::new(ErrorCode::KeyNotForService, message)
            .hint("use one of those that it was made for, or make another: rialto key new"))
    }

    /// Whether its key is for this service.
    pub(super) fn may_use(&self, service: &str) -> bool {
        self.key.as_ref().is_none_or(|key| key.is_for(service))
    }
}

/// What `Authorization: Bearer` says.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn unknown() -> Problem {
    Problem::new(
        ErrorCode::KeyRefused,
        "this key is unknown here, or was revoked",
    )
    .hint("`rialto key list` shows those that are, `rialto key new NAME --budget 0.50` makes one")
}

fn needed() -> Problem {
    Problem::new(ErrorCode::KeyRefused, "this door wants a key for what spends")
        .hint("`rialto key new NAME --budget 0.50` on its machine makes one; send it as `Authorization: Bearer rk_…`")
}

fn unreadable(error: &StoreError) -> Problem {
    // The path is the operator's to read.
    tracing::warn!(%error, "nobody with a key is let in");
    Problem::new(ErrorCode::Unavailable, "the keys cannot be read").hint("see the node's log")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(authorization: Option<&str>) -> HeaderMap {
        let text = authorization.map(|text| HeaderValue::from_str(text).unwrap());
        text.map(|text| (header::AUTHORIZATION, text))
            .into_iter()
            .collect()
    }

    #[test]
    fn keys_are_needed_where_others_reach_the_door_and_ours_are_always_checked() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::of(dir.path());
        let models = Some(vec!["chat".to_owned()]);
        let (_, secret) = keys.issue("a", Amount::new(5), models).unwrap();
        let check = |needs_key: bool, authorization: Option<&str>, expected: Result<bool, u16>| {
            let access = Access::new(dir.path(), Amount::new(9), needs_key);
            let found = access.guest(&headers(authorization));
            let found = found
                .map(|guest| guest.key.is_some())
                .map_err(|problem| problem.code().status().as_u16());
            assert_eq!(found, expected, "{needs_key} {authorization:?}");
        };
        let ours = format!("Bearer {secret}");
        for (needs_key, without) in [(false, Ok(false)), (true, Err(401))] {
            check(needs_key, None, without);
            check(needs_key, Some("Bearer sk-none"), without);
            check(needs_key, Some("Basic cms6"), without);
            check(needs_key, Some(&ours), Ok(true));
            check(needs_key, Some(&ours.replace("Bearer", "bearer")), Ok(true));
            check(needs_key, Some("Bearer rk_unknown"), Err(401));
        }
        let access = Access::new(dir.path(), Amount::new(9), true);
        let guest = access.guest(&headers(Some(&ours))).unwrap();
        assert!(guest.allowance("chat").is_ok());
        let refused = guest.allowance("embed").unwrap_err();
        assert_eq!(refused.code(), ErrorCode::KeyNotForService);
        keys.revoke("a").unwrap();
        check(false, Some(&ours), Err(401));
    }
}

//! What operations on tasks are asked with. Over HTTP they come as words of the query, and protobuf's JSON may have
//! numbers as texts: both are read alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::task::State;
use super::{Error, Kind};

/// Which task, and how much of it.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OneTask {
    #[serde(default)]
    pub(crate) id: String,
}

/// Which tasks.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    context_id: String,
    status: Option<String>,
    #[serde(deserialize_with = "number")]
    page_size: Option<i64>,
    page_token: String,
    status_timestamp_after: Option<String>,
    #[serde(deserialize_with = "flag")]
    include_artifacts: bool,
    #[serde(deserialize_with = "number")]
    history_length: Option<i64>,
}

/// Which tasks, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tasks {
    /// Of this context; empty for none that may be listed.
    pub(crate) context: String,
    pub(crate) state: Option<State>,
    pub(crate) page: usize,
    /// After the task of this id; empty for the first ones.
    pub(crate) after: String,
    /// Not older than this.
    pub(crate) since: Option<String>,
    pub(crate) with_artifacts: bool,
}

/// Which task, from the parameters of JSON-RPC.
///
/// # Errors
/// [`Kind::Params`].
pub(crate) fn one(params: &str) -> Result<OneTask, Error> {
    let one: OneTask = serde_json::from_str(params).map_err(|error| unfit(&error))?;
    match one.id.is_empty() {
        true => Err(Error::new(Kind::Params, "`id` is missing: a task's id")),
        false => Ok(one),
    }
}

/// Which tasks, from the parameters of JSON-RPC.
///
/// # Errors
/// [`Kind::Params`].
pub(crate) fn many(params: &str) -> Result<Tasks, Error> {
    let wanted = serde_json::from_str(params).map_err(|error| unfit(&error))?;
    checked(wanted)
}

/// Which tasks, from the words of a query.
///
/// # Errors
/// [`Kind::Params`].
pub(crate) fn many_of_words(words: BTreeMap<String, String>) -> Result<Tasks, Error> {
    let words = words.into_iter().map(|(name, word)| (name, word.into()));
    let wanted = Wanted::deserialize(Value::Object(words.collect()));
    checked(wanted.map_err(|error| unfit(&error))?)
}

fn checked(wanted: Wanted) -> Result<Tasks, Error> {
    let refuse = |message: &str| Err(Error::new(Kind::Params, message));
    let state = match wanted.status.as_deref() {
        None | Some("" | "TASK_STATE_UNSPECIFIED") => None,
        Some(name) => match State::named(name) {
            Some(state) => Some(state),
            None => return refuse("`status` is none of the protocol's states"),
        },
    };
    let page = match wanted.page_size {
        None | Some(0) => PAGE,
        Some(size) => match usize::try_from(size) {
            Ok(size) if size <= PAGE_MAX => size,
            Ok(_) | Err(_) => return refuse("`pageSize` is from 1 to 100"),
        },
    };
    if wanted.history_length.is_some_and(|length| length < 0) {
        return refuse("`historyLength` is negative");
    }
    let since = wanted.status_timestamp_after.filter(|it| !it.is_empty());
    if since.as_deref().is_some_and(|since| !is_moment(since)) {
        return refuse("`statusTimestampAfter` is no moment such as 2026-01-31T23:59:59Z");
    }
    Ok(Tasks {
        context: wanted.context_id,
        state,
        page,
        after: wanted.page_token,
        since,
        with_artifacts: wanted.include_artifacts,
    })
}

/// Whether a text has the form of a moment in UTC, so that texts compare as moments do.
fn is_moment(text: &str) -> bool {
    let shape = "0000-00-00T00:00:00";
    let Some((moment, rest)) = text.split_at_checked(shape.len()) else {
        return false;
    };
    let fits = |(letter, pattern): (char, char)| match pattern {
        '0' => letter.is_ascii_digit(),
        other => letter == other,
    };
    let fraction = rest
        .strip_suffix('Z')
        .map(|it| it.strip_prefix('.').unwrap_or(it));
    moment.chars().zip(shape.chars()).all(fits)
        && fraction.is_some_and(|it| it.chars().all(|letter| letter.is_ascii_digit()))
}

fn unfit(error: &serde_json::Error) -> Error {
    Error::new(Kind::Params, format!("the parameters do not fit: {error}"))
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let value = Value::deserialize(from)?;
    if value.is_null() {
        return Ok(None);
    }
    let of_text = value.as_str().and_then(|text| text.parse().ok());
    let number = of_text.or_else(|| value.as_i64());
    number
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{value} is no whole number")))
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(from)?;
    if value.is_null() {
        return Ok(false);
    }
    let of_text = value.as_str().and_then(|text| text.parse().ok());
    let flag = of_text.or_else(|| value.as_bool());
    flag.ok_or_else(|| serde::de::Error::custom(format!("{value} is neither true nor false")))
}

/// So many tasks a page has unless it is said.
const PAGE: usize = 50;
/// So many at most.
const PAGE_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_parameters_are_read_alike() {
        let words = [
            ("contextId", "c"),
            ("pageSize", "2"),
            ("includeArtifacts", "true"),
            ("status", "TASK_STATE_COMPLETED"),
            ("statusTimestampAfter", "2026-01-31T23:59:59.5Z"),
        ];
        let words = words.map(|(name, word)| (name.to_owned(), word.to_owned()));
        let of_words = many_of_words(words.into()).unwrap();
        let params = r#"{"contextId":"c","pageSize":2,"includeArtifacts":true,"historyLength":0,
            "status":"TASK_STATE_COMPLETED","statusTimestampAfter":"2026-01-31T23:59:59.5Z"}"#;
        assert_eq!(many(params).unwrap(), of_words);
        assert_eq!((of_words.page, of_words.state), (2, Some(State::Completed)));
        assert_eq!(many("{}").unwrap().page, PAGE);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for params in [
            r#"{"pageSize":-1}"#,
            r#"{"pageSize":101}"#,
            r#"{"pageSize":"x"}"#,
            r#"{"status":"DONE"}"#,
            r#"{"includeArtifacts":"yes"}"#,
            r#"{"historyLength":-1}"#,
            r#"{"statusTimestampAfter":"yesterday"}"#,
            r#"{"statusTimestampAfter":"2026-01-31T23:59:59+01:00"}"#,
        ] {
            assert!(many(params).is_err(), "{params}");
        }
        assert!(one("{}").is_err() && one(r#"{"id":"x"}"#).is_ok());
    }
}

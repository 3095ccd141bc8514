//! `POST /v1/embeddings`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Mistake, mistake};

/// What is asked for.
#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    input: Input,
    encoding_format: Option<String>,
    dimensions: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
    Tokens(Vec<Value>),
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Numbers,
    Base64,
}

/// Reads a request.
///
/// # Errors
/// [`Mistake`].
pub(crate) fn read(body: &[u8]) -> Result<(Asked, Encoding), Mistake> {
    let request: Request = mistake::read(body, &PARAMS)?;
    if request
        .dimensions
        .is_some_and(|dimensions| !dimensions.is_null())
    {
        return Err(Mistake::unsupported("dimensions"));
    }
    let encoding = match request.encoding_format.as_deref() {
        None | Some("float") => Encoding::Numbers,
        Some("base64") => Encoding::Base64,
        Some(_) => {
            return Err(Mistake::invalid(
                "encoding_format",
                "`encoding_format` is `float` or `base64`",
            ));
        }
    };
    let texts = match request.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
        Input::Tokens(tokens) => {
            let message = format!(
                "`input` is a list of {} values that are no texts: send text, models here have tokens of their own",
                tokens.len()
            );
            return Err(Mistake::invalid("input", message));
        }
    };
    if texts.is_empty() {
        return Err(Mistake::invalid("input", "`input` is empty"));
    }
    let asked = Asked {
        service: request.model,
        method: "embed",
        arguments: json!({ "texts": texts }).to_string().into(),
    };
    Ok((asked, encoding))
}

/// A service's answer; none if it is no list of vectors. Tokens are not known: services of vectors count none.
pub(crate) fn answer(body: &[u8], model: &str, encoding: Encoding) -> Option<Value> {
    let vectors: Vec<Vec<f32>> = serde_json::from_slice(body).ok()?;
    let vectors = vectors.into_iter().enumerate().map(|(index, vector)| {
        let embedding = match encoding {
            Encoding::Numbers => json!(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|number| number.to_le_bytes())
                    .collect();
                json!(STANDARD.encode(bytes))
            }
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    Some(json!({
        "object": "list",
        "data": vectors.collect::<Vec<_>>(),
        "model": model,
        "usage": { "prompt_tokens": 0, "total_tokens": 0 },
    }))
}

const PARAMS: [&str; 4] = ["model", "input", "encoding_format", "dimensions"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_vectors_in_either_encoding() {
        let one = read(br#"{"model":"embed","input":"a","user":"u"}"#).unwrap();
        assert_eq!(one.0.arguments, r#"{"texts":["a"]}"#);
        let many = br#"{"model":"embed","input":["a","b"],"encoding_format":"base64"}"#;
        let (asked, encoding) = read(many).unwrap();
        assert_eq!((asked.method, encoding), ("embed", Encoding::Base64));
        let told = answer(b"[[1.0,-2.5]]", "embed", Encoding::Base64).unwrap();
        assert_eq!(told["data"][0]["embedding"], "AACAPwAAIMA=");
        let told = answer(b"[[1.0,-2.5]]", "embed", Encoding::Numbers).unwrap();
        assert_eq!(told["data"][0]["embedding"], json!([1.0, -2.5]));
        assert!(answer(b"{}", "embed", Encoding::Numbers).is_none());
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for body in [
            r#"{"model":"embed","input":[1,2]}"#,
            r#"{"model":"embed","input":[]}"#,
            r#"{"model":"embed","input":"a","dimensions":5}"#,
            r#"{"model":"embed","input":"a","encoding_format":"x"}"#,
            r#"{"model":"embed","input":"a","truncate":true}"#,
            r#"{"input":"a"}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}

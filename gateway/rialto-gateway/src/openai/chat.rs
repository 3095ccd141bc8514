//! `POST /v1/chat/completions`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::{self, Content, Said, Usage};
use super::{Answered, Asked, Mistake, mistake};

/// What is asked for. What is left out here changes nothing that a service here could do otherwise.
#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    max_tokens: Option<Value>,
    max_completion_tokens: Option<Value>,
    temperature: Option<Value>,
    top_p: Option<Value>,
    seed: Option<Value>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    logprobs: Option<bool>,
    logit_bias: Option<Value>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<Format>,
    modalities: Option<Vec<String>>,
    audio: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
}

/// How the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Piece by piece.
    pub(crate) streams: bool,
    /// With a last piece of tokens.
    pub(crate) tells_usage: bool,
    /// The most tokens, where the client says so.
    pub(crate) tokens_max: Option<u64>,
}

/// Reads a request.
///
/// # Errors
/// [`Mistake`].
pub(crate) fn read(body: &[u8]) -> Result<(Asked, Manner), Mistake> {
    let request: Request = mistake::read(body, &PARAMS)?;
    request.check()?;
    let mut messages = Vec::with_capacity(request.messages.len());
    for message in request.messages {
        let content = message.content.ok_or_else(|| {
            Mistake::invalid(
                "messages",
                "a message has no `content`: models here call no tools",
            )
        })?;
        let text = content.text("messages")?;
        messages.push(conversation::message(&message.role, text, "messages")?);
    }
    let most = request.max_completion_tokens.or(request.max_tokens);
    let tokens_max = most.as_ref().and_then(Value::as_u64);
    let stop = request.stop.map(|stop| match stop {
        Stop::One(text) => json!([text]),
        Stop::Many(texts) => json!(texts),
    });
    let options = conversation::options([
        ("max_tokens", most),
        ("temperature", request.temperature),
        ("top_p", request.top_p),
        ("seed", request.seed),
        ("stop", stop),
    ]);
    let asked = Asked {
        service: request.model,
        method: "chat",
        arguments: conversation::arguments(messages, options),
    };
    let manner = Manner {
        streams: request.stream.unwrap_or(false),
        tells_usage: request
            .stream_options
            .is_some_and(|options| options.include_usage),
        tokens_max,
    };
    Ok((asked, manner))
}

impl Request {
    /// Refuses what would be answered otherwise than it was asked.
    fn check(&self) -> Result<(), Mistake> {
        let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let is_off = |penalty: Option<f64>| penalty.is_none_or(|penalty| penalty == 0.0);
        let is_text = |format: &Format| format.kind == "text";
        let bias = self.logit_bias.as_ref().and_then(Value::as_object);
        let unsupported = [
            ("n", self.n.is_some_and(|n| n != 1)),
            ("presence_penalty", !is_off(self.presence_penalty)),
            ("frequency_penalty", !is_off(self.frequency_penalty)),
            ("logprobs", self.logprobs == Some(true)),
            ("logit_bias", bias.is_some_and(|bias| !bias.is_empty())),
            ("tools", some(&self.tools)),
            ("functions", some(&self.functions)),
            (
                "response_format",
                !self.response_format.as_ref().is_none_or(is_text),
            ),
            (
                "modalities",
                self.modalities.iter().flatten().any(|kind| kind != "text"),
            ),
            (
                "audio",
                self.audio.as_ref().is_some_and(|audio| !audio.is_null()),
            ),
        ];
        match unsupported.into_iter().find(|(_, is_asked)| *is_asked) {
            Some((param, _)) => Err(Mistake::unsupported(param)),
            None => Ok(()),
        }
    }
}

/// A service's answer as a whole; none if it is no answer to a chat.
pub(crate) fn answer(body: &[u8], answered: &Answered) -> Option<Value> {
    let said: Said = serde_json::from_slice(body).ok()?;
    Some(json!({
        "id": format!("chatcmpl-{}", answered.id),
        "object": "chat.completion",
        "created": answered.created,
        "model": answered.model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": said.message.content, "refusal": null },
            "logprobs": null,
            "finish_reason": said.finish_reason,
        }],
        "usage": usage(said.usage),
    }))
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total(),
    })
}

/// One piece of an answer.
fn chunk(answered: &Answered, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", answered.id),
        "object": "chat.completion.chunk",
        "created": answered.created,
        "model": answered.model,
        "choices": choices,
    })
}

/// The first piece: who speaks.
pub(crate) fn beginning(answered: &Answered) -> Value {
    let delta = json!({ "role": "assistant", "content": "" });
    chunk(
        answered,
        json!([{ "index": 0, "delta": delta, "finish_reason": null }]),
    )
}

/// A piece of text.
pub(crate) fn piece(answered: &Answered, text: &str) -> Value {
    let delta = json!({ "content": text });
    chunk(
        answered,
        json!([{ "index": 0, "delta": delta, "finish_reason": null }]),
    )
}

/// The last piece: why it ended.
pub(crate) fn end(answered: &Answered, reason: &str) -> Value {
    chunk(
        answered,
        json!([{ "index": 0, "delta": {}, "finish_reason": reason }]),
    )
}

/// What comes after it where it was asked for.
pub(crate) fn tokens(answered: &Answered, used: Usage) -> Value {
    let mut last = chunk(answered, json!([]));
    last["usage"] = usage(used);
    last
}

/// What is read, and what says only how tools or alternatives would be chosen, of which there are none.
const PARAMS: [&str; 25] = [
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "logit_bias",
    "tools",
    "functions",
    "response_format",
    "modalities",
    "audio",
    "function_call",
    "parallel_tool_calls",
    "prediction",
    "tool_choice",
    "top_logprobs",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_put_in_our_terms() {
        let body = br#"{"model":"chat","messages":[{"role":"developer","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"Hel"},{"type":"text","text":"lo"}]}],
            "max_completion_tokens":9,"temperature":0,"stop":"x","seed":7,"stream":true,
            "stream_options":{"include_usage":true},"user":"someone","n":1,"tools":[],"top_k":null}"#;
        let (asked, manner) = read(body).unwrap();
        let arguments: Value = serde_json::from_slice(&asked.arguments).unwrap();
        assert_eq!(
            arguments["messages"][0],
            json!({"role": "system", "content": "Be brief."})
        );
        assert_eq!(arguments["messages"][1]["content"], "Hello");
        let options = json!({"max_tokens": 9, "temperature": 0, "seed": 7, "stop": ["x"]});
        assert_eq!(arguments["options"], options);
        assert!(manner.streams && manner.tells_usage && manner.tokens_max == Some(9));
        let bare = br#"{"model":"chat","messages":[{"role":"user","content":"a"}],"top_p":null}"#;
        let (asked, _) = read(bare).unwrap();
        assert_eq!(
            asked.arguments,
            r#"{"messages":[{"role":"user","content":"a"}]}"#
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (more, param) in [
            (r#""n":2"#, "n"),
            (r#""tools":[{}]"#, "tools"),
            (r#""logprobs":true"#, "logprobs"),
            (r#""presence_penalty":0.5"#, "presence_penalty"),
            (
                r#""response_format":{"type":"json_object"}"#,
                "response_format",
            ),
            (r#""audio":{}"#, "audio"),
            (r#""reasoning_effort":"high""#, "reasoning_effort"),
            (r#""top_k":5"#, "top_k"),
        ] {
            let body = format!(
                r#"{{"model":"chat","messages":[{{"role":"user","content":"a"}}],{more}}}"#
            );
            assert_eq!(
                read(body.as_bytes()).unwrap_err(),
                Mistake::unsupported(param)
            );
        }
        for messages in [
            r#"[{"role":"tool","content":"a"}]"#,
            r#"[{"role":"user"}]"#,
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]"#,
        ] {
            let body = format!(r#"{{"model":"chat","messages":{messages}}}"#);
            assert!(read(body.as_bytes()).is_err(), "{messages}");
        }
    }

    #[test]
    fn answers_are_as_clients_read_them() {
        let answered = Answered {
            id: "1".to_owned(),
            created: 5,
            model: "chat".to_owned(),
        };
        let body = br#"{"message":{"role":"assistant","content":"Hi"},"finish_reason":"length",
            "usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}"#;
        let told = answer(body, &answered).unwrap();
        assert_eq!(told["choices"][0]["message"]["content"], "Hi");
        assert_eq!(told["choices"][0]["finish_reason"], "length");
        assert_eq!(told["usage"]["total_tokens"], 5);
        assert!(answer(b"3", &answered).is_none());
    }
}

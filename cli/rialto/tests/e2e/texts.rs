//! What the service that writes answers through HTTP: llama.cpp's words on the same file wherever
//! llama.cpp was sure of them, the same words for the same seed whoever else is served, and a bill by
//! tokens.

use anyhow::{Context, Result, ensure};
use rialto_channels::SigningKey;
use rialto_gateway::client::{Body, Config, PayingClient};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};

use crate::fixture;
use crate::installed::Installed;
use crate::services::{call, list, number, path_text, paying_client, reference, text};

#[tokio::test]
async fn chat_says_what_llama_cpp_says() -> Result<()> {
    let installed = Installed::new(&["chat"], "")?;
    let mesh = installed.start(&[])?;
    let listing = fixture::get(&mesh, "/services/chat").await?;
    let digest = listing["models"][0]["sha256"].as_str();
    let model = path_from_env("RIALTO_ARTIFACTS")?.join(digest.context("no model")?);
    let conversations = conversations();
    let texts: Vec<String> = conversations.iter().map(Value::to_string).collect();
    let mut arguments = vec![path_text(&model)?, "40"];
    arguments.extend(texts.iter().map(String::as_str));
    let expected = reference("chat.py", &arguments).await?;

    let client = paying_client(&mesh)?;
    let mut equal = 0;
    for (messages, expected) in conversations.iter().zip(list(&expected)?) {
        let options = json!({ "max_tokens": 40, "temperature": 0 });
        let answer = ask(&client, messages, &options).await?;
        let found = text(&answer["message"]["content"])?;
        let mut said = String::new();
        for piece in list(&expected["pieces"])? {
            let more = said.clone() + text(&piece["text"])?;
            if !found.starts_with(&more) {
                // From here on they go separate ways.
                ensure!(
                    number(&piece["gap"])? < CLOSE,
                    "{messages}: {found:?}, llama.cpp says {expected}"
                );
                break;
            }
            said = more;
            equal += 1;
        }
        ensure!(answer["usage"]["prompt_tokens"] == expected["prompt_tokens"]);
    }
    ensure!(equal >= 40, "only {equal} tokens are equal");
    mesh.stop()
}

#[tokio::test]
async fn a_seed_stands_for_an_answer_whoever_else_is_served() -> Result<()> {
    let installed = Installed::new(&["chat"], "")?;
    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let options = |seed: u32| json!({ "max_tokens": 24, "temperature": 1.0, "seed": seed });
    let questions = conversations();
    let mut alone = Vec::new();
    for (question, seed) in questions.iter().zip(0..) {
        alone.push(ask(&client, question, &options(seed)).await?);
    }
    let mut together = tokio::task::JoinSet::new();
    for (place, question) in questions.iter().cloned().enumerate() {
        let options = options(u32::try_from(place)?);
        // A payer each: several at once on one new channel is another test's.
        let key = SigningKey::from_hex(mesh.test_key(place + 1))?;
        let client = PayingClient::new(Config::new(mesh.gateway()), key)?;
        together
            .spawn(async move { anyhow::Ok((place, ask(&client, &question, &options).await?)) });
    }
    while let Some(answered) = together.join_next().await {
        let (place, answer) = answered??;
        ensure!(answer == alone[place], "{answer} is not {}", alone[place]);
    }
    let other = ask(&client, &questions[0], &options(77)).await?;
    ensure!(
        other["message"] != alone[0]["message"],
        "seeds change nothing"
    );
    mesh.stop()
}

#[tokio::test]
async fn answers_end_where_they_are_told_and_are_billed_by_tokens() -> Result<()> {
    let installed = Installed::new(&["chat"], "")?;
    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let body = Body::json(&json!({
        "prompt": "One, two, three, four,",
        "options": { "max_tokens": 5, "temperature": 0 },
    }));
    let quote = client.quote("chat", "complete", &body).await?;
    let answer = client.call(&quote, &body).await?;
    let receipt = answer.receipt.context("no receipt")?.receipt;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let used = &answer["usage"];
    ensure!(
        answer["finish_reason"] == "length" && used["completion_tokens"] == 5,
        "{answer}"
    );
    let device = receipt.usage.device;
    ensure!(
        used["prompt_tokens"] == device.tokens_read,
        "{used} {device:?}"
    );
    ensure!(
        used["completion_tokens"] == device.tokens_written,
        "{used} {device:?}"
    );
    // The manifest's prices: 100 a call, 1 a token read, 10 a token written.
    let price = 100 + u128::from(device.tokens_read) + 10 * u128::from(device.tokens_written);
    ensure!(
        receipt.charged.get() == price,
        "{} is not {price}",
        receipt.charged
    );
    ensure!(
        receipt.engine.starts_with("rialto-lm "),
        "{}",
        receipt.engine
    );
    ensure!(receipt.deterministic);

    let stopped = json!({ "max_tokens": 40, "temperature": 0, "stop": ["eight"] });
    let body = Body::json(&json!({ "prompt": "One, two, three, four,", "options": stopped }));
    let answer = call(&client, "chat", "complete", &body).await?;
    ensure!(answer["finish_reason"] == "stop", "{answer}");
    let words = text(&answer["text"])?;
    ensure!(
        words.contains("seven") && !words.contains("eight"),
        "{answer}"
    );

    // What a message says is text: its marks take as many tokens as their letters need.
    let mut read = Vec::new();
    for content in ["x", "<|im_end|>"] {
        let messages = json!([message("user", content)]);
        let answer = ask(&client, &messages, &json!({ "max_tokens": 1 })).await?;
        read.push(number(&answer["usage"]["prompt_tokens"])?);
    }
    ensure!(
        matches!(read[..], [plain, mark] if mark > plain + 2.0),
        "{read:?}"
    );

    for refused in [
        json!({ "messages": [] }),
        json!({ "messages": [{ "role": "assistant", "content": "Hi" }] }),
        json!({ "messages": [message("user", "Hi")], "options": { "temperature": 3 } }),
        json!({ "messages": [message("user", &"word ".repeat(5000))] }),
    ] {
        let body = Body::json(&refused);
        let quote = client.quote("chat", "chat", &body).await?;
        ensure!(client.call(&quote, &body).await.is_err(), "{refused}");
    }
    mesh.stop()
}

async fn ask(client: &PayingClient, messages: &Value, options: &Value) -> Result<Value> {
    let body = Body::json(&json!({ "messages": messages, "options": options }));
    let answer = call(client, "chat", "chat", &body).await?;
    let role = &answer["message"]["role"];
    ensure!(role == "assistant", "{answer}");
    Ok(answer)
}

fn conversations() -> Vec<Value> {
    vec![
        json!([message("user", "What is gravity?")]),
        json!([message("user", "What is the capital of France?")]),
        json!([
            message("system", "You are a helpful assistant."),
            message("user", "What is 2 + 2?"),
            message("assistant", "2 + 2 is 4."),
            message("user", "And 3 + 3?"),
        ]),
        json!([message("user", "Write one sentence about the sea.")]),
    ]
}

fn message(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

/// Logarithms of probabilities: both programs round activations, each in its own way, and each is off by
/// about 0.15 for one token; two tokens and two programs make a difference of 1 rare.
const CLOSE: f64 = 1.0;

//! A node's local door, which answers and pays for all that an agent asks.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use rialto_gateway::client::{EventParser, read_bounded};
use serde_json::Value;

use super::lines::BYTES_MAX;

/// Passes messages on.
#[derive(Debug)]
pub(super) struct Door {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

impl Door {
    pub(super) fn new(local: &str, key: Option<String>) -> Self {
        Self {
            // A call takes as long as it takes: who waits no longer cancels it.
            http: reqwest::Client::new(),
            url: format!("{}/mcp", local.trim_end_matches('/')),
            key,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Has a message answered; hands over each message that comes back.
    pub(super) async fn pass_on(
        &self,
        text: Vec<u8>,
        headers: &[(&str, &str)],
        mut each: impl FnMut(&Value) + Send,
    ) -> Result<()> {
        let request = self.http.post(&self.url).body(text);
        let mut request = request
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let url = &self.url;
        let unreachable =
            || format!("no node's local door answers at {url}: `rialto up --mesh` opens one");
        let mut answer = request.send().await.with_context(unreachable)?;
        let kind = answer.headers().get(CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            let mut parser = EventParser::default();
            while let Some(chunk) = answer.chunk().await.context("the answer broke off")? {
                for event in parser.feed(&chunk, BYTES_MAX)? {
                    each(&serde_json::from_slice(&event.data)?);
                }
            }
            return Ok(());
        }
        let status = answer.status();
        let body = read_bounded(answer, BYTES_MAX).await?;
        if body.is_empty() {
            // Nothing wants an answer.
            ensure!(status.is_success(), "{url} answered {status}");
            return Ok(());
        }
        let other = || format!("{url} answered {status}: it is no local door, or one without MCP");
        let message: Value = serde_json::from_slice(&body).with_context(other)?;
        if message["jsonrpc"] == "2.0" {
            each(&message);
            return Ok(());
        }
        let said = &message["error"];
        match (said["message"].as_str(), said["hint"].as_str()) {
            (Some(why), Some(hint)) => bail!("{why}\ntry: {hint}"),
            (Some(why), None) => bail!("{why}"),
            _ => bail!(other()),
        }
    }
}

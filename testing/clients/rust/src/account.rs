//! What a run saw, in the words of the other languages' scripts, and the wire beneath a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Extensions, HeaderMap, StatusCode};
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next};
use serde_json::{Value, json};

/// What one client paid.
#[derive(Debug)]
pub(crate) struct Account {
    payer: String,
    wire: Wire,
    calls: Vec<Value>,
    paid_at_once: u128,
}

impl Account {
    pub(crate) fn new(payer: String, wire: Wire) -> Self {
        Self {
            payer,
            wire,
            calls: Vec::new(),
            paid_at_once: 0,
        }
    }

    /// Adds a paid answer.
    pub(crate) fn note(
        &mut self,
        number: u64,
        bytes: usize,
        answer: Value,
        headers: &HeaderMap,
    ) -> Result<()> {
        let settled = decoded(headers, "payment-response")
            .or_else(|_| decoded(headers, "x-payment-response"))?;
        if settled["success"] != true {
            bail!("a paid answer says: {settled}");
        }
        let receipt = decoded(headers, "rialto-receipt")?;
        // Version 1 tells no amount: the receipt does.
        let charged = match &settled["amount"] {
            Value::Null => units(&receipt["charged"])?,
            stated => units(stated)?,
        };
        self.paid_at_once += charged;
        self.calls.push(json!({
            "number": number,
            "bytes": bytes,
            "answer": answer,
            "charged": charged.to_string(),
            "receipt": receipt["id"],
            "receipt_charged": receipt["charged"],
            "network": settled["network"],
        }));
        Ok(())
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({
            "payer": self.payer,
            "channel": null,
            "calls": self.calls,
            "charged": "0",
            "deposited": "0",
            "deposits": 0,
            "deposits_unsure": "0",
            "paid_at_once": self.paid_at_once.to_string(),
            "refunded": "0",
            "corrections": self.wire.0.corrections.load(Ordering::Relaxed),
            "in_flight_max": self.wire.0.in_flight_max.load(Ordering::Relaxed),
        })
    }
}

/// Sits beneath a client: counts corrective answers and paid requests that overlap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    corrections: AtomicU64,
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
}

#[async_trait]
impl Middleware for Wire {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let headers = request.headers();
        if !headers.contains_key("payment-signature") && !headers.contains_key("x-payment") {
            return next.run(request, extensions).await;
        }
        let now = self.0.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.in_flight_max.fetch_max(now, Ordering::Relaxed);
        let answer = next.run(request, extensions).await;
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        let corrects = answer.as_ref();
        if corrects.is_ok_and(|answer| answer.status() == StatusCode::PAYMENT_REQUIRED) {
            self.0.corrections.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// A header's base64 JSON.
fn decoded(headers: &HeaderMap, name: &str) -> Result<Value> {
    let header = headers.get(name).with_context(|| format!("no {name}"))?;
    Ok(serde_json::from_slice(&STANDARD.decode(header)?)?)
}

/// An amount, as a text of digits.
fn units(value: &Value) -> Result<u128> {
    let text = value
        .as_str()
        .with_context(|| format!("{value} is no amount"))?;
    Ok(text.parse()?)
}

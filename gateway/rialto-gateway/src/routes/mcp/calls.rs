//! A call of a tool: its arguments and its payment from the message, its answer as a tool's result.
//!
//! Payments come and go in either of x402's two bindings to MCP: as the result of a tool that failed, which every
//! revision knows, or by the extension of the stateless one. What a call costs and whether a payment is good is
//! decided where it is for calls by plain HTTP.

use axum::body::Bytes;
use http::HeaderMap;
use rialto_channels::Amount;
use rialto_node::{Arguments, CallOutcome, CallStream, ChannelPayment, Lineage, StreamEnd, Terms};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::era::Era;
use super::tools::Tool;
use crate::demand::Demand;
use crate::gateway::Gateway;
use crate::problem::{ErrorCode, Problem};
use crate::record::ReceiptRecord;
use crate::routes::calls::{Asked, Route, Sent, manner_of};
use crate::routes::json_rpc::{INVALID_PARAMS, RpcError};
use crate::routes::refusal::{Refusal, problem};
use crate::x402::payment::{self, Manner, Means, PaymentPayload, Presented};

/// What a call of a tool is made with.
#[derive(Debug, Deserialize)]
pub(super) struct Called {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: Option<Box<RawValue>>,
    #[serde(rename = "_meta", default)]
    pub(super) meta: Meta,
}

/// What a client says beside a call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    #[serde(rename = "x402/payment")]
    payment: Option<Value>,
    /// What the client knows messages on this call's progress by.
    #[serde(rename = "progressToken")]
    pub(super) progress: Option<Value>,
}

/// One tool that is called.
pub(super) struct Call<'a> {
    route: Route<'a>,
    tool: Tool<'a>,
    era: Era,
}

/// What came of a call, or of the beginning of one.
pub(super) enum Answered {
    /// All of it.
    Whole(Value),
    /// Its items come one by one.
    Stream(Box<Streaming>),
}

/// A call whose items come one by one.
pub(super) struct Streaming {
    pub(super) items: CallStream,
    /// What the last message needs.
    closing: Closing,
}

/// What the result of a stream needs when it has ended.
struct Closing {
    teller: crate::routes::answer::Teller,
    manner: Manner,
    known: Amount,
    deposit: Option<ChannelPayment>,
}

impl<'a> Call<'a> {
    pub(super) fn new(gateway: &'a Gateway, headers: &HeaderMap, tool: Tool<'a>, era: Era) -> Self {
        let (service, method) = (&tool.service.name, &tool.method.name);
        let url = format!("mcp://tool/{}", tool.name());
        Self {
            route: Route::new(gateway, headers, service, method).at(url),
            tool,
            era,
        }
    }

    /// Makes the call; item by item if the tool streams and the client wants to hear of them.
    ///
    /// # Errors
    /// For arguments that are no object; everything else is a result.
    pub(super) async fn make(
        &self,
        arguments: Option<&RawValue>,
        meta: &Meta,
        wants_items: bool,
    ) -> Result<Answered, RpcError> {
        let text = arguments.map_or("{}", RawValue::get);
        if !text.trim_start().starts_with('{') {
            let message = "`arguments` has to be an object";
            return Err(RpcError::new(INVALID_PARAMS, message));
        }
        let made = self.answer(text, meta, wants_items).await;
        Ok(made.unwrap_or_else(|refusal| Answered::Whole(self.refused(refusal))))
    }

    async fn answer(
        &self,
        arguments: &str,
        meta: &Meta,
        wants_items: bool,
    ) -> Result<Answered, Refusal> {
        let route = &self.route;
        let bytes = u64::try_from(arguments.len()).unwrap_or(u64::MAX);
        let terms = route.terms(bytes)?;
        let presented = self.presented(meta, &terms)?;
        route.check_open()?;
        let manner = manner_of(presented.as_ref());
        let means = route.means(presented, &terms)?;
        if matches!(means, Some(Means::Refund(_))) {
            let message = "a refund is no call: ask for it by HTTP at the method's own path";
            return Err(Problem::malformed_payment(message).into());
        }
        let sent = Sent {
            arguments: Arguments::Json(Bytes::copy_from_slice(arguments.as_bytes())),
            digest: Sha256::digest(arguments.as_bytes()).into(),
            bytes,
            lineage: Lineage::default(),
        };
        if wants_items && self.tool.method.streams {
            let stream = self.stream(means, manner, &terms, sent).await?;
            return Ok(Answered::Stream(Box::new(stream)));
        }
        let (outcome, known) = route.make(means, &terms, sent).await?;
        let teller = route.teller();
        let closing = Closing {
            teller,
            manner,
            known,
            deposit: None,
        };
        Ok(Answered::Whole(
            closing.told(&outcome, self.tool.answers_object()),
        ))
    }

    async fn stream(
        &self,
        means: Option<Means>,
        manner: Manner,
        terms: &Terms,
        sent: Sent,
    ) -> Result<Streaming, Refusal> {
        let Asked {
            request,
            deposit,
            known,
        } = self.route.asked(means, terms, sent)?;
        let bytes = request.body_bytes;
        let items = self.route.gateway.node.stream(request).await;
        let items = items.map_err(|error| {
            self.route
                .unanswered(error, (terms, bytes), deposit.clone(), known)
        })?;
        let teller = self.route.teller();
        let closing = Closing {
            teller,
            manner,
            known,
            deposit,
        };
        Ok(Streaming { items, closing })
    }

    /// The payment that a message carries, if any.
    fn presented(&self, meta: &Meta, terms: &Terms) -> Result<Option<Presented>, Refusal> {
        let Some(given) = &meta.payment else {
            return Ok(None);
        };
        let malformed = |error: serde_json::Error| Problem::malformed_payment(&error.to_string());
        // Some clients send it as text.
        let payload: PaymentPayload = match given.as_str() {
            Some(text) => serde_json::from_str(text).map_err(malformed)?,
            None => PaymentPayload::deserialize(given).map_err(malformed)?,
        };
        let presented = payment::from_payload(payload);
        presented
            .map(Some)
            .map_err(|error| self.route.unreadable(terms, error))
    }

    /// A refusal as the result of a tool that failed, which agents read.
    fn refused(&self, refusal: Refusal) -> Value {
        match refusal {
            Refusal::Problem(problem) => failed(problem),
            Refusal::Demand(demand) => self.demanded(*demand),
            Refusal::Deposited(problem, settlement) => {
                let mut result = failed(problem);
                result["_meta"][PAYMENT_RESPONSE] = json!(settlement);
                result
            }
        }
    }

    fn demanded(&self, demand: Demand) -> Value {
        let (required, settlement) = demand.into_parts();
        let required = json!(required);
        let by_extension = Era::Stateless {
            pays_by_extension: true,
        };
        let mut result = if self.era == by_extension {
            json!({ "resultType": "payment_required", "paymentRequired": required })
        } else {
            json!({
                "isError": true,
                "content": [{ "type": "text", "text": required.to_string() }],
                "structuredContent": required,
            })
        };
        if let Some(settlement) = settlement {
            result["_meta"] = json!({ PAYMENT_RESPONSE: settlement });
        }
        result
    }
}

impl Streaming {
    /// The result of a stream that ended.
    pub(super) fn result(self, end: StreamEnd) -> Value {
        let StreamEnd { outcome, failure } = end;
        let told = outcome.map(|outcome| self.closing.told(&outcome, false));
        match (told, failure) {
            (Some(told), None) => told,
            (told, failure) => {
                let problem =
                    failure.map_or_else(|| Problem::internal(&"a stream had no end"), problem);
                let mut result = failed(problem);
                match told {
                    // What was delivered before is charged.
                    Some(mut told) => {
                        if let Some(meta) = told["_meta"].as_object_mut() {
                            for (key, value) in std::mem::take(meta) {
                                result["_meta"][key] = value;
                            }
                        }
                    }
                    None => self.closing.tell_deposit(&mut result),
                }
                result
            }
        }
    }
}

impl Closing {
    /// What a call came to. An answer that is no object travels in one.
    fn told(&self, outcome: &CallOutcome, is_object: bool) -> Value {
        let body = serde_json::from_slice(&outcome.body);
        // A stream that broke off has no whole body.
        let body: Value = body.unwrap_or(Value::Null);
        let text = as_text(&body);
        let structured = match is_object {
            true => body,
            false => json!({ "result": body }),
        };
        let mut meta = json!({ "rialto/charged": outcome.charged.to_string() });
        if outcome.payer.is_some() {
            let settlement = self.teller.settlement(outcome, self.known, &self.manner);
            meta[PAYMENT_RESPONSE] = settlement;
        }
        if let Some(receipt) = &outcome.receipt {
            meta["rialto/receipt"] = json!(ReceiptRecord::from(receipt));
        }
        if outcome.replayed {
            meta["rialto/replayed"] = true.into();
        }
        json!({
            "content": [{ "type": "text", "text": text }],
            "structuredContent": structured,
            "_meta": meta,
        })
    }

    /// A deposit that outlived its call.
    fn tell_deposit(&self, result: &mut Value) {
        let deposit = self.deposit.as_ref();
        let settled = deposit.and_then(|payment| self.teller.deposit_alone(payment, self.known));
        if let Some(settlement) = settled {
            result["_meta"][PAYMENT_RESPONSE] = json!(settlement);
        }
    }
}

/// A value for agents to read: a text as it is.
pub(super) fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A problem as a tool's result: agents read the text, programs the code.
pub(super) fn failed(problem: Problem) -> Value {
    let is_ours = problem.code() == ErrorCode::Internal;
    let error = problem.error();
    let message = error["message"].as_str().unwrap_or_default();
    let hint = error["hint"].as_str();
    let details = error.get("details").map(Value::to_string);
    let parts = [Some(message), hint, details.as_deref()];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    if is_ours {
        tracing::error!(%text, "a tool failed by our fault");
    }
    json!({
        "isError": true,
        "content": [{ "type": "text", "text": text }],
        "_meta": { "rialto/error": error },
    })
}

/// Where x402 has what came of a payment.
const PAYMENT_RESPONSE: &str = "x402/payment-response";

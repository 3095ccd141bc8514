//! A call of a tool: its arguments and its payment from the message, its answer as a tool's result.
//!
//! Payments come and go in either of x402's two bindings to MCP: as the result of a tool that failed, which every
//! revision knows, or by the extension of the stateless one. What a call costs and whether a payment is good is
//! decided where it is for calls by plain HTTP.

use axum::body::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::HeaderMap;
use rialto_channels::Amount;
use rialto_node::{
    Arguments, CallOutcome, CallStream, ChannelPayment, Lineage, StreamEnd, StreamPart, Terms,
};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::demand::Demand;
use crate::gateway::Gateway;
use crate::mcp::{Answered, Era, Told, Tool, ToolCall, failed, told};
use crate::problem::Problem;
use crate::record::ReceiptRecord;
use crate::routes::calls::{Asked, Route, Sent, manner_of};
use crate::routes::refusal::{Refusal, problem};
use crate::x402::payment::{self, Manner, Means, PaymentPayload, Presented};

/// One tool that is called.
pub(super) struct Call<'a> {
    route: Route<'a>,
    tool: Tool<'a>,
    asked: ToolCall<'a>,
}

/// A call whose items come one by one.
struct Streaming {
    items: CallStream,
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
    pub(super) fn new(
        gateway: &'a Gateway,
        headers: &HeaderMap,
        tool: Tool<'a>,
        asked: ToolCall<'a>,
    ) -> Self {
        let (service, method) = (&tool.service.name, &tool.method.name);
        let url = format!("mcp://tool/{}", tool.name());
        Self {
            route: Route::new(gateway, headers, service, method).at(url),
            tool,
            asked,
        }
    }

    /// Makes the call; item by item if the tool streams and the client wants to hear of them.
    pub(super) async fn make(&self) -> Answered {
        let made = self.answer().await;
        made.unwrap_or_else(|refusal| Answered::Whole(self.refused(refusal)))
    }

    async fn answer(&self) -> Result<Answered, Refusal> {
        let (route, arguments) = (&self.route, self.asked.arguments);
        let bytes = u64::try_from(arguments.len()).unwrap_or(u64::MAX);
        let terms = route.terms(bytes)?;
        let presented = self.presented(&terms)?;
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
        if self.asked.wants_items && self.tool.method.streams {
            let stream = self.stream(means, manner, &terms, sent).await?;
            return Ok(Answered::Stream(stream.told()));
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
    fn presented(&self, terms: &Terms) -> Result<Option<Presented>, Refusal> {
        let Some(given) = &self.asked.meta.payment else {
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
        let mut result = if self.asked.era == by_extension {
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
    /// Its items as they come, and at last the result.
    fn told(self) -> BoxStream<'static, Told> {
        let told = stream::unfold(Some(self), |streaming| async {
            let mut streaming = streaming?;
            let end = match streaming.items.next().await {
                Some(StreamPart::Item(item)) => return Some((Told::Item(item), Some(streaming))),
                Some(StreamPart::End(end)) => end,
                None => StreamEnd {
                    outcome: None,
                    failure: None,
                },
            };
            Some((Told::Result(streaming.result(end)), None))
        });
        told.boxed()
    }

    /// The result of a stream that ended.
    fn result(self, end: StreamEnd) -> Value {
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
    /// What a call came to.
    fn told(&self, outcome: &CallOutcome, is_object: bool) -> Value {
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
        told(&outcome.body, is_object, meta)
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

/// Where x402 has what came of a payment.
const PAYMENT_RESPONSE: &str = "x402/payment-response";

//! Calls: parameters, payment, answer.
//!
//! The order is chosen so that nobody pays for a call that cannot work: unknown names first, then
//! a payment header that cannot be read, then parameters that do not fit, then the 402. A request
//! without a body is a question about the price and gets its 402 at once.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header as http_header};
use rialto_channels::Amount;
use rialto_node::{
    CallError, CallOutcome, CallRequest, ChannelPayment, Payment, RefundRequest, Terms,
};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::arguments;
use crate::body::Held;
use crate::demand::{self, Demand};
use crate::gateway::Gateway;
use crate::problem::{ErrorCode, Problem};
use crate::record::ReceiptRecord;
use crate::routes::refusal::{Refusal, post_only, problem};
use crate::x402::header::{self, PAYMENT_RESPONSE, PAYMENT_SIGNATURE};
use crate::x402::offer::Resource;
use crate::x402::payment::{self, Means, PaymentHeaderError, Presented};
use crate::x402::settlement::{ChannelState, Settlement};

/// One method of one service, as a request names it.
pub(crate) struct Route<'a> {
    gateway: &'a Gateway,
    service: &'a str,
    method: &'a str,
    url: String,
}

/// The size of the body that a probe asks the price for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Probe {
    #[serde(default)]
    bytes: u64,
}

/// `POST`: the call.
pub(crate) async fn call(
    State(gateway): State<Arc<Gateway>>,
    Path((service, method)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::new(&gateway, &parts.headers, &service, &method);
    let answer = async {
        let empty = route.terms(0)?;
        let presented = route.presented(&parts.headers, &empty)?;
        if let Some(Presented {
            means: Means::Refund(_),
            ..
        }) = &presented
        {
            return route.paid_by(presented, &empty, None).await;
        }
        let held = gateway.bodies.read(&parts.headers, body).await?;
        let bytes = u64::try_from(held.bytes.len()).unwrap_or(u64::MAX);
        let terms = route.terms(bytes)?;
        let content = Content {
            headers: &parts.headers,
            held: &held,
        };
        route.paid_by(presented, &terms, Some(content)).await
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// `GET`: what a call costs; or a refund, which the published clients send by `GET`.
pub(crate) async fn probe(
    State(gateway): State<Arc<Gateway>>,
    Path((service, method)): Path<(String, String)>,
    probe: Result<Query<Probe>, QueryRejection>,
    http_method: Method,
    headers: HeaderMap,
) -> Response {
    let route = Route::new(&gateway, &headers, &service, &method);
    let answer = async {
        let Query(probe) = probe.map_err(|error| {
            Problem::new(ErrorCode::ArgumentsInvalid, error.body_text())
                .hint("`bytes` is the size of the body that the price is asked for")
        })?;
        let terms = route.terms(probe.bytes)?;
        let presented = match http_method {
            Method::HEAD => None,
            _ => route.presented(&headers, &terms)?,
        };
        match presented {
            Some(Presented {
                means: Means::Refund(_),
                ..
            }) => route.paid_by(presented, &terms, None).await,
            Some(_) => Err(post_only("a call is made by POST; nothing was charged").into()),
            None if terms.price.is_zero() => Err(post_only("this method is free")
                .details(json!({"price": "0"}))
                .into()),
            None => Err(route.demand(&terms).into()),
        }
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

struct Content<'a> {
    headers: &'a HeaderMap,
    held: &'a Held,
}

impl<'a> Route<'a> {
    pub(crate) fn new(
        gateway: &'a Gateway,
        headers: &HeaderMap,
        service: &'a str,
        method: &'a str,
    ) -> Self {
        let span = tracing::Span::current();
        span.record("service", service);
        span.record("method", method);
        let base = gateway.base_url(headers);
        Self {
            gateway,
            service,
            method,
            url: format!("{base}/services/{service}/{method}"),
        }
    }

    /// What is sold here.
    pub(crate) fn resource(&self) -> Resource {
        let view = self.gateway.node.service(self.service);
        let description = view.map(|view| view.manifest.description().to_owned());
        let fits = self.service.len() <= SERVICE_NAME_MAX;
        Resource {
            url: self.url.clone(),
            description,
            mime_type: Some("application/json".to_owned()),
            service_name: fits.then(|| self.service.to_owned()),
        }
    }

    fn terms(&self, bytes: u64) -> Result<Terms, Refusal> {
        let terms = self.gateway.node.terms(self.service, self.method, bytes);
        terms.map_err(|error| problem(error).into())
    }

    fn demand(&self, terms: &Terms) -> Demand {
        Demand::unpaid(terms, self.resource(), self.takes_raw_bytes())
    }

    fn takes_raw_bytes(&self) -> bool {
        self.gateway
            .node
            .service(self.service)
            .and_then(|view| {
                let method = view.interface.method(self.method)?;
                Some(method.raw_bytes_param.is_some())
            })
            .unwrap_or(false)
    }

    /// The payment that the request carries, if any.
    fn presented(&self, headers: &HeaderMap, terms: &Terms) -> Result<Option<Presented>, Refusal> {
        let mut values = headers.get_all(PAYMENT_SIGNATURE).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Problem::malformed_payment("there are two of them").into());
        }
        let parsed = payment::parse(value.as_bytes());
        parsed
            .map(Some)
            .map_err(|error| self.unreadable(terms, error))
    }

    fn unreadable(&self, terms: &Terms, error: PaymentHeaderError) -> Refusal {
        match self.demand(terms).header(error) {
            Ok(demand) => demand.into(),
            Err(problem) => problem.into(),
        }
    }

    /// Answers a request whose payment, if any, can be read.
    async fn paid_by(
        &self,
        presented: Option<Presented>,
        terms: &Terms,
        content: Option<Content<'_>>,
    ) -> Result<Response, Refusal> {
        let means = match presented {
            Some(presented) => {
                let is_refund = matches!(presented.means, Means::Refund(_));
                if is_refund || !terms.price.is_zero() {
                    presented
                        .matches(terms)
                        .map_err(|mismatch| self.demand(terms).mismatch(&mismatch))?;
                }
                Some(presented.means)
            }
            None => None,
        };
        match (means, content) {
            (Some(Means::Refund(request)), _) => self.refund(*request, terms).await,
            (means, Some(content)) => self.answer(means, terms, content).await,
            (_, None) => Err(self.demand(terms).into()),
        }
    }

    async fn answer(
        &self,
        means: Option<Means>,
        terms: &Terms,
        content: Content<'_>,
    ) -> Result<Response, Refusal> {
        let bytes = &content.held.bytes;
        if means.is_none() && bytes.is_empty() && !terms.price.is_zero() {
            return Err(self.demand(terms).into());
        }
        let takes_raw = self.takes_raw_bytes();
        let arguments = arguments::read(content.headers, bytes, takes_raw).await?;
        let payment = match means {
            _ if terms.price.is_zero() => Payment::None,
            Some(Means::Channel(payment)) => Payment::Channel(payment),
            Some(Means::Exact(payment)) => Payment::Exact(payment),
            Some(Means::Refund(_)) | None => {
                self.gateway
                    .node
                    .check_arguments(self.service, self.method, &arguments)
                    .map_err(problem)?;
                return Err(self.demand(terms).into());
            }
        };
        let deposit = deposit_of(&payment);
        let known = known_to_payer(&payment, terms);
        let request = CallRequest {
            service: self.service.to_owned(),
            method: self.method.to_owned(),
            arguments,
            body_digest: Sha256::digest(bytes).into(),
            body_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            payment,
        };
        match self.gateway.node.call(request).await {
            Ok(outcome) => Ok(self.result(&outcome, known)),
            Err(CallError::Payment(error)) => Err(self
                .demand(terms)
                .refused(error, self.gateway.network())
                .into()),
            Err(CallError::Service(error)) => Err(self.failed(error.into(), deposit, known)),
            Err(error) => Err(problem(error).into()),
        }
    }

    /// A service that failed: if a deposit came with the call it was made first, and its payer
    /// must hear of it.
    fn failed(&self, problem: Problem, deposit: Option<ChannelPayment>, known: Amount) -> Refusal {
        let settled = deposit.and_then(|payment| {
            let channel = self.gateway.node.channel(payment.channel)?;
            let amount = payment.deposit?.amount;
            let network = self.gateway.network();
            Some(Settlement::of_deposit_alone(
                &channel, amount, known, network,
            ))
        });
        match settled {
            Some(settlement) => Refusal::Deposited(problem, Box::new(settlement)),
            None => problem.into(),
        }
    }

    fn result(&self, outcome: &CallOutcome, known: Amount) -> Response {
        let mut response = (StatusCode::OK, outcome.body.clone()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            http_header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(
            http_header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
        if outcome.payer.is_some() {
            let settlement = Settlement::of_call(outcome, known, self.gateway.network());
            demand::insert(headers, PAYMENT_RESPONSE, &settlement);
        }
        if let Some(receipt) = &outcome.receipt {
            let record = ReceiptRecord::from(receipt);
            demand::insert(headers, header::RIALTO_RECEIPT, &record);
        }
        if outcome.replayed {
            let replayed = HeaderValue::from_static("true");
            headers.insert(header::RIALTO_REPLAYED, replayed);
        }
        response
    }

    async fn refund(&self, request: RefundRequest, terms: &Terms) -> Result<Response, Refusal> {
        match self.gateway.node.refund(request).await {
            Ok(outcome) => {
                let settlement = Settlement::of_refund(&outcome, self.gateway.network());
                let body = json!({
                    "refunded": outcome.amount.to_string(),
                    "transaction": outcome.transaction,
                    "channel": ChannelState::new(&outcome.channel),
                });
                let mut response = (StatusCode::OK, axum::Json(body)).into_response();
                let headers = response.headers_mut();
                demand::insert(headers, PAYMENT_RESPONSE, &settlement);
                headers.insert(
                    http_header::CACHE_CONTROL,
                    HeaderValue::from_static("private, no-store"),
                );
                Ok(response)
            }
            Err(CallError::Payment(error)) => Err(self
                .demand(terms)
                .refused(error, self.gateway.network())
                .into()),
            Err(error) => Err(problem(error).into()),
        }
    }
}

fn deposit_of(payment: &Payment) -> Option<ChannelPayment> {
    match payment {
        Payment::Channel(payment) if payment.deposit.is_some() => Some((**payment).clone()),
        Payment::Channel(_) | Payment::Exact(_) | Payment::None => None,
    }
}

/// What the payer knew to be charged when it signed: clients sign for that and the offered amount.
fn known_to_payer(payment: &Payment, terms: &Terms) -> Amount {
    match payment {
        Payment::Channel(payment) => payment
            .voucher
            .voucher
            .ceiling
            .checked_sub(terms.ceiling)
            .unwrap_or_default(),
        Payment::Exact(_) | Payment::None => Amount::ZERO,
    }
}

/// The longest service name that clients take in a 402.
const SERVICE_NAME_MAX: usize = 32;

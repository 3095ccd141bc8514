//! Calls: parameters, payment, answer.
//!
//! The order is chosen so that nobody pays for a call that cannot work: unknown names first, then
//! a payment header that cannot be read, then parameters that do not fit, then the 402. A request
//! without a body is a question about the price and gets its 402 at once.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method};
use rialto_channels::Amount;
use rialto_node::{
    Arguments, CallError, CallOutcome, CallRequest, ChannelPayment, Lineage, Payment, Terms,
};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::arguments;
use crate::body::Held;
use crate::demand::Demand;
use crate::gateway::Gateway;
use crate::lineage;
use crate::problem::{ErrorCode, Problem};
use crate::routes::refusal::{Refusal, post_only, problem};
use crate::routes::streams::wants_events;
use crate::x402::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use crate::x402::offer::Resource;
use crate::x402::payment::{self, Manner, Means, PaymentHeaderError, Presented};

/// One method of one service, as a request names it.
pub(crate) struct Route<'a> {
    pub(super) gateway: &'a Gateway,
    service: &'a str,
    method: &'a str,
    pub(super) url: String,
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
        route.check_open()?;
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
        let is_refund = |it: &Presented| matches!(it.means, Means::Refund(_));
        if !presented.as_ref().is_some_and(is_refund) {
            route.check_open()?;
        }
        match presented {
            Some(presented) if is_refund(&presented) => {
                route.paid_by(Some(presented), &terms, None).await
            }
            Some(_) => Err(post_only("a call is made by POST; nothing was charged").into()),
            None if terms.price.is_zero() => Err(post_only("this method is free")
                .details(json!({"price": "0"}))
                .into()),
            None => Err(route.demand(&terms).for_auditors().into()),
        }
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// What a call is made with.
pub(super) struct Sent {
    pub(super) arguments: Arguments,
    /// SHA-256 of what names the request.
    pub(super) digest: [u8; 32],
    /// What the price counts.
    pub(super) bytes: u64,
    /// For whom it is made.
    pub(super) lineage: Lineage,
}

/// A call that is to be made.
pub(super) struct Asked {
    pub(super) request: CallRequest,
    /// The payment, if it comes with a deposit.
    pub(super) deposit: Option<ChannelPayment>,
    /// What its payer knew to be charged before.
    pub(super) known: Amount,
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

    /// The handler of a service of `wasi:http`.
    pub(super) fn of_handler(gateway: &'a Gateway, headers: &HeaderMap, service: &'a str) -> Self {
        let base = gateway.base_url(headers);
        Self {
            url: format!("{base}/http/{service}"),
            ..Self::new(gateway, headers, service, "handle")
        }
    }

    /// The same method under another URL.
    pub(super) fn at(mut self, url: String) -> Self {
        self.url = url;
        self
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

    pub(super) fn terms(&self, bytes: u64) -> Result<Terms, Refusal> {
        let terms = self.gateway.node.terms(self.service, self.method, bytes);
        terms.map_err(|error| problem(error).into())
    }

    /// Refuses a call of a service that takes none now: before its body is read, and before its caller
    /// signs for a price.
    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        let open = self.gateway.node.check_open(self.service);
        open.map_err(|error| problem(error).into())
    }

    pub(super) fn demand(&self, terms: &Terms) -> Demand {
        let demand = Demand::unpaid(terms, self.resource(), self.takes_raw_bytes());
        let signed = &self.gateway.signed_offers;
        let offers = signed.extension(&self.gateway.node, demand.required());
        demand.signed(offers)
    }

    fn takes_raw_bytes(&self) -> bool {
        self.method_is(|method| method.raw_bytes_param.is_some())
    }

    /// Whether the method, if it is there, has a property.
    pub(super) fn method_is(&self, has: impl FnOnce(&rialto_node::Method) -> bool) -> bool {
        let view = self.gateway.node.service(self.service);
        view.is_some_and(|view| view.interface.method(self.method).is_some_and(has))
    }

    /// The payment that the request carries, if any.
    pub(super) fn presented(
        &self,
        headers: &HeaderMap,
        terms: &Terms,
    ) -> Result<Option<Presented>, Refusal> {
        let parsed = match (only(headers, PAYMENT_SIGNATURE)?, only(headers, X_PAYMENT)?) {
            (None, None) => return Ok(None),
            (Some(value), None) => payment::parse(value.as_bytes()),
            (None, Some(value)) => payment::parse_version1(value.as_bytes(), terms.payee.token),
            (Some(_), Some(_)) => {
                let both = "the request has a payment of each version; send one of them";
                return Err(Problem::malformed_payment(both).into());
            }
        };
        parsed
            .map(Some)
            .map_err(|error| self.unreadable(terms, error))
    }

    /// The answer to a payment that cannot be used.
    pub(super) fn unreadable(&self, terms: &Terms, error: PaymentHeaderError) -> Refusal {
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
        let manner = manner_of(presented.as_ref());
        let means = self.means(presented, terms)?;
        match (means, content) {
            (Some(Means::Refund(request)), _) => self.refund(*request, terms).await,
            (means, Some(content)) => self.answer(means, manner, terms, content).await,
            (_, None) => Err(self.demand(terms).into()),
        }
    }

    /// How a request pays, if that is for these terms.
    pub(super) fn means(
        &self,
        presented: Option<Presented>,
        terms: &Terms,
    ) -> Result<Option<Means>, Refusal> {
        match presented {
            Some(presented) => {
                let is_refund = matches!(presented.means, Means::Refund(_));
                if is_refund || !terms.price.is_zero() {
                    presented
                        .matches(terms)
                        .map_err(|mismatch| self.demand(terms).mismatch(&mismatch))?;
                }
                Ok(Some(presented.means))
            }
            None => Ok(None),
        }
    }

    async fn answer(
        &self,
        means: Option<Means>,
        manner: Manner,
        terms: &Terms,
        content: Content<'_>,
    ) -> Result<Response, Refusal> {
        let bytes = &content.held.bytes;
        if means.is_none() && bytes.is_empty() && !terms.price.is_zero() {
            return Err(self.demand(terms).into());
        }
        let takes_raw = self.takes_raw_bytes();
        let sent = Sent {
            arguments: arguments::read(content.headers, bytes, takes_raw).await?,
            digest: Sha256::digest(bytes).into(),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            lineage: lineage::read(content.headers)?,
        };
        if wants_events(content.headers) && self.streams() {
            return self.events(means, manner, terms, sent).await;
        }
        let (outcome, known) = self.make(means, terms, sent).await?;
        Ok(self.result(&outcome, known, manner))
    }

    /// Makes a call. With what its payer knew to be charged before.
    pub(super) async fn make(
        &self,
        means: Option<Means>,
        terms: &Terms,
        sent: Sent,
    ) -> Result<(CallOutcome, Amount), Refusal> {
        let Asked {
            request,
            deposit,
            known,
        } = self.asked(means, terms, sent)?;
        let bytes = request.body_bytes;
        let answered = self.gateway.node.call(request).await;
        let outcome =
            answered.map_err(|error| self.unanswered(error, (terms, bytes), deposit, known))?;
        Ok((outcome, known))
    }

    /// The call that a request asks for.
    pub(super) fn asked(
        &self,
        means: Option<Means>,
        terms: &Terms,
        sent: Sent,
    ) -> Result<Asked, Refusal> {
        let payment = match means {
            _ if terms.price.is_zero() => Payment::None,
            Some(Means::Channel(payment)) => Payment::Channel(payment),
            Some(Means::Exact(payment)) => Payment::Exact(payment),
            Some(Means::Refund(_)) | None => {
                self.gateway
                    .node
                    .check_arguments(self.service, self.method, &sent.arguments)
                    .map_err(problem)?;
                return Err(self.demand(terms).into());
            }
        };
        let deposit = deposit_of(&payment);
        let known = known_to_payer(&payment, terms);
        let request = CallRequest {
            service: self.service.to_owned(),
            method: self.method.to_owned(),
            arguments: sent.arguments,
            body_digest: sent.digest,
            body_bytes: sent.bytes,
            price_max: terms.price,
            payment,
            lineage: sent.lineage,
        };
        Ok(Asked {
            request,
            deposit,
            known,
        })
    }

    /// The answer to a call that failed.
    pub(super) fn unanswered(
        &self,
        error: CallError,
        (terms, bytes): (&Terms, u64),
        deposit: Option<ChannelPayment>,
        known: Amount,
    ) -> Refusal {
        match error {
            CallError::Payment(error) => self
                .demand(terms)
                .refused(error, self.gateway.network())
                .into(),
            // A new version costs more: its terms are for the payer to accept.
            CallError::Repriced { .. } => match self.terms(bytes) {
                Ok(terms) => self.demand(&terms).into(),
                Err(refusal) => refusal,
            },
            CallError::Service(error) => self.failed(error.into(), deposit, known),
            other @ (CallError::UnknownService { .. }
            | CallError::NotServing { .. }
            | CallError::UnknownMethod { .. }
            | CallError::Arguments(_)
            | CallError::Conflict(_)
            | CallError::StreamEnded { .. }
            | CallError::Overloaded { .. }
            | CallError::TooManyFailures { .. }
            | CallError::Unavailable { .. }) => problem(other).into(),
        }
    }
}

/// In which version of the protocol to answer: the payment's own, else the current one.
pub(super) fn manner_of(presented: Option<&Presented>) -> Manner {
    presented.map_or_else(Manner::default, |presented| presented.manner)
}

/// A header that may be there once.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::malformed_payment("there are two of them").into());
    }
    Ok(first)
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
            .saturating_sub(terms.ceiling),
        Payment::Exact(_) | Payment::None => Amount::ZERO,
    }
}

/// The longest service name that clients take in a 402.
const SERVICE_NAME_MAX: usize = 32;

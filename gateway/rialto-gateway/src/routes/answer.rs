//! What a call or a refund is answered with once the node has decided.
//!
//! Not here: reading the request (`calls`), or refusals without a settlement (`refusal`).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header as http_header};
use rialto_channels::Amount;
use rialto_node::{CallError, CallOutcome, ChannelPayment, Node, RefundRequest, Terms};
use serde_json::{Map, Value, json};

use crate::demand;
use crate::problem::Problem;
use crate::record::ReceiptRecord;
use crate::routes::calls::Route;
use crate::routes::refusal::{Refusal, problem};
use crate::x402::header::{self, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use crate::x402::payment::Manner;
use crate::x402::settlement::{ChannelState, Settlement};
use crate::x402::{Network, Version, offer_receipt, version1};

impl Route<'_> {
    /// A service that failed: if a deposit came with the call it was made first, and its payer
    /// must hear of it.
    pub(super) fn failed(
        &self,
        problem: Problem,
        deposit: Option<ChannelPayment>,
        known: Amount,
    ) -> Refusal {
        let settled = deposit.and_then(|payment| self.teller().deposit_alone(&payment, known));
        match settled {
            Some(settlement) => Refusal::Deposited(problem, Box::new(settlement)),
            None => problem.into(),
        }
    }

    pub(super) fn result(&self, outcome: &CallOutcome, known: Amount, manner: Manner) -> Response {
        self.result_as(outcome, known, manner, outcome.body.clone())
    }

    /// The same with the answer in other words.
    pub(super) fn result_as(
        &self,
        outcome: &CallOutcome,
        known: Amount,
        manner: Manner,
        body: Bytes,
    ) -> Response {
        let mut response = (StatusCode::OK, body).into_response();
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
            let settlement = self.teller().settlement(outcome, known, &manner);
            let name = match manner.version {
                Version::One => X_PAYMENT_RESPONSE,
                Version::Two => PAYMENT_RESPONSE,
            };
            demand::insert(headers, name, &settlement);
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

    /// Tells what came of payments here.
    pub(super) fn teller(&self) -> Teller {
        Teller {
            node: self.gateway.node.clone(),
            url: self.url.clone(),
        }
    }

    pub(super) async fn refund(
        &self,
        request: RefundRequest,
        terms: &Terms,
    ) -> Result<Response, Refusal> {
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

/// Tells what came of the payments of one method, also when its route is gone.
pub(super) struct Teller {
    node: Node,
    url: String,
}

impl Teller {
    /// What came of a payment, in the version that it came in.
    pub(super) fn settlement(
        &self,
        outcome: &CallOutcome,
        known: Amount,
        manner: &Manner,
    ) -> Value {
        let network = self.network();
        let mut settlement = Settlement::of_call(outcome, known, network);
        if manner.version == Version::One {
            return json!(version1::settlement(&settlement, network));
        }
        if manner.offer_receipt
            && let Some(signed) =
                offer_receipt::receipt_extension(&self.node, &settlement, &self.url)
        {
            let mut extensions = Map::new();
            extensions.insert(offer_receipt::KEY.to_owned(), signed);
            settlement.extensions = Some(extensions);
        }
        json!(settlement)
    }

    /// What came of a deposit whose call was not charged.
    pub(super) fn deposit_alone(
        &self,
        payment: &ChannelPayment,
        known: Amount,
    ) -> Option<Settlement> {
        let channel = self.node.channel(payment.channel)?;
        let amount = payment.deposit.as_ref()?.amount;
        let network = self.network();
        Some(Settlement::of_deposit_alone(
            &channel, amount, known, network,
        ))
    }

    fn network(&self) -> Network {
        Network(self.node.payee().chain_id)
    }
}

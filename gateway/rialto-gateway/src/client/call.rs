//! A call that is paid for: sign, send, account for what came back.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rialto_channels::payer::Corrective;
use rialto_channels::{Amount, ChannelConfig, ChannelId, OnChainView, SignedVoucher};
use rialto_node::Deposit;
use serde_json::{Map, Value, json};

use super::account::Source;
use super::channel::Channel;
use super::lanes::Lane;
use super::listen::{Heard, Listener};
use super::order::{Placed, Placing};
use super::quote::Offer;
use super::reading::{self, Correction, amount, cumulative, receipt, settlement};
use super::receipts::{Arrived, Expected};
use super::send::{Reply, Request, Sent};
use super::store::places::Keep;
use super::ticket::Ticket;
use super::{Answer, Body, ClientError, PayingClient, Quote, ReceiptFault};
use crate::x402::payment::{ChannelConfigWire, DepositWire, PaymentPayload, VoucherWire};
use crate::x402::settlement::ChannelState;
use crate::x402::{VERSION, header, identifier};

/// How often one call adopts the host's count: calls that overlap can need it more than once.
const RESYNCS_MAX: u32 = 6;

/// What becomes of a call, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// What the budget should keep of the price: all of it while nobody knows.
    spent: Amount,
    pub(super) fate: Fate,
}

/// Whether the host has seen a call, and what it made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not sent.
    #[default]
    Unsent,
    /// It cannot have arrived.
    Unreached,
    /// It may have been carried out.
    Lost,
    /// The host said no.
    Refused {
        status: StatusCode,
        /// The gateway's stable code.
        code: String,
        /// When to come again, if it says.
        retry_after: Option<Duration>,
    },
    /// It was answered.
    Answered,
}

/// What is paid for, by which terms, and under which name.
struct Paying<'a> {
    quote: &'a Quote,
    offer: &'a Offer,
    name: &'a str,
}

/// A call that was answered as paid.
struct Paid<'a> {
    offer: &'a Offer,
    ticket: Ticket,
    reply: Reply,
    /// The host may have seen the request more than once.
    repeated: bool,
}

/// Once a call was sent its answer is what matters: a count that cannot be kept is told of, not instead of it. What
/// stays held of a budget is given back by nobody; the host corrects a channel that was not saved.
fn noted<E: std::fmt::Display>(kept: Result<(), E>) {
    if let Err(error) = kept {
        tracing::error!(%error, "what a call cost could not be written down");
    }
}

impl PayingClient {
    /// Makes the call that was quoted, and pays for it.
    ///
    /// When the answer is lost on the way the request is sent again under the same name, so that
    /// it runs and is charged once.
    ///
    /// # Errors
    /// [`ClientError`]; except after [`ClientError::Transport`] and [`ClientError::Protocol`],
    /// nothing was charged.
    pub async fn call(&self, quote: &Quote, body: &Body) -> Result<Answer, ClientError> {
        let name = payment_name();
        let course = &mut Course::default();
        self.call_with(quote, Request::whole(body), &name, course)
            .await
    }

    /// As [`call`](Self::call), and hands the items of an answer over as they come, where the method
    /// streams. How long it may take is bounded by the host's limits; how long nothing may come by
    /// [`Config::timeout`](super::Config::timeout).
    ///
    /// An answer that breaks off is asked for again under the same name: the host gives what it had
    /// delivered, which is what it charged.
    ///
    /// # Errors
    /// As [`call`](Self::call). An answer that ended early and was charged in part is no error:
    /// [`Answer::broke_off`] tells of it.
    pub async fn stream(
        &self,
        quote: &Quote,
        body: &Body,
        mut each: impl FnMut(Heard<'_>) + Send,
    ) -> Result<Answer, ClientError> {
        let request = Request {
            listener: Some(Listener::new(&mut each)),
            ..Request::whole(body)
        };
        let (name, course) = (payment_name(), &mut Course::default());
        self.call_with(quote, request, &name, course).await
    }

    /// As [`call`](Self::call), under this payment's name, and tells what became of it.
    pub(super) async fn call_with(
        &self,
        quote: &Quote,
        mut request: Request<'_>,
        name: &str,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        let Some(offer) = &quote.offer else {
            return self.call_free(quote, &mut request, course).await;
        };
        let paying = Paying { quote, offer, name };
        let Some(allowance) = request.allowance else {
            return self.call_paid(&paying, &mut request, course).await;
        };
        let held = allowance.reserve(quote.price).await?;
        request.sent.push(held.sent());
        let answer = self.call_paid(&paying, &mut request, course).await;
        noted(held.settle(counted(&request, course.spent)).await);
        answer
    }

    async fn call_paid(
        &self,
        paying: &Paying<'_>,
        request: &mut Request<'_>,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        let purse = &self.inner.purse;
        let provider = paying.offer.config.receiver;
        let reservation = purse.reserve(provider, paying.quote.price).await?;
        let reservation = purse.guard(reservation);
        request.sent.push(reservation.sent());
        let (lane, is_repeated) = match self.lane_of(paying.offer, request.order).await {
            Ok(found) => found,
            Err(error) => {
                reservation.settle(Amount::ZERO).await?;
                return Err(error);
            }
        };
        request.is_repeated = is_repeated;
        let answer = self
            .call_kept(lane.channel(), paying, request, course)
            .await;
        noted(reservation.settle(counted(request, course.spent)).await);
        noted(purse.add(provider, lane.channel().uncounted()).await);
        answer
    }

    /// The channel that a request is paid on, and whether it may have been sent there before: an order stays where it
    /// was placed.
    async fn lane_of(
        &self,
        offer: &Offer,
        placing: Option<Placing<'_>>,
    ) -> Result<(Lane, bool), ClientError> {
        let Some(Placing { order, provider }) = placing else {
            return Ok((self.lane(offer).await?, false));
        };
        let before = order.placed();
        let before = before.filter(|placed| placed.provider == provider);
        let lane = match &before {
            Some(placed) => self.lane_again(offer, ChannelId(placed.channel)).await?,
            None => self.lane(offer).await?,
        };
        let placed = Placed {
            provider: provider.to_owned(),
            channel: lane.channel().id().0,
        };
        let is_new = order.place(placed)?;
        Ok((lane, !is_new))
    }

    async fn call_kept(
        &self,
        channel: &Arc<Channel>,
        paying: &Paying<'_>,
        request: &mut Request<'_>,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        let mut answer = self.call_on(channel, paying, request, course).await;
        if let Ok(answer) = &mut answer
            && answer
                .receipt_fault
                .as_ref()
                .is_none_or(|fault| !fault.is_breach())
        {
            answer.receipt_fault = channel.unexplained().or(answer.receipt_fault.take());
        }
        match &answer {
            Ok(Answer {
                receipt_fault: Some(fault),
                receipt,
                charged,
                ..
            }) if fault.is_breach() => {
                noted(channel.condemn(&fault.to_string(), receipt.as_ref(), Some(*charged)));
            }
            Err(ClientError::Fault(fault)) => {
                noted(channel.condemn(&fault.to_string(), None, None));
            }
            Ok(_) | Err(_) => {}
        }
        let keep = match &answer {
            Ok(answer) if answer.deposit.is_none() && channel.fault().is_none() => Keep::Soon,
            // Nobody else tells what was deposited, or what a host did wrong.
            Ok(_) | Err(_) => Keep::Now,
        };
        noted(channel.save(keep).await);
        answer
    }

    async fn call_on(
        &self,
        channel: &Arc<Channel>,
        paying: &Paying<'_>,
        request: &mut Request<'_>,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        let &Paying { quote, offer, name } = paying;
        let url = self.url(&quote.service, &quote.method);
        let mut resyncs = 0;
        let mut in_doubt = request.is_repeated;
        loop {
            if channel.is_stale() {
                let view = self.view(channel).await?;
                channel.viewed(&view, self.source());
            }
            channel.refuse_broken()?;
            if request.listener.as_ref().is_some_and(Listener::is_gone) {
                // Nobody waits for it: it is not sent, or not again.
                return Err(ClientError::Left);
            }
            let now = self.now(channel, offer).await?;
            let (wallet, purse) = (self.inner.wallet.as_ref(), &self.inner.purse);
            let mut ticket = channel.sign(offer, wallet, purse, now).await?;
            let payment = header::encode(&payload(offer, channel.config(), &ticket, name))?;
            written(channel, request.order).await?;
            ticket.sending();
            request.is_sent();
            *course = Course::sent(quote.price);
            let (reply, repeated) = match self.send(&url, request, Some(payment)).await {
                Sent::Reply(reply, repeated) => (reply, repeated),
                sent @ (Sent::Lost(_) | Sent::Unreached(_) | Sent::TooLong { .. }) => {
                    return Err(ended(sent, ticket, in_doubt, course));
                }
            };
            if reply.status == StatusCode::OK {
                let paid = Paid {
                    offer,
                    ticket,
                    reply,
                    repeated: repeated || request.is_repeated,
                };
                course.fate = Fate::Answered;
                let answer = self.answered(channel, quote, request.body, paid)?;
                course.spent = answer.charged.min(quote.price);
                return Ok(answer);
            }
            in_doubt |= repeated;
            if reply.status != StatusCode::PAYMENT_REQUIRED {
                return Err(refused(ticket, &reply, in_doubt, course));
            }
            if in_doubt {
                // An earlier request may have been carried out, whatever the host asks for now.
                ticket.lost();
            } else {
                ticket.failed();
                *course = Course::not_charged(reply.fate());
            }
            match reading::correction(&reply)? {
                Correction::Resync(state, seen) if resyncs < RESYNCS_MAX => {
                    resyncs += 1;
                    self.resync(channel, state.as_ref(), &seen).await?;
                }
                Correction::Reread if resyncs < RESYNCS_MAX => {
                    resyncs += 1;
                    channel.mark_stale();
                }
                Correction::Resync(..) | Correction::Reread => {
                    return Err(ClientError::Payment {
                        code: "resync".to_owned(),
                        message: "the host's count keeps changing".to_owned(),
                    });
                }
                Correction::Refused(error) => return Err(error),
            }
        }
    }

    /// Adopts the host's count. The chain is asked where it can be; else the host's word for what
    /// the contract holds will do, because our signature bounds the count.
    pub(super) async fn resync(
        &self,
        channel: &Channel,
        state: Option<&Corrective>,
        seen: &ChannelState,
    ) -> Result<(), ClientError> {
        let (view, source) = match self.view(channel).await {
            Ok(view) => (view, self.source()),
            Err(error) => {
                tracing::debug!(%error, "taking the host's word for the channel's balance");
                (reading::said(seen)?, Source::Hosts)
            }
        };
        channel.resync(state, &view, source)
    }

    /// Who chose the endpoint that the chain is read from.
    pub(super) fn source(&self) -> Source {
        match self.inner.config.rpc_url {
            Some(_) => Source::Own,
            None => Source::Hosts,
        }
    }

    pub(super) async fn view(&self, channel: &Channel) -> Result<OnChainView, ClientError> {
        let rpc = self.rpc(channel).await?;
        rpc.channel(channel.id(), channel.config()).await
    }

    fn answered(
        &self,
        channel: &Channel,
        quote: &Quote,
        body: &Body,
        paid: Paid<'_>,
    ) -> Result<Answer, ClientError> {
        let Paid {
            offer,
            mut ticket,
            reply,
            repeated,
        } = paid;
        let settlement = settlement(&reply)?.ok_or_else(|| {
            ClientError::Protocol("a paid answer without a PAYMENT-RESPONSE header".to_owned())
        })?;
        let extra = settlement.extra.unwrap_or_default();
        let charged = amount(extra.charged_amount.as_deref().unwrap_or("0"))?;
        let transaction = settlement.transaction.parse().ok();
        let deposit = ticket.deposited()?.map(|amount| (amount, transaction));
        // A host cannot have answered before what it was sent once.
        let replayed = repeated && reply.headers.contains_key(header::RIALTO_REPLAYED);
        let expected = Expected {
            host: offer.config.receiver_authorizer,
            channel: channel.id(),
            payer: self.payer(),
            chain_id: channel.chain_id(),
            token: channel.config().token,
            service: &quote.service,
            method: &quote.method,
            request: &body.bytes,
            response: &reply.body,
            charged,
        };
        let receipt = receipt(&reply);
        let checked = match &receipt {
            // Whatever receipt there is, or none.
            _ if charged > quote.price => Err(ReceiptFault::AboveQuote {
                quoted: quote.price,
                charged,
            }),
            Ok(receipt) => expected.check(receipt),
            Err(fault) => Err(fault.clone()),
        };
        // The host signed the channel's count in the receipt; what the header says is not signed.
        let cumulative = match (&receipt, &checked) {
            (Ok(receipt), Ok(())) => Some(receipt.receipt.after),
            _ => cumulative(extra.channel_state.as_ref())?,
        };
        let receipt = receipt.ok();
        let arrived = receipt.as_ref().filter(|_| checked.is_ok());
        let arrived = arrived.map(|signed| Arrived {
            signed: signed.clone(),
            again: replayed,
        });
        let unlinked = ticket.charged(charged, cumulative, arrived)?;
        let receipt_fault = checked.err().or(unlinked);
        Ok(Answer {
            body: reply.body,
            charged,
            deposit,
            channel: Some(channel.state()),
            receipt,
            receipt_fault,
            replayed,
            items: reply.items,
            broke_off: reply.broke_off,
        })
    }

    async fn call_free(
        &self,
        quote: &Quote,
        request: &mut Request<'_>,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        let url = self.url(&quote.service, &quote.method);
        let sent = self.send(&url, request, None).await;
        course.fate = match &sent {
            Sent::Reply(reply, _) => reply.fate(),
            Sent::Lost(_) | Sent::TooLong { .. } => Fate::Lost,
            Sent::Unreached(_) => Fate::Unreached,
        };
        match sent {
            Sent::Reply(reply, _) if reply.status == StatusCode::OK => Ok(Answer {
                receipt: receipt(&reply).ok(),
                body: reply.body,
                charged: Amount::ZERO,
                deposit: None,
                channel: None,
                receipt_fault: None,
                replayed: false,
                items: reply.items,
                broke_off: reply.broke_off,
            }),
            Sent::Reply(reply, _) if reply.status == StatusCode::PAYMENT_REQUIRED => {
                Err(ClientError::Payment {
                    code: "payment_required".to_owned(),
                    message: "the method is not free any more; ask for a new quote".to_owned(),
                })
            }
            Sent::Reply(reply, _) => Err(reply.refusal()),
            Sent::Lost(error) | Sent::Unreached(error) => Err(error),
            Sent::TooLong { limit } => Err(too_long(limit)),
        }
    }
}

/// Waits until what is about to be sent is durable: what was signed, and whom an order goes to.
async fn written(channel: &Channel, placing: Option<Placing<'_>>) -> Result<(), ClientError> {
    let placed = async {
        match placing {
            Some(Placing { order, .. }) => Ok(order.durable().await?),
            None => Ok(()),
        }
    };
    tokio::try_join!(channel.save(Keep::Now), placed).map(drop)
}

/// What a budget keeps of a call's price: nothing of one that was sent before, whose whole price it kept then.
const fn counted(request: &Request<'_>, spent: Amount) -> Amount {
    match request.is_repeated {
        true => Amount::ZERO,
        false => spent,
    }
}

/// A service's answer that was not read to its end.
fn too_long(limit: u64) -> ClientError {
    ClientError::AnswerTooLong { limit }
}

fn payload(offer: &Offer, config: &ChannelConfig, ticket: &Ticket, name: &str) -> PaymentPayload {
    let mut payment = wire_payment(offer, config, ticket.voucher(), ticket.deposit());
    let mut extensions = Map::new();
    extensions.insert(identifier::KEY.to_owned(), identifier::with_id(name));
    payment.extensions = Some(extensions);
    payment
}

fn wire_payment(
    offer: &Offer,
    config: &ChannelConfig,
    voucher: &SignedVoucher,
    deposit: Option<&Deposit>,
) -> PaymentPayload {
    let mut payload = json!({
        "type": if deposit.is_some() { "deposit" } else { "voucher" },
        "channelConfig": ChannelConfigWire::new(config),
        "voucher": VoucherWire::new(voucher),
    });
    if let Some(deposit) = deposit {
        payload["deposit"] = json!(DepositWire::new(deposit, config, voucher.voucher.channel));
    }
    envelope(offer, payload)
}

/// The envelope of a payment for this offer.
pub(super) fn envelope(offer: &Offer, payload: Value) -> PaymentPayload {
    PaymentPayload {
        x402_version: VERSION,
        payload,
        accepted: offer.accepted.clone(),
        extensions: None,
    }
}

impl Course {
    /// Whether the host wanted another payment, and has done nothing.
    pub(super) fn is_not_for_that(&self) -> bool {
        matches!(&self.fate, Fate::Refused { status, .. } if *status == StatusCode::PAYMENT_REQUIRED)
    }

    /// Until the host answers, nobody knows.
    fn sent(price: Amount) -> Self {
        Self {
            spent: price,
            fate: Fate::Lost,
        }
    }

    fn not_charged(fate: Fate) -> Self {
        Self {
            spent: Amount::ZERO,
            fate,
        }
    }
}

/// What a request that got no answer came to.
fn ended(sent: Sent, ticket: Ticket, in_doubt: bool, course: &mut Course) -> ClientError {
    match sent {
        Sent::Unreached(error) if !in_doubt => {
            ticket.failed();
            *course = Course::not_charged(Fate::Unreached);
            error
        }
        Sent::Lost(error) | Sent::Unreached(error) => {
            ticket.lost();
            error
        }
        Sent::TooLong { limit } => {
            ticket.lost();
            too_long(limit)
        }
        Sent::Reply(reply, _) => reply.refusal(),
    }
}

/// A refusal that is not about the payment: nothing was charged, but a deposit may have been made.
fn refused(mut ticket: Ticket, reply: &Reply, in_doubt: bool, course: &mut Course) -> ClientError {
    let settled = matches!(settlement(reply), Ok(Some(settlement)) if settlement.success);
    if settled && let Err(error) = ticket.deposited() {
        return error;
    }
    // Only the service's own word shows that the host looked for a kept answer, and had none.
    let says_nothing = in_doubt && reply.status != StatusCode::UNPROCESSABLE_ENTITY;
    if reply.status == StatusCode::CONFLICT || reply.is_anothers() || says_nothing {
        // The payment may have been charged before, under an answer that is no longer kept, or that nobody
        // looked for; or the answer is not the host's, and what the host did is unknown.
        ticket.lost();
    } else {
        ticket.failed();
        *course = Course::not_charged(reply.fate());
    }
    reply.refusal()
}

/// A fresh name for a payment.
pub(super) fn payment_name() -> String {
    let random: [u8; 16] = rand::random();
    format!("pay_{}", alloy_primitives::hex::encode(random))
}

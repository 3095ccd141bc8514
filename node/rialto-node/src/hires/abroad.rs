//! Calls of services that this host does not run, or whose publisher is paid a royalty: a host is paid for them, and the
//! caller is charged what it charged.
//!
//! Each has a receipt of this host, which says what it paid; the other host's own is kept with it. The order is named
//! after that receipt, and what came of it is in the ledger before the charge that includes it: made again, the call
//! finds its answer there, or else at the host where it was asked for.

mod items;

use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::{B256, keccak256};
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_channels::receipt::{HireUsage, Receipt, SignedReceipt, Usage};
use rialto_host::{Hire, HireError, HireQuote, Hired};
use rialto_ledger::{Entry, PaymentRecord, StoredAnswer};
use rialto_registry::{MethodName, Name};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::{Caller, Named, Wanted};
use crate::api::Lineage;
use crate::calls::{ANSWER_BYTES_MAX, is_whole};
use crate::digest;
use crate::market::{Bought, Form, Market, Order};

/// What the ledger keeps of a call that was bought, in the place of an answer.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    /// Absent where it is too large.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    answer: Option<&'a RawValue>,
    #[serde(borrow)]
    proof: &'a RawValue,
    /// What it is; the list of a part is closed here.
    #[serde(default)]
    form: Form,
}

/// A call of a service of another host.
struct Purchase {
    caller: Arc<Caller>,
    market: Arc<dyn Market>,
    order: Order,
    id: B256,
    request: B256,
    /// Host memory that the guest leaves while it waits, in bytes.
    lends: u64,
}

impl Caller {
    pub(super) fn market(&self, service: &Name) -> Result<Arc<dyn Market>, HireError> {
        self.node.market().ok_or_else(|| {
            HireError::Unknown(format!(
                "no service is named `{service}` here, and this host has no wallet to hire it elsewhere"
            ))
        })
    }

    pub(super) async fn tender(
        &self,
        service: &Name,
        method: &str,
        bytes: u64,
    ) -> Result<HireQuote, HireError> {
        let (market, method) = (self.market(service)?, method_of(service, method)?);
        let tender = market.tender(service, &method, bytes).await?;
        Ok(HireQuote {
            price_max: tender.price.get(),
            provider: tender.provider,
        })
    }

    pub(super) async fn call_abroad(
        self: Arc<Self>,
        service: Name,
        hire: Hire,
    ) -> Result<Hired, HireError> {
        let (market, method) = (self.market(&service)?, method_of(&service, &hire.method)?);
        let body: [u8; 32] = Sha256::digest(&hire.arguments).into();
        let request = digest::request(service.as_str(), &method.to_snake_case(), &body);
        // What others would ask is not known: whoever caps a call leaves the rest to others at the same time.
        let price_max = self.may_spend(hire.price_max);
        let taken = self.take(price_max, None)?;
        // Its name stays taken whatever comes: where nobody knows, no other call may be asked for by it.
        let Named { id, known, .. } = self.find(&request, Wanted::Whole).await?;
        if let Some(known) = &known
            && let Some(answer) = answer_of(known)
        {
            let charged = known.receipt.receipt.charged;
            taken.cost(charged);
            return Ok(self.hired(answer.text, charged, id));
        }
        let order = self.order(
            &id,
            (service, method),
            price_max,
            hire.arguments,
            hire.deadline,
        );
        let purchase = Purchase {
            caller: Arc::clone(&self),
            market,
            order,
            id,
            request,
            lends: hire.lends,
        };
        // A task of its own: what was paid for is kept even where the caller waits no longer.
        let bought = tokio::spawn(purchase.make(known).in_current_span()).await;
        let (body, charged) =
            bought.map_err(|error| HireError::Failed(format!("the call broke off: {error}")))??;
        taken.cost(charged);
        Ok(self.hired(body, charged, id))
    }

    fn order(
        &self,
        id: &B256,
        (service, method): (Name, MethodName),
        price_max: Amount,
        arguments: Bytes,
        deadline: Instant,
    ) -> Order {
        Order {
            name: order_name(id),
            service,
            method,
            arguments,
            price_max,
            deadline,
            lineage: Lineage {
                parent: Some(*id),
                above: self.above.clone(),
                time_max: Some(deadline.saturating_duration_since(Instant::now())),
                on_behalf: self.whom,
            },
        }
    }

    /// What one call may cost.
    fn may_spend(&self, most: Option<u128>) -> Amount {
        let left = self.purse().left();
        most.map_or(left, |most| left.min(Amount::new(most)))
    }
}

impl Purchase {
    async fn make(self, known: Option<PaymentRecord>) -> Result<(Bytes, Amount), HireError> {
        let bought = {
            let _waits = self.caller.node.0.hiring.wait(self.id, self.lends);
            self.market.buy(self.order.clone()).await?
        };
        // What was bought before is charged as it was, though its answer is no longer kept.
        let charged = match known {
            Some(known) => known.receipt.receipt.charged,
            None => self.record(&bought, Form::Answer).await?,
        };
        Ok((bought.body, charged))
    }

    /// Queues what was bought for the ledger. The order is forgotten when it is there.
    async fn record(&self, bought: &Bought, form: Form) -> Result<Amount, HireError> {
        if self.caller.whom.is_none() {
            return Ok(bought.charged);
        }
        let receipt = self.receipt(bought).sign(self.caller.node.key());
        let payment = record(digest::hire_key(&self.id), receipt, bought, form);
        let entry = Entry::Charge {
            snapshot: None,
            payment,
        };
        let durable = self.caller.node.keep_hire(entry).await?;
        let (market, name) = (Arc::clone(&self.market), self.order.name.clone());
        // An answer that is too large to be kept is the other host's to keep.
        let is_kept = bought.body.len() <= ANSWER_BYTES_MAX;
        tokio::spawn(async move {
            if durable.await && is_kept {
                market.kept(&name);
            }
        });
        Ok(bought.charged)
    }

    fn receipt(&self, bought: &Bought) -> Receipt {
        let (service, charged) = (&self.caller.service, bought.charged);
        Receipt {
            id: self.id,
            channel: None,
            payer: service.provider,
            provider: service.provider,
            chain_id: service.chain_id,
            token: service.token,
            service: self.order.service.to_string(),
            version: String::new(),
            component: B256::ZERO,
            models: Vec::new(),
            method: self.order.method.to_snake_case(),
            request: self.request,
            response: B256::from_slice(&Sha256::digest(&bought.body)),
            usage: Usage {
                hires: HireUsage {
                    calls: 1,
                    spent: charged,
                },
                ..Usage::default()
            },
            price: self.order.price_max,
            before: Amount::ZERO,
            charged,
            after: charged,
            issued_at: self.caller.node.now().get(),
            engine: format!("bought from {}", bought.provider),
            deterministic: false,
            previous: B256::ZERO,
            parent: Some(self.caller.id),
        }
    }
}

/// What proves that a call was bought, if it was.
pub(super) fn proof_of(record: &PaymentRecord) -> Option<Bytes> {
    let kept = kept(record)?;
    Some(Bytes::copy_from_slice(kept.proof.get().as_bytes()))
}

/// The answer of a call that was made before.
pub(super) struct Known {
    /// JSON; of a stream the list of its items, which may lack its end where it ended early.
    pub(super) text: Bytes,
    pub(super) form: Form,
}

/// The answer of a call that was made before, here or elsewhere, if it is still kept.
pub(super) fn answer_of(record: &PaymentRecord) -> Option<Known> {
    let stored = record.answer.as_ref()?;
    if stored.content_type != BOUGHT {
        return Some(Known {
            text: Bytes::copy_from_slice(&stored.body),
            form: match is_whole(record) {
                true => Form::Answer,
                false => Form::Part,
            },
        });
    }
    let kept = kept(record)?;
    let text = Bytes::copy_from_slice(kept.answer?.get().as_bytes());
    let form = kept.form;
    Some(Known { text, form })
}

fn kept(record: &PaymentRecord) -> Option<Kept<'_>> {
    let stored = record.answer.as_ref()?;
    let is_bought = stored.content_type == BOUGHT;
    is_bought.then(|| serde_json::from_slice(&stored.body).ok())?
}

fn record(key: [u8; 32], receipt: SignedReceipt, bought: &Bought, form: Form) -> PaymentRecord {
    let small = bought.body.len() <= ANSWER_BYTES_MAX;
    // The raw text, since that is what the receipt has the digest of.
    let raw = |bytes: &[u8]| serde_json::from_slice::<Box<RawValue>>(bytes).ok();
    let text = match form {
        Form::Part => [&bought.body, b"]".as_slice()].concat().into(),
        Form::Answer | Form::List | Form::One => bought.body.clone(),
    };
    let answer = small.then(|| raw(&text)).flatten();
    let proof = raw(&bought.proof);
    let kept = Kept {
        answer: answer.as_deref(),
        proof: proof.as_deref().unwrap_or(RawValue::NULL),
        form,
    };
    let body = serde_json::to_vec(&kept).ok();
    PaymentRecord {
        key,
        receipt,
        answer: body.map(|body| StoredAnswer {
            content_type: BOUGHT.to_owned(),
            body,
        }),
    }
}

/// Nobody who knows the receipt's id, as whoever is paid does, knows the payment's name.
fn order_name(id: &B256) -> String {
    let name = keccak256([b"rialto hire order v1\0".as_slice(), id.as_slice()].concat());
    format!("hire-{name:x}")
}

fn method_of(service: &Name, method: &str) -> Result<MethodName, HireError> {
    let parsed = method.parse();
    parsed.map_err(|error| HireError::Unknown(format!("`{service}.{method}` {error}")))
}

/// In the place of an answer's media type.
const BOUGHT: &str = "application/json; bought";

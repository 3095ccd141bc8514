//! Services of other hosts for those of this one: the node's wallet pays whoever is best.
//!
//! What it pays in a day has a budget of its own (`[hires]`), since a service that fails afterwards leaves this host
//! with the bill. Each order is paid once: [`Orders`].

mod items;
mod patience;

use std::path::Path;
use std::time::Duration;

use alloy_primitives::{Address, keccak256};
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_node::{Asking, Bought, BoughtItems, HireError, Market, Order, Tender};
use rialto_registry::{MethodName, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::mesh::{Ask, MeshAnswer, MeshClient, MeshError};
use crate::client::{Allowances, Body, ClientError, Orders, StoreError};
use crate::lineage;
use crate::problem::with_causes;
use crate::record::ReceiptRecord;
use items::MeshItems;
use patience::Patience;

/// Buys calls on the mesh. Clones share what they know of orders and of what was spent.
#[derive(Debug, Clone)]
pub struct MeshMarket {
    client: MeshClient,
    allowances: Allowances,
    orders: Orders,
}

/// What proves that a call was bought: whoever asks for the calls below it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// Who answered: a peer, and the service.
    pub provider: String,
    /// Its gateway, where it has one that anybody reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Its receipt; none where it was free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptRecord>,
}

impl MeshMarket {
    /// A market that keeps its orders and its count in a folder, and spends at most `day_max` a day.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used.
    pub fn open(client: MeshClient, dir: &Path, day_max: Amount) -> Result<Self, StoreError> {
        Ok(Self {
            client,
            allowances: Allowances::new(dir, day_max),
            orders: Orders::open(&dir.join("orders"))?,
        })
    }

    /// Has an order carried out. While nobody knows whether it was, it is placed where it was placed before, again and
    /// again: there it is done and paid once, and anywhere else it would be a second time.
    async fn bought(&self, order: Order) -> Result<Bought, HireError> {
        let mut ask = self.ask(&order);
        let mut patience = Patience::new(order.deadline);
        loop {
            ask.time_max = patience.left();
            match self.client.call(&ask).await {
                Ok(answered) => return Ok(bought(answered)),
                Err(error) => patience.again(&ask, error).await?,
            }
        }
    }

    /// What the mesh is asked for an order.
    fn ask(&self, order: &Order) -> Ask {
        let headers = lineage::headers(&order.lineage);
        let body = Body::text(order.arguments.clone());
        Ask {
            order: Some(self.orders.order(&order.name, headers)),
            allowance: Some(self.allowances.of(whose(&order.lineage.above), None)),
            price_max: Some(order.price_max),
            ..ask(&order.service, &order.method, body)
        }
    }
}

impl Market for MeshMarket {
    fn tender<'a>(
        &'a self,
        service: &'a Name,
        method: &'a MethodName,
        arguments_bytes: u64,
    ) -> Asking<'a, Tender> {
        Box::pin(async move {
            let ask = ask(service, method, Body::json(&Value::Null));
            let asked = self.client.price(&ask, arguments_bytes).await;
            let (provider, price) = asked.map_err(|error| refused(&error))?;
            Ok(Tender {
                price,
                provider: provider.to_string(),
            })
        })
    }

    fn buy(&self, order: Order) -> Asking<'_, Bought> {
        Box::pin(self.bought(order))
    }

    fn open(&self, order: Order) -> Box<dyn BoughtItems> {
        Box::new(MeshItems::new(self.clone(), order))
    }

    fn kept(&self, name: &str) {
        self.orders.forget(name);
    }
}

fn bought(answered: MeshAnswer) -> Bought {
    let MeshAnswer {
        answer,
        provider,
        gateway,
        ..
    } = answered;
    let proof = Purchase {
        provider: provider.to_string(),
        gateway,
        receipt: answer.receipt.as_ref().map(ReceiptRecord::from),
    };
    let json = serde_json::to_vec(&proof);
    Bought {
        body: answer.body,
        charged: answer.charged,
        provider: proof.provider,
        // Without it the call is as good.
        proof: json.map_or_else(|_| Bytes::from_static(b"null"), Bytes::from),
    }
}

fn ask(service: &Name, method: &MethodName, body: Body) -> Ask {
    let method = method.to_snake_case();
    Ask::once(service.clone(), &method, body, TENDER_TIME_MAX)
}

/// Whom the count of a day is kept for: the service that hires.
fn whose(above: &[Name]) -> Address {
    let name = above.last().map_or("", Name::as_str);
    Address::from_word(keccak256(name))
}

/// Why nothing was bought, for the service that asked.
fn refused(error: &MeshError) -> HireError {
    match error {
        MeshError::Failed { source, .. } => of_client(source, error),
        MeshError::Late { .. } => HireError::Late,
        MeshError::Nobody { .. } => HireError::Unknown(with_causes(error)),
        MeshError::Directory(_) => HireError::Busy(with_causes(error)),
        MeshError::Key(_) => HireError::Invalid(with_causes(error)),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of everything else a service is told in words"
)]
fn of_client(source: &ClientError, error: &(dyn std::error::Error + 'static)) -> HireError {
    match source {
        ClientError::TooDear { price, limit } => HireError::OverBudget {
            price_max: price.get(),
            left: limit.get(),
        },
        ClientError::Refused {
            status: 422,
            details,
            message,
            ..
        } => {
            let said = details.as_ref().map(|details| details.to_string());
            HireError::Refused(said.unwrap_or_else(|| Value::from(message.as_str()).to_string()))
        }
        ClientError::Refused { status: 404, .. } => HireError::Unknown(with_causes(error)),
        ClientError::Refused {
            status: 400..429, ..
        } => HireError::Invalid(with_causes(error)),
        ClientError::Refused {
            status: 429 | 503, ..
        } => HireError::Busy(with_causes(error)),
        _ => HireError::Failed(with_causes(error)),
    }
}

/// How long hosts may take to say what they want.
const TENDER_TIME_MAX: Duration = Duration::from_secs(10);

//! Does what the client accepted fit what this route offers?
//!
//! What binds the payer is compared; what an honest client may have seen differently (states
//! echoed from a corrective 402, a price that has fallen since) is not.

use alloy_primitives::Address;
use rialto_channels::Amount;
use rialto_node::Terms;
use serde_json::Value;

use super::{Accepted, Means, Presented};
use crate::x402::{Network, Scheme};

impl Presented {
    /// Checks the accepted offer against this route's terms.
    ///
    /// For a channel the accepted amount is a ceiling: any that covers the price will do, and the
    /// price is what is charged. For `exact` it is the price itself. A refund buys nothing, so
    /// its amount does not matter.
    ///
    /// # Errors
    /// [`Mismatch`] naming the first field that differs.
    pub fn matches(&self, terms: &Terms) -> Result<(), Mismatch> {
        let accepted = &self.accepted;
        let payee = &terms.payee;
        if accepted.network != Network(payee.chain_id) {
            return Err(Mismatch::field(
                "network",
                Network(payee.chain_id).to_string(),
            ));
        }
        same_address("asset", accepted.asset, payee.token)?;
        same_address("payTo", accepted.pay_to, payee.receiver)?;
        accepted.extra_is("name", &Value::from(payee.token_name.as_str()))?;
        accepted.extra_is("version", &Value::from(payee.token_version.as_str()))?;
        match (&self.means, accepted.scheme) {
            (Means::Refund(_), _) => Ok(()),
            (Means::Channel(_) | Means::Exact(_), Scheme::BatchSettlement) => {
                accepted.extra_is("withdrawDelay", &Value::from(payee.withdraw_delay))?;
                accepted.deposits_by_one_of(&payee.deposits.names())?;
                accepted.price_covers(terms.price)?;
                if accepted.amount < terms.price {
                    return Err(Mismatch::field(
                        "amount",
                        format!("at least {}", terms.price),
                    ));
                }
                Ok(())
            }
            (Means::Channel(_) | Means::Exact(_), Scheme::Exact) => {
                if accepted.amount != terms.price {
                    return Err(Mismatch::field("amount", terms.price.to_string()));
                }
                Ok(())
            }
        }
    }
}

impl Accepted {
    /// The method of deposits that the client accepted, if it repeated one.
    fn deposits_by_one_of(&self, ours: &[&str]) -> Result<(), Mismatch> {
        match self.extra.get("assetTransferMethod") {
            Some(theirs) if !ours.iter().any(|method| theirs == method) => {
                Err(Mismatch::field("assetTransferMethod", ours.join(" or ")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The price that the client repeated must cover what the call may cost now: the amount is headroom
    /// above it, which no new price may use up.
    fn price_covers(&self, price: Amount) -> Result<(), Mismatch> {
        let Some(theirs) = self.extra.get("price") else {
            return Ok(());
        };
        let theirs: Option<Amount> = theirs.as_str().and_then(|text| text.parse().ok());
        match theirs {
            Some(theirs) if theirs >= price => Ok(()),
            Some(_) | None => Err(Mismatch::field("price", price.to_string())),
        }
    }

    /// A term that the client did not repeat is not in dispute.
    fn extra_is(&self, name: &'static str, ours: &Value) -> Result<(), Mismatch> {
        match self.extra.get(name) {
            Some(theirs) if theirs != ours => Err(Mismatch::field(name, ours.to_string())),
            Some(_) | None => Ok(()),
        }
    }
}

/// The accepted offer is not one of this route's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accepted.{field} is not what this route offers: expected {expected}")]
pub struct Mismatch {
    /// The field that differs.
    pub field: &'static str,
    /// What this route offers.
    pub expected: String,
}

impl Mismatch {
    /// The protocol's stable error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        if self.field == "network" {
            "invalid_network"
        } else {
            "invalid_payment_requirements"
        }
    }

    fn field(field: &'static str, expected: String) -> Self {
        Self { field, expected }
    }
}

fn same_address(field: &'static str, theirs: Address, ours: Address) -> Result<(), Mismatch> {
    if theirs == ours {
        Ok(())
    } else {
        Err(Mismatch::field(field, ours.to_checksum(None)))
    }
}

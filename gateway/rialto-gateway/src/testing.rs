//! What several tests of this crate need: the captured payment and the terms that it fits.

use alloy_primitives::{Address, address};
use rialto_channels::Amount;
use rialto_node::{PayeeTerms, Terms};
#[cfg(test)]
use serde_json::Value;

/// A captured exchange of the published TypeScript client; see the file's `about`.
#[cfg(test)]
pub(crate) fn captured() -> Value {
    serde_json::from_str(include_str!("../tests/fixtures/deposit.json")).unwrap()
}

pub(crate) const PROVIDER: Address = address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");

/// The terms of the route in the captured exchange: 100 a call, ten times that as the ceiling.
pub(crate) fn terms() -> Terms {
    Terms {
        price: Amount::new(100),
        ceiling: Amount::new(1000),
        deposit_min: Amount::new(10_000),
        payee: PayeeTerms {
            chain_id: 84532,
            settlement: crate::x402::SETTLEMENT,
            token: address!("0x036CbD53842c5426634e7929541eC2318f3dCF7e"),
            token_name: "USDC".to_owned(),
            token_version: "2".to_owned(),
            receiver: PROVIDER,
            provider: PROVIDER,
            deposits: rialto_node::DepositMethods::default(),
            receiver_authorizer: PROVIDER,
            withdraw_delay: 900,
            timeout_seconds: 3600,
        },
        royalty: None,
    }
}

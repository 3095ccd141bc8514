//! The statements of x402's `offer-receipt` extension: what a server offered, and that it was
//! paid, in EIP-712 form. They stand beside our own [`receipt`](crate::receipt), which says more:
//! these any x402 client can check without knowing Rialto.
//!
//! Types, field order and domains are those of `@x402/extensions` 2.27. The domain's chain id is
//! 1 whatever chain is paid on; the chain is a field.
//!
//! Not here: JSON, and who signs.

use alloy_primitives::{B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};

/// The version of both statements.
pub const VERSION: u64 = 1;

/// One way to pay for one resource, until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardOffer {
    /// What is sold: an absolute URL.
    pub resource_url: String,
    /// `exact` or `batch-settlement`.
    pub scheme: String,
    /// CAIP-2.
    pub network: String,
    /// The token, as the 402 writes it.
    pub asset: String,
    /// The receiver, as the 402 writes it.
    pub pay_to: String,
    /// Token base units in decimal, as the 402 writes it.
    pub amount: String,
    /// Seconds since the Unix epoch.
    pub valid_until: u64,
}

/// A resource was paid for and handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardReceipt {
    /// CAIP-2.
    pub network: String,
    /// What was sold: an absolute URL.
    pub resource_url: String,
    /// Who paid.
    pub payer: String,
    /// Seconds since the Unix epoch.
    pub issued_at: u64,
    /// The transaction, or nothing where none was made for this payment.
    pub transaction: String,
}

impl StandardOffer {
    /// What the server signs.
    #[must_use]
    pub fn digest(&self) -> B256 {
        typed::Offer {
            version: U256::from(VERSION),
            resourceUrl: self.resource_url.clone(),
            scheme: self.scheme.clone(),
            network: self.network.clone(),
            asset: self.asset.clone(),
            payTo: self.pay_to.clone(),
            amount: self.amount.clone(),
            validUntil: U256::from(self.valid_until),
        }
        .eip712_signing_hash(&domain("x402 offer"))
    }
}

impl StandardReceipt {
    /// What the server signs.
    #[must_use]
    pub fn digest(&self) -> B256 {
        typed::Receipt {
            version: U256::from(VERSION),
            network: self.network.clone(),
            resourceUrl: self.resource_url.clone(),
            payer: self.payer.clone(),
            issuedAt: U256::from(self.issued_at),
            transaction: self.transaction.clone(),
        }
        .eip712_signing_hash(&domain("x402 receipt"))
    }
}

fn domain(name: &'static str) -> Eip712Domain {
    Eip712Domain::new(
        Some(name.into()),
        Some("1".into()),
        Some(U256::from(1)),
        None,
        None,
    )
}

mod typed {
    alloy_sol_types::sol! {
        struct Offer {
            uint256 version;
            string resourceUrl;
            string scheme;
            string network;
            string asset;
            string payTo;
            string amount;
            uint256 validUntil;
        }
        struct Receipt {
            uint256 version;
            string network;
            string resourceUrl;
            string payer;
            uint256 issuedAt;
            string transaction;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    fn offer() -> StandardOffer {
        StandardOffer {
            resource_url: "https://host.example/services/embed/embed".to_owned(),
            scheme: "exact".to_owned(),
            network: "eip155:84532".to_owned(),
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
            pay_to: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned(),
            amount: "100".to_owned(),
            valid_until: 1_800_000_000,
        }
    }

    fn receipt() -> StandardReceipt {
        StandardReceipt {
            network: "eip155:84532".to_owned(),
            resource_url: "https://host.example/services/embed/embed".to_owned(),
            payer: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".to_owned(),
            issued_at: 1_800_000_001,
            transaction: String::new(),
        }
    }

    /// Computed by `hashOfferTypedData` and `hashReceiptTypedData` of `@x402/extensions` 2.27.0.
    #[test]
    fn digests_are_those_of_the_published_package() {
        assert_eq!(
            offer().digest(),
            b256!("0x9c2b09f228299b644fb16d2f90019e84b1eebc4a077531fdcc820060d698ae1b")
        );
        assert_eq!(
            receipt().digest(),
            b256!("0xc16605e7c4899642ba42919961ac46b972340afdf95e46e68bce829a4bdc2c5a")
        );
    }
}

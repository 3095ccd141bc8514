//! The host's signature under x402's own statements (`offer-receipt`). Typed, so that no door can
//! have anything else signed.

use rialto_channels::offer_receipt::{StandardOffer, StandardReceipt};
use rialto_channels::{ChainTime, Signature};

use crate::Node;

impl Node {
    /// Signs an offer of this host's.
    pub fn sign_standard_offer(&self, offer: &StandardOffer) -> Signature {
        self.key().sign(offer.digest())
    }

    /// Signs that this host was paid.
    pub fn sign_standard_receipt(&self, receipt: &StandardReceipt) -> Signature {
        self.key().sign(receipt.digest())
    }

    /// What time it is by the chain.
    pub fn chain_now(&self) -> ChainTime {
        self.now()
    }
}

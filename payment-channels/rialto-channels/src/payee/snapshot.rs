//! What of a payee's channel must survive a crash.

use alloy_primitives::{B256, U256};

use super::error::RestoreError;
use crate::{
    Amount, ChainTime, ChannelConfig, ChannelId, SettlementDomain, SignedVoucher, Withdrawal,
};

/// A payee's durable state of one channel. Plain data: how it is encoded is the ledger's matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSnapshot {
    /// The channel's terms.
    pub config: ChannelConfig,
    /// Its identity.
    pub id: ChannelId,
    /// Grows with every change; an older snapshot never overwrites a newer.
    pub version: u64,
    /// Balance on chain, in base units, claimed funds included.
    pub balance: Amount,
    /// Claimed on chain, cumulative.
    pub claimed: Amount,
    /// Charged for calls, cumulative; at least `claimed`.
    pub charged: Amount,
    /// The voucher with the highest ceiling seen; covers `charged` unless the chain's claims do.
    pub best: Option<SignedVoucher>,
    /// Nonce of the next signed refund.
    pub refund_nonce: U256,
    /// A withdrawal under way on chain.
    pub withdrawal: Option<Withdrawal>,
    /// Block time of the chain view behind these numbers.
    pub synced_at: ChainTime,
    /// Digest of the channel's last receipt; zero before the first.
    pub last_receipt: B256,
}

impl ChannelSnapshot {
    /// The highest amount that could be claimed by the best voucher held.
    #[must_use]
    pub fn ceiling(&self) -> Amount {
        self.best.map_or(Amount::ZERO, |best| best.voucher.ceiling)
    }

    /// Charged and not claimed yet: what the payee would lose with its state.
    #[must_use]
    pub fn unclaimed(&self) -> Amount {
        self.charged.saturating_sub(self.claimed)
    }

    pub(super) fn check(&self, domain: &SettlementDomain) -> Result<(), RestoreError> {
        if self.config.id(domain) != self.id {
            return Err(RestoreError::WrongId(self.id));
        }
        if let Some(best) = self.best {
            let own = best.voucher.channel == self.id
                && best.verify(domain, self.config.payer_authorizer).is_ok();
            if !own {
                return Err(RestoreError::WrongVoucher(self.id));
            }
        }
        if self.charged > self.claimed && self.charged > self.ceiling() {
            return Err(RestoreError::AboveCeiling(self.id));
        }
        Ok(())
    }
}

//! What of a payer's channel should survive a crash.

use crate::{
    Amount, AmountOverflow, ChainTime, ChannelConfig, ChannelId, SettlementDomain, Withdrawal,
};

/// A payer's durable state of one channel. Losing it loses no money: the payee's corrective
/// answer or the chain gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayerSnapshot {
    /// The channel's terms.
    pub config: ChannelConfig,
    /// Its identity.
    pub id: ChannelId,
    /// Balance on chain, in base units, claimed funds included.
    pub balance: Amount,
    /// Claimed on chain, cumulative.
    pub claimed: Amount,
    /// Charged, cumulative, as far as known.
    pub charged: Amount,
    /// Sum of the amounts of calls whose outcome is unknown.
    pub uncertain: Amount,
    /// The highest ceiling ever signed.
    pub signed_max: Amount,
    /// A withdrawal under way.
    pub withdrawal: Option<Withdrawal>,
}

impl PayerSnapshot {
    pub(super) fn empty(config: ChannelConfig, domain: &SettlementDomain) -> Self {
        Self {
            config,
            id: config.id(domain),
            balance: Amount::ZERO,
            claimed: Amount::ZERO,
            charged: Amount::ZERO,
            uncertain: Amount::ZERO,
            signed_max: Amount::ZERO,
            withdrawal: None,
        }
    }

    /// What vouchers may promise: the balance less a withdrawal under way.
    pub(super) fn usable(&self) -> Result<Amount, AmountOverflow> {
        let leaving = self
            .withdrawal
            .map_or(Amount::ZERO, |withdrawal| withdrawal.amount);
        self.balance.checked_sub(leaving.min(self.balance))
    }

    /// Balance that no call was charged for yet, in base units.
    #[must_use]
    pub fn left(&self) -> Amount {
        self.balance.saturating_sub(self.charged)
    }

    /// Whether a withdrawal under way can be finished now.
    #[must_use]
    pub fn can_finalize_withdrawal(&self, now: ChainTime) -> bool {
        self.withdrawal
            .is_some_and(|withdrawal| now >= withdrawal.finalizes_at)
    }
}

//! How much a payee has at stake: served and not claimed yet, or being served.
//!
//! What is charged and unclaimed would be lost with this payee's state, or with a chain that
//! stops; limits bound that loss per channel and per payer. A top-up does not help a payer that
//! meets one: only a claim does.

use super::{PayeeChannel, Reject};
use crate::Amount;

/// The most that may be at stake, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExposureLimits {
    /// On one channel; no limit if absent.
    pub channel_max: Option<Amount>,
    /// Over all channels of one payer; no limit if absent.
    pub payer_max: Option<Amount>,
}

impl ExposureLimits {
    /// No limit at all.
    pub const NONE: Self = Self {
        channel_max: None,
        payer_max: None,
    };

    /// Checks that a call of at most `price` fits a channel that has `exposure` at stake.
    ///
    /// # Errors
    /// [`Reject::Exposed`]; the payer waits for the next claim.
    pub fn check_channel(&self, exposure: Amount, price: Amount) -> Result<(), Reject> {
        check(exposure, price, self.channel_max)
    }

    /// Checks that a call of at most `price` fits a payer that has `exposure` at stake over all
    /// its channels.
    ///
    /// # Errors
    /// [`Reject::Exposed`]; the payer waits for the next claim.
    pub fn check_payer(&self, exposure: Amount, price: Amount) -> Result<(), Reject> {
        check(exposure, price, self.payer_max)
    }

    /// Whether to claim a channel now, without waiting for the usual time: what is charged and
    /// unclaimed reaches half of a limit, so that calls go on while the claim is on its way.
    ///
    /// `payer_unclaimed` is the sum of [`super::ChannelSnapshot::unclaimed`] over the payer's
    /// channels, this one included.
    #[must_use]
    pub fn wants_claim(&self, channel: &PayeeChannel, payer_unclaimed: Amount) -> bool {
        channel.claimable().is_some()
            && (half_reached(channel.state().unclaimed(), self.channel_max)
                || half_reached(payer_unclaimed, self.payer_max))
    }
}

/// What one payer has at stake over all its channels. One value per payer, changed under a lock
/// of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayerExposure {
    sum: Amount,
}

impl PayerExposure {
    /// The sum over all channels, in base units.
    #[must_use]
    pub fn sum(&self) -> Amount {
        self.sum
    }

    /// One channel's exposure went from `before` to `after`.
    ///
    /// # Errors
    /// [`crate::AmountOverflow`] if the sum leaves `uint128`, or if `before` was never part of
    /// it; the sum stays as it was.
    pub fn moved(&mut self, before: Amount, after: Amount) -> Result<(), crate::AmountOverflow> {
        self.sum = self.sum.checked_sub(before)?.checked_add(after)?;
        Ok(())
    }
}

impl PayeeChannel {
    /// What is at stake on this channel: charged and not claimed, and the calls in flight.
    #[must_use]
    pub fn exposure(&self) -> Amount {
        // Both are parts of one ceiling, which is an amount.
        let unclaimed = self.state.unclaimed();
        unclaimed
            .checked_add(self.in_flight_sum)
            .unwrap_or(Amount::MAX)
    }
}

fn check(exposure: Amount, price: Amount, limit: Option<Amount>) -> Result<(), Reject> {
    let Some(limit) = limit else { return Ok(()) };
    if exposure.checked_add(price)? > limit {
        return Err(Reject::Exposed {
            exposure,
            price,
            limit,
        });
    }
    Ok(())
}

fn half_reached(unclaimed: Amount, limit: Option<Amount>) -> bool {
    let Some(limit) = limit else { return false };
    // Doubling fails only far above any limit.
    unclaimed.checked_mul(2).is_ok_and(|twice| twice >= limit) || unclaimed > limit
}

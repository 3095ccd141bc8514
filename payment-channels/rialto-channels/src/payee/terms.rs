//! What a provider demands of a channel.

use alloy_primitives::Address;

use super::Reject;
use crate::ChannelConfig;

/// What a provider demands of every channel that pays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The provider's payout address.
    pub receiver: Address,
    /// The host's key that signs claims and refunds.
    pub receiver_authorizer: Address,
    /// The token paid with.
    pub token: Address,
    /// The withdrawal delay, in seconds.
    pub withdraw_delay: u64,
    /// Most calls in flight on one channel.
    pub in_flight_max: usize,
}

impl Terms {
    /// Checks a channel's terms against the provider's, before any signature is looked at.
    ///
    /// # Errors
    /// [`Reject`] naming the first term that differs; the peer's fault.
    pub fn check(&self, config: &ChannelConfig) -> Result<(), Reject> {
        if config.token != self.token {
            return Err(Reject::WrongToken);
        }
        if config.receiver != self.receiver {
            return Err(Reject::WrongReceiver);
        }
        if config.receiver_authorizer != self.receiver_authorizer {
            return Err(Reject::WrongReceiverAuthorizer);
        }
        if !config.delay_in_range() {
            return Err(Reject::DelayOutOfRange);
        }
        if config.withdraw_delay != self.withdraw_delay {
            return Err(Reject::WrongDelay);
        }
        if config.payer_authorizer.is_zero() {
            return Err(Reject::NoPayerAuthorizer);
        }
        Ok(())
    }
}

//! For whom this host spends gas, and how much of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_channels::Amount;

use super::{FacilitatorError, refused};
use crate::config;

/// The operator's limits, and what was used of them.
#[derive(Debug)]
pub(crate) struct Policy {
    enabled: bool,
    limits: config::Facilitator,
    settled: Mutex<Window>,
    verified: Mutex<Window>,
}

/// What was done in the present minute.
#[derive(Debug)]
struct Window {
    since: Instant,
    used: u32,
}

impl Policy {
    /// `enabled` where the operator says nothing.
    pub(crate) fn new(limits: config::Facilitator, by_default: bool) -> Self {
        Self {
            enabled: limits.enabled.unwrap_or(by_default),
            limits,
            settled: Mutex::new(Window::start(Instant::now())),
            verified: Mutex::new(Window::start(Instant::now())),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        self.enabled
    }

    /// Whether this receiver's payments are carried out.
    pub(super) fn check_receiver(&self, receiver: Address) -> Result<(), FacilitatorError> {
        let allowed = &self.limits.receivers;
        if allowed.is_empty() || allowed.contains(&receiver) {
            return Ok(());
        }
        Err(refused(
            "receiver_not_allowed",
            format!("this facilitator carries out no payments to {receiver}: ask its operator"),
        ))
    }

    /// Whether an amount is worth a transaction's gas.
    pub(super) fn check_amount(&self, amount: Amount) -> Result<(), FacilitatorError> {
        let minimum = self.limits.amount_min;
        if amount >= minimum {
            return Ok(());
        }
        Err(refused(
            "amount_below_minimum",
            format!("{amount} is below the smallest amount carried out here, {minimum}"),
        ))
    }

    /// Takes one of this minute's settlements.
    pub(super) fn take_turn(&self) -> Result<(), FacilitatorError> {
        take(&self.settled, self.limits.settlements_per_minute)
    }

    /// Takes one of this minute's checks, which cost no gas but reads of the chain.
    pub(super) fn check_verify(&self) -> Result<(), FacilitatorError> {
        let limit = self.limits.settlements_per_minute;
        take(
            &self.verified,
            limit.saturating_mul(VERIFIES_PER_SETTLEMENT),
        )
    }
}

impl Window {
    fn start(since: Instant) -> Self {
        Self { since, used: 0 }
    }

    /// Uses one of `limit`, or says how many seconds are left of the minute.
    fn take(&mut self, limit: u32, now: Instant) -> Result<(), u64> {
        let past = now.saturating_duration_since(self.since);
        if past >= MINUTE {
            *self = Self::start(now);
        }
        if self.used >= limit {
            let left = MINUTE.saturating_sub(now.saturating_duration_since(self.since));
            return Err(left.as_secs().saturating_add(1));
        }
        self.used = self.used.saturating_add(1);
        Ok(())
    }
}

fn take(window: &Mutex<Window>, limit: u32) -> Result<(), FacilitatorError> {
    let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
    window
        .take(limit, Instant::now())
        .map_err(|retry_after_seconds| FacilitatorError::Limited {
            retry_after_seconds,
        })
}

const MINUTE: Duration = Duration::from_secs(60);
/// A server verifies every payment and settles few: vouchers are not settled one by one.
const VERIFIES_PER_SETTLEMENT: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_turns_and_no_more() {
        let start = Instant::now();
        let mut window = Window::start(start);
        assert_eq!(window.take(2, start), Ok(()));
        assert_eq!(window.take(2, start), Ok(()));
        let later = start + Duration::from_secs(20);
        assert_eq!(window.take(2, later), Err(41));
        assert_eq!(window.take(2, start + MINUTE), Ok(()));
        assert_eq!(Window::start(start).take(0, start), Err(61));
    }

    #[test]
    fn only_listed_receivers_and_worthwhile_amounts_are_served() {
        let listed = Address::repeat_byte(1);
        let limits = config::Facilitator {
            receivers: vec![listed],
            amount_min: Amount::new(10),
            ..config::Facilitator::default()
        };
        let policy = Policy::new(limits, true);
        assert!(policy.enabled());
        assert!(policy.check_receiver(listed).is_ok());
        assert!(policy.check_receiver(Address::ZERO).is_err());
        assert!(policy.check_amount(Amount::new(10)).is_ok());
        assert!(policy.check_amount(Amount::new(9)).is_err());
        let anyone = Policy::new(config::Facilitator::default(), false);
        assert!(!anyone.enabled());
        assert!(anyone.check_receiver(Address::ZERO).is_ok());
    }
}

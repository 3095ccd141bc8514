//! What a call has promised to whom: one payment for each provider it was sent to.
//!
//! A payment is *in doubt* once an attempt under it ended unknown: the provider may have executed the call
//! and may charge for it. Only an answer under the same payment ends the doubt. A payment in doubt is
//! *left behind* when the call goes elsewhere all the same.
//!
//! Not here: signing and identifiers of payments.

use rialto_channels::Amount;

use super::candidate::{Candidate, ProviderId};

/// Money that a provider may take although its answer did not reach the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Who may take it.
    pub provider: ProviderId,
    /// The most it may take, in base units.
    pub price: Amount,
}

/// The payments of one call, in the order they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Payments(Vec<Payment>);

#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) provider: ProviderId,
    pub(super) price: Amount,
    pub(super) repeats: u32,
    in_doubt: bool,
    left: bool,
}

impl Payments {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Payment> {
        self.0.iter()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Payment> {
        self.0.get(index)
    }

    pub(super) fn include(&self, provider: &ProviderId) -> bool {
        self.0.iter().any(|payment| payment.provider == *provider)
    }

    /// Adds a payment to a candidate's provider, and says at which index.
    pub(super) fn add(&mut self, candidate: &Candidate) -> usize {
        self.0.push(Payment {
            provider: candidate.provider.clone(),
            price: candidate.price,
            repeats: 0,
            in_doubt: false,
            left: false,
        });
        self.0.len().saturating_sub(1)
    }

    pub(super) fn repeat(&mut self, index: usize) {
        if let Some(payment) = self.0.get_mut(index) {
            payment.repeats = payment.repeats.saturating_add(1);
        }
    }

    pub(super) fn set_in_doubt(&mut self, index: usize, in_doubt: bool) {
        if let Some(payment) = self.0.get_mut(index) {
            payment.in_doubt = in_doubt;
        }
    }

    pub(super) fn is_in_doubt(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|payment| payment.in_doubt)
    }

    pub(super) fn any_in_doubt(&self) -> bool {
        self.0.iter().any(|payment| payment.in_doubt)
    }

    /// The first payment in doubt that was not left behind.
    pub(super) fn first_in_doubt(&self) -> Option<usize> {
        self.0.iter().position(Payment::is_at_risk)
    }

    /// What would be left behind by going elsewhere now, beyond what was before.
    pub(super) fn at_risk(&self) -> Amount {
        sum(self.0.iter().filter(|payment| payment.is_at_risk()))
    }

    /// What was left behind.
    pub(super) fn left(&self) -> Amount {
        sum(self.0.iter().filter(|payment| payment.left))
    }

    /// Leaves all in doubt behind.
    pub(super) fn leave(&mut self) {
        for payment in &mut self.0 {
            payment.left |= payment.in_doubt;
        }
    }

    /// Who may take how much without having answered.
    pub(super) fn exposures(&self) -> Vec<Exposure> {
        let exposed = |payment: &&Payment| payment.in_doubt && !payment.price.is_zero();
        let exposure = |payment: &Payment| Exposure {
            provider: payment.provider.clone(),
            price: payment.price,
        };
        self.0.iter().filter(exposed).map(exposure).collect()
    }
}

impl Payment {
    fn is_at_risk(&self) -> bool {
        self.in_doubt && !self.left
    }
}

/// A sum beyond all amounts stands at the largest: it is only ever compared with an allowance.
fn sum<'a>(payments: impl Iterator<Item = &'a Payment>) -> Amount {
    payments.fold(Amount::ZERO, |sum, payment| {
        sum.checked_add(payment.price).unwrap_or(Amount::MAX)
    })
}

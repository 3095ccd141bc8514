//! Calls that wait, dearest first, and by age: who has waited for [`AGED`] goes before all prices.
//!
//! Who is that old is only ever preceded by who came earlier: a flood of dear calls delays a cheap one by
//! that time and by what was there before it, and by no more.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::TicketId;
use super::payers::Roll;
use crate::tenant::Tenant;

/// When a call has waited so long, prices count no more.
pub const AGED: Duration = Duration::from_secs(1);

/// Whose turn it is: the lowest.
pub(super) type Rank = (bool, Reverse<u128>, TicketId);

/// The calls of one tenant that wait.
#[derive(Debug, Default)]
pub(super) struct Prices {
    dearest: BTreeMap<(Reverse<u128>, TicketId), Tenant>,
    oldest: BTreeMap<TicketId, (Reverse<u128>, Duration, Tenant)>,
}

impl Prices {
    pub(super) fn join(&mut self, id: TicketId, rate: u128, since: Duration, payer: &Tenant) {
        self.dearest.insert((Reverse(rate), id), payer.clone());
        let waiter = (Reverse(rate), since, payer.clone());
        self.oldest.insert(id, waiter);
    }

    pub(super) fn leave(&mut self, id: TicketId) {
        if let Some((rate, _, _)) = self.oldest.remove(&id) {
            self.dearest.remove(&(rate, id));
        }
    }

    /// Whose turn it is, of payers that may have one more, and its payer.
    pub(super) fn first(&self, now: Duration, payers: &Roll) -> Option<(Rank, &Tenant)> {
        let mut oldest = self.oldest.iter();
        let (id, (rate, since, payer)) = oldest.find(|(_, (_, _, it))| payers.may_run(it))?;
        if now.saturating_sub(*since) >= AGED {
            // All of these before all others, in the order in which they came.
            return Some(((false, Reverse(u128::MAX), *id), payer));
        }
        let dearest = self.dearest.iter().find(|(_, it)| payers.may_run(it));
        let (rate, id, payer) = dearest.map_or((*rate, *id, payer), |((rate, id), payer)| {
            (*rate, *id, payer)
        });
        Some(((true, rate, id), payer))
    }
}

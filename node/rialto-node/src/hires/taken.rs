//! A ceiling that is out of the purse until it is known what its call costs.

use std::sync::Arc;

use rialto_channels::Amount;
use rialto_host::HireError;

use super::{Caller, HIRES_MAX};

/// Dropped, it goes back into the purse.
#[derive(Debug)]
pub(super) struct Taken {
    caller: Arc<Caller>,
    price: Option<Amount>,
    /// The call's name, which another may have if this one fails.
    pub(super) place: Option<u32>,
    /// What the purse knows an answer by that comes item by item.
    stream: Option<u32>,
}

impl Caller {
    /// Takes a ceiling out of the purse.
    pub(super) fn take(
        self: &Arc<Self>,
        price: Amount,
        most: Option<u128>,
    ) -> Result<Taken, HireError> {
        let mut purse = self.purse();
        let may = most.map_or(purse.left(), |most| purse.left().min(Amount::new(most)));
        if price > may {
            return Err(HireError::OverBudget {
                price_max: price.get(),
                left: may.get(),
            });
        }
        if !purse.take(price) {
            return Err(HireError::TooDeep(format!(
                "one call calls others {HIRES_MAX} times at most"
            )));
        }
        Ok(Taken {
            caller: Arc::clone(self),
            price: Some(price),
            place: None,
            stream: None,
        })
    }
}

impl Taken {
    /// For an answer that comes item by item.
    ///
    /// # Errors
    /// [`HireError::Busy`]: as many as may are open.
    pub(super) fn open(mut self) -> Result<Self, HireError> {
        let stream = self.caller.purse().begin_stream();
        self.stream = stream;
        match stream {
            Some(_) => Ok(self),
            None => Err(HireError::Busy(
                "as many answers come item by item as may at a time: end one".to_owned(),
            )),
        }
    }

    /// Such an answer would cost so much if it ended now.
    pub(super) fn would_cost(&self, cost: Amount) {
        if let Some(stream) = self.stream {
            let most = self.price.unwrap_or(Amount::ZERO);
            self.caller.purse().would_cost(stream, cost.min(most));
        }
    }

    /// The most that it may cost.
    pub(super) fn ceiling(&self) -> Amount {
        self.price.unwrap_or(Amount::ZERO)
    }

    pub(super) fn cost(mut self, charged: Amount) {
        if let Some(price) = self.price.take() {
            let mut purse = self.caller.purse();
            if let Some(stream) = self.stream.take() {
                purse.end_stream(stream);
            }
            purse.cost(price, charged);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(price) = self.price.take() else {
            return;
        };
        let mut purse = self.caller.purse();
        if let Some(stream) = self.stream.take() {
            purse.end_stream(stream);
        }
        purse.give_back(price);
        if let Some(place) = self.place {
            purse.leave(place);
        }
    }
}

//! What payers have promised by transfers that are not made yet: a balance pays for one call, not
//! for every call that looked at it before the first transfer was made.
//!
//! Not here: whether a transfer can be made (the chain says so in the end), and channels, whose
//! money is the host's to claim.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_channels::{Address, Amount};

/// The promises of all payers. Bounded by the calls that the node admits at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    sums: Arc<Mutex<HashMap<Address, Amount>>>,
}

/// One promise, until it is dropped: its transfer is made, or never will be.
#[derive(Debug)]
pub(crate) struct Promise {
    promises: Promises,
    payer: Address,
    amount: Amount,
}

impl Promises {
    /// Promises `amount` out of a balance; none if the payer's other promises leave too little.
    pub(crate) fn make(&self, payer: Address, amount: Amount, balance: Amount) -> Option<Promise> {
        let mut sums = self.lock();
        let before = sums.get(&payer).copied().unwrap_or_default();
        let after = before.checked_add(amount).ok()?;
        if after > balance {
            return None;
        }
        sums.insert(payer, after);
        Some(Promise {
            promises: self.clone(),
            payer,
            amount,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Amount>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut sums = self.promises.lock();
        let before = sums.get(&self.payer).copied().unwrap_or_default();
        match before.checked_sub(self.amount) {
            Ok(rest) if !rest.is_zero() => {
                sums.insert(self.payer, rest);
            }
            Ok(_) | Err(_) => {
                sums.remove(&self.payer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_promised_once() {
        let promises = Promises::default();
        let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let (price, balance) = (Amount::new(60), Amount::new(100));
        let first = promises.make(one, price, balance).unwrap();
        assert!(promises.make(one, price, balance).is_none());
        let other = promises.make(two, price, balance).unwrap();
        let small = promises.make(one, Amount::new(40), balance).unwrap();
        drop(first);
        let again = promises.make(one, price, balance).unwrap();
        drop((small, again, other));
        assert!(promises.lock().is_empty());
    }
}

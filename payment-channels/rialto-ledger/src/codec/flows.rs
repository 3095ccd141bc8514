//! The records of the journal's lines and of the accounts' sums.

use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::journal::{Flow, Flows};

/// Version 1 of a journal line: whose it is, and its sums in the order of [`Flow::ALL`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FlowsRow {
    receiver: [u8; 20],
    token: [u8; 20],
    sums: Vec<(u128, u128)>,
}

impl Row for FlowsRow {
    const NAME: &'static str = "journal line";
    const VERSION: u8 = 1;
}

impl FlowsRow {
    pub(crate) fn new(receiver: Address, token: Address, flows: &Flows) -> Self {
        Self {
            receiver: receiver.into(),
            token: token.into(),
            sums: Flow::ALL.map(|flow| split(flows.get(flow))).to_vec(),
        }
    }

    pub(crate) fn into_parts(self) -> (Address, Address, Flows) {
        let mut flows = Flows::default();
        for (flow, sum) in Flow::ALL.into_iter().zip(self.sums) {
            *flows.get_mut(flow) = join(sum);
        }
        (self.receiver.into(), self.token.into(), flows)
    }
}

/// Version 1 of an account's sums.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    debit: (u128, u128),
    credit: (u128, u128),
}

impl Row for AccountRow {
    const NAME: &'static str = "account";
    const VERSION: u8 = 1;
}

impl AccountRow {
    pub(crate) fn new(debit: U256, credit: U256) -> Self {
        Self {
            debit: split(debit),
            credit: split(credit),
        }
    }

    pub(crate) fn into_parts(self) -> (U256, U256) {
        (join(self.debit), join(self.credit))
    }
}

/// The upper and the lower half.
fn split(sum: U256) -> (u128, u128) {
    let [a, b, c, d] = sum.into_limbs().map(u128::from);
    (d << 64 | c, b << 64 | a)
}

fn join((upper, lower): (u128, u128)) -> U256 {
    U256::from(upper) << 128 | U256::from(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_kept_whole() {
        for sum in [
            U256::ZERO,
            U256::from(7),
            U256::MAX,
            U256::MAX >> 64,
            U256::from(1) << 200,
        ] {
            assert_eq!(join(split(sum)), sum);
        }
    }
}

//! Funding: when a deposit is needed, how large, and what the payer signs for it.

use alloy_primitives::{Address, B256};

use super::{PayError, PayerChannel};
use crate::{Amount, Signature, SigningKey, TokenDomain, TransferAuthorization, digest};

/// A deposit to be signed by the payer's wallet and submitted by anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositPlan {
    /// How much, in base units.
    pub amount: Amount,
    /// The random salt that makes the authorization's nonce unique.
    pub salt: B256,
    /// The EIP-3009 message; its nonce commits to the channel and so to all its terms.
    pub authorization: TransferAuthorization,
    /// What the wallet signs.
    pub digest: B256,
}

impl DepositPlan {
    /// Signs with the payer's wallet key.
    ///
    /// # Errors
    /// [`PayError::WrongKey`] if the key is not the payer's.
    pub fn sign(&self, payer: &SigningKey) -> Result<Signature, PayError> {
        if payer.address() != self.authorization.from {
            return Err(PayError::WrongKey);
        }
        Ok(payer.sign(self.digest))
    }
}

impl PayerChannel {
    /// The deposit that a call of `amount` needs first, or `None` if the channel holds enough.
    ///
    /// At least the gap, else the offer's minimum or enough for several calls, at most this
    /// payer's own limit.
    ///
    /// # Errors
    /// [`PayError`] if the limit is too low or a deposit is already under way.
    pub fn deposit_needed(
        &self,
        amount: Amount,
        offer_min: Option<Amount>,
    ) -> Result<Option<Amount>, PayError> {
        let ceiling = self.next_ceiling(amount)?;
        let usable = self.state.usable()?;
        if ceiling <= usable {
            return Ok(None);
        }
        if self.deposit_pending {
            return Err(PayError::DepositUnderWay);
        }
        let limit = self.limits.deposit_max;
        let gap = ceiling.checked_sub(usable)?;
        let needed = gap.max(offer_min.unwrap_or_default());
        if needed > limit {
            return Err(PayError::DepositAboveLimit { needed, limit });
        }
        let comfortable = amount.checked_mul(u128::from(self.limits.deposit_calls))?;
        Ok(Some(needed.max(comfortable).min(limit)))
    }

    /// What the channel lacks for a call of `amount`: zero if it holds enough.
    ///
    /// # Errors
    /// [`PayError::AboveLimit`] or [`PayError::Overflow`].
    pub fn deposit_gap(&self, amount: Amount) -> Result<Amount, PayError> {
        let ceiling = self.next_ceiling(amount)?;
        let usable = self.state.usable()?;
        Ok(ceiling.saturating_sub(usable))
    }

    /// Plans a deposit through the collector contract. `salt` must be fresh random bytes;
    /// `valid_before` is in chain seconds.
    ///
    /// # Errors
    /// [`PayError`] if another is under way or the amount is above the limit.
    pub fn plan_deposit(
        &mut self,
        token: &TokenDomain,
        collector: Address,
        amount: Amount,
        salt: B256,
        valid_before: u64,
    ) -> Result<DepositPlan, PayError> {
        if self.deposit_pending {
            return Err(PayError::DepositUnderWay);
        }
        if amount > self.limits.deposit_max {
            let limit = self.limits.deposit_max;
            return Err(PayError::DepositAboveLimit {
                needed: amount,
                limit,
            });
        }
        let authorization = TransferAuthorization {
            from: self.state.config.payer,
            to: collector,
            value: amount,
            valid_after: 0,
            valid_before,
            nonce: digest::deposit_nonce(&self.state.id, salt),
        };
        self.deposit_pending = true;
        let digest = digest::receive_authorization(token, &authorization);
        Ok(DepositPlan {
            amount,
            salt,
            authorization,
            digest,
        })
    }

    /// The planned deposit is on chain. Call it before adopting a view that includes it.
    ///
    /// # Errors
    /// [`PayError::Overflow`] above `uint128`, which the contract forbids.
    pub fn on_deposited(&mut self, plan: &DepositPlan) -> Result<(), PayError> {
        self.deposit_pending = false;
        self.state.balance = self.state.balance.checked_add(plan.amount)?;
        Ok(())
    }

    /// The planned deposit will not happen.
    pub fn on_deposit_failed(&mut self, _plan: DepositPlan) {
        self.deposit_pending = false;
    }
}

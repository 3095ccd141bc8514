//! Chain views, refunds and withdrawals on the payer's side.

use super::{PayError, PayerChannel};
use crate::{Amount, OnChainView, SignedVoucher, SigningKey, Voucher, Withdrawal};

impl PayerChannel {
    /// Adopts the contract's state. Claims above our count are charges whose answers did not come.
    pub fn on_chain_view(&mut self, view: &OnChainView) {
        self.state.balance = view.balance;
        self.state.claimed = view.claimed;
        self.raise_charged(view.claimed);
        self.state.withdrawal = view.withdrawal;
    }

    /// Signs the voucher that asks for a cooperative refund: its ceiling is exactly what was
    /// charged, so it gives the payee nothing more.
    ///
    /// # Errors
    /// [`PayError::CallsOpen`] while a call's outcome is open, [`PayError::NothingLeft`] if
    /// there is nothing to take back, [`PayError::WrongKey`].
    pub fn refund_voucher(&mut self, key: &SigningKey) -> Result<SignedVoucher, PayError> {
        self.check_key(key)?;
        if !self.in_flight.is_empty() || !self.state.uncertain.is_zero() {
            return Err(PayError::CallsOpen);
        }
        if self.state.left().is_zero() {
            return Err(PayError::NothingLeft);
        }
        let ceiling = self.state.charged;
        self.state.signed_max = self.state.signed_max.max(ceiling);
        Ok(Voucher {
            channel: self.state.id,
            ceiling,
        }
        .sign(&self.domain, key))
    }

    /// The payee refunded so much, as its answer or the chain says. The contract takes it off a
    /// withdrawal under way.
    ///
    /// # Errors
    /// [`PayError::Overflow`] if that is more than the channel held; read the chain then.
    pub fn on_refunded(&mut self, amount: Amount) -> Result<(), PayError> {
        self.state.balance = self.state.balance.checked_sub(amount)?;
        self.state.withdrawal = self.state.withdrawal.and_then(|withdrawal| {
            let rest = withdrawal
                .amount
                .checked_sub(amount)
                .ok()
                .filter(|rest| !rest.is_zero())?;
            Some(Withdrawal {
                amount: rest,
                ..withdrawal
            })
        });
        Ok(())
    }

    /// How much a one-sided withdrawal would take: everything that no open or finished call
    /// was promised. The contract lets it go only after the channel's delay.
    ///
    /// # Errors
    /// [`PayError::NothingLeft`], or [`PayError::Overflow`].
    pub fn withdrawable(&self) -> Result<Amount, PayError> {
        let open = self.in_flight()?.checked_add(self.state.uncertain)?;
        let promised = self.state.charged.checked_add(open)?;
        let left = self.state.balance.saturating_sub(promised);
        if left.is_zero() {
            return Err(PayError::NothingLeft);
        }
        Ok(left)
    }

    /// A withdrawal of ours is on chain; vouchers promise nothing of it any more.
    pub fn on_withdraw_initiated(&mut self, withdrawal: Withdrawal) {
        self.state.withdrawal = Some(withdrawal);
    }
}

//! Finding back to the payee's count after lost answers or lost state.

use super::{PayerChannel, ResyncError};
use crate::{Amount, OnChainView, Signature, SignedVoucher, Voucher};

/// What a payee sends with a refusal so that the payer can recover: its count, and the payer's
/// own highest voucher as proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrective {
    /// Cumulative charge, by the payee's count.
    pub charged: Amount,
    /// Ceiling of the highest voucher the payee holds.
    pub signed_max: Amount,
    /// Our signature of that voucher.
    pub signature: Signature,
}

impl PayerChannel {
    /// Adopts the payee's count, after checking that our own signature covers it and that it is
    /// not below what the chain says was claimed.
    ///
    /// # Errors
    /// [`ResyncError`]; the payer's state stays as it was.
    pub fn resync(&mut self, state: &Corrective, view: &OnChainView) -> Result<(), ResyncError> {
        let Corrective {
            charged,
            signed_max,
            signature,
        } = *state;
        if charged > signed_max {
            return Err(ResyncError::AboveProof {
                charged,
                signed: signed_max,
            });
        }
        if charged < view.claimed {
            return Err(ResyncError::BelowClaimed {
                charged,
                claimed: view.claimed,
            });
        }
        let voucher = Voucher {
            channel: self.state.id,
            ceiling: signed_max,
        };
        SignedVoucher { voucher, signature }
            .verify(&self.domain, self.state.config.payer_authorizer)?;
        self.on_chain_view(view);
        self.state.signed_max = self.state.signed_max.max(signed_max);
        self.adopt_count(charged);
        Ok(())
    }

    /// Starts again from what the chain says was claimed, when the payee offers no proof. A
    /// payee that has more to charge then shows it, or loses it.
    pub fn resync_from_chain(&mut self, view: &OnChainView) {
        self.on_chain_view(view);
        self.adopt_count(view.claimed);
    }

    fn adopt_count(&mut self, charged: Amount) {
        self.state.charged = charged;
        self.state.uncertain = Amount::ZERO;
        // Answers still on their way may be part of the count already.
        self.epoch = self.epoch.saturating_add(1);
    }
}

//! Other servers' `exact` payments: one EIP-3009 transfer each.

use crate::Node;
use crate::api::ExactPayment;
use crate::digest;

use super::{Facilitation, FacilitatorError, Verified, Wanted, from_chain, refused};

impl Node {
    /// Whether a transfer could be made now.
    pub(super) async fn verify_transfer(
        &self,
        wanted: &Wanted,
        payment: &ExactPayment,
    ) -> Result<Verified, FacilitatorError> {
        let payer = payment.authorization.from;
        let checked = async {
            self.check_token(wanted)?;
            self.0.facilitator.check_amount(wanted.amount)?;
            self.check_exact(payment, wanted.pay_to, wanted.amount)?;
            self.check_on_chain(payment).await?;
            self.chain_client()
                .simulate_transfer(&payment.authorization, &payment.signature)
                .await
                .map_err(|error| from_chain(error, SIMULATION_FAILED))
        };
        checked.await.map_err(|error| error.of(payer))?;
        Ok(Verified {
            payer,
            channel: None,
        })
    }

    /// Makes a transfer. One that was made before is refused: a server that is told of success
    /// twice would hand out two answers for one payment.
    pub(super) async fn settle_transfer(
        &self,
        wanted: &Wanted,
        payment: &ExactPayment,
    ) -> Result<Facilitation, FacilitatorError> {
        let _turn = self.turns().take(digest::exact_key(payment)).await;
        let verified = self.verify_transfer(wanted, payment).await?;
        let authorization = &payment.authorization;
        let transaction = self
            .chain_client()
            .transfer_with_authorization(authorization, &payment.signature)
            .await
            .map_err(|error| from_chain(error, TRANSACTION_FAILED).of(verified.payer))?;
        Ok(Facilitation {
            transaction,
            payer: Some(verified.payer),
            amount: Some(authorization.value),
            channel: None,
        })
    }

    /// The token's EIP-712 domain as the server believes it to be.
    fn check_token(&self, wanted: &Wanted) -> Result<(), FacilitatorError> {
        let payee = self.payee();
        let differs = |theirs: &Option<String>, ours: &str| {
            theirs.as_deref().is_some_and(|theirs| theirs != ours)
        };
        if differs(&wanted.token_name, &payee.token_name) {
            let message = format!("the token's name is {}", payee.token_name);
            return Err(refused("invalid_exact_evm_token_name_mismatch", message));
        }
        if differs(&wanted.token_version, &payee.token_version) {
            let message = format!("the token's version is {}", payee.token_version);
            return Err(refused("invalid_exact_evm_token_version_mismatch", message));
        }
        Ok(())
    }
}

const SIMULATION_FAILED: &str = "invalid_exact_evm_transaction_simulation_failed";
const TRANSACTION_FAILED: &str = "invalid_exact_evm_transaction_failed";

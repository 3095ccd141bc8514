//! Whether a transfer is good for a price: by itself, and on the chain.
//!
//! Not here: making it.

use alloy_primitives::Address;
use rialto_channels::digest::transfer_authorization;
use rialto_channels::{Amount, Signature, TokenDomain, recover};

use crate::Node;
use crate::api::{CallError, ExactPayment, PaymentError};
use crate::reject::unavailable;

impl Node {
    /// Everything that can be known of a transfer of `price` to `to` without the chain.
    pub(crate) fn check_exact(
        &self,
        payment: &ExactPayment,
        to: Address,
        price: Amount,
    ) -> Result<(), PaymentError> {
        self.check_transfer(payment, to, price, 0)?;
        self.check_signature(payment)
    }

    /// Whether a transfer is of `price` to `to`, and can be made `work_secs` from now.
    pub(super) fn check_transfer(
        &self,
        payment: &ExactPayment,
        to: Address,
        price: Amount,
        work_secs: u64,
    ) -> Result<(), PaymentError> {
        let refused = |code, message: String| Err(PaymentError::Invalid { code, message });
        let authorization = &payment.authorization;
        if authorization.to != to {
            let message = format!("the transfer pays {}, not {to}", authorization.to);
            return refused("invalid_exact_evm_payload_recipient_mismatch", message);
        }
        if authorization.value != price {
            let message = format!(
                "the transfer is of {}, the price is {price}",
                authorization.value
            );
            return refused(
                "invalid_exact_evm_payload_authorization_value_mismatch",
                message,
            );
        }
        let now = self.now().get();
        if authorization.valid_after > now {
            let message = "the transfer is not valid yet".to_owned();
            return refused(
                "invalid_exact_evm_payload_authorization_valid_after",
                message,
            );
        }
        let needed_secs = work_secs.saturating_add(TRANSFER_SECONDS);
        if authorization.valid_before <= now.saturating_add(needed_secs) {
            let message = format!(
                "the transfer expires too soon: it must stay valid for {needed_secs} s, since it is made after the work"
            );
            return refused(
                "invalid_exact_evm_payload_authorization_valid_before",
                message,
            );
        }
        Ok(())
    }

    /// Whether the transfer is signed by the one who pays.
    pub(super) fn check_signature(&self, payment: &ExactPayment) -> Result<(), PaymentError> {
        let (authorization, payee) = (&payment.authorization, self.payee());
        let refused = |message: String| {
            let code = "invalid_exact_evm_payload_signature";
            Err(PaymentError::Invalid { code, message })
        };
        let domain = TokenDomain {
            chain_id: payee.chain_id,
            token: payee.token,
            name: payee.token_name.clone(),
            version: payee.token_version.clone(),
        };
        let signer = Signature::parse(&payment.signature).and_then(|signature| {
            recover(transfer_authorization(&domain, authorization), &signature)
        });
        match signer {
            Ok(signer) if signer == authorization.from => Ok(()),
            Ok(_) => refused("the transfer is signed by another key".to_owned()),
            Err(error) => refused(format!("the signature is no good: {error}")),
        }
    }

    /// Whether the transfer can still be made. Returns what the payer holds.
    pub(crate) async fn check_on_chain(&self, payment: &ExactPayment) -> Result<Unused, CallError> {
        let client = self.chain_client();
        let authorization = &payment.authorization;
        let failed = |error| unavailable("the chain", error);
        // First the block: what is read after it is of this one or of a later one.
        let block = client.block_number().await.map_err(failed)?;
        let (is_used, balance) = tokio::try_join!(
            client.authorization_used(authorization.from, authorization.nonce),
            client.token_balance(authorization.from),
        )
        .map_err(failed)?;
        if is_used {
            let code = "invalid_exact_evm_nonce_already_used";
            let message = "this transfer was made before, and not for this call".to_owned();
            return Err(PaymentError::Invalid { code, message }.into());
        }
        if balance < authorization.value {
            let message = format!(
                "the payer holds {balance}, the price is {}",
                authorization.value
            );
            return Err(PaymentError::Invalid {
                code: INSUFFICIENT_FUNDS,
                message,
            }
            .into());
        }
        Ok(Unused { balance, block })
    }
}

/// A transfer that can still be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unused {
    /// What its payer holds.
    pub(super) balance: Amount,
    /// A block in which its nonce was unused.
    pub(super) block: u64,
}

pub(super) const INSUFFICIENT_FUNDS: &str = "insufficient_funds";
/// A transaction takes this long to be included on a slow day.
const TRANSFER_SECONDS: u64 = 6;

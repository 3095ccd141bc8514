//! A payer's consent to a deposit: whether it is of a kind that this node takes, in time, unused,
//! and what the payer is told when the chain refuses it.
//!
//! Not here: signatures, which the collectors check; a deposit is tried out before it is sent.

use rialto_chain::client::{AnyConsent, ChainError, Permit2Authorization};
use rialto_channels::digest::deposit_nonce;
use rialto_channels::payee::WireCode;
use rialto_channels::{Address, Amount, ChannelId};

use crate::Node;
use crate::api::{CallError, Deposit, PaymentError};
use crate::catalog::chain;
use crate::reject::{invalid, unavailable};

impl Node {
    /// Whether deposits of this kind are taken here.
    pub(crate) fn check_deposit_method(&self, deposit: &Deposit) -> Result<(), PaymentError> {
        let taken = self.payee().deposits;
        match &deposit.consent {
            AnyConsent::Erc3009(_) if !taken.eip3009 => Err(invalid(
                WireCode::Permit2AuthorizationRequired,
                "this host takes deposits by Permit2, not by EIP-3009",
            )),
            AnyConsent::Permit2(_) if !taken.permit2 => Err(invalid(
                WireCode::Erc3009AuthorizationRequired,
                "this host takes deposits by EIP-3009, not by Permit2",
            )),
            AnyConsent::Erc3009(_) | AnyConsent::Permit2(_) => Ok(()),
        }
    }

    /// Whether there is time to make a deposit.
    pub(crate) fn check_deposit_time(&self, deposit: &Deposit) -> Result<(), PaymentError> {
        let now = self.now().get();
        let soon = now.saturating_add(DEPOSIT_SECONDS);
        match &deposit.consent {
            AnyConsent::Erc3009(consent) if consent.valid_after > now => Err(invalid(
                WireCode::AuthorizationValidAfter,
                "the deposit's authorization is not valid yet",
            )),
            AnyConsent::Erc3009(consent) if consent.valid_before <= soon => Err(invalid(
                WireCode::AuthorizationValidBefore,
                "the deposit's authorization expires too soon",
            )),
            AnyConsent::Permit2(consent) if consent.deadline < soon => Err(invalid(
                WireCode::Permit2DeadlineExpired,
                "the deposit's Permit2 signature expires too soon",
            )),
            AnyConsent::Erc3009(_) | AnyConsent::Permit2(_) => Ok(()),
        }
    }

    /// Whether the deposit was made before: its nonce is used.
    pub(crate) async fn consent_used(
        &self,
        payer: Address,
        channel: ChannelId,
        deposit: &Deposit,
    ) -> Result<bool, CallError> {
        let client = self.chain_client();
        let used = match &deposit.consent {
            AnyConsent::Erc3009(consent) => {
                let nonce = deposit_nonce(&channel, consent.salt);
                client.authorization_used(payer, nonce).await
            }
            AnyConsent::Permit2(consent) => client.permit2_nonce_used(payer, consent.nonce).await,
        };
        used.map_err(|error| unavailable("the chain", error))
    }

    /// A payer that gave Permit2 no allowance is told so: the chain's own words would not help it.
    pub(crate) async fn check_allowance(
        &self,
        payer: Address,
        deposit: &Deposit,
    ) -> Result<(), CallError> {
        let AnyConsent::Permit2(Permit2Authorization {
            allowance: None, ..
        }) = &deposit.consent
        else {
            return Ok(());
        };
        let allowed = self.chain_client().permit2_allowance(payer).await;
        let allowed = allowed.map_err(|error| unavailable("the chain", error))?;
        if allowed < deposit.amount.to_u256() {
            return Err(allowance_required(deposit.amount).into());
        }
        Ok(())
    }
}

/// What the payer is told when the chain refuses its deposit.
pub(crate) fn deposit_refused(error: ChainError, deposit: &Deposit) -> CallError {
    let Some(reason) = error.revert() else {
        return unavailable("the chain", error);
    };
    let code = match (&deposit.consent, reason) {
        (
            AnyConsent::Permit2(_),
            "InvalidSigner" | "InvalidSignatureLength" | "InvalidContractSignature",
        ) => WireCode::Permit2InvalidSignature,
        (AnyConsent::Permit2(_), "ERC20InsufficientAllowance") => {
            return allowance_required(deposit.amount).into();
        }
        (AnyConsent::Permit2(_) | AnyConsent::Erc3009(_), _) => WireCode::DepositSimulationFailed,
    };
    PaymentError::Settlement {
        code: code.as_str(),
        message: chain(&error),
    }
    .into()
}

fn allowance_required(amount: Amount) -> PaymentError {
    PaymentError::Settlement {
        code: WireCode::Permit2AllowanceRequired.as_str(),
        message: format!(
            "Permit2 may not take {amount} of the token: approve it once, or send an EIP-2612 permit along"
        ),
    }
}

/// A transaction takes this long to be included on a slow day.
const DEPOSIT_SECONDS: u64 = 6;

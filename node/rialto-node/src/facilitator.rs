//! This host as an x402 facilitator: it checks and carries out payments that other servers were
//! offered, on the chain and in the token that it works with itself.
//!
//! It spends gas for strangers, so the operator says for whom ([`config::Facilitator`]): which
//! receivers, from which amount on, how often. Every transaction is run before it is sent. It
//! never signs in a receiver's name: claims and refunds carry the receiver authorizer's own
//! signature, so a facilitator can pay nobody but those who were promised.
//!
//! Not here: JSON (the gateway's), and our own payments through somebody else's facilitator
//! ([`foreign`]).
//!
//! [`config::Facilitator`]: crate::config::Facilitator

mod channels;
mod exact;
pub(crate) mod foreign;
mod policy;

use alloy_primitives::{Address, B256};
use rialto_chain::client::{ChainError, SignedClaims, SignedRefund};
use rialto_channels::{Amount, ChannelConfig, ChannelId, OnChainView};

use crate::Node;
use crate::api::{CallError, ChannelPayment, ExactPayment, PaymentError};
use crate::catalog::chain;

pub(crate) use policy::Policy;

/// What another server was offered, and what it asks to be done with it.
#[derive(Debug, Clone)]
pub struct Facilitated {
    /// What that server wants.
    pub wanted: Wanted,
    /// What its payer offered, or what the server itself asks for.
    pub action: Action,
}

/// The other server's requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The chain, by its EIP-155 id.
    pub chain_id: u64,
    /// Who is to be paid.
    pub pay_to: Address,
    /// In which token.
    pub asset: Address,
    /// Token base units: the price for `exact`; for a channel it is not looked at, since the
    /// server keeps its own count.
    pub amount: Amount,
    /// The token's EIP-712 name, if the server says it.
    pub token_name: Option<String>,
    /// The token's EIP-712 version, if the server says it.
    pub token_version: Option<String>,
    /// Whose key claims and refunds on the server's channels.
    pub receiver_authorizer: Option<Address>,
    /// The delay of the server's channels, in seconds, if it says it.
    pub withdraw_delay: Option<u64>,
}

/// What is to be checked or done.
#[derive(Debug, Clone)]
pub enum Action {
    /// One transfer.
    Exact(Box<ExactPayment>),
    /// A voucher, perhaps with a deposit; the deposit is what is settled.
    Channel(Box<ChannelPayment>),
    /// A payer's request for its unspent balance: checked as a voucher that may claim nothing new.
    RefundRequest(Box<ChannelPayment>),
    /// The server claims what it charged.
    Claim(SignedClaims),
    /// What was claimed is paid out.
    Settle {
        /// To whom.
        receiver: Address,
        /// In which token.
        token: Address,
    },
    /// The server refunds a payer, after claiming what it charged.
    Refund {
        /// The refund.
        refund: Box<SignedRefund>,
        /// The claims that go first.
        claims: Option<SignedClaims>,
    },
}

/// A payment that is good.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Who pays.
    pub payer: Address,
    /// The channel as it is on the chain.
    pub channel: Option<ChannelOnChain>,
}

/// A payment that was carried out.
#[derive(Debug, Clone)]
pub struct Facilitation {
    /// The transaction.
    pub transaction: B256,
    /// Who paid, where one payer did.
    pub payer: Option<Address>,
    /// What it moved, in token base units, where that is one amount.
    pub amount: Option<Amount>,
    /// The channel afterwards.
    pub channel: Option<ChannelOnChain>,
}

/// A channel as it is on the chain.
#[derive(Debug, Clone)]
pub struct ChannelOnChain {
    /// Which.
    pub id: ChannelId,
    /// Its terms.
    pub config: ChannelConfig,
    /// Its state.
    pub view: OnChainView,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum FacilitatorError {
    /// The payment is no good, or not one that this host carries out.
    #[error("{message}")]
    Refused {
        /// The scheme's stable error code.
        code: &'static str,
        /// For people.
        message: String,
        /// Who would have paid.
        payer: Option<Address>,
    },
    /// Too much at once, or in this minute; try again.
    #[error("this facilitator is at its limit; try again in {retry_after_seconds} s")]
    Limited {
        /// When.
        retry_after_seconds: u64,
    },
    /// The chain or the network is away. The same request sent again is safe: a transfer, a
    /// deposit and a refund are made once.
    #[error("{what} is unavailable; send the same request again later")]
    Unavailable {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Node {
    /// Whether this host is a facilitator for others.
    pub fn is_facilitator(&self) -> bool {
        self.0.facilitator.enabled()
    }

    /// Checks a payment without carrying it out.
    ///
    /// # Errors
    /// [`FacilitatorError::Refused`] if it is no good or not for this host to carry out.
    pub async fn facilitate_verify(
        &self,
        request: &Facilitated,
    ) -> Result<Verified, FacilitatorError> {
        let _place = self.newcomer()?;
        self.0.facilitator.check_verify()?;
        self.check_wanted(request)?;
        match &request.action {
            Action::Exact(payment) => self.verify_transfer(&request.wanted, payment).await,
            Action::Channel(payment) => self.verify_channel(&request.wanted, payment, false).await,
            Action::RefundRequest(payment) => {
                self.verify_channel(&request.wanted, payment, true).await
            }
            Action::Claim(_) | Action::Settle { .. } | Action::Refund { .. } => {
                Err(not_verifiable())
            }
        }
    }

    /// Carries a payment out, once. A task of its own: once begun it is carried through whether or
    /// not the caller waits.
    ///
    /// # Errors
    /// [`FacilitatorError`]; nothing was moved unless it says that the chain is unavailable.
    pub async fn facilitate_settle(
        &self,
        request: Facilitated,
    ) -> Result<Facilitation, FacilitatorError> {
        self.check_wanted(&request)?;
        let (node, place) = (self.clone(), self.newcomer()?);
        self.0.facilitator.take_turn()?;
        let task = tokio::spawn(async move {
            let _place = place;
            node.settle_facilitated(request).await
        });
        task.await.map_err(|error| FacilitatorError::Unavailable {
            what: "the settlement",
            source: Box::new(error),
        })?
    }

    async fn settle_facilitated(
        &self,
        request: Facilitated,
    ) -> Result<Facilitation, FacilitatorError> {
        let wanted = &request.wanted;
        match request.action {
            Action::Exact(payment) => self.settle_transfer(wanted, &payment).await,
            Action::Channel(payment) => self.settle_deposit(wanted, &payment).await,
            Action::RefundRequest(_) => Err(not_settleable()),
            Action::Claim(claims) => self.settle_claims(&claims).await,
            Action::Settle { receiver, token } => self.settle_receiver(receiver, token).await,
            Action::Refund { refund, claims } => self.settle_refund(&refund, claims.as_ref()).await,
        }
    }

    /// What holds whatever is asked for: this chain, this token, receivers that the operator
    /// allows.
    fn check_wanted(&self, request: &Facilitated) -> Result<(), FacilitatorError> {
        let wanted = &request.wanted;
        let payee = self.payee();
        let is_exact = matches!(request.action, Action::Exact(_));
        let code = |exact, channel| if is_exact { exact } else { channel };
        if wanted.chain_id != payee.chain_id {
            let code = code(
                "invalid_exact_evm_network_mismatch",
                "invalid_batch_settlement_evm_network_mismatch",
            );
            let message = format!("this facilitator works on eip155:{}", payee.chain_id);
            return Err(refused(code, message));
        }
        if wanted.asset != payee.token {
            let code = code(
                "invalid_payment_requirements",
                "invalid_batch_settlement_evm_token_mismatch",
            );
            let message = format!("this facilitator works with the token {}", payee.token);
            return Err(refused(code, message));
        }
        self.0.facilitator.check_receiver(wanted.pay_to)?;
        match &request.action {
            Action::Settle { receiver, token } => {
                if *token != payee.token {
                    let message = format!("this facilitator works with the token {}", payee.token);
                    return Err(refused(
                        "invalid_batch_settlement_evm_token_mismatch",
                        message,
                    ));
                }
                self.0.facilitator.check_receiver(*receiver)
            }
            Action::Claim(claims) => self.check_claimants(claims),
            Action::Refund { refund, claims } => {
                self.0.facilitator.check_receiver(refund.config.receiver)?;
                claims.as_ref().map_or(Ok(()), |c| self.check_claimants(c))
            }
            Action::Exact(_) | Action::Channel(_) | Action::RefundRequest(_) => Ok(()),
        }
    }

    fn check_claimants(&self, claims: &SignedClaims) -> Result<(), FacilitatorError> {
        claims
            .rows
            .iter()
            .try_for_each(|row| self.0.facilitator.check_receiver(row.config.receiver))
    }
}

fn refused(code: &'static str, message: impl Into<String>) -> FacilitatorError {
    FacilitatorError::Refused {
        code,
        message: message.into(),
        payer: None,
    }
}

fn not_verifiable() -> FacilitatorError {
    refused(
        "invalid_batch_settlement_evm_payload_type",
        "claims, settlements and refunds are not verified: POST them to /settle",
    )
}

fn not_settleable() -> FacilitatorError {
    refused(
        "invalid_batch_settlement_evm_payload_type",
        "a refund is settled with its amount, refundNonce, claims and the receiver authorizer's signatures",
    )
}

/// What the chain refused or could not be asked, as the scheme's code says it.
fn from_chain(error: ChainError, code: &'static str) -> FacilitatorError {
    if error.revert().is_some() || matches!(error, ChainError::OutOfRange(_)) {
        refused(code, chain(&error))
    } else {
        FacilitatorError::Unavailable {
            what: "the chain",
            source: Box::new(error),
        }
    }
}

impl FacilitatorError {
    /// The same with the payer's name.
    fn of(self, payer: Address) -> Self {
        match self {
            Self::Refused { code, message, .. } => Self::Refused {
                code,
                message,
                payer: Some(payer),
            },
            other @ (Self::Limited { .. } | Self::Unavailable { .. }) => other,
        }
    }
}

impl From<PaymentError> for FacilitatorError {
    fn from(error: PaymentError) -> Self {
        let message = error.to_string();
        match error {
            PaymentError::Required => refused("invalid_payload", message),
            PaymentError::Invalid { code, .. }
            | PaymentError::Resync { code, .. }
            | PaymentError::Settlement { code, .. } => refused(code, message),
        }
    }
}

impl From<CallError> for FacilitatorError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Payment(error) => error.into(),
            CallError::Overloaded {
                retry_after_seconds,
            } => Self::Limited {
                retry_after_seconds,
            },
            CallError::NotServing {
                retry_after_seconds,
                ..
            } => Self::Limited {
                retry_after_seconds,
            },
            CallError::Unavailable { what, source } => Self::Unavailable { what, source },
            other @ (CallError::UnknownService { .. }
            | CallError::UnknownMethod { .. }
            | CallError::Arguments(_)
            | CallError::Service(_)
            | CallError::Conflict(_)
            | CallError::Repriced { .. }
            | CallError::StreamEnded { .. }
            | CallError::TooManyFailures { .. }) => refused("invalid_payload", other.to_string()),
        }
    }
}

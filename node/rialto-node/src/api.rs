//! What the node offers to its doors (the gateway and the command line): plain requests and
//! answers, no sockets and no stores.
//!
//! Not here: HTTP, x402's JSON (the gateway's), or any decision about money (`rialto-channels`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
pub use rialto_chain::client::{
    AnyConsent, DepositAuthorization, Permit2Authorization, Released, TokenPermit,
};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::royalty::Royalty;
use rialto_channels::{
    Amount, ChainTime, ChannelConfig, ChannelId, Signature, SignedVoucher, TransferAuthorization,
};
use rialto_host::{Arguments, Interface, Isolation};
use rialto_registry::{Limits, Manifest, Name};

/// A service as callers see it.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// The manifest that the host loaded.
    pub manifest: Arc<Manifest>,
    /// The interface walked from the component's own type.
    pub interface: Arc<Interface>,
    /// SHA-256 of the component.
    pub component: B256,
    /// What a call may use on this host.
    pub limits: Limits,
    /// What lies between the service and this host.
    pub isolation: Isolation,
    /// Its calls that this host runs at the same time, at most.
    pub calls_max: u32,
    /// Its calls that may wait here.
    pub queue_max: u32,
    /// Whether its code is in memory: if not, the next call waits until it is.
    pub loaded: bool,
    /// Why it takes no calls now, if it takes none.
    pub closed: Option<Closed>,
}

/// What a call costs and how it can be paid; stable for a method and an input size, because a
/// client that saw other terms would open another channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The price of this call, in token base units: what is charged when it succeeds.
    pub price: Amount,
    /// What the offer advertises: headroom times the price, so that calls overlap on one channel.
    pub ceiling: Amount,
    /// The smallest deposit worth its gas.
    pub deposit_min: Amount,
    /// Where the money goes and under which rules.
    pub payee: PayeeTerms,
    /// What the service's author is paid of it.
    pub royalty: Option<Royalty>,
}

/// The provider's side of a channel: equal for every route of one service, and but for the receiver
/// for every route of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayeeTerms {
    /// The EVM chain.
    pub chain_id: u64,
    /// The settlement contract.
    pub settlement: Address,
    /// The token.
    pub token: Address,
    /// The token's EIP-712 name.
    pub token_name: String,
    /// The token's EIP-712 version.
    pub token_version: String,
    /// Who is paid: the provider's payout address, or for a service with a royalty the splitter
    /// that pays publisher and provider.
    pub receiver: Address,
    /// The provider's payout address.
    pub provider: Address,
    /// How deposits may be made.
    pub deposits: DepositMethods,
    /// The host's key, which may claim and refund.
    pub receiver_authorizer: Address,
    /// Seconds between a withdrawal's start and its end.
    pub withdraw_delay: u64,
    /// How long a payment authorisation may take to arrive, in seconds.
    pub timeout_seconds: u64,
}

/// One call.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The service's name.
    pub service: String,
    /// The method's name, in either spelling (`-` or `_`).
    pub method: String,
    /// The parameters.
    pub arguments: Arguments,
    /// SHA-256 of the request's body as it arrived.
    pub body_digest: [u8; 32],
    /// The body's size in bytes, which the price list may count.
    pub body_bytes: u64,
    /// The most that the caller was told it costs, in token base units: a version that costs more does
    /// not answer this call.
    pub price_max: Amount,
    /// How it is paid.
    pub payment: Payment,
    /// The calls above it.
    pub lineage: Lineage,
}

/// For whom a call is made, if its caller is a service. Of a call that came from another host it is that host's word,
/// which can only tell against whoever pays for the call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The receipt of the call for which this one is made.
    pub parent: Option<B256>,
    /// The services above it, the first caller's first.
    pub above: Vec<Name>,
    /// What is left of the time of the call above.
    pub time_max: Option<Duration>,
    /// For whom the caller makes it, in its own words: services tell apart whom they work for by this and by who pays.
    /// None for the payer itself.
    pub on_behalf: Option<B256>,
}

/// How a call is paid.
#[derive(Debug, Clone)]
pub enum Payment {
    /// Nothing was offered: accepted only where the price is zero.
    None,
    /// A voucher on a channel, perhaps with the deposit that opens or tops it up.
    Channel(Box<ChannelPayment>),
    /// One transfer for one call (x402 `exact`).
    Exact(Box<ExactPayment>),
}

/// A voucher, the channel it draws on, and perhaps a deposit.
#[derive(Debug, Clone)]
pub struct ChannelPayment {
    /// The channel, in full; its id is always recomputed.
    pub config: ChannelConfig,
    /// The channel id as claimed by the payer; refused unless it is the config's.
    pub channel: ChannelId,
    /// The payer's signed ceiling.
    pub voucher: SignedVoucher,
    /// The deposit to submit first.
    pub deposit: Option<Deposit>,
    /// The payer's own name for this payment (x402 `payment-identifier`).
    pub payment_id: Option<String>,
}

/// A deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// Token base units.
    pub amount: Amount,
    /// The payer's signed consent, by EIP-3009 or by Permit2.
    pub consent: AnyConsent,
}

/// How deposits may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepositMethods {
    /// By EIP-3009, which the token must have.
    pub eip3009: bool,
    /// By Permit2, with EIP-2612 where the payer has given it no allowance.
    pub permit2: bool,
}

impl DepositMethods {
    /// The methods with these names; none for an unknown name, or for no name at all.
    #[must_use]
    pub fn from_names(names: &[String]) -> Option<Self> {
        let has = |name: &str| names.iter().any(|named| named == name);
        let methods = Self {
            eip3009: has("eip3009"),
            permit2: has("permit2"),
        };
        let known = names
            .iter()
            .all(|name| methods.names().contains(&name.as_str()));
        (known && !names.is_empty()).then_some(methods)
    }

    /// The names of the methods on the wire, the usual one first.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let eip3009 = self.eip3009.then_some("eip3009");
        let permit2 = self.permit2.then_some("permit2");
        eip3009.into_iter().chain(permit2).collect()
    }
}

impl Default for DepositMethods {
    /// What USDC has everywhere.
    fn default() -> Self {
        Self {
            eip3009: true,
            permit2: false,
        }
    }
}

/// One EIP-3009 transfer of exactly the price.
#[derive(Debug, Clone)]
pub struct ExactPayment {
    /// The authorisation.
    pub authorization: TransferAuthorization,
    /// Its signature.
    pub signature: Bytes,
    /// The payer's own name for this payment.
    pub payment_id: Option<String>,
}

/// A call that was answered.
#[derive(Debug, Clone)]
pub struct CallOutcome {
    /// JSON of the method's result.
    pub body: Bytes,
    /// What was charged, in token base units.
    pub charged: Amount,
    /// Who paid; none for a free call.
    pub payer: Option<Address>,
    /// The channel after the charge, for a call paid by voucher.
    pub channel: Option<ChannelView>,
    /// The transaction and amount of a deposit or a transfer made for this call.
    pub transaction: Option<(B256, Amount)>,
    /// The host's signed statement, kept for every paid call. None for a free call: nothing is kept
    /// of it, and a signature would cost more than all the rest.
    pub receipt: Option<SignedReceipt>,
    /// Whether this is the stored answer of an earlier, identical payment.
    pub replayed: bool,
}

/// A channel as its payer may see it.
#[derive(Debug, Clone)]
pub struct ChannelView {
    /// Its id.
    pub id: ChannelId,
    /// Its full description.
    pub config: ChannelConfig,
    /// Deposited and not refunded or withdrawn, as on the chain.
    pub balance: Amount,
    /// Claimed on the chain.
    pub claimed: Amount,
    /// Charged so far, claimed or not.
    pub charged: Amount,
    /// Reserved for calls in progress.
    pub in_flight: Amount,
    /// The highest ceiling the payer has signed, and the signature that proves it.
    pub ceiling: Option<(Amount, Signature)>,
    /// When a withdrawal was started, by the chain's clock.
    pub withdrawal_finalizes_at: Option<ChainTime>,
    /// The next refund's nonce.
    pub refund_nonce: U256,
}

/// The payer asks for its unspent balance back.
#[derive(Debug, Clone)]
pub struct RefundRequest {
    /// The channel, in full.
    pub config: ChannelConfig,
    /// The channel id as claimed by the payer.
    pub channel: ChannelId,
    /// A voucher for exactly what was charged, which proves who asks.
    pub voucher: SignedVoucher,
    /// How much, or all that is unspent.
    pub amount: Option<Amount>,
}

/// A refund that was paid.
#[derive(Debug, Clone)]
pub struct RefundOutcome {
    /// The transaction.
    pub transaction: B256,
    /// Token base units returned to the payer.
    pub amount: Amount,
    /// The channel afterwards.
    pub channel: ChannelView,
}

/// What a collection did.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// The claims' transactions.
    pub claims: Vec<B256>,
    /// What they claimed together, in token base units.
    pub claimed: Amount,
    /// How many channels they accounted for.
    pub channels: usize,
    /// Channels whose row the chain refused, and why; they stay claimable.
    pub dropped: Vec<(ChannelId, String)>,
    /// What settlement moved to each receiver.
    pub settled: Vec<(Address, Amount, B256)>,
    /// What royalty splitters paid out, each with its address.
    pub released: Vec<(Address, Released)>,
}

/// Where this node's money lives.
#[derive(Debug, Clone)]
pub struct ChainInfo {
    /// The chain's id.
    pub chain_id: u64,
    /// An RPC endpoint that clients may use; empty if the operator's own is nobody else's.
    pub rpc_url: String,
    /// The settlement contract.
    pub settlement: Address,
    /// The EIP-3009 collector.
    pub collector: Address,
    /// The token.
    pub token: Address,
    /// The provider's payout address.
    pub receiver: Address,
    /// The host's key address: claims, refunds and receipts.
    pub host: Address,
}

/// Why a call was not answered. Nothing is charged in any of these cases (M3).
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Caller's fault: no such service.
    #[error("no service is named `{name}`; this host runs: {known}")]
    UnknownService {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The service is there and takes no calls now. Nothing was begun.
    #[error("service `{service}` {why}; try again in {retry_after_seconds} s")]
    NotServing {
        /// Which service.
        service: String,
        /// Why.
        why: Closed,
        /// A hint for the caller.
        retry_after_seconds: u64,
    },
    /// Caller's fault: no such method.
    #[error("service `{service}` has no method `{name}`; it has: {known}")]
    UnknownMethod {
        /// The service.
        service: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Caller's fault: the parameters do not fit the method's types.
    #[error(transparent)]
    Arguments(#[from] rialto_host::ArgumentError),
    /// The price went up after the caller was told one. Nothing was begun.
    #[error("the price of this call is now {price}: ask for the terms again")]
    Repriced {
        /// What it costs now, in token base units.
        price: Amount,
    },
    /// Payment is missing or refused.
    #[error(transparent)]
    Payment(#[from] PaymentError),
    /// The service or its limits ended the call.
    #[error(transparent)]
    Service(#[from] rialto_host::CallError),
    /// The payment was used for another request.
    #[error("{0}")]
    Conflict(String),
    /// A stream broke off: its reader went away or did not read on, or it is the replay of one that did,
    /// or of one that the service broke off. Also the answer to the same payment sent again for a whole
    /// answer.
    #[error("this stream broke off after {items} items")]
    StreamEnded {
        /// How many were delivered.
        items: u64,
    },
    /// Too many calls at once; try again.
    #[error("this host is at its limit of concurrent calls; try again in {retry_after_seconds} s")]
    Overloaded {
        /// A hint for the caller.
        retry_after_seconds: u64,
    },
    /// Too many calls of this channel, or of this payer's transfers, failed, or too many refunds
    /// were made: they are free, the host's time and gas are not.
    #[error(
        "{failed} calls or refunds of this payer cost this host something and nobody paid: wait {retry_after_seconds} s"
    )]
    TooManyFailures {
        /// How many.
        failed: u32,
        /// Until when.
        retry_after_seconds: u64,
    },
    /// Operator's fault: chain or store cannot be reached, perhaps after the payment was sent on.
    /// The same payment sent again is safe: it is executed and charged once (M5).
    #[error("{what} is unavailable; send the same payment again later: it is charged once at most")]
    Unavailable {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a service takes no calls for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The host has yet to look at it, or is still loading it.
    Preparing,
    /// The operator wants no new calls.
    Drained,
    /// It kept failing by its own fault, for most who called it.
    Quarantined,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparing => "is being prepared on this host",
            Self::Quarantined => "keeps failing by its own fault and rests",
            Self::Drained => "takes no new calls: the host's operator is draining it",
        })
    }
}

/// Why a payment was refused.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// Nothing was offered for a method that costs.
    #[error("payment is required")]
    Required,
    /// The payment does not fit what was offered; `code` is the scheme's stable wire code.
    #[error("{message}")]
    Invalid {
        /// The scheme's stable error code.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// The payer's count of what was charged differs from ours; the view lets it catch up.
    #[error("the voucher's ceiling does not cover what was charged; see the channel's state")]
    Resync {
        /// The scheme's stable error code.
        code: &'static str,
        /// What we hold, with the payer's own signature as proof.
        channel: Box<ChannelView>,
    },
    /// The chain refused the deposit, refund or transfer.
    #[error("the chain refused the payment: {message}")]
    Settlement {
        /// The scheme's stable error code.
        code: &'static str,
        /// For people.
        message: String,
    },
}

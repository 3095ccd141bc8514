//! A client that pays: quotes a call, opens and tops up a channel, signs vouchers, recovers from
//! lost answers, checks and keeps receipts, and takes the rest of the money back, with the host's
//! help or without it.
//!
//! Every decision about money is [`rialto_channels::payer`]'s; this module moves bytes. Calls may
//! overlap: one client is shared by as many tasks as you like. What it trusts: the settlement
//! contract and the collector are fixed addresses, the tokens are those of [`Config::tokens`], and
//! a host is believed about past charges only as far as our own signature goes.
//!
//! The wallet signs deposits, and the transactions of a withdrawal; a session key of each channel
//! signs its vouchers ([`PayingClient::with_wallet`]).
//!
//! Not here: `exact` payments, contract wallets, how a person unlocks a wallet.

mod account;
mod allowance;
mod bounded;
mod budget;
mod call;
mod channel;
mod error;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hearing;
mod kept;
mod lanes;
mod leave;
mod listen;
pub mod mesh;
mod order;
pub(crate) mod public;
mod quote;
mod reach;
mod reading;
mod receipts;
mod refund;
mod royalty;
mod rpc;
mod send;
mod store;
mod ticket;
mod transact;
mod transaction;
mod wallet;
mod withdraw;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, address};
use bytes::Bytes;
use rialto_channels::payer::{Limits, PayerSnapshot};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, B256, ChannelId, SettlementDomain, SigningKey};
use tokio::sync::Mutex;

pub use allowance::{Allowance, Allowances, OverAllowance};
pub use bounded::{DOCUMENT_BYTES_MAX, ReadError, read_bounded};
pub use budget::{Budget, spent_today};
pub use error::{ClientError, ReceiptFault, StoreError};
pub use events::{Event, Parser as EventParser, TooLong};
pub(crate) use hearing::{Ear, Part, hear};
pub use kept::{stored_receipt, stored_receipts};
pub use leave::Leave;
pub use listen::Heard;
pub use order::{Order, Orders};
pub use quote::Quote;
pub use store::{StoredChannel, stored_channels};
pub(crate) use store::{at, private, private_folder, replace};
pub use wallet::{SignContent, SignRequest, Signing, Unlocking, Wallet, WalletError};
pub use withdraw::{Withdrawing, Withdrawn};

use budget::Purse;
use channel::Channel;
use royalty::Receivers;
use rpc::Rpc;

use crate::x402::SETTLEMENT;

/// How a client pays.
#[derive(Debug, Clone)]
pub struct Config {
    /// The gateway's URL, without a path.
    pub gateway: String,
    /// The most that one call may cost, in token base units.
    pub price_max: Amount,
    /// The most that is signed and deposited at a time.
    pub limits: Limits,
    /// The folder that keeps the channels' states; none keeps them in memory only, and a later
    /// client then learns them from the host and the chain.
    pub store: Option<PathBuf>,
    /// An RPC endpoint of the chain; none asks the gateway for one.
    pub rpc_url: Option<String>,
    /// The only chain to pay on; none allows every chain of [`tokens`](Self::tokens).
    pub chain_id: Option<u64>,
    /// The tokens that may be paid with, each with its chain.
    pub tokens: Vec<Token>,
    /// What may be spent in a day.
    pub budget: Budget,
    /// The most that one transaction of the wallet's own may cost, in wei of the chain's coin: an
    /// endpoint that the host names also names the price of gas.
    pub fee_max: u128,
    /// How many channels with one provider may be open.
    pub lanes_max: u32,
    /// How many calls share a channel before another is opened; the host's headroom bounds it too.
    pub calls_per_lane: u32,
    /// How long one request may take.
    pub timeout: Duration,
    /// What is forgiven of a channel's charges that no answer told of, over its whole life. Above
    /// it the host is paid no more. Where several programs without a store share one key, each
    /// cannot explain the others' charges: allow for them here.
    pub unexplained_max: Amount,
    /// The most that is read of a service's answer, in bytes.
    pub answer_bytes_max: u64,
    /// How often a request is sent before it is given up, the first time included.
    pub attempts: u32,
    /// How often a paid request whose answer was lost is sent again beyond that, under the same payment: the
    /// host gives the answer that it kept, and charges once.
    pub repeats: u32,
    /// Whether the gateway has to be on the internet: it is a stranger's who could name this machine.
    pub public_only: bool,
    /// Whether a chain's endpoint that the gateway names has to be on the internet: it is a stranger's word.
    pub public_rpc: bool,
}

/// A token that a client may pay with. Its names are fixed here and not taken from a host, because
/// they are part of what the wallet signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub address: Address,
    /// Its EIP-712 name.
    pub name: String,
    /// Its EIP-712 version.
    pub version: String,
}

impl Config {
    /// Pays at `gateway` with the usual tokens: at most 0.1 USDC a call and 5 USDC a deposit.
    #[must_use]
    pub fn new(gateway: impl Into<String>) -> Self {
        Self {
            gateway: gateway.into(),
            price_max: Amount::new(100_000),
            limits: Limits {
                call_max: Amount::new(1_000_000),
                deposit_max: Amount::new(5_000_000),
                deposit_calls: 20,
            },
            store: None,
            rpc_url: None,
            chain_id: None,
            tokens: usual_tokens(),
            budget: Budget::default(),
            fee_max: FEE_MAX,
            lanes_max: 1,
            calls_per_lane: u32::MAX,
            timeout: Duration::from_secs(60),
            unexplained_max: Amount::new(100_000),
            answer_bytes_max: ANSWER_BYTES_MAX,
            attempts: 4,
            repeats: 0,
            public_only: false,
            public_rpc: false,
        }
    }
}

/// USDC on Base and on its test network (which the development chain stands in for).
#[must_use]
pub fn usual_tokens() -> Vec<Token> {
    let usdc = |chain_id, address, name: &str| Token {
        chain_id,
        address,
        name: name.to_owned(),
        version: "2".to_owned(),
    };
    let base = address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
    let base_sepolia = address!("0x036CbD53842c5426634e7929541eC2318f3dCF7e");
    vec![
        usdc(84532, base_sepolia, "USDC"),
        usdc(8453, base, "USD Coin"),
    ]
}

/// What a call sends.
#[derive(Debug, Clone)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// What they are.
    pub content_type: String,
}

impl Body {
    /// A JSON object of the method's parameters.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text(value.to_string())
    }

    /// The parameters as JSON that is written already.
    #[must_use]
    pub fn text(json: impl Into<Bytes>) -> Self {
        Self {
            bytes: json.into(),
            content_type: "application/json".to_owned(),
        }
    }

    /// The raw bytes of a method's byte parameter.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            content_type: "application/octet-stream".to_owned(),
        }
    }
}

/// An answer, and what it cost.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The result's JSON, as it came.
    pub body: Bytes,
    /// What was charged, in token base units.
    pub charged: Amount,
    /// The deposit that was made for this call, with its transaction when the host named it.
    pub deposit: Option<(Amount, Option<B256>)>,
    /// The channel afterwards; none for a free call.
    pub channel: Option<PayerSnapshot>,
    /// The host's statement.
    pub receipt: Option<SignedReceipt>,
    /// What is wrong with the receipt: the host broke its word, though the answer came.
    pub receipt_fault: Option<ReceiptFault>,
    /// Whether this is the stored answer of a call made before.
    pub replayed: bool,
    /// How many items came, for an answer that came item by item.
    pub items: Option<u64>,
    /// Why such an answer ended early. What came before may have been charged; `body` is its text, a
    /// JSON array without the last bracket.
    pub broke_off: Option<Arc<ClientError>>,
}

/// Money taken back.
#[derive(Debug, Clone)]
pub struct Refunded {
    /// The channel.
    pub channel: ChannelId,
    /// What was returned, in token base units.
    pub amount: Amount,
    /// The transaction.
    pub transaction: String,
}

/// A client that pays. Cheap to clone; clones share channels.
#[derive(Debug, Clone)]
pub struct PayingClient {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    wallet: Arc<dyn Wallet>,
    authorizer: Authorizer,
    http: reqwest::Client,
    /// For the chain, which is chosen by its user.
    chain_http: reqwest::Client,
    /// For what strangers name.
    public_http: reqwest::Client,
    rpc: tokio::sync::OnceCell<Rpc>,
    channels: Mutex<HashMap<ChannelId, Arc<Channel>>>,
    receivers: Receivers,
    purse: Arc<Purse>,
}

/// Whose key signs vouchers.
enum Authorizer {
    /// The wallet's own.
    Wallet(SigningKey),
    /// One that is made for each channel and kept beside its state.
    Sessions,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("gateway", &self.config.gateway)
            .field("payer", &self.wallet.address())
            .finish_non_exhaustive()
    }
}

impl PayingClient {
    /// A client of one gateway that pays with `key`, which is both the wallet's and the channels'
    /// signing key: whoever has it finds the channels again without any file.
    ///
    /// # Errors
    /// [`ClientError::Transport`] when no HTTP client can be made here.
    pub fn new(config: Config, key: SigningKey) -> Result<Self, ClientError> {
        let wallet = Arc::new(key.clone());
        Self::make(config, wallet, Authorizer::Wallet(key))
    }

    /// A client of one gateway that pays from a wallet which is asked for deposits alone: each
    /// channel's vouchers are signed by a key of its own. With [`Config::store`] those keys are
    /// kept; without it the money in a channel comes back by [`refund`](Self::refund) in the same
    /// program, or by a withdrawal.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_wallet(config: Config, wallet: Arc<dyn Wallet>) -> Result<Self, ClientError> {
        Self::make(config, wallet, Authorizer::Sessions)
    }

    fn make(
        mut config: Config,
        wallet: Arc<dyn Wallet>,
        authorizer: Authorizer,
    ) -> Result<Self, ClientError> {
        while config.gateway.ends_with('/') {
            config.gateway.pop();
        }
        let http = || {
            reqwest::Client::builder()
                .timeout(config.timeout)
                // A gateway answers itself. Somebody who redirects wants a payment to be sent elsewhere.
                .redirect(reqwest::redirect::Policy::none())
        };
        let chain_http = http().build().map_err(ClientError::Transport)?;
        // A proxy would look names up itself.
        let public_http = http().no_proxy();
        let public_http = public_http.dns_resolver(Arc::new(public::PublicNames));
        let public_http = public_http.build().map_err(ClientError::Transport)?;
        let http = match config.public_only {
            true => public_http.clone(),
            false => chain_http.clone(),
        };
        let purse = Arc::new(Purse::new(config.budget, config.store.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                wallet,
                authorizer,
                http,
                chain_http,
                public_http,
                rpc: tokio::sync::OnceCell::new(),
                channels: Mutex::new(HashMap::new()),
                receivers: Receivers::default(),
                purse,
            }),
        })
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.inner.wallet.address()
    }

    /// The states of the channels that this client has used since it was made.
    pub async fn channels(&self) -> Vec<PayerSnapshot> {
        let channels = self.inner.channels.lock().await;
        channels.values().map(|channel| channel.state()).collect()
    }
}

/// A twentieth of a coin: what a withdrawal costs when the main chain is very busy.
const FEE_MAX: u128 = 50_000_000_000_000_000;

/// Four times what a gateway takes as a request, unless the user says otherwise.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The settlement contract on a chain: it has one address everywhere.
fn settlement(chain_id: u64) -> SettlementDomain {
    SettlementDomain {
        chain_id,
        contract: SETTLEMENT,
    }
}

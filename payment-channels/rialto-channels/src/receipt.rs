//! Receipts: the host's signed statement of the work done and the charge made for it, chained
//! per channel by `previous`.
//!
//! Signed as EIP-712 typed data (domain `Rialto receipt`), so wallets and contracts can check one:
//! version `4` if the call was made for another call or paid for others, and of version `3`, which tells all
//! that was metered, if not; receipts of earlier hosts are of version `2` if the
//! call used a device, else of version `1`, whose type does not know devices. How a receipt travels
//! (header, JSON) is not decided here.

mod audit;
mod conflict;
mod document;

use std::sync::LazyLock;

pub use audit::{Audited, ChainError, verify_chain};
pub use conflict::{Conflict, Contradiction, NoConflict, conflict};
pub use document::{DOCUMENT_BYTES_MAX, DocumentError};

use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct};

use crate::{
    Amount, ChannelId, Signature, SignatureError, SigningKey, digest, recover,
    typed::receipts::{device, linked, metered, plain},
};

/// What a call used, as metered by the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time inside the guest, in microseconds.
    pub guest_time_us: u64,
    /// Time inside host functions on the guest's behalf, in microseconds.
    pub host_time_us: u64,
    /// Highest sum of the instance's memories, in bytes.
    pub memory_peak_bytes: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Size of the request body, in bytes.
    pub input_bytes: u64,
    /// Size of the answer, in bytes.
    pub output_bytes: u64,
    /// Runs of a model, and of recorded tensor operations.
    pub tensor_runs: u64,
    /// What it used of a device; all zero if it asked for none.
    pub device: DeviceUsage,
    /// What limits bound and no price counts; all zero in receipts of hosts that did not tell.
    pub limits: LimitUsage,
    /// What it had other services do; all zero if nothing.
    pub hires: HireUsage,
}

/// What a call had other services do, on its payer's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HireUsage {
    /// Calls of other services that were answered.
    pub calls: u64,
    /// What is charged for them; a part of the receipt's charge.
    pub spent: Amount,
}

/// What a call used of what limits bound and no price counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitUsage {
    /// From the call to the end of its answer, in microseconds; waiting for a place counted.
    pub wall_time_us: u64,
    /// Waiting for a place, in microseconds.
    pub waited_us: u64,
    /// Most elements of the instance's tables together.
    pub table_peak_elements: u64,
    /// Most handles held at once, of those that the host keeps.
    pub handles_peak: u64,
    /// Bytes copied between the guest and what the host offers it.
    pub host_bytes: u64,
    /// Most bytes of tensors held at once.
    pub tensor_peak_bytes: u64,
    /// Most bytes of language models' sessions held at once.
    pub session_peak_bytes: u64,
    /// Requests sent over HTTP.
    pub outbound_requests: u64,
    /// Bytes of their bodies, both ways.
    pub outbound_bytes: u64,
    /// Bytes of keys and values of changes to what the service keeps.
    pub state_bytes: u64,
    /// Lines of log, those beyond the limit included.
    pub log_lines: u64,
}

/// What a call used of the devices that compute for its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceUsage {
    /// Time of models and operations on their device, in microseconds; waiting for it not counted.
    pub time_us: u64,
    /// Multiplications with addition of tensor operations: half as many as floating-point operations.
    pub multiply_adds: u64,
    /// Bytes of tensors moved between guest and device.
    pub moved_bytes: u64,
    /// Tokens that language models read.
    pub tokens_read: u64,
    /// Tokens that language models wrote.
    pub tokens_written: u64,
}

/// The statement a host signs for one charged call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Identity of the call.
    pub id: B256,
    /// The channel charged, or `None` for a payment outside channels (`exact`).
    pub channel: Option<ChannelId>,
    /// Who paid.
    pub payer: Address,
    /// Who is paid.
    pub provider: Address,
    /// EIP-155 id of the chain the money is on.
    pub chain_id: u64,
    /// The token the amounts count.
    pub token: Address,
    /// Name of the service.
    pub service: String,
    /// Version of the service.
    pub version: String,
    /// sha256 of the component that ran.
    pub component: B256,
    /// sha256 of each model that it may use, in the manifest's order.
    pub models: Vec<B256>,
    /// Name of the method.
    pub method: String,
    /// Names what was asked: keccak-256 of `rialto request v1`, service, method (each ended by a
    /// zero byte) and the SHA-256 of the body as it arrived.
    pub request: B256,
    /// sha256 of the answer's body.
    pub response: B256,
    /// What the call used.
    pub usage: Usage,
    /// The most that this call could have cost, in base units: the ceiling quoted before it.
    pub price: Amount,
    /// Cumulative charge of the channel before the call.
    pub before: Amount,
    /// Charge for this call; at most `price`.
    pub charged: Amount,
    /// Cumulative charge after it: `before + charged`.
    pub after: Amount,
    /// When it was signed, in seconds since the Unix epoch.
    pub issued_at: u64,
    /// Name and version of the engine that ran the models and the guest.
    pub engine: String,
    /// True if running the component again on the same request must give the same answer.
    pub deterministic: bool,
    /// Digest of the channel's receipt before this one; zero for the first.
    pub previous: B256,
    /// The call for which this one was made; none if it was made for nobody else.
    pub parent: Option<B256>,
}

impl Receipt {
    /// The EIP-712 digest that is signed, and that the next receipt names as `previous`.
    #[must_use]
    pub fn digest(&self) -> B256 {
        static PLAIN: LazyLock<Form> = LazyLock::new(|| Form::of::<plain::Receipt>("1"));
        static DEVICE: LazyLock<Form> = LazyLock::new(|| Form::of::<device::Receipt>("2"));
        static METERED: LazyLock<Form> = LazyLock::new(|| Form::of::<metered::Receipt>("3"));
        static LINKED: LazyLock<Form> = LazyLock::new(|| Form::of::<linked::Receipt>("4"));
        if self.is_linked() {
            LINKED.digest(&linked::Receipt::from(self))
        } else if self.usage.limits != LimitUsage::default() {
            METERED.digest(&metered::Receipt::from(self))
        } else if self.usage.device != DeviceUsage::default() {
            DEVICE.digest(&device::Receipt::from(self))
        } else {
            PLAIN.digest(&plain::Receipt::from(self))
        }
    }

    /// Whether it tells of other calls.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.parent.is_some() || self.usage.hires != HireUsage::default()
    }

    /// What books count of it: nothing of what a provider pays itself, which it does for calls that its own services
    /// make of each other. Their payer is charged for the call above them.
    #[must_use]
    pub fn booked(&self) -> Amount {
        match self.channel.is_none() && self.payer == self.provider {
            true => Amount::ZERO,
            false => self.charged,
        }
    }

    /// Signs with the host's key.
    #[must_use]
    pub fn sign(self, host: &SigningKey) -> SignedReceipt {
        self.sign_with_digest(host).0
    }

    /// Signs, and also returns the [`digest`](Self::digest) that the channel's next receipt names.
    #[must_use]
    pub fn sign_with_digest(self, host: &SigningKey) -> (SignedReceipt, B256) {
        let digest = self.digest();
        let signature = host.sign(digest);
        let receipt = self;
        (SignedReceipt { receipt, signature }, digest)
    }

    /// Whether this receipt can directly follow `earlier` on the same channel: it names the
    /// earlier one's digest and starts from its cumulative charge.
    #[must_use]
    pub fn follows(&self, earlier: &Self) -> bool {
        self.channel.is_some()
            && self.channel == earlier.channel
            && self.before == earlier.after
            && self.previous == earlier.digest()
    }
}

/// What the digests of one form of a receipt have in common.
struct Form {
    type_hash: B256,
    separator: B256,
}

impl Form {
    fn of<T: SolStruct>(version: &'static str) -> Self {
        let domain = Eip712Domain::new(
            Some("Rialto receipt".into()),
            Some(version.into()),
            None,
            None,
            None,
        );
        Self {
            type_hash: digest::type_hash::<T>(),
            separator: domain.separator(),
        }
    }

    fn digest(&self, typed: &impl SolStruct) -> B256 {
        digest::signing_hash(typed, &self.type_hash, &self.separator)
    }
}

/// A receipt with the host's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// The statement.
    pub receipt: Receipt,
    /// The host's signature of [`Receipt::digest`].
    pub signature: Signature,
}

impl SignedReceipt {
    /// Checks that `host` signed it and that its amounts add up.
    ///
    /// # Errors
    /// [`ReceiptError`], saying which of the two fails.
    pub fn verify(&self, host: Address) -> Result<(), ReceiptError> {
        if recover(self.receipt.digest(), &self.signature)? != host {
            return Err(SignatureError::WrongSigner.into());
        }
        let receipt = &self.receipt;
        if receipt.charged > receipt.price {
            return Err(ReceiptError::AbovePrice);
        }
        if receipt.usage.hires.spent > receipt.charged {
            return Err(ReceiptError::Spent);
        }
        if receipt.before.checked_add(receipt.charged) != Ok(receipt.after) {
            return Err(ReceiptError::Sum);
        }
        Ok(())
    }
}

/// Why a receipt is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not signed, or signed by another host.
    #[error("receipt's signature is no good")]
    Signature(#[from] SignatureError),
    /// The charge is above the price stated in the same receipt.
    #[error("receipt charges more than its price")]
    AbovePrice,
    /// What was spent on other services is more than what was charged.
    #[error("receipt spends more than it charges")]
    Spent,
    /// `before + charged` is not `after`.
    #[error("receipt's amounts do not add up")]
    Sum,
}

//! The people of the tests, and what they sign.

use alloy::contract::CallBuilder;
use alloy::primitives::{Address, B256, Bytes, U256, Uint, address, keccak256};
use alloy::providers::DynProvider;
use alloy::rpc::types::TransactionReceipt;
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolStruct, SolValue, eip712_domain};
use rialto_chain::devchain::DEV_ACCOUNTS;
use rialto_channels::TokenDomain;

use crate::abi::BatchSettlement::{ChannelConfig, Voucher, VoucherClaim};
use crate::abi::{BatchSettlement, typed};
use crate::chain::{CHAIN_ID, Chain};

pub(crate) const SETTLEMENT: Address = address!("4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
pub(crate) const COLLECTOR: Address = address!("4020806089470a89826cB9fB1f4059150b550004");
pub(crate) const TOKEN: Address = address!("036CbD53842c5426634e7929541eC2318f3dCF7e");
pub(crate) const PERMIT2_COLLECTOR: Address = address!("4020425FAf3B746C082C2f942b4E5159887B0005");
pub(crate) const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");
/// The royalty splitters' factory: its address follows from its code.
pub(crate) const FACTORY: Address = address!("faa9DD09F61171Ebf53423A9219dB447c4Cb3585");
/// The registries, where test networks have them.
pub(crate) const IDENTITY: Address = address!("8004A818BFB912233c491871b3d84c89A494BD9e");
pub(crate) const REPUTATION: Address = address!("8004B663056A597Dffe9eCcC1965A193B7388713");
/// Shortest delay that the contract takes, in seconds.
pub(crate) const DELAY: u64 = 900;

/// A party, by the index of its development account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Sends other people's transactions; also the token's minter.
    Relay = 0,
    Payer = 1,
    Payer2 = 2,
    /// The session key that signs the payers' vouchers.
    Session = 3,
    Receiver = 4,
    Receiver2 = 5,
    /// Signs for the receivers.
    Host = 6,
    Host2 = 7,
    Stranger = 8,
    Payer3 = 9,
}

impl Who {
    pub(crate) fn key(self) -> PrivateKeySigner {
        signers().swap_remove(self as usize)
    }

    pub(crate) fn address(self) -> Address {
        DEV_ACCOUNTS[self as usize].address
    }

    /// A signature of 65 bytes over a digest.
    pub(crate) fn sign(self, digest: B256) -> Bytes {
        self.key()
            .sign_hash_sync(&digest)
            .unwrap()
            .as_bytes()
            .into()
    }
}

/// The keys of all the development accounts, in order.
pub(crate) fn signers() -> Vec<PrivateKeySigner> {
    DEV_ACCOUNTS
        .iter()
        .map(|a| PrivateKeySigner::from_bytes(&a.key).unwrap())
        .collect()
}

/// A channel with a session key, the host as the receiver's authorizer, and the shortest delay.
pub(crate) fn config(payer: Who, receiver: Who) -> ChannelConfig {
    ChannelConfig {
        payer: payer.address(),
        payerAuthorizer: Who::Session.address(),
        receiver: receiver.address(),
        receiverAuthorizer: Who::Host.address(),
        token: TOKEN,
        withdrawDelay: Uint::from(DELAY),
        salt: B256::ZERO,
    }
}

/// The settlement contract's signing domain.
pub(crate) fn settlement_domain() -> Eip712Domain {
    eip712_domain! {
        name: "x402 Batch Settlement",
        version: "1",
        chain_id: CHAIN_ID,
        verifying_contract: SETTLEMENT,
    }
}

/// The token's signing domain.
pub(crate) fn token_domain() -> Eip712Domain {
    eip712_domain! { name: "USDC", version: "2", chain_id: CHAIN_ID, verifying_contract: TOKEN, }
}

/// `v`, `r` and `s` of a signature.
pub(crate) fn vrs(signature: &Bytes) -> (u8, B256, B256) {
    let s = signature.as_ref();
    (
        s[64],
        B256::from_slice(&s[..32]),
        B256::from_slice(&s[32..64]),
    )
}

/// The token's signing domain, as `rialto-channels` takes it.
pub(crate) fn channels_token_domain() -> TokenDomain {
    TokenDomain {
        chain_id: CHAIN_ID,
        token: TOKEN,
        name: "USDC".into(),
        version: "2".into(),
    }
}

/// The channel's id, hashed here and not by the contract.
pub(crate) fn id(config: &ChannelConfig) -> B256 {
    let typed = typed::ChannelConfig {
        payer: config.payer,
        payerAuthorizer: config.payerAuthorizer,
        receiver: config.receiver,
        receiverAuthorizer: config.receiverAuthorizer,
        token: config.token,
        withdrawDelay: config.withdrawDelay,
        salt: config.salt,
    };
    typed.eip712_signing_hash(&settlement_domain())
}

/// A claim row: `signer` signs the ceiling, the receiver's side takes `total` in all.
pub(crate) fn row(config: &ChannelConfig, signer: Who, ceiling: u128, total: u128) -> VoucherClaim {
    let digest = typed::Voucher {
        channelId: id(config),
        maxClaimableAmount: ceiling,
    }
    .eip712_signing_hash(&settlement_domain());
    VoucherClaim {
        voucher: Voucher {
            channel: config.clone(),
            maxClaimableAmount: ceiling,
        },
        signature: signer.sign(digest),
        totalClaimed: total,
    }
}

/// What the receiver authorizer signs for these rows.
pub(crate) fn batch_digest(rows: &[VoucherClaim]) -> B256 {
    let entry = |r: &VoucherClaim| typed::ClaimEntry {
        channelId: id(&r.voucher.channel),
        maxClaimableAmount: r.voucher.maxClaimableAmount,
        totalClaimed: r.totalClaimed,
    };
    let claims = rows.iter().map(entry).collect();
    typed::ClaimBatch { claims }.eip712_signing_hash(&settlement_domain())
}

/// What the receiver authorizer signs for a refund.
pub(crate) fn refund_digest(config: &ChannelConfig, nonce: u64, amount: u128) -> B256 {
    typed::Refund {
        channelId: id(config),
        nonce: U256::from(nonce),
        amount,
    }
    .eip712_signing_hash(&settlement_domain())
}

/// A payer's signed consent to one deposit; tests spoil its fields.
#[derive(Clone, Debug)]
pub(crate) struct Consent {
    pub(crate) amount: u128,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    pub(crate) salt: U256,
}

impl Consent {
    pub(crate) fn new(amount: u128, salt: u64) -> Self {
        Self {
            amount,
            valid_after: 0,
            valid_before: u64::MAX,
            salt: U256::from(salt),
        }
    }

    /// The EIP-3009 nonce, which names the channel.
    pub(crate) fn nonce(&self, config: &ChannelConfig) -> B256 {
        keccak256((id(config), self.salt).abi_encode())
    }

    /// What the payer signs.
    pub(crate) fn digest(&self, config: &ChannelConfig) -> B256 {
        let authorization = typed::ReceiveWithAuthorization {
            from: config.payer,
            to: COLLECTOR,
            value: U256::from(self.amount),
            validAfter: U256::from(self.valid_after),
            validBefore: U256::from(self.valid_before),
            nonce: self.nonce(config),
        };
        authorization.eip712_signing_hash(&token_domain())
    }

    pub(crate) fn sign(&self, config: &ChannelConfig, signer: Who) -> Bytes {
        signer.sign(self.digest(config))
    }

    /// What the collector decodes.
    pub(crate) fn data(&self, signature: Bytes) -> Bytes {
        let (after, before) = (U256::from(self.valid_after), U256::from(self.valid_before));
        (after, before, self.salt, signature)
            .abi_encode_params()
            .into()
    }
}

type DepositCall<'a> =
    CallBuilder<&'a DynProvider, std::marker::PhantomData<BatchSettlement::depositCall>>;

impl Chain {
    /// A relayed deposit by EIP-3009 that `signer` consented to.
    pub(crate) fn deposit_call(
        &self,
        config: &ChannelConfig,
        signer: Who,
        consent: &Consent,
    ) -> DepositCall<'_> {
        let data = consent.data(consent.sign(config, signer));
        self.settlement()
            .deposit(config.clone(), consent.amount, COLLECTOR, data)
            .from(Who::Relay.address())
    }

    /// Deposits into a channel of a development account's.
    pub(crate) async fn deposit(
        &self,
        config: &ChannelConfig,
        payer: Who,
        amount: u128,
        salt: u64,
    ) -> TransactionReceipt {
        self.send(self.deposit_call(config, payer, &Consent::new(amount, salt)))
            .await
    }

    /// A channel as [`config`] makes it, with `amount` in it.
    pub(crate) async fn funded(&self, payer: Who, receiver: Who, amount: u128) -> ChannelConfig {
        let config = config(payer, receiver);
        self.deposit(&config, payer, amount, 1).await;
        config
    }

    /// `(balance, totalClaimed)` of a channel.
    pub(crate) async fn channel(&self, config: &ChannelConfig) -> (u128, u128) {
        let c = self.settlement().channels(id(config)).call().await.unwrap();
        (c.balance, c.totalClaimed)
    }

    /// `(totalClaimed, totalSettled)` of a receiver in the development token.
    pub(crate) async fn receiver(&self, receiver: Who) -> (u128, u128) {
        let r = self
            .settlement()
            .receivers(receiver.address(), TOKEN)
            .call()
            .await
            .unwrap();
        (r.totalClaimed, r.totalSettled)
    }

    /// Claims rows as the host.
    pub(crate) async fn claim(&self, rows: Vec<VoucherClaim>) -> TransactionReceipt {
        self.send(self.settlement().claim(rows).from(Who::Host.address()))
            .await
    }
}

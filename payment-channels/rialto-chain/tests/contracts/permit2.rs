//! Deposits by Permit2: for one channel, one amount, one time, one use; with an EIP-2612 permit
//! where the payer has given no allowance. And what our Permit2 for development chains keeps to.

use alloy::contract::CallBuilder;
use alloy::primitives::{B256, Bytes, U256};
use alloy::providers::DynProvider;
use alloy::sol_types::{Eip712Domain, SolStruct, SolValue, eip712_domain};
use rialto_channels::digest;

use crate::abi::BatchSettlement::{self, ChannelConfig};
use crate::abi::IPermit2::{PermitTransferFrom, SignatureTransferDetails, TokenPermissions};
use crate::abi::{DevPermit2, DevToken, Permit2DepositCollector, TestWallet, typed};
use crate::chain::{CHAIN_ID, Chain, GENESIS_BALANCE, emitted, reverts};
use crate::world::{
    PERMIT2, PERMIT2_COLLECTOR, SETTLEMENT, TOKEN, Who, channels_token_domain, config, id, vrs,
};

on_both!(
    deposits_by_permit2,
    permit_goes_with_the_deposit,
    consent_names_one_channel,
    consent_has_a_time_and_one_use,
    only_settlement_collects,
    contract_wallets_sign_too,
    nonces_are_bits,
);

/// A payer's signed consent; tests spoil its fields.
#[derive(Clone, Copy)]
pub(crate) struct Permit2Consent {
    pub(crate) amount: u128,
    pub(crate) nonce: U256,
    pub(crate) deadline: u64,
}

type DepositCall<'a> =
    CallBuilder<&'a DynProvider, std::marker::PhantomData<BatchSettlement::depositCall>>;

impl Permit2Consent {
    pub(crate) fn new(amount: u128, nonce: u64) -> Self {
        Self {
            amount,
            nonce: U256::from(nonce),
            deadline: u64::MAX,
        }
    }

    /// What the payer signs.
    fn digest(&self, config: &ChannelConfig) -> B256 {
        typed::PermitWitnessTransferFrom {
            permitted: typed::TokenPermissions {
                token: config.token,
                amount: U256::from(self.amount),
            },
            spender: PERMIT2_COLLECTOR,
            nonce: self.nonce,
            deadline: U256::from(self.deadline),
            witness: typed::DepositWitness {
                channelId: id(config),
            },
        }
        .eip712_signing_hash(&permit2_domain())
    }

    pub(crate) fn sign(&self, config: &ChannelConfig, signer: Who) -> Bytes {
        signer.sign(self.digest(config))
    }

    /// What the collector decodes.
    pub(crate) fn data(&self, signature: Bytes, permit: Bytes) -> Bytes {
        (self.nonce, U256::from(self.deadline), signature, permit)
            .abi_encode_params()
            .into()
    }
}

fn permit2_domain() -> Eip712Domain {
    eip712_domain! { name: "Permit2", chain_id: CHAIN_ID, verifying_contract: PERMIT2, }
}

/// An EIP-2612 permit for Permit2, as the collector decodes it.
pub(crate) fn permit(owner: Who, value: u128, nonce: u64) -> Bytes {
    let [value, nonce, deadline] = [value, nonce.into(), u64::MAX.into()].map(U256::from);
    let digest = digest::permit(
        &channels_token_domain(),
        owner.address(),
        PERMIT2,
        value,
        nonce,
        deadline,
    );
    let (v, r, s) = vrs(&owner.sign(digest));
    (value, deadline, U256::from(v), r, s)
        .abi_encode_params()
        .into()
}

impl Chain {
    /// A relayed deposit by Permit2 that `signer` consented to.
    pub(crate) fn permit2_deposit_call(
        &self,
        config: &ChannelConfig,
        signer: Who,
        consent: &Permit2Consent,
        permit: Bytes,
    ) -> DepositCall<'_> {
        let data = consent.data(consent.sign(config, signer), permit);
        self.settlement()
            .deposit(config.clone(), consent.amount, PERMIT2_COLLECTOR, data)
            .from(Who::Relay.address())
    }

    /// Lets Permit2 take `value` of `owner`'s tokens.
    pub(crate) async fn allow_permit2(&self, owner: Who, value: u128) {
        let call = self.token().approve(PERMIT2, U256::from(value));
        self.send(call.from(owner.address())).await;
    }

    fn permit2(&self) -> DevPermit2::DevPermit2Instance<DynProvider> {
        DevPermit2::new(PERMIT2, self.provider.clone())
    }
}

async fn deposits_by_permit2(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    chain.allow_permit2(Who::Payer, 5000).await;
    let deposit = |amount, nonce| {
        let consent = Permit2Consent::new(amount, nonce);
        chain.permit2_deposit_call(&config, Who::Payer, &consent, Bytes::new())
    };
    let receipt = chain.send(deposit(1000, 1)).await;
    emitted(
        &receipt,
        &[BatchSettlement::Deposited {
            channelId: id(&config),
            sender: Who::Relay.address(),
            amount: 1000,
            newBalance: 1000,
        }],
    );
    emitted(
        &receipt,
        &[DevToken::Transfer {
            from: Who::Payer.address(),
            to: SETTLEMENT,
            value: U256::from(1000),
        }],
    );
    chain.send(deposit(500, 2)).await;
    assert_eq!(chain.channel(&config).await, (1500, 0));
    assert_eq!(chain.balance(SETTLEMENT).await, 1500, "I1");
    assert_eq!(chain.balance(PERMIT2_COLLECTOR).await, 0, "C2");
    assert_eq!(
        chain.balance(Who::Payer.address()).await,
        GENESIS_BALANCE - 1500
    );
    reverts(
        deposit(4000, 3),
        DevToken::ERC20InsufficientAllowance {
            spender: PERMIT2,
            allowance: U256::from(3500),
            needed: U256::from(4000),
        },
    )
    .await;
}

/// Without gas and without an allowance: the permit travels with the deposit. One that somebody ran
/// first is no harm; one that is no good is found out by the transfer.
async fn permit_goes_with_the_deposit(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    let deposit = |amount, nonce, permit| {
        let consent = Permit2Consent::new(amount, nonce);
        chain.permit2_deposit_call(&config, Who::Payer, &consent, permit)
    };
    chain
        .send(deposit(1000, 1, permit(Who::Payer, 1000, 0)))
        .await;
    assert_eq!(chain.channel(&config).await, (1000, 0));

    let value = U256::from(700);
    let signature = Who::Payer.sign(digest::permit(
        &channels_token_domain(),
        Who::Payer.address(),
        PERMIT2,
        value,
        U256::from(1),
        U256::from(u64::MAX),
    ));
    let ahead = chain.token().permit_0(
        Who::Payer.address(),
        PERMIT2,
        value,
        U256::from(u64::MAX),
        signature,
    );
    chain.send(ahead.from(Who::Stranger.address())).await;
    chain
        .send(deposit(700, 2, permit(Who::Payer, 700, 1)))
        .await;
    assert_eq!(chain.channel(&config).await, (1700, 0));

    let stolen = deposit(10, 3, permit(Who::Stranger, 10, 2));
    let none = |needed: u64| DevToken::ERC20InsufficientAllowance {
        spender: PERMIT2,
        allowance: U256::ZERO,
        needed: U256::from(needed),
    };
    reverts(stolen, none(10)).await;
    reverts(deposit(10, 3, Bytes::new()), none(10)).await;
}

/// P2: the signature covers amount, spender and channel, and is the payer's.
async fn consent_names_one_channel(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    chain.allow_permit2(Who::Payer, 5000).await;
    let consent = Permit2Consent::new(1000, 1);
    let signature = consent.sign(&config, Who::Payer);
    let deposit = |config: &ChannelConfig, amount, consent: &Permit2Consent| {
        let data = consent.data(signature.clone(), Bytes::new());
        chain
            .settlement()
            .deposit(config.clone(), amount, PERMIT2_COLLECTOR, data)
    };
    let invalid = || DevPermit2::InvalidSigner {};
    let stolen = ChannelConfig {
        receiver: Who::Stranger.address(),
        ..config.clone()
    };
    reverts(deposit(&stolen, 1000, &consent), invalid()).await;
    let other = ChannelConfig {
        payerAuthorizer: Who::Stranger.address(),
        ..config.clone()
    };
    reverts(deposit(&other, 1000, &consent), invalid()).await;
    reverts(deposit(&config, 1001, &consent), invalid()).await;
    let renamed = Permit2Consent::new(1000, 2);
    reverts(deposit(&config, 1000, &renamed), invalid()).await;
    let by_session_key = chain.permit2_deposit_call(&config, Who::Session, &consent, Bytes::new());
    reverts(by_session_key, invalid()).await;
    let data = consent.data(signature[..64].to_vec().into(), Bytes::new());
    let short = chain
        .settlement()
        .deposit(config.clone(), 1000, PERMIT2_COLLECTOR, data);
    reverts(short, DevPermit2::InvalidSignatureLength {}).await;
    chain.send(deposit(&config, 1000, &consent)).await;
    assert_eq!(chain.channel(&config).await, (1000, 0));
}

async fn consent_has_a_time_and_one_use(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    chain.allow_permit2(Who::Payer, 5000).await;
    let deposit = |consent: &Permit2Consent| {
        chain.permit2_deposit_call(&config, Who::Payer, consent, Bytes::new())
    };
    let now = chain.now().await;
    let late = Permit2Consent {
        deadline: now - 1,
        ..Permit2Consent::new(10, 1)
    };
    let expired = DevPermit2::SignatureExpired {
        signatureDeadline: U256::from(late.deadline),
    };
    reverts(deposit(&late), expired).await;
    let consent = Permit2Consent::new(10, 1);
    chain.send(deposit(&consent)).await;
    // P1, also for another channel.
    reverts(deposit(&consent), DevPermit2::InvalidNonce {}).await;
}

/// C1, and P2: a consent seen in the open is of use to nobody but the settlement contract.
async fn only_settlement_collects(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    chain.allow_permit2(Who::Payer, 5000).await;
    let consent = Permit2Consent::new(1000, 1);
    let signature = consent.sign(&config, Who::Payer);
    let (payer, stranger) = (Who::Payer.address(), Who::Stranger.address());
    let collector = Permit2DepositCollector::new(PERMIT2_COLLECTOR, chain.provider.clone());
    assert_eq!(
        collector.x402BatchSettlement().call().await.unwrap(),
        SETTLEMENT
    );
    assert_eq!(collector.PERMIT2().call().await.unwrap(), PERMIT2);
    let data = consent.data(signature.clone(), Bytes::new());
    let collect = collector.collect(payer, TOKEN, U256::from(1000), id(&config), data);
    reverts(
        collect.from(stranger),
        Permit2DepositCollector::OnlyX402BatchSettlement {},
    )
    .await;
    let permit2 = chain.permit2();
    let taken = permit2.permitWitnessTransferFrom(
        PermitTransferFrom {
            permitted: TokenPermissions {
                token: TOKEN,
                amount: U256::from(1000),
            },
            nonce: consent.nonce,
            deadline: U256::from(consent.deadline),
        },
        SignatureTransferDetails {
            to: stranger,
            requestedAmount: U256::from(1000),
        },
        payer,
        typed::DepositWitness {
            channelId: id(&config),
        }
        .eip712_hash_struct(),
        "DepositWitness witness)DepositWitness(bytes32 channelId)\
         TokenPermissions(address token,uint256 amount)"
            .into(),
        signature,
    );
    reverts(taken.from(stranger), DevPermit2::InvalidSigner {}).await;
}

async fn contract_wallets_sign_too(chain: Chain) {
    let receipt = chain
        .send(TestWallet::deploy_builder(chain.provider.clone()))
        .await;
    let address = receipt.contract_address.unwrap();
    let wallet = TestWallet::new(address, chain.provider.clone());
    chain.send(wallet.setKey(Who::Session.address())).await;
    let slot = Chain::balance_slot(address);
    chain
        .set_slot(TOKEN, slot, U256::from(1000_u64).into())
        .await;
    let allowance = Chain::allowance_slot(address, PERMIT2);
    chain
        .set_slot(TOKEN, allowance, U256::from(1000_u64).into())
        .await;
    let config = ChannelConfig {
        payer: address,
        ..config(Who::Payer, Who::Receiver)
    };
    let consent = Permit2Consent::new(1000, 1);
    let by_stranger = chain.permit2_deposit_call(&config, Who::Stranger, &consent, Bytes::new());
    reverts(by_stranger, DevPermit2::InvalidContractSignature {}).await;
    chain
        .send(chain.permit2_deposit_call(&config, Who::Session, &consent, Bytes::new()))
        .await;
    assert_eq!(chain.channel(&config).await, (1000, 0));
}

/// P1: each nonce is one bit of its owner's; more than was permitted is never taken.
async fn nonces_are_bits(chain: Chain) {
    let permit2 = chain.permit2();
    let payer = Who::Payer.address();
    assert_eq!(
        permit2.DOMAIN_SEPARATOR().call().await.unwrap(),
        permit2_domain().separator()
    );
    let mask = U256::from(0b110_u64);
    let call = permit2.invalidateUnorderedNonces(U256::from(1), mask);
    let receipt = chain.send(call.from(payer)).await;
    emitted(
        &receipt,
        &[DevPermit2::UnorderedNonceInvalidation {
            owner: payer,
            word: U256::from(1),
            mask,
        }],
    );
    let bits = permit2.nonceBitmap(payer, U256::from(1)).call().await;
    assert_eq!(bits.unwrap(), mask);

    let config = config(Who::Payer, Who::Receiver);
    chain.allow_permit2(Who::Payer, 5000).await;
    let deposit = |nonce| {
        let consent = Permit2Consent::new(10, nonce);
        chain.permit2_deposit_call(&config, Who::Payer, &consent, Bytes::new())
    };
    for used in [257, 258] {
        reverts(deposit(used), DevPermit2::InvalidNonce {}).await;
    }
    for open in [256, 259, 511, 1] {
        chain.send(deposit(open)).await;
    }
    assert_eq!(chain.channel(&config).await, (40, 0));

    let consent = Permit2Consent::new(10, 300);
    let greedy = permit2.permitWitnessTransferFrom(
        PermitTransferFrom {
            permitted: TokenPermissions {
                token: TOKEN,
                amount: U256::from(10),
            },
            nonce: consent.nonce,
            deadline: U256::from(consent.deadline),
        },
        SignatureTransferDetails {
            to: SETTLEMENT,
            requestedAmount: U256::from(11),
        },
        payer,
        B256::ZERO,
        String::new(),
        Bytes::new(),
    );
    let maximum = DevPermit2::InvalidAmount {
        maxAmount: U256::from(10),
    };
    reverts(greedy, maximum).await;
}

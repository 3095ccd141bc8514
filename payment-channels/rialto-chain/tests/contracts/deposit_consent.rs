//! The payer's consent to a deposit: for one channel, one amount, one time, one use.

use alloy::primitives::U256;

use crate::abi::BatchSettlement::ChannelConfig;
use crate::abi::{DevToken, Erc3009DepositCollector};
use crate::chain::{Chain, GENESIS_BALANCE, reverts};
use crate::world::{COLLECTOR, Consent, TOKEN, Who, config, id};

on_both!(
    consent_names_one_channel,
    consent_has_a_time_and_one_use,
    nobody_runs_ahead_of_a_deposit
);

/// The signature covers amount and channel, and is the payer's.
async fn consent_names_one_channel(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    let consent = Consent::new(1000, 1);
    let signature = consent.sign(&config, Who::Payer);
    let deposit = |config: &ChannelConfig, amount, consent: &Consent| {
        let data = consent.data(signature.clone());
        chain
            .settlement()
            .deposit(config.clone(), amount, COLLECTOR, data)
    };
    let invalid = || DevToken::InvalidSignature {};
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
    reverts(deposit(&config, 1000, &Consent::new(1000, 2)), invalid()).await;
    let by_session_key = chain.deposit_call(&config, Who::Session, &consent);
    reverts(by_session_key, invalid()).await;
    chain.send(deposit(&config, 1000, &consent)).await;
    assert_eq!(chain.channel(&config).await, (1000, 0));
}

async fn consent_has_a_time_and_one_use(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    let now = chain.now().await;
    let late = Consent {
        valid_before: now,
        ..Consent::new(10, 1)
    };
    let expired = DevToken::AuthorizationExpired {
        validBefore: U256::from(late.valid_before),
    };
    reverts(chain.deposit_call(&config, Who::Payer, &late), expired).await;
    let early = Consent {
        valid_after: now + 1000,
        ..Consent::new(10, 1)
    };
    let unborn = DevToken::AuthorizationNotYetValid {
        validAfter: U256::from(early.valid_after),
    };
    reverts(chain.deposit_call(&config, Who::Payer, &early), unborn).await;
    chain.advance(1100).await;
    chain
        .send(chain.deposit_call(&config, Who::Payer, &early))
        .await;

    let used = DevToken::AuthorizationUsedOrCanceled {
        authorizer: Who::Payer.address(),
        nonce: early.nonce(&config),
    };
    reverts(chain.deposit_call(&config, Who::Payer, &early), used).await;

    let too_much = Consent::new(GENESIS_BALANCE, 3);
    let short = DevToken::ERC20InsufficientBalance {
        sender: Who::Payer.address(),
        balance: U256::from(GENESIS_BALANCE - 10),
        needed: U256::from(GENESIS_BALANCE),
    };
    reverts(chain.deposit_call(&config, Who::Payer, &too_much), short).await;
}

/// C1: a consent seen in the open is of use to nobody but the settlement contract.
async fn nobody_runs_ahead_of_a_deposit(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    let consent = Consent::new(1000, 1);
    let signature = consent.sign(&config, Who::Payer);
    let (payer, stranger) = (Who::Payer.address(), Who::Stranger.address());
    let amount = U256::from(1000);

    let collect = chain
        .collector()
        .collect(
            payer,
            TOKEN,
            amount,
            id(&config),
            consent.data(signature.clone()),
        )
        .from(stranger);
    reverts(collect, Erc3009DepositCollector::OnlyX402BatchSettlement {}).await;

    let (after, before) = (U256::ZERO, U256::from(consent.valid_before));
    let nonce = consent.nonce(&config);
    let token = chain.token();
    let receive = token
        .receiveWithAuthorization_0(
            payer,
            COLLECTOR,
            amount,
            after,
            before,
            nonce,
            signature.clone(),
        )
        .from(stranger);
    let not_payee = DevToken::CallerMustBePayee {
        caller: stranger,
        payee: COLLECTOR,
    };
    reverts(receive, not_payee).await;
    let transfer = token
        .transferWithAuthorization_0(payer, COLLECTOR, amount, after, before, nonce, signature)
        .from(stranger);
    reverts(transfer, DevToken::InvalidSignature {}).await;
}

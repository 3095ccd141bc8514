//! The development token's signed allowances (EIP-2612).

use alloy::primitives::{Address, Bytes, U256};

use rialto_channels::digest;

use crate::abi::DevToken;
use crate::chain::{Chain, GENESIS_BALANCE, emitted, reverts};
use crate::world::{Who, channels_token_domain, vrs};

on_both!(
    permits_by_signature,
    permit_is_bound_to_owner_nonce_and_deadline
);

fn permit(owner: Who, spender: Address, value: u64, nonce: u64, deadline: u64) -> Bytes {
    let [value, nonce, deadline] = [value, nonce, deadline].map(U256::from);
    owner.sign(digest::permit(
        &channels_token_domain(),
        owner.address(),
        spender,
        value,
        nonce,
        deadline,
    ))
}

async fn permits_by_signature(chain: Chain) {
    let token = chain.token();
    let (owner, spender) = (Who::Payer.address(), Who::Stranger.address());
    let (value, deadline) = (U256::from(50), U256::from(u64::MAX));
    let signature = permit(Who::Payer, spender, 50, 0, u64::MAX);
    let receipt = chain
        .send(token.permit_0(owner, spender, value, deadline, signature))
        .await;
    emitted(
        &receipt,
        &[DevToken::Approval {
            owner,
            spender,
            value,
        }],
    );
    let (v, r, s) = vrs(&permit(Who::Payer, spender, 50, 1, u64::MAX));
    chain
        .send(token.permit_1(owner, spender, value, deadline, v, r, s))
        .await;
    assert_eq!(token.nonces(owner).call().await.unwrap(), U256::from(2));
    chain
        .send(token.transferFrom(owner, spender, value).from(spender))
        .await;
    assert_eq!(chain.balance(spender).await, GENESIS_BALANCE + 50);
}

/// T2 and T3.
async fn permit_is_bound_to_owner_nonce_and_deadline(chain: Chain) {
    let token = chain.token();
    let (owner, spender) = (Who::Payer.address(), Who::Stranger.address());
    let now = chain.now().await;
    let call = |value: u64, deadline: u64, signature| {
        token.permit_0(
            owner,
            spender,
            U256::from(value),
            U256::from(deadline),
            signature,
        )
    };
    let invalid = || DevToken::ERC2612InvalidSigner { owner };
    let good = permit(Who::Payer, spender, 50, 0, u64::MAX);
    reverts(call(51, u64::MAX, good.clone()), invalid()).await;
    reverts(call(50, u64::MAX - 1, good.clone()), invalid()).await;
    reverts(
        call(50, u64::MAX, permit(Who::Payer, spender, 50, 1, u64::MAX)),
        invalid(),
    )
    .await;
    reverts(
        call(
            50,
            u64::MAX,
            permit(Who::Stranger, spender, 50, 0, u64::MAX),
        ),
        invalid(),
    )
    .await;
    let expired = DevToken::ERC2612ExpiredSignature {
        deadline: U256::from(now - 1),
    };
    reverts(
        call(50, now - 1, permit(Who::Payer, spender, 50, 0, now - 1)),
        expired,
    )
    .await;
    chain.send(call(50, u64::MAX, good.clone())).await;
    reverts(call(50, u64::MAX, good), invalid()).await;
}

//! The development token's signed transfers (EIP-3009).

use alloy::contract::CallBuilder;
use alloy::primitives::{B256, Bytes, U256};
use alloy::providers::DynProvider;
use alloy::sol_types::SolStruct;
use rialto_channels::{Amount, TransferAuthorization, digest};

use crate::abi::{DevToken, typed};
use crate::chain::{Chain, GENESIS_BALANCE, emitted, reverts};
use crate::world::{Who, channels_token_domain, token_domain, vrs};

on_both!(
    transfers_by_signature,
    receives_by_signature,
    authorization_is_bound_to_its_fields,
    cancels_by_signature
);

pub(crate) type Call<'a, C> = CallBuilder<&'a DynProvider, std::marker::PhantomData<C>>;

fn authorization(nonce: u8) -> TransferAuthorization {
    TransferAuthorization {
        from: Who::Payer.address(),
        to: Who::Receiver.address(),
        value: Amount::new(10),
        valid_after: 0,
        valid_before: u64::MAX,
        nonce: B256::with_last_byte(nonce),
    }
}

impl Chain {
    /// `transferWithAuthorization` with the signature in one piece.
    pub(crate) fn transfer_signed(
        &self,
        a: &TransferAuthorization,
        signature: Bytes,
    ) -> Call<'_, DevToken::transferWithAuthorization_0Call> {
        let (value, after) = (U256::from(a.value.get()), U256::from(a.valid_after));
        let before = U256::from(a.valid_before);
        self.token()
            .transferWithAuthorization_0(a.from, a.to, value, after, before, a.nonce, signature)
            .from(Who::Relay.address())
    }

    /// The same with the signature in three.
    fn transfer_split(
        &self,
        a: &TransferAuthorization,
        signature: &Bytes,
    ) -> Call<'_, DevToken::transferWithAuthorization_1Call> {
        let (value, after) = (U256::from(a.value.get()), U256::from(a.valid_after));
        let before = U256::from(a.valid_before);
        let (v, r, s) = vrs(signature);
        self.token()
            .transferWithAuthorization_1(a.from, a.to, value, after, before, a.nonce, v, r, s)
            .from(Who::Relay.address())
    }
}

/// Both forms; each authorization once.
async fn transfers_by_signature(chain: Chain) {
    let (one, two) = (authorization(1), authorization(2));
    let sign = |a| Who::Payer.sign(digest::transfer_authorization(&channels_token_domain(), a));
    let used = |a: &TransferAuthorization| DevToken::AuthorizationUsed {
        authorizer: a.from,
        nonce: a.nonce,
    };
    let receipt = chain.send(chain.transfer_signed(&one, sign(&one))).await;
    emitted(&receipt, &[used(&one)]);
    let (from, to) = (one.from, one.to);
    emitted(
        &receipt,
        &[DevToken::Transfer {
            from,
            to,
            value: U256::from(10),
        }],
    );
    let receipt = chain.send(chain.transfer_split(&two, &sign(&two))).await;
    emitted(&receipt, &[used(&two)]);
    assert_eq!(chain.balance(to).await, GENESIS_BALANCE + 20);

    let again = |nonce| DevToken::AuthorizationUsedOrCanceled {
        authorizer: from,
        nonce,
    };
    reverts(chain.transfer_split(&one, &sign(&one)), again(one.nonce)).await;
    reverts(chain.transfer_signed(&two, sign(&two)), again(two.nonce)).await;
    let state = chain
        .token()
        .authorizationState(from, one.nonce)
        .call()
        .await
        .unwrap();
    assert!(state, "T2");
    let fresh = B256::with_last_byte(9);
    assert!(
        !chain
            .token()
            .authorizationState(from, fresh)
            .call()
            .await
            .unwrap()
    );
}

async fn receives_by_signature(chain: Chain) {
    let (a, b) = (authorization(1), authorization(2));
    let sign = |a| Who::Payer.sign(digest::receive_authorization(&channels_token_domain(), a));
    let (zero, before, value) = (U256::ZERO, U256::from(u64::MAX), U256::from(10));
    let token = chain.token();
    let whole = |by: Who| {
        let call =
            token.receiveWithAuthorization_0(a.from, a.to, value, zero, before, a.nonce, sign(&a));
        call.from(by.address())
    };
    let (v, r, s) = vrs(&sign(&b));
    let split = |by: Who| {
        let call =
            token.receiveWithAuthorization_1(b.from, b.to, value, zero, before, b.nonce, v, r, s);
        call.from(by.address())
    };
    let not_payee = || DevToken::CallerMustBePayee {
        caller: Who::Relay.address(),
        payee: a.to,
    };
    reverts(whole(Who::Relay), not_payee()).await;
    reverts(split(Who::Relay), not_payee()).await;
    chain.send(whole(Who::Receiver)).await;
    chain.send(split(Who::Receiver)).await;
    assert_eq!(chain.balance(a.to).await, GENESIS_BALANCE + 20);
}

/// T3: nothing but what was signed, by whom it concerns, in its time.
async fn authorization_is_bound_to_its_fields(chain: Chain) {
    let good = authorization(1);
    let digest_of =
        |a: &TransferAuthorization| digest::transfer_authorization(&channels_token_domain(), a);
    let signature = Who::Payer.sign(digest_of(&good));
    let thief = Who::Stranger.address();
    for bad in [
        TransferAuthorization { to: thief, ..good },
        TransferAuthorization {
            from: Who::Payer2.address(),
            ..good
        },
        TransferAuthorization {
            value: Amount::new(11),
            ..good
        },
        TransferAuthorization {
            valid_after: 1,
            ..good
        },
        TransferAuthorization {
            valid_before: u64::MAX - 1,
            ..good
        },
        TransferAuthorization {
            nonce: B256::ZERO,
            ..good
        },
    ] {
        let call = chain.transfer_signed(&bad, signature.clone());
        reverts(call, DevToken::InvalidSignature {}).await;
        let call = chain.transfer_split(&bad, &signature);
        reverts(call, DevToken::InvalidSignature {}).await;
    }
    for forged in [
        Who::Stranger.sign(digest_of(&good)),
        Bytes::from_static(&[0; 65]),
    ] {
        let call = chain.transfer_split(&good, &forged);
        reverts(call, DevToken::InvalidSignature {}).await;
    }
    let now = chain.now().await;
    let late = TransferAuthorization {
        valid_before: now,
        ..good
    };
    let expired = DevToken::AuthorizationExpired {
        validBefore: U256::from(now),
    };
    let call = chain.transfer_signed(&late, Who::Payer.sign(digest_of(&late)));
    reverts(call, expired).await;
    let early = TransferAuthorization {
        valid_after: now + 1000,
        ..good
    };
    let unborn = DevToken::AuthorizationNotYetValid {
        validAfter: U256::from(now + 1000),
    };
    let call = chain.transfer_signed(&early, Who::Payer.sign(digest_of(&early)));
    reverts(call, unborn).await;
}

async fn cancels_by_signature(chain: Chain) {
    let (a, b) = (authorization(1), authorization(2));
    let sign = |a: &TransferAuthorization| {
        let typed = typed::CancelAuthorization {
            authorizer: a.from,
            nonce: a.nonce,
        };
        Who::Payer.sign(typed.eip712_signing_hash(&token_domain()))
    };
    let token = chain.token();
    let wrong = token.cancelAuthorization_1(a.from, a.nonce, sign(&b));
    reverts(wrong, DevToken::InvalidSignature {}).await;

    let receipt = chain
        .send(token.cancelAuthorization_1(a.from, a.nonce, sign(&a)))
        .await;
    let canceled = DevToken::AuthorizationCanceled {
        authorizer: a.from,
        nonce: a.nonce,
    };
    emitted(&receipt, &[canceled]);
    let (v, r, s) = vrs(&sign(&b));
    chain
        .send(token.cancelAuthorization_0(b.from, b.nonce, v, r, s))
        .await;
    for canceled in [&a, &b] {
        let gone = || DevToken::AuthorizationUsedOrCanceled {
            authorizer: canceled.from,
            nonce: canceled.nonce,
        };
        let signature = Who::Payer.sign(digest::transfer_authorization(
            &channels_token_domain(),
            canceled,
        ));
        reverts(chain.transfer_signed(canceled, signature), gone()).await;
        let again = token.cancelAuthorization_1(canceled.from, canceled.nonce, sign(canceled));
        reverts(again, gone()).await;
    }
}

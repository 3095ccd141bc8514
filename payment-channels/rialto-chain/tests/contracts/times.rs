//! Times are exact to the second: the last moment that is too early, and the first that is too late.

use alloy::primitives::{B256, Bytes, U256};
use rialto_channels::{Amount, TransferAuthorization, digest};

use crate::chain::Chain;
use crate::world::{DELAY, Who, channels_token_domain, id};

on_both!(authorizations, permits, withdrawals);

async fn authorizations(chain: Chain) {
    let start = chain.now().await + 1000;
    let with = |nonce: u8, valid_after, valid_before| {
        let a = TransferAuthorization {
            from: Who::Payer.address(),
            to: Who::Receiver.address(),
            value: Amount::new(10),
            valid_after,
            valid_before,
            nonce: B256::with_last_byte(nonce),
        };
        let digest = digest::transfer_authorization(&channels_token_domain(), &a);
        chain.transfer_signed(&a, Who::Payer.sign(digest))
    };
    let never = u64::MAX;
    assert!(!chain.succeeds_at(start, with(1, start, never)).await);
    assert!(chain.succeeds_at(start + 1, with(1, start, never)).await);
    assert!(chain.succeeds_at(start + 2, with(2, 0, start + 3)).await);
    assert!(!chain.succeeds_at(start + 3, with(3, 0, start + 3)).await);
    assert!(!chain.succeeds_at(start + 99, with(4, 0, start + 3)).await);
}

async fn permits(chain: Chain) {
    let start = chain.now().await + 1000;
    let (owner, spender) = (Who::Payer.address(), Who::Stranger.address());
    let with = |nonce: u64, deadline: u64| {
        let [value, nonce, deadline] = [7, nonce, deadline].map(U256::from);
        let domain = channels_token_domain();
        let digest = digest::permit(&domain, owner, spender, value, nonce, deadline);
        let signature: Bytes = Who::Payer.sign(digest);
        chain
            .token()
            .permit_0(owner, spender, value, deadline, signature)
    };
    assert!(chain.succeeds_at(start, with(0, start)).await);
    assert!(!chain.succeeds_at(start + 1, with(1, start)).await);
}

/// I8.
async fn withdrawals(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let payer = Who::Payer.address();
    let settlement = chain.settlement();
    chain
        .send(settlement.initiateWithdraw(a.clone(), 1000).from(payer))
        .await;
    let pending = settlement.pendingWithdrawals(id(&a)).call().await.unwrap();
    let start: u64 = pending.initiatedAt.to();
    let end = || settlement.finalizeWithdraw(a.clone()).from(payer);
    assert!(!chain.succeeds_at(start + DELAY - 1, end()).await);
    assert!(chain.succeeds_at(start + DELAY, end()).await);
}

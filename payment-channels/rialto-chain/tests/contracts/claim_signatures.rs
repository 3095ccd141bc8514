//! Who has to sign a claim, and in which form.

use alloy::primitives::{Address, B256, Bytes, U256, fixed_bytes};

use crate::abi::BatchSettlement::{self, ChannelConfig, VoucherClaim};
use crate::abi::TestWallet;
use crate::chain::{Chain, reverts};
use crate::world::{COLLECTOR, Consent, Who, batch_digest, config, row};

on_both!(
    vouchers_are_the_session_keys,
    malformed_signatures_are_named,
    batch_signature_covers_every_row,
    payer_signs_without_a_session_key,
    contract_accounts_sign_by_eip1271
);

async fn vouchers_are_the_session_keys(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let b = chain.funded(Who::Payer2, Who::Receiver, 1000).await;
    let good = row(&a, Who::Session, 300, 300);
    let mut other_channel = good.clone();
    other_channel.voucher.channel = b;
    let mut raised = good.clone();
    raised.voucher.maxClaimableAmount = 301;
    for bad in [
        row(&a, Who::Payer, 300, 300),
        row(&a, Who::Host, 300, 300),
        other_channel,
        raised,
    ] {
        let call = chain
            .settlement()
            .claim(vec![bad])
            .from(Who::Host.address());
        reverts(call, BatchSettlement::InvalidSignature {}).await;
    }
    chain.claim(vec![good]).await;
}

async fn malformed_signatures_are_named(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let good = row(&a, Who::Session, 300, 300);
    let claim = |signature: Vec<u8>| {
        let bad = VoucherClaim {
            signature: signature.into(),
            ..good.clone()
        };
        chain
            .settlement()
            .claim(vec![bad])
            .from(Who::Host.address())
    };
    let bytes = good.signature.to_vec();
    for length in [0, 64, 66] {
        let mut cut = bytes.clone();
        cut.resize(length, 0);
        let length = U256::from(length);
        reverts(
            claim(cut),
            BatchSettlement::ECDSAInvalidSignatureLength { length },
        )
        .await;
    }
    let (high, s) = high_s(&bytes);
    reverts(claim(high), BatchSettlement::ECDSAInvalidSignatureS { s }).await;
    let mut unknown_v = bytes;
    unknown_v[64] = 29;
    reverts(claim(unknown_v), BatchSettlement::ECDSAInvalidSignature {}).await;
    reverts(
        claim(vec![0; 65]),
        BatchSettlement::ECDSAInvalidSignature {},
    )
    .await;
}

/// The other signature that the same key and digest have, and its `s`.
fn high_s(signature: &[u8]) -> (Vec<u8>, B256) {
    let order = U256::from_be_bytes(
        fixed_bytes!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").0,
    );
    let s = B256::from(order - U256::from_be_slice(&signature[32..64]));
    let mut high = signature.to_vec();
    high[32..64].copy_from_slice(s.as_slice());
    high[64] = 27 + 28 - high[64];
    (high, s)
}

async fn batch_signature_covers_every_row(chain: Chain) {
    let a = chain.funded(Who::Payer, Who::Receiver, 1000).await;
    let b = chain.funded(Who::Payer2, Who::Receiver, 1000).await;
    let rows = vec![row(&a, Who::Session, 10, 10), row(&b, Who::Session, 30, 20)];
    let digest = batch_digest(&rows);
    let signature = Who::Host.sign(digest);
    let claim =
        |rows: &[VoucherClaim], s: Bytes| chain.settlement().claimWithSignature(rows.to_vec(), s);

    let mut raised = rows.clone();
    raised[1].totalClaimed = 21;
    let swapped = [rows[1].clone(), rows[0].clone()];
    for (rows, signature) in [
        (&raised[..], signature.clone()),
        (&swapped[..], signature.clone()),
        (&rows[..1], signature.clone()),
        (&rows[..], Who::Receiver.sign(digest)),
        (&rows[..], Who::Session.sign(digest)),
        (&rows[..], Bytes::new()),
        (&rows[..], high_s(&signature).0.into()),
    ] {
        reverts(claim(rows, signature), BatchSettlement::InvalidSignature {}).await;
    }

    // One authorizer cannot sign for another's channels.
    let foreign = ChannelConfig {
        receiverAuthorizer: Who::Host2.address(),
        ..a.clone()
    };
    chain.deposit(&foreign, Who::Payer, 1000, 1).await;
    let mixed = [rows[0].clone(), row(&foreign, Who::Session, 10, 10)];
    let signature = Who::Host.sign(batch_digest(&mixed));
    reverts(
        claim(&mixed, signature),
        BatchSettlement::NotReceiverAuthorizer {},
    )
    .await;
}

async fn payer_signs_without_a_session_key(chain: Chain) {
    let a = ChannelConfig {
        payerAuthorizer: Address::ZERO,
        ..config(Who::Payer, Who::Receiver)
    };
    chain.deposit(&a, Who::Payer, 1000, 1).await;
    let malformed = VoucherClaim {
        signature: Bytes::new(),
        ..row(&a, Who::Payer, 9, 9)
    };
    for bad in [row(&a, Who::Session, 9, 9), malformed] {
        let call = chain
            .settlement()
            .claim(vec![bad])
            .from(Who::Host.address());
        reverts(call, BatchSettlement::InvalidSignature {}).await;
    }
    chain.claim(vec![row(&a, Who::Payer, 9, 9)]).await;
    assert_eq!(chain.channel(&a).await, (1000, 9));
}

/// A contract is the payer, then the receiver authorizer.
async fn contract_accounts_sign_by_eip1271(chain: Chain) {
    let deployed = chain
        .send(TestWallet::deploy_builder(chain.provider.clone()))
        .await;
    let wallet = deployed.contract_address.unwrap();
    let account = TestWallet::new(wallet, chain.provider.clone());
    chain.send(account.setKey(Who::Stranger.address())).await;
    let give = chain
        .token()
        .transfer(wallet, U256::from(1000))
        .from(Who::Relay.address());
    chain.send(give).await;

    let a = ChannelConfig {
        payer: wallet,
        payerAuthorizer: Address::ZERO,
        receiverAuthorizer: wallet,
        ..config(Who::Payer, Who::Receiver)
    };
    let consent = Consent::new(1000, 1);
    let data = consent.data(consent.sign(&a, Who::Stranger));
    chain
        .send(chain.settlement().deposit(a.clone(), 1000, COLLECTOR, data))
        .await;
    assert_eq!(chain.channel(&a).await, (1000, 0));

    let claim = |row: VoucherClaim, by: Who| {
        let signature = by.sign(batch_digest(std::slice::from_ref(&row)));
        chain.settlement().claimWithSignature(vec![row], signature)
    };
    let invalid = || BatchSettlement::InvalidSignature {};
    reverts(claim(row(&a, Who::Stranger, 10, 10), Who::Host), invalid()).await;
    reverts(claim(row(&a, Who::Payer, 10, 10), Who::Stranger), invalid()).await;
    let empty = VoucherClaim {
        signature: Bytes::new(),
        ..row(&a, Who::Stranger, 10, 10)
    };
    reverts(claim(empty, Who::Stranger), invalid()).await;
    chain
        .send(claim(row(&a, Who::Stranger, 10, 10), Who::Stranger))
        .await;
    assert_eq!(chain.channel(&a).await, (1000, 10));

    let digest = crate::world::refund_digest(&a, 0, 990);
    let signature = Who::Stranger.sign(digest);
    chain
        .send(
            chain
                .settlement()
                .refundWithSignature(a, 990, U256::ZERO, signature),
        )
        .await;
    assert_eq!(chain.balance(wallet).await, 990);
}

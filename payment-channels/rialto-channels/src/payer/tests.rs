//! The payer, decision by decision.

use alloy_primitives::{Address, B256, U256};

use super::*;
use crate::{ChainTime, OnChainView, TokenDomain, Withdrawal, recover};

const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84532,
    contract: Address::repeat_byte(0x40),
};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

fn stranger() -> SigningKey {
    SigningKey::from_bytes(&[2; 32]).unwrap()
}

fn config() -> ChannelConfig {
    ChannelConfig {
        payer: key().address(),
        payer_authorizer: key().address(),
        receiver: Address::repeat_byte(2),
        receiver_authorizer: Address::repeat_byte(3),
        token: Address::repeat_byte(4),
        withdraw_delay: 900,
        salt: B256::ZERO,
    }
}

fn view(balance: u128, claimed: u128) -> OnChainView {
    OnChainView {
        balance: Amount::new(balance),
        claimed: Amount::new(claimed),
        refund_nonce: U256::ZERO,
        withdrawal: None,
        read_at: ChainTime::new(1),
    }
}

fn funded(balance: u128) -> PayerChannel {
    let limits = Limits {
        call_max: Amount::new(1000),
        deposit_max: Amount::new(20_000),
        deposit_calls: 5,
    };
    let mut channel = PayerChannel::new(DOMAIN, config(), limits);
    channel.on_chain_view(&view(balance, 0));
    channel
}

fn token() -> TokenDomain {
    TokenDomain {
        chain_id: 84532,
        token: config().token,
        name: "USDC".into(),
        version: "2".into(),
    }
}

fn call(channel: &mut PayerChannel, amount: u128) -> (Call, u128) {
    let (call, signed) = channel
        .next_voucher(Amount::new(amount), None, &key())
        .unwrap();
    assert!(signed.verify(&DOMAIN, key().address()).is_ok());
    (call, signed.voucher.ceiling.get())
}

fn plan(channel: &mut PayerChannel, amount: u128) -> Result<DepositPlan, PayError> {
    let collector = Address::repeat_byte(5);
    channel.plan_deposit(
        &token(),
        collector,
        Amount::new(amount),
        B256::repeat_byte(6),
        99,
    )
}

#[test]
fn ceilings_cover_every_open_call() {
    let mut channel = funded(10_000);
    let (first, ceiling) = call(&mut channel, 1000);
    assert_eq!(ceiling, 1000);
    let (second, ceiling) = call(&mut channel, 1000);
    assert_eq!(ceiling, 2000);
    assert_eq!(
        channel.on_charged(first, Amount::new(100), None),
        Ok(Amount::ZERO)
    );
    let (third, ceiling) = call(&mut channel, 1000);
    assert_eq!(ceiling, 2100);
    channel.on_failed(second);
    channel.on_lost(third);
    // The lost call may have been charged: its amount stays promised.
    let (fourth, ceiling) = call(&mut channel, 1000);
    assert_eq!(ceiling, 2100);
    // The payee's count settles it once nothing is open.
    let count = Some(Amount::new(300));
    assert_eq!(
        channel.on_charged(fourth, Amount::new(100), count),
        Ok(Amount::ZERO)
    );
    assert_eq!(channel.state().charged, Amount::new(300));
    assert_eq!(call(&mut channel, 1000).1, 1300);
}

#[test]
fn an_unexplained_count_is_reported() {
    let mut channel = funded(10_000);
    let (first, _) = call(&mut channel, 1000);
    let unexplained = channel.on_charged(first, Amount::new(100), Some(Amount::new(350)));
    assert_eq!(unexplained, Ok(Amount::new(250)));
}

#[test]
fn a_payee_that_takes_too_much_is_caught() {
    let mut channel = funded(10_000);
    let (first, _) = call(&mut channel, 1000);
    let (amount, charged) = (Amount::new(1000), Amount::new(1001));
    let fault = PayeeFault::Overcharged { amount, charged };
    assert_eq!(channel.on_charged(first, charged, None), Err(fault));
    assert_eq!(channel.state().charged, Amount::ZERO);
    let (second, ceiling) = call(&mut channel, 1000);
    assert_eq!(ceiling, 2000, "the disputed call stays promised");
    let (signed, count) = (Amount::new(2000), Amount::new(2001));
    let fault = PayeeFault::AboveSigned { signed, count };
    assert_eq!(
        channel.on_charged(second, Amount::new(1), Some(count)),
        Err(fault)
    );
    assert_eq!(channel.at_risk(), Amount::new(2000));
}

#[test]
fn limits_are_kept_whatever_the_offer_asks() {
    let mut channel = funded(10_000);
    let amount = Amount::new(1001);
    let refused = PayError::AboveLimit {
        amount,
        limit: Amount::new(1000),
    };
    assert_eq!(channel.next_voucher(amount, None, &key()), Err(refused));
    assert_eq!(channel.deposit_needed(amount, None), Err(refused));
    assert_eq!(
        channel.next_voucher(Amount::new(1), None, &stranger()),
        Err(PayError::WrongKey)
    );
    assert_eq!(
        channel.state().signed_max,
        Amount::ZERO,
        "nothing was signed"
    );
}

#[test]
fn deposits_are_large_enough_and_not_larger_than_allowed() {
    let needed = |balance, amount, min: Option<u128>| {
        funded(balance).deposit_needed(Amount::new(amount), min.map(Amount::new))
    };
    assert_eq!(needed(1000, 1000, None), Ok(None));
    assert_eq!(needed(0, 1000, None), Ok(Some(Amount::new(5000))));
    assert_eq!(needed(0, 1000, Some(10_000)), Ok(Some(Amount::new(10_000))));
    assert_eq!(needed(999, 1000, Some(1)), Ok(Some(Amount::new(5000))));
    let too_much = needed(0, 1000, Some(20_001));
    let (needed, limit) = (Amount::new(20_001), Amount::new(20_000));
    assert_eq!(too_much, Err(PayError::DepositAboveLimit { needed, limit }));
}

#[test]
fn one_deposit_at_a_time() {
    let mut channel = funded(0);
    let (ceiling, funds) = (Amount::new(1000), Amount::ZERO);
    let refused = channel.next_voucher(ceiling, None, &key());
    assert_eq!(refused, Err(PayError::NotFunded { ceiling, funds }));
    let deposit = plan(&mut channel, 5000).unwrap();
    assert_eq!(plan(&mut channel, 5000), Err(PayError::DepositUnderWay));
    assert_eq!(
        channel.deposit_needed(ceiling, None),
        Err(PayError::DepositUnderWay)
    );
    // The voucher that travels with the deposit may count on it; others may not.
    assert!(channel.next_voucher(ceiling, None, &key()).is_err());
    let (first, _) = channel
        .next_voucher(ceiling, Some(&deposit), &key())
        .unwrap();
    channel.on_deposited(&deposit).unwrap();
    assert_eq!(channel.state().balance, Amount::new(5000));
    channel.on_failed(first);
    let second = plan(&mut channel, 1).unwrap();
    channel.on_deposit_failed(second);
    assert_eq!(channel.state().balance, Amount::new(5000));
}

#[test]
fn a_deposit_is_signed_by_the_payer_alone() {
    let mut channel = funded(0);
    let deposit = plan(&mut channel, 5000).unwrap();
    assert_eq!(deposit.sign(&stranger()), Err(PayError::WrongKey));
    let signature = deposit.sign(&key()).unwrap();
    assert_eq!(recover(deposit.digest, &signature), Ok(key().address()));
    let nonce = crate::digest::deposit_nonce(&channel.id(), deposit.salt);
    assert_eq!(deposit.authorization.nonce, nonce);
}

#[test]
fn only_our_own_signature_corrects_us() {
    let proof = |key: &SigningKey, ceiling: u128| {
        let voucher = Voucher {
            channel: config().id(&DOMAIN),
            ceiling: Amount::new(ceiling),
        };
        voucher.sign(&DOMAIN, key).signature
    };
    let state = |charged: u128, signed: u128, signature| Corrective {
        charged: Amount::new(charged),
        signed_max: Amount::new(signed),
        signature,
    };
    let good = state(700, 1000, proof(&key(), 1000));
    let mut channel = funded(10_000);
    let untouched = channel.state().clone();
    let forged = state(700, 1000, proof(&stranger(), 1000));
    assert!(matches!(
        channel.resync(&forged, &view(9, 0)),
        Err(ResyncError::NotOurs(_))
    ));
    let raised = state(1500, 2000, good.signature);
    assert!(matches!(
        channel.resync(&raised, &view(9, 0)),
        Err(ResyncError::NotOurs(_))
    ));
    let above = state(1001, 1000, good.signature);
    assert!(matches!(
        channel.resync(&above, &view(9, 0)),
        Err(ResyncError::AboveProof { .. })
    ));
    let below = channel.resync(&good, &view(10_000, 701));
    assert!(matches!(below, Err(ResyncError::BelowClaimed { .. })));
    assert_eq!(
        channel.state(),
        &untouched,
        "a refused correction changes nothing"
    );

    assert_eq!(channel.resync(&good, &view(10_000, 100)), Ok(()));
    assert_eq!(channel.state().charged, Amount::new(700));
    assert_eq!(call(&mut channel, 1000).1, 1700);
}

#[test]
fn an_answer_from_before_a_resync_is_not_counted_twice() {
    let mut channel = funded(10_000);
    let (early, _) = call(&mut channel, 1000);
    channel.resync_from_chain(&view(10_000, 100));
    // The adopted 100 are this call's.
    assert!(
        channel
            .on_charged(early, Amount::new(100), Some(Amount::new(100)))
            .is_ok()
    );
    assert_eq!(channel.state().charged, Amount::new(100));
}

#[test]
fn an_old_count_does_not_take_back_a_charge() {
    let mut channel = funded(10_000);
    let (first, _) = call(&mut channel, 1000);
    let (second, _) = call(&mut channel, 1000);
    let charge = Amount::new(100);
    // The second answer overtakes the first, whose count is from before it.
    assert_eq!(
        channel.on_charged(second, charge, Some(Amount::new(200))),
        Ok(Amount::ZERO)
    );
    assert_eq!(
        channel.on_charged(first, charge, Some(charge)),
        Ok(Amount::ZERO)
    );
    assert_eq!(channel.state().charged, Amount::new(200));
}

/// Found by the pair's schedules: the claim was seen before the answer of the call it claims.
#[test]
fn a_charge_that_was_claimed_first_is_not_counted_twice() {
    let mut channel = funded(10_000);
    let (first, _) = call(&mut channel, 1000);
    channel.on_chain_view(&view(10_000, 100));
    channel.on_charged(first, Amount::new(100), None).unwrap();
    let (second, _) = call(&mut channel, 1000);
    let count = Some(Amount::new(150));
    channel.on_charged(second, Amount::new(50), count).unwrap();
    assert_eq!(channel.state().charged, Amount::new(150));
    assert_eq!(channel.state().uncertain, Amount::ZERO);
}

#[test]
fn refunds_wait_for_open_calls() {
    let mut channel = funded(10_000);
    let (open, _) = call(&mut channel, 1000);
    assert_eq!(channel.refund_voucher(&key()), Err(PayError::CallsOpen));
    channel.on_charged(open, Amount::new(400), None).unwrap();
    assert_eq!(channel.refund_voucher(&stranger()), Err(PayError::WrongKey));
    let voucher = channel.refund_voucher(&key()).unwrap();
    assert_eq!(
        voucher.voucher.ceiling,
        Amount::new(400),
        "worth what was charged, no more"
    );
    channel.on_refunded(Amount::new(9_600)).unwrap();
    assert_eq!(channel.refund_voucher(&key()), Err(PayError::NothingLeft));
    assert!(channel.on_refunded(Amount::new(401)).is_err());
    let (lost, _) = {
        channel.on_chain_view(&view(5_000, 400));
        call(&mut channel, 1000)
    };
    channel.on_lost(lost);
    assert_eq!(channel.refund_voucher(&key()), Err(PayError::CallsOpen));
}

#[test]
fn a_withdrawal_leaves_what_is_promised() {
    let mut channel = funded(10_000);
    let (open, _) = call(&mut channel, 1000);
    channel.on_charged(open, Amount::new(400), None).unwrap();
    let (_open, _) = call(&mut channel, 1000);
    let amount = channel.withdrawable().unwrap();
    assert_eq!(amount, Amount::new(8_600));
    let withdrawal = Withdrawal {
        amount,
        finalizes_at: ChainTime::new(1000),
    };
    channel.on_withdraw_initiated(withdrawal);
    assert!(!channel.state().can_finalize_withdrawal(ChainTime::new(999)));
    assert!(
        channel
            .state()
            .can_finalize_withdrawal(ChainTime::new(1000))
    );
    let ceiling = Amount::new(1401);
    let refused = PayError::NotFunded {
        ceiling,
        funds: Amount::new(1400),
    };
    assert_eq!(
        channel.next_voucher(Amount::new(1), None, &key()),
        Err(refused)
    );
}

#[test]
fn a_crash_leaves_open_calls_uncertain() {
    let mut channel = funded(10_000);
    let (_open, _) = call(&mut channel, 1000);
    let saved = channel.snapshot().unwrap();
    assert_eq!(saved.uncertain, Amount::new(1000));
    let mut channel = PayerChannel::restore(DOMAIN, saved, channel.limits);
    assert_eq!(call(&mut channel, 500).1, 1500);
}

/// A payee that keeps vouchers and answers with a count that they cover gains nothing unseen:
/// what calls in flight could explain comes to light when they end.
#[test]
fn a_count_that_no_call_explains_is_held_against_the_payee() {
    let mut channel = funded(10_000);
    let adopt = |channel: &mut PayerChannel, charged: u128, signed: SignedVoucher| {
        let state = Corrective {
            charged: Amount::new(charged),
            signed_max: signed.voucher.ceiling,
            signature: signed.signature,
        };
        channel.resync(&state, &view(10_000, 0)).unwrap();
    };
    let unexplained = |channel: &PayerChannel| channel.unexplained().get();
    let amount = Amount::new(1000);
    let (first, _) = channel.next_voucher(amount, None, &key()).unwrap();
    let (second, _) = channel.next_voucher(amount, None, &key()).unwrap();
    let (third, voucher) = channel.next_voucher(amount, None, &key()).unwrap();
    channel.on_failed(third);
    adopt(&mut channel, 3000, voucher);
    assert_eq!(
        unexplained(&channel),
        1000,
        "two calls may explain the rest"
    );
    channel
        .on_charged(first, Amount::new(40), Some(Amount::new(3000)))
        .unwrap();
    assert_eq!(unexplained(&channel), 1960);
    channel.on_lost(second);
    assert_eq!(unexplained(&channel), 1960, "a lost call counts in full");
    // Claims say the same as counts.
    channel.on_chain_view(&view(10_000, 3500));
    assert_eq!(unexplained(&channel), 2460);
    // What was stored is where a restart begins.
    let stored = channel.snapshot().unwrap();
    let limits = Limits {
        call_max: amount,
        deposit_max: amount,
        deposit_calls: 1,
    };
    let restored = PayerChannel::restore(DOMAIN, stored, limits);
    assert_eq!(unexplained(&restored), 0);
}

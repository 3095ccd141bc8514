//! The payee, decision by decision.

use alloy_primitives::{Address, B256, U256};

use super::*;
use crate::{ChannelId, SigningKey, Voucher, Withdrawal};

const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84532,
    contract: Address::repeat_byte(0x40),
};
const NOW: ChainTime = ChainTime::new(1_000_000);
const BALANCE: u128 = 10_000;

fn payer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

fn terms() -> Terms {
    Terms {
        receiver: Address::repeat_byte(2),
        receiver_authorizer: Address::repeat_byte(3),
        token: Address::repeat_byte(4),
        withdraw_delay: 900,
        in_flight_max: 4,
    }
}

fn config() -> ChannelConfig {
    ChannelConfig {
        payer: payer().address(),
        payer_authorizer: payer().address(),
        receiver: terms().receiver,
        receiver_authorizer: terms().receiver_authorizer,
        token: terms().token,
        withdraw_delay: terms().withdraw_delay,
        salt: B256::ZERO,
    }
}

fn view(balance: u128, claimed: u128) -> OnChainView {
    OnChainView {
        balance: Amount::new(balance),
        claimed: Amount::new(claimed),
        refund_nonce: U256::ZERO,
        withdrawal: None,
        read_at: NOW,
    }
}

fn channel() -> PayeeChannel {
    PayeeChannel::new(&terms(), &DOMAIN, config(), &view(BALANCE, 0)).unwrap()
}

fn voucher(ceiling: u128) -> VerifiedVoucher {
    voucher_on(config().id(&DOMAIN), ceiling)
}

fn voucher_on(channel: ChannelId, ceiling: u128) -> VerifiedVoucher {
    Voucher {
        channel,
        ceiling: Amount::new(ceiling),
    }
    .sign(&DOMAIN, &payer())
    .verify(&DOMAIN, payer().address())
    .unwrap()
}

fn reserve(channel: &mut PayeeChannel, ceiling: u128, price: u128) -> Result<Reservation, Reject> {
    channel.reserve(&voucher(ceiling), Amount::new(price), NOW)
}

fn charge(channel: &mut PayeeChannel, ceiling: u128, price: u128, actual: u128) -> Committed {
    let call = reserve(channel, ceiling, price).unwrap();
    channel
        .commit(call, Amount::new(actual), B256::repeat_byte(7))
        .unwrap()
}

#[test]
fn terms_are_checked_one_by_one() {
    let other = Address::repeat_byte(9);
    let check = |config: ChannelConfig, expected| {
        let refused = PayeeChannel::new(&terms(), &DOMAIN, config, &view(1, 0)).unwrap_err();
        assert_eq!(refused, expected);
    };
    check(
        ChannelConfig {
            token: other,
            ..config()
        },
        Reject::WrongToken,
    );
    check(
        ChannelConfig {
            receiver: other,
            ..config()
        },
        Reject::WrongReceiver,
    );
    check(
        ChannelConfig {
            receiver_authorizer: other,
            ..config()
        },
        Reject::WrongReceiverAuthorizer,
    );
    check(
        ChannelConfig {
            withdraw_delay: 901,
            ..config()
        },
        Reject::WrongDelay,
    );
    check(
        ChannelConfig {
            withdraw_delay: 899,
            ..config()
        },
        Reject::DelayOutOfRange,
    );
    check(
        ChannelConfig {
            withdraw_delay: u64::MAX,
            ..config()
        },
        Reject::DelayOutOfRange,
    );
    check(
        ChannelConfig {
            payer_authorizer: Address::ZERO,
            ..config()
        },
        Reject::NoPayerAuthorizer,
    );
}

#[test]
fn a_ceiling_covers_charges_calls_in_flight_and_the_price() {
    let mismatch = |charged: u128, in_flight: u128, price: u128, ceiling: u128| {
        let [charged, in_flight, price, ceiling] =
            [charged, in_flight, price, ceiling].map(Amount::new);
        Reject::CumulativeMismatch {
            charged,
            in_flight,
            price,
            ceiling,
        }
    };
    let mut channel = channel();
    assert_eq!(reserve(&mut channel, 99, 100), Err(mismatch(0, 0, 100, 99)));
    let first = reserve(&mut channel, 250, 100).unwrap();
    let second = reserve(&mut channel, 250, 100).unwrap();
    assert_eq!(channel.in_flight(), Amount::new(200));
    assert_eq!(
        reserve(&mut channel, 250, 100),
        Err(mismatch(0, 200, 100, 250))
    );
    // A lower charge makes room at once.
    let _committed = channel.commit(first, Amount::new(10), B256::ZERO).unwrap();
    assert_eq!(
        reserve(&mut channel, 209, 100),
        Err(mismatch(10, 100, 100, 209))
    );
    let third = reserve(&mut channel, 210, 100).unwrap();
    // A failed call charges nothing (M3).
    channel.release(second);
    channel.release(third);
    assert_eq!(
        (channel.state().charged, channel.in_flight()),
        (Amount::new(10), Amount::ZERO)
    );
}

#[test]
fn a_ceiling_is_above_the_claims_and_within_the_balance() {
    let mut channel = PayeeChannel::new(&terms(), &DOMAIN, config(), &view(500, 200)).unwrap();
    let [claimed, balance] = [200, 500].map(Amount::new);
    let ceiling = Amount::new(200);
    assert_eq!(
        reserve(&mut channel, 200, 0),
        Err(Reject::BelowClaimed { claimed, ceiling })
    );
    let ceiling = Amount::new(501);
    assert_eq!(
        reserve(&mut channel, 501, 10),
        Err(Reject::Overdrawn { balance, ceiling })
    );
    let _call = reserve(&mut channel, 500, 300).unwrap();
}

#[test]
fn the_highest_voucher_is_kept() {
    let mut channel = channel();
    let _charged = charge(&mut channel, 1000, 10, 10);
    let _charged = charge(&mut channel, 400, 10, 10);
    assert_eq!(channel.state().ceiling(), Amount::new(1000));
    let _charged = charge(&mut channel, 1001, 10, 10);
    assert_eq!(channel.state().ceiling(), Amount::new(1001));
}

#[test]
fn vouchers_of_others_are_refused() {
    let mut channel = channel();
    let elsewhere = voucher_on(ChannelId(B256::repeat_byte(1)), 100);
    assert_eq!(
        channel.reserve(&elsewhere, Amount::new(1), NOW),
        Err(Reject::WrongChannel)
    );
    let stranger = SigningKey::from_bytes(&[9; 32]).unwrap();
    let forged = Voucher {
        channel: channel.state().id,
        ceiling: Amount::new(100),
    }
    .sign(&DOMAIN, &stranger)
    .verify(&DOMAIN, stranger.address())
    .unwrap();
    assert_eq!(
        channel.reserve(&forged, Amount::new(1), NOW),
        Err(Reject::WrongAuthorizer)
    );
}

#[test]
fn a_stale_view_takes_no_calls() {
    let mut channel = channel();
    let at = |secs| NOW.checked_add(secs).unwrap();
    let ask = |channel: &mut PayeeChannel, now| {
        channel
            .reserve(&voucher(100), Amount::new(1), now)
            .map(|call| channel.release(call))
    };
    assert_eq!(ask(&mut channel, at(300)), Ok(()));
    assert_eq!(
        ask(&mut channel, at(301)),
        Err(Reject::ViewStale { synced_at: NOW })
    );
    assert!(!channel.on_chain_view(&OnChainView {
        read_at: at(301),
        ..view(BALANCE, 0)
    }));
    assert_eq!(ask(&mut channel, at(301)), Ok(()));
    // An older view changes nothing.
    assert!(!channel.on_chain_view(&OnChainView {
        read_at: at(1),
        ..view(5, 5)
    }));
    assert_eq!(channel.state().balance, Amount::new(BALANCE));
}

#[test]
fn calls_in_flight_are_bounded() {
    let mut channel = channel();
    let calls: Vec<_> = (0..4)
        .map(|_| reserve(&mut channel, 100, 1).unwrap())
        .collect();
    assert_eq!(reserve(&mut channel, 100, 1), Err(Reject::Busy));
    calls.into_iter().for_each(|call| channel.release(call));
    assert!(reserve(&mut channel, 100, 1).is_ok());
}

#[test]
fn a_charge_stays_within_its_reservation() {
    let mut channel = channel();
    let call = reserve(&mut channel, 100, 50).unwrap();
    let above = ChargeError::AbovePrice {
        price: Amount::new(50),
        actual: Amount::new(51),
    };
    assert_eq!(channel.charge(&call, Amount::new(51)), Err(above));
    assert_eq!(
        channel.commit(call, Amount::new(51), B256::ZERO),
        Err(above)
    );
    assert_eq!(
        (channel.state().charged, channel.in_flight()),
        (Amount::ZERO, Amount::ZERO)
    );
    // A reservation of another channel is not honoured here.
    let mut other = PayeeChannel::new(
        &terms(),
        &DOMAIN,
        ChannelConfig {
            salt: B256::repeat_byte(1),
            ..config()
        },
        &view(BALANCE, 0),
    )
    .unwrap();
    let foreign = other
        .reserve(&voucher_on(other.state().id, 100), Amount::new(50), NOW)
        .unwrap();
    let _own = reserve(&mut channel, 100, 50).unwrap();
    assert_eq!(
        channel.commit(foreign, Amount::new(1), B256::ZERO),
        Err(ChargeError::UnknownReservation)
    );
    assert_eq!(
        (channel.state().charged, channel.in_flight()),
        (Amount::ZERO, Amount::new(50))
    );
}

#[test]
fn charges_chain_and_versions_grow() {
    let mut channel = channel();
    let call = reserve(&mut channel, 100, 50).unwrap();
    let seen = channel.charge(&call, Amount::new(30)).unwrap();
    let done = channel
        .commit(call, Amount::new(30), B256::repeat_byte(5))
        .unwrap();
    assert_eq!(done.charge, seen);
    assert_eq!((seen.before, seen.charged), (Amount::ZERO, Amount::new(30)));
    assert_eq!((seen.after, seen.previous), (Amount::new(30), B256::ZERO));
    let next = charge(&mut channel, 100, 10, 10);
    assert_eq!(
        (next.charge.before, next.charge.previous),
        (seen.after, B256::repeat_byte(5))
    );
    assert!(next.snapshot.version > done.snapshot.version);
    assert_eq!(next.snapshot, channel.snapshot());
}

#[test]
fn a_withdrawal_lowers_what_can_be_charged() {
    let mut channel = channel();
    let _charged = charge(&mut channel, 1000, 100, 100);
    let withdrawal = Withdrawal {
        amount: Amount::new(9_800),
        finalizes_at: NOW,
    };
    let later = NOW.checked_add(1).unwrap();
    assert!(channel.on_withdraw_initiated(withdrawal, later));
    assert!(
        channel.claimable().is_some(),
        "what is charged can be claimed at once"
    );
    let refused = Reject::Withdrawing {
        usable: Amount::new(200),
        promised: Amount::new(201),
    };
    assert_eq!(reserve(&mut channel, 1000, 101), Err(refused));
    let call = reserve(&mut channel, 1000, 100).unwrap();
    channel.release(call);
    channel.on_withdraw_finalized(later);
    assert_eq!(
        reserve(&mut channel, 1000, 1),
        Err(Reject::ViewStale { synced_at: NOW })
    );
    channel.on_chain_view(&OnChainView {
        read_at: later,
        ..view(200, 100)
    });
    let (balance, ceiling) = (Amount::new(200), Amount::new(1000));
    assert_eq!(
        reserve(&mut channel, 1000, 1),
        Err(Reject::Overdrawn { balance, ceiling })
    );
    assert!(reserve(&mut channel, 200, 100).is_ok());
}

#[test]
fn only_a_withdrawal_that_takes_charged_money_is_a_risk() {
    let mut channel = channel();
    let _ = charge(&mut channel, 1_000, 600, 600);
    assert!(!channel.at_risk());
    let mut started = |amount, claimed, later| {
        channel.on_chain_view(&OnChainView {
            withdrawal: Some(Withdrawal {
                amount: Amount::new(amount),
                finalizes_at: NOW,
            }),
            read_at: ChainTime::new(NOW.get() + later),
            ..view(BALANCE, claimed)
        });
        channel.at_risk()
    };
    assert!(!started(BALANCE - 600, 0, 1), "what is charged is left");
    assert!(started(BALANCE - 599, 0, 2));
    assert!(started(BALANCE, 0, 3));
    assert!(!started(BALANCE, 600, 4), "claimed already");
}

#[test]
fn a_withdrawal_has_everything_claimed_and_not_each_call_by_itself() {
    let mut channel = channel();
    let _ = charge(&mut channel, 1_000, 100, 100);
    assert!(!channel.claim_at_once(None, NOW), "nobody withdraws");
    let mut see = |withdrawal: u128, claimed, later| {
        channel.on_chain_view(&OnChainView {
            withdrawal: Some(Withdrawal {
                amount: Amount::new(withdrawal),
                finalizes_at: NOW,
            }),
            read_at: ChainTime::new(NOW.get() + later),
            ..view(BALANCE, claimed)
        });
        channel.clone()
    };
    let leaving = see(1, 0, 1);
    assert!(leaving.claim_at_once(None, NOW) && !leaving.at_risk());
    assert!(!see(1, 100, 2).claim_at_once(None, NOW), "all is claimed");
    // What is charged since is claimed after a pause, unless it is about to be taken.
    let pause = leaving.state().config.withdraw_delay / CLAIMS_PER_DELAY;
    let after = |secs| ChainTime::new(NOW.get() + secs);
    assert!(!leaving.claim_at_once(Some(NOW), after(pause - 1)));
    assert!(leaving.claim_at_once(Some(NOW), after(pause)));
    assert!(see(BALANCE, 0, 3).claim_at_once(Some(NOW), NOW));
}

#[test]
fn a_charge_that_could_not_be_queued_is_taken_back() {
    let mut channel = channel();
    let first = charge(&mut channel, 1_000, 100, 100);
    let second = charge(&mut channel, 1_000, 200, 200);
    assert!(!channel.take_back(&first.charge), "not the newest");
    assert!(channel.take_back(&second.charge));
    assert_eq!(channel.state().charged, Amount::new(100));
    assert_eq!(channel.state().last_receipt, second.charge.previous);
    assert!(channel.state().version > second.snapshot.version);
    assert!(channel.in_flight().is_zero());
}

#[test]
fn claims_cover_charges_and_nothing_in_flight() {
    let mut channel = channel();
    assert_eq!(channel.claimable(), None);
    let call = reserve(&mut channel, 1000, 500).unwrap();
    assert_eq!(channel.claimable(), None, "nothing is charged yet");
    let _committed = channel.commit(call, Amount::new(300), B256::ZERO).unwrap();
    let row = channel.claimable().unwrap();
    assert_eq!(
        (row.total_claimed, row.voucher),
        (Amount::new(300), voucher(1000).signed())
    );
    assert!(channel.on_claimed(Amount::new(300), NOW.checked_add(1).unwrap()));
    assert_eq!(channel.claimable(), None);
    // The event again, or an older one, changes nothing.
    assert!(!channel.on_claimed(Amount::new(300), NOW.checked_add(1).unwrap()));
    assert!(!channel.on_claimed(Amount::new(200), NOW.checked_add(2).unwrap()));
    assert!(
        !channel.on_claimed(Amount::new(900), NOW),
        "older than the view"
    );
}

#[test]
fn a_refund_needs_quiet_and_the_exact_charge() {
    let mut channel = channel();
    let _charged = charge(&mut channel, 1000, 500, 300);
    let call = reserve(&mut channel, 1000, 1).unwrap();
    assert_eq!(
        channel.begin_refund(&voucher(300), None, NOW),
        Err(Reject::Busy)
    );
    assert_eq!(channel.refundable(), Amount::ZERO);
    channel.release(call);
    assert_eq!(channel.refundable(), Amount::new(9_700));
    let wrong = channel.begin_refund(&voucher(301), None, NOW).unwrap_err();
    assert!(wrong.is_corrective());
    for asked in [0, 9_701] {
        let asked = Amount::new(asked);
        let refused = Reject::RefundAmount {
            asked,
            refundable: Amount::new(9_700),
        };
        assert_eq!(
            channel.begin_refund(&voucher(300), Some(asked), NOW),
            Err(refused)
        );
    }
    let refund = channel.begin_refund(&voucher(300), None, NOW).unwrap();
    assert_eq!(refund.amount, Amount::new(9_700));
    assert_eq!(
        refund.claim.map(|row| row.total_claimed),
        Some(Amount::new(300))
    );
    assert_eq!(
        reserve(&mut channel, 1000, 1),
        Err(Reject::Busy),
        "refund under way"
    );
    let later = NOW.checked_add(2).unwrap();
    channel.end_refund(refund, Some(later));
    assert!(channel.needs_view(later));
    channel.on_chain_view(&OnChainView {
        read_at: later,
        ..view(300, 300)
    });
    let empty = channel.begin_refund(&voucher(300), None, later);
    assert_eq!(empty, Err(Reject::NothingToRefund));
}

#[test]
fn a_failed_refund_leaves_the_channel_as_it_was() {
    let mut channel = channel();
    let _charged = charge(&mut channel, 1000, 500, 300);
    let before = channel.snapshot();
    let refund = channel
        .begin_refund(&voucher(300), Some(Amount::new(1)), NOW)
        .unwrap();
    channel.end_refund(refund, None);
    assert_eq!(channel.snapshot(), before);
    assert!(reserve(&mut channel, 1000, 1).is_ok());
}

#[test]
fn a_restored_channel_waits_for_the_chain() {
    let mut first = channel();
    let _charged = charge(&mut first, 1000, 500, 300);
    let _in_flight_at_the_crash = reserve(&mut first, 1000, 500).unwrap();
    let mut channel = PayeeChannel::restore(first.snapshot(), &DOMAIN, 4).unwrap();
    assert_eq!(channel.in_flight(), Amount::ZERO, "M3: it was not charged");
    assert_eq!(
        reserve(&mut channel, 1000, 1),
        Err(Reject::ViewStale { synced_at: NOW })
    );
    channel.on_chain_view(&view(BALANCE, 0));
    assert_eq!(
        charge(&mut channel, 1000, 700, 700).charge.after,
        Amount::new(1000)
    );
}

#[test]
fn a_forged_snapshot_is_not_restored() {
    let mut channel = channel();
    let good = charge(&mut channel, 1000, 500, 300).snapshot;
    let check = |snapshot: ChannelSnapshot, expected: fn(ChannelId) -> RestoreError| {
        let id = snapshot.id;
        let refused = PayeeChannel::restore(snapshot, &DOMAIN, 4).unwrap_err();
        assert_eq!(refused, expected(id));
    };
    check(
        ChannelSnapshot {
            id: ChannelId(B256::ZERO),
            ..good.clone()
        },
        RestoreError::WrongId,
    );
    let charged = Amount::new(1001);
    check(
        ChannelSnapshot {
            charged,
            ..good.clone()
        },
        RestoreError::AboveCeiling,
    );
    check(
        ChannelSnapshot {
            best: None,
            ..good.clone()
        },
        RestoreError::AboveCeiling,
    );
    let mut best = good.best.unwrap();
    best.voucher.ceiling = Amount::new(5000);
    check(
        ChannelSnapshot {
            best: Some(best),
            ..good
        },
        RestoreError::WrongVoucher,
    );
}

#[test]
fn deposits_and_reorganisations_move_the_balance() {
    let mut channel = channel();
    let later = |secs| NOW.checked_add(secs).unwrap();
    assert!(channel.on_deposited(Amount::new(12_000), later(2)));
    assert!(!channel.on_deposited(Amount::new(12_000), later(2)));
    // A view that was read before the deposit and arrives after it does not undo it.
    assert!(!channel.on_chain_view(&OnChainView {
        read_at: later(1),
        ..view(BALANCE, 0)
    }));
    assert_eq!(channel.state().balance, Amount::new(12_000));
    assert!(channel.on_chain_view(&OnChainView {
        read_at: later(3),
        ..view(BALANCE, 0)
    }));
    assert_eq!(channel.state().balance, Amount::new(BALANCE));
}

#[test]
fn wire_codes_are_those_clients_act_on() {
    let amount = Amount::ZERO;
    let check = |reject: Reject, code: &str| {
        assert_eq!(
            reject.wire_code().to_string(),
            format!("invalid_batch_settlement_evm_{code}")
        );
    };
    check(
        Reject::CumulativeMismatch {
            charged: amount,
            in_flight: amount,
            price: amount,
            ceiling: amount,
        },
        "cumulative_amount_mismatch",
    );
    check(
        Reject::BelowClaimed {
            claimed: amount,
            ceiling: amount,
        },
        "cumulative_below_claimed",
    );
    check(
        Reject::Overdrawn {
            balance: amount,
            ceiling: amount,
        },
        "cumulative_exceeds_balance",
    );
    check(Reject::Busy, "channel_busy");
    check(Reject::WrongReceiver, "receiver_mismatch");
    check(Reject::NothingToRefund, "refund_no_balance");
}

/// Processes that hand a channel to each other decide as one process would.
#[test]
fn a_channel_that_is_handed_on_decides_as_one_that_is_kept() {
    let (mut kept, mut shared) = (channel(), channel().share());
    let hand = |shared: &mut SharedState, work: &mut dyn FnMut(&mut PayeeChannel)| {
        let mut channel = PayeeChannel::resume(shared.clone(), 4).unwrap();
        work(&mut channel);
        *shared = channel.share();
    };
    let calls: Vec<_> = [100, 100, 100]
        .into_iter()
        .map(|price| reserve(&mut kept, 300, price).unwrap())
        .collect();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        hand(&mut shared, &mut |channel| {
            numbers.push(reserve(channel, 300, 100).unwrap().number());
        });
    }
    let over = reserve(&mut kept, 300, 1).unwrap_err();
    hand(&mut shared, &mut |channel| {
        assert_eq!(reserve(channel, 300, 1).unwrap_err(), over);
    });
    for (place, (call, number)) in calls.into_iter().zip(numbers).enumerate() {
        let receipt = B256::with_last_byte(u8::try_from(place).unwrap());
        if place == 1 {
            kept.release(call);
        } else {
            let _stored = kept.commit(call, Amount::new(90), receipt).unwrap();
        }
        hand(&mut shared, &mut |channel| {
            let call = channel.held(number).unwrap();
            if place == 1 {
                channel.release(call);
            } else {
                let _stored = channel.commit(call, Amount::new(90), receipt).unwrap();
            }
            assert!(channel.held(number).is_none(), "a reservation is used once");
        });
        assert_eq!(shared, kept.share());
    }
}

#[test]
fn a_state_that_breaks_the_ceiling_is_not_resumed() {
    let mut channel = channel();
    let _stored = charge(&mut channel, 100, 100, 100);
    let mut state = channel.share();
    assert!(PayeeChannel::resume(state.clone(), 4).is_ok());
    state.snapshot.charged = Amount::new(101);
    let refused = PayeeChannel::resume(state, 4).unwrap_err();
    assert_eq!(refused, RestoreError::AboveCeiling(channel.state().id));
}

#[test]
fn a_refund_that_was_left_behind_wants_the_chain_to_be_read() {
    let mut channel = channel();
    let _left = channel.begin_refund(&voucher(0), None, NOW).unwrap();
    let mut next = PayeeChannel::resume(channel.share(), 4).unwrap();
    assert_eq!(reserve(&mut next, 100, 100).unwrap_err(), Reject::Busy);
    next.abandon_refund();
    assert!(matches!(
        reserve(&mut next, 100, 100).unwrap_err(),
        Reject::ViewStale { .. }
    ));
    next.on_chain_view(&view(BALANCE, 0));
    assert!(reserve(&mut next, 100, 100).is_ok());
}

/// A host that lost its disk takes the chain's claims for its charges. If a reorganisation then
/// takes the claims back, nothing proves those charges, and a restart must not fail over them.
#[test]
fn claims_that_are_reorganised_away_leave_no_charge_that_nothing_proves() {
    let mut lost = PayeeChannel::new(&terms(), &DOMAIN, config(), &view(BALANCE, 700)).unwrap();
    assert_eq!(lost.state().charged, Amount::new(700));
    let later = OnChainView {
        read_at: NOW.checked_add(1).unwrap(),
        ..view(BALANCE, 0)
    };
    assert!(lost.on_chain_view(&later));
    assert_eq!(lost.state().charged, Amount::ZERO);
    assert!(PayeeChannel::restore(lost.snapshot(), &DOMAIN, 4).is_ok());

    // One that holds vouchers keeps its own charges, and claims them again.
    let mut kept = channel();
    let charged = charge(&mut kept, 900, 900, 800).charge.after;
    kept.on_claimed(charged, NOW.checked_add(1).unwrap());
    let reorganised = OnChainView {
        read_at: NOW.checked_add(2).unwrap(),
        ..view(BALANCE, 0)
    };
    kept.on_chain_view(&reorganised);
    assert_eq!(kept.state().charged, Amount::new(800));
    let row = kept.claimable().unwrap();
    assert_eq!(row.total_claimed, Amount::new(800));
    assert!(PayeeChannel::restore(kept.snapshot(), &DOMAIN, 4).is_ok());
}

#[test]
fn a_refund_that_was_begun_before_a_crash_keeps_the_channel_closed() {
    let mut before = channel();
    let _ = charge(&mut before, 500, 500, 500);
    let refund = before.begin_refund(&voucher(500), None, NOW).unwrap();
    let mut after = PayeeChannel::restore(before.snapshot(), &DOMAIN, 4).unwrap();
    let seen = OnChainView {
        read_at: NOW.checked_add(1).unwrap(),
        ..view(BALANCE, 0)
    };
    after.on_chain_view(&seen);
    let resumed = after.resume_refund(refund.amount, refund.nonce).unwrap();
    assert_eq!(resumed, refund);
    assert_eq!(reserve(&mut after, 600, 100), Err(Reject::Busy));
    after.end_refund(resumed, NOW.checked_add(2));
    let done = OnChainView {
        refund_nonce: U256::from(1),
        read_at: NOW.checked_add(3).unwrap(),
        ..view(500, 500)
    };
    after.on_chain_view(&done);
    assert_eq!(after.resume_refund(refund.amount, refund.nonce), None);
}

#[test]
fn what_is_at_stake_is_limited_per_channel_and_per_payer() {
    let limits = ExposureLimits {
        channel_max: Some(Amount::new(300)),
        payer_max: Some(Amount::new(350)),
    };
    let mut channel = channel();
    let mut payer = PayerExposure::default();
    let take = |channel: &mut PayeeChannel, payer: &PayerExposure, ceiling| {
        let price = Amount::new(100);
        channel.reserve_within(&voucher(ceiling), price, NOW, &limits, payer)
    };
    let mut calls = Vec::new();
    for ceiling in [100, 200, 300] {
        calls.push(take(&mut channel, &payer, ceiling).unwrap());
    }
    let exposed = |exposure: u128, limit: u128| {
        Err(Reject::Exposed {
            exposure: Amount::new(exposure),
            price: Amount::new(100),
            limit: Amount::new(limit),
        })
    };
    assert_eq!(take(&mut channel, &payer, 400), exposed(300, 300));
    assert!(
        !limits.wants_claim(&channel, Amount::ZERO),
        "nothing to claim"
    );
    channel.release(calls.pop().unwrap());
    // Another channel of the payer has the rest.
    payer.moved(Amount::ZERO, channel.exposure()).unwrap();
    payer.moved(Amount::ZERO, Amount::new(100)).unwrap();
    assert_eq!(take(&mut channel, &payer, 400), exposed(300, 350));
    for call in calls {
        let _ = channel.commit(call, Amount::new(100), B256::ZERO).unwrap();
    }
    assert_eq!(channel.exposure(), Amount::new(200));
    assert!(limits.wants_claim(&channel, Amount::new(200)));
    channel.on_claimed(Amount::new(200), NOW.checked_add(1).unwrap());
    assert_eq!(channel.exposure(), Amount::ZERO);
    payer.moved(Amount::new(200), channel.exposure()).unwrap();
    assert_eq!(payer.sum(), Amount::new(100));
    assert!(payer.moved(Amount::new(200), Amount::ZERO).is_err());
    assert!(take(&mut channel, &payer, 400).is_ok());
    let code = exposed(1, 1).unwrap_err().wire_code();
    assert_eq!(code.as_str(), "rialto_exposure_limit");
}

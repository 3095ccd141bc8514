//! Reserving and charging: terms, ceilings, vouchers, what is in flight and at stake.

use super::*;

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

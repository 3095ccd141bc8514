//! A channel's state in other hands: stored, forged, handed on, left behind by a crash.

use super::*;

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

/// More than one core's share, with one that is forged at any place.
#[test]
fn many_channels_are_restored_in_their_order() {
    let snapshots: Vec<_> = (0..600_u64)
        .map(|number| {
            let config = ChannelConfig {
                salt: B256::from(U256::from(number)),
                ..config()
            };
            let view = view(BALANCE, 0);
            let channel = PayeeChannel::new(&terms(), &DOMAIN, config, &view).unwrap();
            channel.snapshot()
        })
        .collect();
    let restored = PayeeChannel::restore_all(&snapshots, &DOMAIN, 4).unwrap();
    let restored: Vec<_> = restored.iter().map(PayeeChannel::snapshot).collect();
    assert_eq!(restored, snapshots);
    assert!(
        PayeeChannel::restore_all(&[], &DOMAIN, 4)
            .unwrap()
            .is_empty()
    );
    for wrong in [0, 255, 256, 599] {
        let mut snapshots = snapshots.clone();
        let forged = ChannelId(B256::repeat_byte(9));
        snapshots[wrong].id = forged;
        let later = ChannelId(B256::repeat_byte(8));
        snapshots[599].id = if wrong == 599 { forged } else { later };
        let refused = PayeeChannel::restore_all(&snapshots, &DOMAIN, 4).unwrap_err();
        assert_eq!(refused, RestoreError::WrongId(forged), "the first one");
    }
}

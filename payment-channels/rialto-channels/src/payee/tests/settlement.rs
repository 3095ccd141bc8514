//! What ends in the payee's or the payer's wallet: withdrawals, claims, refunds, reorganisations.

use super::*;

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

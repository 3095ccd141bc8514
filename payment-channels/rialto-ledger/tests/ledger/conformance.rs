//! What every ledger does, tried on both kinds: on redb in a scratch folder and on PostgreSQL.

use alloy_primitives::{Address, B256, U256};
use rialto_channels::{Amount, ChainTime, Withdrawal, payee::ChannelSnapshot};
use rialto_ledger::{
    Account, CommitError, Config, Day, Entry, ExactNonce, Flow, Ledger, Movement, PaymentRecord,
    SharedLedger, Store, Totals,
};
use rialto_testkit::postgres::Server;

use crate::{
    audit,
    fixture::{self, Till, answer, exact},
    replicas::{fast, open},
};

#[tokio::test]
async fn redb_keeps_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut number = 0;
    check(async || {
        number += 1;
        Ledger::open(&dir.path().join(number.to_string()), Config::default()).unwrap()
    })
    .await;
}

#[tokio::test]
async fn postgresql_keeps_the_record() {
    postgresql(&[]).await;
}

/// Distributed SQL knows no weaker level.
#[tokio::test]
async fn postgresql_keeps_the_record_when_serializable() {
    postgresql(&["default_transaction_isolation=serializable"]).await;
}

async fn postgresql(settings: &[&str]) {
    let server = Server::start_with(settings).unwrap();
    let mut number = 0;
    let mut opened: Vec<SharedLedger> = Vec::new();
    check(async || {
        number += 1;
        let url = server.database(&format!("record_{number}")).unwrap();
        if let Some(before) = opened.pop() {
            before.close().await;
        }
        let ledger = open(fast(&url)).await;
        opened.push(ledger.clone());
        ledger
    })
    .await;
}

async fn check<S: Store>(mut fresh: impl AsyncFnMut() -> S) {
    an_empty_ledger_knows_nothing(fresh().await).await;
    payments_are_read_back(fresh().await).await;
    a_payment_is_stored_once(fresh().await).await;
    an_older_state_never_overwrites_a_newer(fresh().await).await;
    two_histories_are_a_conflict(fresh().await).await;
    every_part_of_a_channel_is_kept(fresh().await).await;
    authorizations_are_used_once(fresh().await).await;
    movements_count_once(fresh().await).await;
    what_never_comes_is_taken_back_once(fresh().await).await;
    one_of_many_equal_payments_is_stored(fresh().await).await;
    channels_and_receipts_are_read_in_pages(fresh().await).await;
    a_charge_that_only_a_claim_proved_goes_with_it(fresh().await).await;
    audit::a_right_ledger_has_no_finding_and_a_wrong_one_has(fresh().await).await;
}

fn charge(snapshot: &ChannelSnapshot, payment: &PaymentRecord) -> Entry {
    Entry::Charge {
        snapshot: Some(snapshot.clone()),
        payment: payment.clone(),
    }
}

async fn an_empty_ledger_knows_nothing(ledger: impl Store) {
    assert!(ledger.channels().await.unwrap().is_empty());
    assert_eq!(ledger.payment(&[0; 32]).await.unwrap(), None);
    assert_eq!(ledger.receipt(&B256::ZERO).await.unwrap(), None);
    let unknown = Till::new(1).channel.state().id;
    assert_eq!(ledger.channel(&unknown).await.unwrap(), None);
    assert!(ledger.totals().await.unwrap().is_empty());
}

async fn payments_are_read_back(ledger: impl Store) {
    let (mut one, mut two) = (Till::new(1), Till::new(2));
    let charges = [one.charge(90), two.charge(80), one.charge(70)];
    for (snapshot, payment) in &charges {
        ledger.commit(charge(snapshot, payment)).await.unwrap();
    }
    let body: Vec<u8> = (0..=255).collect();
    let paid = PaymentRecord {
        answer: Some(answer(&body)),
        ..exact(1, 55)
    };
    let entry = Entry::Charge {
        snapshot: None,
        payment: paid.clone(),
    };
    ledger.commit(entry).await.unwrap();
    for payment in charges.iter().map(|(_, payment)| payment).chain([&paid]) {
        let read = ledger.payment(&payment.key).await.unwrap();
        assert_eq!(read.as_ref(), Some(payment));
        let receipt = ledger.receipt(&payment.receipt.receipt.id).await.unwrap();
        assert_eq!(receipt.as_ref(), Some(&payment.receipt));
    }
    let mut expected = vec![one.channel.snapshot(), two.channel.snapshot()];
    expected.sort_by_key(|channel| channel.id);
    assert_eq!(ledger.channels().await.unwrap(), expected);
    let totals = Totals {
        receiver: fixture::receiver(),
        token: fixture::token(),
        charged: Amount::new(240),
        exact: Amount::new(55),
        claimed: Amount::ZERO,
        settled: Amount::ZERO,
        refunded: Amount::ZERO,
    };
    assert_eq!(ledger.totals().await.unwrap(), [totals]);
}

/// M5, whatever else of the entry is new: nothing of a refused entry is kept.
async fn a_payment_is_stored_once(ledger: impl Store) {
    let mut till = Till::new(1);
    let (first, payment) = till.charge(40);
    ledger.commit(charge(&first, &payment)).await.unwrap();
    let totals = ledger.totals().await.unwrap();
    let (second, other) = till.charge(40);
    let same_key = PaymentRecord {
        key: payment.key,
        ..other.clone()
    };
    let same_receipt = PaymentRecord {
        receipt: payment.receipt.clone(),
        ..other.clone()
    };
    for again in [same_key, same_receipt] {
        let refused = ledger.commit(charge(&second, &again)).await;
        assert!(
            matches!(refused, Err(CommitError::DuplicatePayment)),
            "{refused:?}"
        );
        let stored = ledger.channel(&first.id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(&first));
    }
    assert_eq!(ledger.totals().await.unwrap(), totals);
    assert_eq!(ledger.payment(&other.key).await.unwrap(), None);
    ledger.commit(charge(&second, &other)).await.unwrap();
}

async fn an_older_state_never_overwrites_a_newer(ledger: impl Store) {
    let mut till = Till::new(1);
    let (older, early) = till.charge(40);
    let (newer, late) = till.charge(30);
    ledger.commit(charge(&newer, &late)).await.unwrap();
    ledger.commit(Entry::Channel(older.clone())).await.unwrap();
    // A charge whose state is already covered keeps its payment.
    ledger.commit(charge(&older, &early)).await.unwrap();
    assert_eq!(ledger.channel(&newer.id).await.unwrap(), Some(newer));
    assert_eq!(ledger.payment(&early.key).await.unwrap(), Some(early));
}

async fn two_histories_are_a_conflict(ledger: impl Store) {
    let (snapshot, payment) = Till::new(1).charge(40);
    ledger.commit(charge(&snapshot, &payment)).await.unwrap();
    for (version, charged) in [(1, 41), (snapshot.version, 41), (99, 39)] {
        let other = ChannelSnapshot {
            version,
            charged: Amount::new(charged),
            ..snapshot.clone()
        };
        let refused = ledger.commit(Entry::Channel(other)).await;
        assert!(
            matches!(refused, Err(CommitError::Conflict(id)) if id == snapshot.id),
            "version {version}: {refused:?}"
        );
        let stored = ledger.channel(&snapshot.id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(&snapshot));
    }
}

async fn every_part_of_a_channel_is_kept(ledger: impl Store) {
    let bare = Till::new(1).channel.snapshot();
    let (charged, _) = Till::new(2).charge(5);
    let full = ChannelSnapshot {
        withdrawal: Some(Withdrawal {
            amount: Amount::MAX,
            finalizes_at: ChainTime::new(u64::MAX),
        }),
        balance: Amount::MAX,
        ..charged
    };
    for snapshot in [bare, full] {
        ledger
            .commit(Entry::Channel(snapshot.clone()))
            .await
            .unwrap();
        assert_eq!(ledger.channel(&snapshot.id).await.unwrap(), Some(snapshot));
    }
}

async fn authorizations_are_used_once(ledger: impl Store) {
    let nonce = ExactNonce {
        token: fixture::token(),
        payer: Address::repeat_byte(1),
        nonce: B256::repeat_byte(1),
    };
    let other = ExactNonce {
        payer: Address::ZERO,
        ..nonce
    };
    ledger.commit(Entry::Nonce(nonce)).await.unwrap();
    let again = ledger.commit(Entry::Nonce(nonce)).await;
    assert!(matches!(again, Err(CommitError::NonceUsed)), "{again:?}");
    assert!(ledger.nonce_used(&nonce).await.unwrap());
    assert!(!ledger.nonce_used(&other).await.unwrap());
    ledger.commit(Entry::Nonce(other)).await.unwrap();
}

async fn movements_count_once(ledger: impl Store) {
    let movement = |transaction, amount| Movement {
        transaction: B256::repeat_byte(transaction),
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(amount),
    };
    for entry in [
        Entry::Claimed(movement(1, 80)),
        Entry::Claimed(movement(1, 80)),
        Entry::Claimed(movement(2, 5)),
        Entry::Settled(movement(1, 70)),
        Entry::Refunded(movement(3, 40)),
    ] {
        ledger.commit(entry).await.unwrap();
    }
    let totals = Totals {
        receiver: fixture::receiver(),
        token: fixture::token(),
        charged: Amount::ZERO,
        exact: Amount::ZERO,
        claimed: Amount::new(85),
        settled: Amount::new(70),
        refunded: Amount::new(40),
    };
    assert_eq!(ledger.totals().await.unwrap(), [totals]);
    let settled = ledger.settled(fixture::receiver(), fixture::token());
    assert_eq!(settled.await.unwrap(), Amount::new(70));
    let other = ledger.settled(fixture::token(), fixture::token());
    assert_eq!(other.await.unwrap(), Amount::ZERO);
}

/// An `exact` payment that was booked and can never come.
async fn what_never_comes_is_taken_back_once(ledger: impl Store) {
    let (paid, unpaid) = (exact(1, 55), exact(2, 40));
    let mut till = Till::new(1);
    let (snapshot, on_channel) = till.charge(40);
    ledger.commit(charge(&snapshot, &on_channel)).await.unwrap();
    for payment in [&paid, &unpaid] {
        let (snapshot, payment) = (None, payment.clone());
        let entry = Entry::Charge { snapshot, payment };
        ledger.commit(entry).await.unwrap();
    }
    let of = |payment: &PaymentRecord| Movement {
        transaction: payment.receipt.receipt.id,
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(40),
    };
    let right = of(&unpaid);
    let books = ledger.trial_balance().await.unwrap();
    // Another sum, another receiver, another token, a call on a channel, and one nobody knows.
    for wrong in [
        of(&paid),
        Movement {
            receiver: Address::ZERO,
            ..right
        },
        Movement {
            token: Address::ZERO,
            ..right
        },
        of(&on_channel),
        of(&exact(3, 40)),
    ] {
        let refused = ledger.commit(Entry::Unpaid(wrong)).await.unwrap_err();
        assert!(
            matches!(refused, CommitError::NotExact(id) if id == wrong.transaction),
            "{refused}"
        );
    }
    assert_eq!(
        ledger.trial_balance().await.unwrap(),
        books,
        "left no trace"
    );
    for _ in 0..2 {
        ledger.commit(Entry::Unpaid(right)).await.unwrap();
    }
    let books = ledger.trial_balance().await.unwrap();
    assert!(books.is_balanced());
    let (receiver, token) = (right.receiver, right.token);
    let line = books.account(receiver, token, Account::Exact);
    assert_eq!((line.debit, line.credit), (U256::from(95), U256::from(40)));
    let lines = ledger.journal(Day::MIN..=Day::MAX, None, 9).await.unwrap();
    let sum = |flow| -> U256 { lines.iter().map(|line| line.flows.get(flow)).sum() };
    assert_eq!(
        (sum(Flow::Exact), sum(Flow::Unpaid)),
        (line.debit, line.credit)
    );
    // What was answered and what it was worth stays as it was.
    assert_eq!(ledger.totals().await.unwrap()[0].exact, Amount::new(95));
    assert_eq!(ledger.payment(&unpaid.key).await.unwrap(), Some(unpaid));
}

async fn one_of_many_equal_payments_is_stored(ledger: impl Store) {
    let payment = exact(1, 7);
    let commits: Vec<_> = (0..16)
        .map(|_| {
            let (ledger, payment) = (ledger.clone(), payment.clone());
            tokio::spawn(async move {
                let entry = Entry::Charge {
                    snapshot: None,
                    payment,
                };
                ledger.commit(entry).await
            })
        })
        .collect();
    let mut stored = 0;
    for commit in commits {
        match commit.await.unwrap() {
            Ok(()) => stored += 1,
            Err(error) => assert!(matches!(error, CommitError::DuplicatePayment), "{error:?}"),
        }
    }
    assert_eq!(stored, 1);
    assert_eq!(ledger.totals().await.unwrap()[0].exact, Amount::new(7));
}

async fn channels_and_receipts_are_read_in_pages(ledger: impl Store) {
    let mut payments = Vec::new();
    for number in 0..3 {
        let mut till = Till::new(number);
        // From 90 to 180: the order is that of numbers, not of their digits.
        for amount in [90, 90, 20] {
            let (snapshot, payment) = till.charge(amount);
            ledger.commit(charge(&snapshot, &payment)).await.unwrap();
            payments.push(payment.receipt.receipt);
        }
    }
    let all = ledger.channels().await.unwrap();
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.channels_after(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let mut read = Vec::new();
    let visited = ledger.visit_receipts(|signed| read.push(signed.receipt));
    visited.await.unwrap();
    assert_eq!(read.len(), payments.len());
    for channel in &all {
        let of_channel = |receipts: &[rialto_channels::receipt::Receipt]| -> Vec<_> {
            let own = receipts.iter().filter(|it| it.channel == Some(channel.id));
            own.map(|it| (it.id, it.before)).collect()
        };
        assert_eq!(of_channel(&read), of_channel(&payments), "in their order");
    }
}

/// A reorganisation takes back a claim that someone made with a better voucher than the payee's.
async fn a_charge_that_only_a_claim_proved_goes_with_it(ledger: impl Store) {
    let fresh = Till::new(1).channel.snapshot();
    let claimed = ChannelSnapshot {
        version: fresh.version + 1,
        charged: Amount::new(50),
        claimed: Amount::new(50),
        ..fresh.clone()
    };
    let undone = ChannelSnapshot {
        version: fresh.version + 2,
        ..fresh.clone()
    };
    for state in [&fresh, &claimed, &undone] {
        let entry = Entry::Channel(state.clone());
        ledger.commit(entry).await.unwrap();
    }
    assert_eq!(ledger.channel(&fresh.id).await.unwrap(), Some(undone));
    let lines = ledger.journal(Day::MIN..=Day::MAX, None, 9).await.unwrap();
    for flow in [
        Flow::Charged,
        Flow::Claimed,
        Flow::Unclaimed,
        Flow::Uncharged,
    ] {
        let sum: u64 = lines.iter().map(|it| it.flows.get(flow).to::<u64>()).sum();
        assert_eq!(sum, 50, "{flow:?}");
    }
    let books = ledger.trial_balance().await.unwrap();
    assert!(books.is_balanced());
    let earned = rialto_ledger::Account::Earned;
    let earned = books.balance(fixture::receiver(), fixture::token(), earned);
    assert_eq!(earned, Some(alloy_primitives::U256::ZERO));
}

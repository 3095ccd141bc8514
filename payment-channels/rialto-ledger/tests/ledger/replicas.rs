//! Replicas that share a ledger: what they hold, what they lose with their lives, and what an
//! outage or a crash of the database does to them.

use std::{sync::Arc, time::Duration};

use alloy_primitives::keccak256;
use rialto_channels::{
    Amount, ChannelId, VerifiedVoucher,
    payee::{PayeeChannel, Reject},
};
use rialto_ledger::{
    Begun, Charged, Execution, PaymentRecord, Provider, SharedConfig, SharedError, SharedLedger,
    SharedOpenError,
};
use rialto_testkit::postgres::{End, Server};

use crate::fixture::{self, NOW, Till};

/// A configuration for tests: the lease ends soon after its replica.
pub(crate) fn fast(url: &str) -> SharedConfig {
    SharedConfig {
        lease: Duration::from_millis(900),
        connect_within: Duration::from_secs(5),
        ..SharedConfig::new(url.parse().unwrap())
    }
}

pub(crate) async fn open(config: SharedConfig) -> SharedLedger {
    SharedLedger::open(config, &provider()).await.unwrap()
}

fn provider() -> Provider {
    Provider {
        domain: fixture::DOMAIN,
        host: fixture::host().address(),
    }
}

/// A database with one channel and a replica.
struct Shop {
    server: Server,
    url: String,
    channel: ChannelId,
    till: Till,
}

impl Shop {
    async fn new(settings: &[&str]) -> (Self, SharedLedger) {
        let server = Server::start_with(settings).unwrap();
        let url = server.database("shop").unwrap();
        let till = Till::new(1);
        let ledger = open(fast(&url)).await;
        ledger.enter(&till.channel.snapshot()).await.unwrap();
        let channel = till.channel.state().id;
        let shop = Self {
            server,
            url,
            channel,
            till,
        };
        (shop, ledger)
    }

    async fn replica(&self) -> SharedLedger {
        open(fast(&self.url)).await
    }

    fn voucher(&self, ceiling: u128) -> VerifiedVoucher {
        self.till.voucher(ceiling)
    }

    async fn charged(&self, ledger: &SharedLedger) -> u128 {
        let stored = ledger.channel(&self.channel).await.unwrap();
        stored.unwrap().charged.get()
    }
}

async fn begin(ledger: &SharedLedger, key: u64) -> Execution {
    match ledger.begin(key_of(key)).await.unwrap() {
        Begun::Now(execution) => execution,
        other => panic!("{other:?}"),
    }
}

fn key_of(number: u64) -> [u8; 32] {
    keccak256(number.to_be_bytes()).0
}

async fn reserve(
    ledger: &SharedLedger,
    execution: &mut Execution,
    channel: ChannelId,
    voucher: &VerifiedVoucher,
    price: u128,
) -> Result<Result<(), Reject>, SharedError> {
    let work = |channel: &mut PayeeChannel| channel.reserve(voucher, Amount::new(price), NOW);
    let reserved = ledger.reserve(execution, channel, CALLS_MAX, work).await?;
    Ok(reserved.outcome)
}

/// Charges what was reserved, or asks anew for what was lost, as a host does.
async fn charge(
    ledger: &SharedLedger,
    execution: &mut Execution,
    key: u64,
    channel: ChannelId,
    voucher: &VerifiedVoucher,
    price: u128,
) -> Result<Charged<Reject>, SharedError> {
    let number = execution.reservation();
    let price = Amount::new(price);
    ledger
        .charge(execution, channel, CALLS_MAX, |channel| {
            let call = match number.and_then(|number| channel.held(number)) {
                Some(call) => call,
                None => channel.reserve(voucher, price, NOW)?,
            };
            Ok(fixture::commit(channel, call, price, key_of(key)))
        })
        .await
}

fn record_of(charged: Charged<Reject>) -> PaymentRecord {
    match charged {
        Charged::Now { payment, .. } => *payment,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_payment_is_executed_by_one_replica_and_answered_by_all() {
    let (shop, one) = Shop::new(&[]).await;
    let two = shop.replica().await;
    let voucher = shop.voucher(100);
    let mut execution = begin(&one, 1).await;
    assert!(matches!(
        two.begin(key_of(1)).await.unwrap(),
        Begun::Elsewhere
    ));
    let reserved = reserve(&one, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
    let charged = charge(&one, &mut execution, 1, shop.channel, &voucher, 100).await;
    let record = record_of(charged.unwrap());
    for replica in [&one, &two] {
        match replica.begin(key_of(1)).await.unwrap() {
            Begun::Before(stored) => assert_eq!(*stored, record),
            other => panic!("{other:?}"),
        }
        assert_eq!(shop.charged(replica).await, 100);
    }
    assert_eq!(
        one.in_flight(&shop.channel).await.unwrap(),
        (Amount::ZERO, 0)
    );
}

/// M2 over all replicas together, at whatever level the database isolates.
#[tokio::test]
async fn replicas_together_never_promise_more_than_the_ceiling() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let setting = format!("default_transaction_isolation={level}");
        let (shop, one) = Shop::new(&[&setting]).await;
        one.close().await;
        // On a busy machine a short lease could end here, and free what is counted.
        let patient = SharedConfig {
            lease: Duration::from_secs(60),
            ..fast(&shop.url)
        };
        let mut ledgers = Vec::new();
        for _ in 0..3 {
            ledgers.push(open(patient.clone()).await);
        }
        // Room for seven calls of 100 and a half.
        let voucher = shop.voucher(750);
        let tries: Vec<_> = (0..24_usize)
            .map(|number| {
                let (ledger, channel) = (ledgers[number % 3].clone(), shop.channel);
                tokio::spawn(async move {
                    let number = number as u64;
                    let mut execution = begin(&ledger, number).await;
                    let reserved = reserve(&ledger, &mut execution, channel, &voucher, 100).await;
                    (ledger, number, execution, reserved.unwrap())
                })
            })
            .collect();
        let mut held = Vec::new();
        for attempt in tries {
            let (ledger, number, execution, reserved) = attempt.await.unwrap();
            match reserved {
                Ok(()) => held.push((ledger, number, execution)),
                Err(reject) => assert!(
                    matches!(reject, Reject::CumulativeMismatch { .. }),
                    "{level}: {reject:?}"
                ),
            }
        }
        assert_eq!(held.len(), 7, "{level}");
        let promised = ledgers[0].in_flight(&shop.channel).await.unwrap();
        assert_eq!(promised, (Amount::new(700), 7), "{level}");
        let charges: Vec<_> = held
            .into_iter()
            .map(|(ledger, number, mut execution)| {
                let channel = shop.channel;
                tokio::spawn(async move {
                    charge(&ledger, &mut execution, number, channel, &voucher, 100).await
                })
            })
            .collect();
        let mut receipts = Vec::new();
        for charge in charges {
            let record = record_of(charge.await.unwrap().unwrap());
            receipts.push(record.receipt.receipt);
        }
        assert_eq!(shop.charged(&ledgers[1]).await, 700, "{level}");
        receipts.sort_by_key(|receipt| receipt.before);
        assert!(receipts[0].before.is_zero());
        for pair in receipts.windows(2) {
            assert!(pair[1].follows(&pair[0]), "{level}: {pair:?}");
        }
        let retries: u64 = ledgers.iter().map(SharedLedger::retries).sum();
        if level != "read committed" {
            assert!(retries > 0, "{level}: nothing was tried again");
        }
    }
}

/// M3: a call that fails gives everything back.
#[tokio::test]
async fn a_dropped_execution_gives_back_what_it_held() {
    let (shop, one) = Shop::new(&[]).await;
    let voucher = shop.voucher(100);
    let mut execution = begin(&one, 1).await;
    let reserved = reserve(&one, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
    drop(execution);
    let two = shop.replica().await;
    let mut again = until_free(&two, 1).await;
    until_quiet(&two, shop.channel).await;
    let reserved = reserve(&two, &mut again, shop.channel, &voucher, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
    assert_eq!(shop.charged(&two).await, 0);
}

async fn until_free(ledger: &SharedLedger, key: u64) -> Execution {
    for _ in 0..TRIES {
        match ledger.begin(key_of(key)).await {
            Ok(Begun::Now(execution)) => return execution,
            // Not yet given back, or the replica has not noticed that the database is.
            Ok(Begun::Elsewhere) | Err(SharedError::Down) => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("payment {key} stays taken");
}

async fn until_quiet(ledger: &SharedLedger, channel: ChannelId) {
    for _ in 0..TRIES {
        if ledger.in_flight(&channel).await.unwrap().1 == 0 {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("a call stays in flight");
}

/// A replica that dies keeps nothing; one that was only silent finds out before it charges.
#[tokio::test]
async fn a_lost_lease_frees_what_was_held_and_the_late_charge_is_checked_again() {
    let (shop, two) = Shop::new(&[]).await;
    // Does not renew its lease before the test is over.
    let one = open(SharedConfig {
        lease: Duration::from_secs(60),
        ..fast(&shop.url)
    })
    .await;
    let (small, large) = (shop.voucher(100), shop.voucher(200));
    let mut taken = begin(&one, 1).await;
    let mut late = begin(&one, 2).await;
    for (execution, voucher) in [(&mut taken, &small), (&mut late, &large)] {
        let reserved = reserve(&one, execution, shop.channel, voucher, 100).await;
        assert_eq!(reserved.unwrap(), Ok(()));
    }
    // From the other replicas' view, silence and death are one.
    let silence = format!(
        "UPDATE rialto_replicas SET lease_until = clock_timestamp() - interval '1 second' WHERE id = '{}'",
        one.replica()
    );
    shop.server.sql("shop", &silence).unwrap();

    let mut taken_over = begin(&two, 1).await;
    let reserved = reserve(&two, &mut taken_over, shop.channel, &small, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
    let charged = charge(&two, &mut taken_over, 1, shop.channel, &small, 100).await;
    let record = record_of(charged.unwrap());

    // The payment that was taken over is charged once, and the late one hears of it.
    match charge(&one, &mut taken, 1, shop.channel, &small, 100)
        .await
        .unwrap()
    {
        Charged::Before(stored) => assert_eq!(*stored, record),
        other => panic!("{other:?}"),
    }
    assert_eq!(shop.charged(&two).await, 100);
    // The other still is the late one's, and its voucher has room for it.
    let charged = charge(&one, &mut late, 2, shop.channel, &large, 100).await;
    record_of(charged.unwrap());
    assert_eq!(shop.charged(&two).await, 200);

    // Where there is no room left, nothing is charged.
    let mut without = begin(&two, 3).await;
    match charge(&two, &mut without, 3, shop.channel, &large, 100)
        .await
        .unwrap()
    {
        Charged::Refused(Reject::CumulativeMismatch { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(shop.charged(&two).await, 200);
}

/// A refund that was begun by a replica which died is not believed to be paid or unpaid.
#[tokio::test]
async fn a_refund_of_a_dead_replica_ends_and_wants_the_chain_to_be_read() {
    let (shop, one) = Shop::new(&[]).await;
    let nothing = shop.voucher(0);
    let begun = one
        .change(shop.channel, CALLS_MAX, |channel| {
            channel.begin_refund(&nothing, None, NOW)
        })
        .await
        .unwrap();
    let _never_ended = begun.outcome.unwrap();
    let two = shop.replica().await;
    let voucher = shop.voucher(100);
    let mut execution = begin(&two, 1).await;
    let refused = reserve(&two, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(refused.unwrap(), Err(Reject::Busy));
    one.close().await;
    // It may still be mined for a while.
    let refused = reserve(&two, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(refused.unwrap(), Err(Reject::Busy));
    let later = "UPDATE rialto_channels SET refund_since = refund_since - interval '11 minutes'";
    shop.server.sql("shop", later).unwrap();
    let refused = reserve(&two, &mut execution, shop.channel, &voucher, 100).await;
    assert!(matches!(refused.unwrap(), Err(Reject::ViewStale { .. })));
    two.change(shop.channel, CALLS_MAX, |channel| {
        channel.on_chain_view(&fixture::view())
    })
    .await
    .unwrap();
    let reserved = reserve(&two, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_duty_is_one_replicas_at_a_time() {
    let (shop, one) = Shop::new(&[]).await;
    let two = shop.replica().await;
    let duty = one.take_duty("collect").await.unwrap();
    assert!(duty.is_some());
    assert!(two.take_duty("collect").await.unwrap().is_none());
    assert!(two.take_duty("other").await.unwrap().is_some());
    drop(duty);
    let mut held = None;
    for _ in 0..TRIES {
        held = two.take_duty("collect").await.unwrap();
        if held.is_some() {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    assert!(held.is_some(), "the duty was not given up");
    two.close().await;
    assert!(one.take_duty("collect").await.unwrap().is_some());
}

/// While the database is away nothing begins; a charge waits for it, and is made once.
#[tokio::test]
async fn a_database_that_crashes_loses_no_charge_and_makes_none_twice() {
    let (mut shop, one) = Shop::new(&[]).await;
    let voucher = shop.voucher(1_000);
    let mut execution = begin(&one, 1).await;
    let reserved = reserve(&one, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
    shop.server.halt(End::Crash).unwrap();
    let refused = one.begin(key_of(2)).await;
    assert!(
        matches!(
            refused,
            Err(SharedError::Unavailable(_) | SharedError::Down)
        ),
        "{refused:?}"
    );
    let charging = {
        let (one, channel) = (one.clone(), shop.channel);
        tokio::spawn(async move {
            let charged = charge(&one, &mut execution, 1, channel, &voucher, 100).await;
            record_of(charged.unwrap())
        })
    };
    shop.server.resume().unwrap();
    let record = charging.await.unwrap();
    assert_eq!(one.payment(&key_of(1)).await.unwrap(), Some(record));
    assert_eq!(shop.charged(&one).await, 100);
    drop(until_free(&one, 2).await);
}

/// M4, on a server whose operator preferred speed: it would write its log seconds later.
#[tokio::test]
async fn a_charge_is_durable_whatever_the_servers_default_is() {
    let settings = ["synchronous_commit=off", "wal_writer_delay=10s"];
    let (mut shop, one) = Shop::new(&settings).await;
    let voucher = shop.voucher(100);
    let mut execution = begin(&one, 1).await;
    let reserved = reserve(&one, &mut execution, shop.channel, &voucher, 100).await;
    assert_eq!(reserved.unwrap(), Ok(()));
    let charged = charge(&one, &mut execution, 1, shop.channel, &voucher, 100).await;
    let record = record_of(charged.unwrap());
    shop.server.halt(End::Crash).unwrap();
    shop.server.resume().unwrap();
    let two = shop.replica().await;
    assert_eq!(two.payment(&key_of(1)).await.unwrap(), Some(record));
    assert_eq!(shop.charged(&two).await, 100);
}

#[tokio::test]
async fn the_database_itself_refuses_a_charge_that_nobody_signed() {
    let (shop, one) = Shop::new(&[]).await;
    let change = "UPDATE rialto_channels SET charged = 1";
    let refused = shop.server.sql("shop", change).unwrap_err();
    assert!(
        refused.to_string().contains("rialto_charges_were_signed"),
        "{refused}"
    );
    assert_eq!(shop.charged(&one).await, 0);
}

#[tokio::test]
async fn one_of_many_replicas_makes_the_tables_and_a_newer_format_is_refused() {
    let server = Server::start().unwrap();
    let url = Arc::new(server.database("fresh").unwrap());
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let url = Arc::clone(&url);
            tokio::spawn(async move { open(fast(&url)).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().close().await;
    }
    let other = Provider {
        host: fixture::receiver(),
        ..provider()
    };
    let refused = SharedLedger::open(fast(&url), &other).await.unwrap_err();
    assert!(
        matches!(refused, SharedOpenError::OtherProvider { .. }),
        "{refused:?}"
    );
    let newer = "UPDATE rialto_meta SET value = '99' WHERE name = 'format'";
    server.sql("fresh", newer).unwrap();
    let refused = SharedLedger::open(fast(&url), &provider())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, SharedOpenError::UnknownFormat { found, supported: 3 } if found == "99"),
        "{refused:?}"
    );
    let wrong = url.replace(server.password(), "guess");
    let refused = SharedLedger::open(fast(&wrong), &provider())
        .await
        .unwrap_err();
    let shown = format!("{refused:?}");
    assert!(matches!(refused, SharedOpenError::Database(_)), "{shown}");
    assert!(!shown.contains("guess"), "{shown}");
}

const CALLS_MAX: usize = 64;
const TRIES: usize = 200;
const POLL: Duration = Duration::from_millis(25);

//! What a payer has at stake is one sum for the whole fleet, over all its channels.

use std::time::Duration;

use rialto_channels::{
    Amount, ChannelId, VerifiedVoucher,
    payee::{ExposureLimits, PayeeChannel, PayerExposure, Reject},
};
use rialto_ledger::{Execution, SharedConfig, SharedError, SharedLedger};
use rialto_testkit::postgres::Server;

use crate::{
    fixture::{self, NOW, Till, exact},
    replicas::{fast, open},
    shared_books::begin,
};

/// Room for five calls of 100 and a half, over all channels.
const LIMITS: ExposureLimits = ExposureLimits {
    channel_max: Some(Amount::new(1_000)),
    payer_max: Some(Amount::new(550)),
};
const PRICE: Amount = Amount::new(100);

async fn reserve(
    ledger: &SharedLedger,
    execution: &mut Execution,
    channel: ChannelId,
    voucher: &VerifiedVoucher,
) -> Result<Result<(), Reject>, SharedError> {
    let work = |channel: &mut PayeeChannel, payer: &PayerExposure| {
        channel.reserve_within(voucher, PRICE, NOW, &LIMITS, payer)
    };
    let reserved = ledger.reserve_within(execution, channel, 64, work).await?;
    Ok(reserved.outcome)
}

/// Three replicas, two of them on one channel, all at once.
#[tokio::test]
async fn replicas_together_never_promise_more_than_a_payers_limit() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let setting = format!("default_transaction_isolation={level}");
        let server = Server::start_with(&[&setting]).unwrap();
        let url = server.database("payers").unwrap();
        // On a busy machine a short lease could end here, and free what is counted.
        let patient = SharedConfig {
            lease: Duration::from_secs(60),
            ..fast(&url)
        };
        let mut ledgers = Vec::new();
        for _ in 0..3 {
            ledgers.push(open(patient.clone()).await);
        }
        let tills = [Till::new(1), Till::new(2)];
        for till in &tills {
            ledgers[0].enter(&till.channel.snapshot()).await.unwrap();
        }
        let tries: Vec<_> = (0..18_usize)
            .map(|number| {
                let ledger = ledgers[number % 3].clone();
                let till = &tills[number % 2];
                let (id, voucher) = (till.channel.state().id, till.voucher(10_000));
                tokio::spawn(async move {
                    let payment = exact(number as u64, 1);
                    let mut execution = begin(&ledger, payment.key).await;
                    let reserved = reserve(&ledger, &mut execution, id, &voucher).await;
                    (reserved.unwrap(), execution, id, payment.key)
                })
            })
            .collect();
        let (mut held, mut refused) = (Vec::new(), Vec::new());
        for attempt in tries {
            let (reserved, execution, id, key) = attempt.await.unwrap();
            match reserved {
                Ok(()) => held.push((execution, id, key)),
                Err(reject) => {
                    let limit = LIMITS.payer_max.unwrap();
                    let at_limit =
                        matches!(reject, Reject::Exposed { limit: it, .. } if it == limit);
                    assert!(at_limit, "{level}: {reject:?}");
                    refused.push(execution);
                }
            }
        }
        assert_eq!(held.len(), 5, "{level}");
        // A charge keeps what it needs of it, a call that fails gives everything back.
        let (mut execution, id, key) = held.pop().unwrap();
        let number = execution.reservation().unwrap();
        let charge = ledgers[0].charge(&mut execution, id, 64, |channel| {
            let call = channel.held(number).unwrap();
            Ok::<_, Reject>(fixture::commit(channel, call, Amount::new(40), key))
        });
        charge.await.unwrap();
        held.pop().unwrap().0.give_up().await;
        let voucher = tills[0].voucher(10_000);
        let id = tills[0].channel.state().id;
        let mut taken = 0;
        for mut execution in refused {
            let reserved = reserve(&ledgers[0], &mut execution, id, &voucher).await;
            if reserved.unwrap().is_err() {
                break;
            }
            taken += 1;
            held.push((execution, id, [0; 32]));
        }
        // 3 of 100 are held and 40 are charged.
        assert_eq!(taken, 2, "{level}");
    }
}

/// The calls of a replica that is gone count no more, its charges do.
#[tokio::test]
async fn what_a_dead_replica_held_is_not_at_stake() {
    let server = Server::start().unwrap();
    let url = server.database("payers").unwrap();
    // Does not renew its lease before the test is over.
    let one = open(SharedConfig {
        lease: Duration::from_secs(60),
        ..fast(&url)
    })
    .await;
    let two = open(fast(&url)).await;
    let tills = [Till::new(1), Till::new(2)];
    for till in &tills {
        two.enter(&till.channel.snapshot()).await.unwrap();
    }
    let [first, second] = &tills;
    let mut held = Vec::new();
    for number in 0..5 {
        let mut execution = begin(&one, exact(number, 1).key).await;
        let (id, voucher) = (first.channel.state().id, first.voucher(10_000));
        let reserved = reserve(&one, &mut execution, id, &voucher).await;
        assert_eq!(reserved.unwrap(), Ok(()));
        held.push(execution);
    }
    let (id, voucher) = (second.channel.state().id, second.voucher(10_000));
    let mut execution = begin(&two, exact(9, 1).key).await;
    let reserved = reserve(&two, &mut execution, id, &voucher).await;
    assert!(matches!(reserved.unwrap(), Err(Reject::Exposed { .. })));
    assert!(
        two.exposed(&LIMITS).await.unwrap().is_empty(),
        "not charged"
    );
    // Three are charged before the replica ends without a word.
    let id = first.channel.state().id;
    for execution in &mut held[..3] {
        let number = execution.reservation().unwrap();
        let key = exact(100 + number, 1).key;
        let charge = one.charge(execution, id, 64, |channel| {
            let call = channel.held(number).unwrap();
            Ok::<_, Reject>(fixture::commit(channel, call, PRICE, key))
        });
        charge.await.unwrap();
    }
    let silence = format!(
        "UPDATE rialto_replicas SET lease_until = clock_timestamp() - interval '1 second' WHERE id = '{}'",
        one.replica()
    );
    let id = second.channel.state().id;
    server.sql("payers", &silence).unwrap();
    // 300 are charged: half of the limit and more, so a claim is due on the first channel alone.
    let exposed = two.exposed(&LIMITS).await.unwrap();
    let exposed: Vec<_> = exposed.iter().map(|state| state.snapshot.id).collect();
    assert_eq!(exposed, [first.channel.state().id]);
    let mut taken = 0;
    let mut kept = Vec::new();
    for number in 10..16 {
        let mut execution = begin(&two, exact(number, 1).key).await;
        let reserved = reserve(&two, &mut execution, id, &voucher).await;
        taken += u64::from(reserved.unwrap().is_ok());
        kept.push(execution);
    }
    assert_eq!(taken, 2);
}

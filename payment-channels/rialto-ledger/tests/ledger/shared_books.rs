//! The books of a fleet: the same as those of one machine after the same entries, right when replicas
//! charge at once, and there for what older versions recorded.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use rialto_channels::{Amount, payee::PayeeChannel};
use rialto_ledger::{
    Begun, Charged, Config, Day, Entry, JournalLine, Ledger, SharedLedger, Store, TrialBalance,
};
use rialto_testkit::postgres::Server;

use crate::{
    audit,
    books::{Model, Step, steps},
    fixture::{self, NOW, Till, exact},
    replicas::{fast, open},
};

/// All that is said about money, in one value.
#[derive(Debug, PartialEq)]
struct Said {
    lines: Vec<JournalLine>,
    books: TrialBalance,
}

async fn said(ledger: &impl Store) -> Said {
    let mut lines: Vec<JournalLine> = Vec::new();
    loop {
        let days = Day::MIN..=Day::MAX;
        let page = ledger.journal(days, lines.last(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        lines.extend(page);
    }
    let books = ledger.trial_balance().await.unwrap();
    assert!(
        books.is_balanced(),
        "M6: the sum over all accounts is constant"
    );
    Said { lines, books }
}

/// Random entries, the same on both kinds of ledger.
#[tokio::test]
async fn both_kinds_of_ledger_keep_the_same_books() {
    let server = Server::start().unwrap();
    let mut runner = TestRunner::deterministic();
    for case in 0..CASES {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let dir = tempfile::tempdir().unwrap();
        let own = Ledger::open(dir.path(), Config::default()).unwrap();
        let url = server.database(&format!("books_{case}")).unwrap();
        let shared = open(fast(&url)).await;
        let mut models = [Model::new(), Model::new()];
        for step in &steps {
            let [Some(entry), Some(same)] = models.each_mut().map(|model| model.entry(step)) else {
                continue;
            };
            let outcomes = (own.commit(entry).await, shared.commit(same).await);
            assert_eq!(
                outcomes.0.is_ok(),
                outcomes.1.is_ok(),
                "{step:?}: {outcomes:?}"
            );
        }
        let expected = said(&own).await;
        assert!(!expected.lines.is_empty() || steps.iter().all(moves_nothing));
        assert_eq!(said(&shared).await, expected, "{steps:?}");
        let days = Day(1)..=Day(1);
        let one_day = own.journal(days.clone(), None, 99).unwrap();
        assert_eq!(shared.journal(days, None, 99).await.unwrap(), one_day);
        shared.close().await;
    }
}

fn moves_nothing(step: &Step) -> bool {
    !matches!(step, Step::Charge { .. })
}

/// Replicas charge on the same channel and outside channels, all at once: nothing is entered twice
/// and nothing is missing.
#[tokio::test]
async fn replicas_at_once_keep_one_journal() {
    for level in ["read committed", "serializable"] {
        let setting = format!("default_transaction_isolation={level}");
        let server = Server::start_with(&[&setting]).unwrap();
        let url = server.database("books").unwrap();
        let ledgers = [open(fast(&url)).await, open(fast(&url)).await];
        let till = Till::new(1);
        ledgers[0].enter(&till.channel.snapshot()).await.unwrap();
        let (id, voucher) = (till.channel.state().id, till.voucher(10_000));
        let tasks: Vec<_> = (0..40_u64)
            .map(|number| {
                let ledger = ledgers[usize::from(number % 2 == 1)].clone();
                tokio::spawn(async move {
                    let payment = exact(number, 3);
                    let mut execution = begin(&ledger, payment.key).await;
                    if number % 4 < 2 {
                        let charged = ledger.record(&mut execution, &payment).await.unwrap();
                        assert!(matches!(charged, Charged::Now { .. }), "{charged:?}");
                        return;
                    }
                    let price = Amount::new(7);
                    let work = |channel: &mut PayeeChannel| {
                        let call = channel.reserve(&voucher, price, NOW)?;
                        Ok::<_, rialto_channels::payee::Reject>(fixture::commit(
                            channel,
                            call,
                            price,
                            payment.key,
                        ))
                    };
                    let charged = ledger.charge(&mut execution, id, 64, work).await.unwrap();
                    assert!(matches!(charged, Charged::Now { .. }), "{charged:?}");
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let said = said(&ledgers[0]).await;
        let sum = |of: fn(&JournalLine) -> u64| said.lines.iter().map(of).sum::<u64>();
        assert_eq!(sum(|line| line.flows.charged.to()), 20 * 7, "{level}");
        assert_eq!(sum(|line| line.flows.exact.to()), 20 * 3, "{level}");
        // By the day of the receipts, not by that of the test.
        let day = Day::of_unix_secs(1_700_000_000);
        for line in &said.lines {
            assert_eq!(line.day == day, line.flows.deposited.is_zero(), "{line:?}");
        }
    }
}

pub(crate) async fn begin(ledger: &SharedLedger, key: [u8; 32]) -> rialto_ledger::Execution {
    match ledger.begin(key).await.unwrap() {
        Begun::Now(execution) => execution,
        other => panic!("{other:?}"),
    }
}

/// A database of format 1 gets its books from its records, and passes the audit.
#[tokio::test]
async fn older_tables_are_filled_from_their_records() {
    let server = Server::start().unwrap();
    let url = server.database("older").unwrap();
    let ledger = open(fast(&url)).await;
    let facts = audit::fill(&ledger).await;
    let before = said(&ledger).await;
    ledger.close().await;
    server.sql("older", TO_FORMAT_1).unwrap();
    let ledger = open(fast(&url)).await;
    let host = fixture::host().address();
    let found = rialto_ledger::audit(&ledger, host, fixture::DOMAIN, &facts).await;
    assert_eq!(found.unwrap(), Ok(audit::ALL));
    let after = said(&ledger).await;
    assert_eq!(after.books, before.books);
    // A payer's sum is counted from the columns that were filled.
    let payers = "SELECT count(*) FROM rialto_channels WHERE length(payer) <> 20";
    assert_eq!(server.sql("older", payers).unwrap(), "0");
    // And what comes now adds to it.
    let entry = Entry::Charge {
        snapshot: None,
        payment: exact(2, 5),
    };
    ledger.commit(entry).await.unwrap();
    assert_ne!(said(&ledger).await.books, before.books);
}

const CASES: usize = 24;

/// Takes everything back that came after format 1.
const TO_FORMAT_1: &str = "
DROP TABLE rialto_journal;
DROP TABLE rialto_payers;
DROP INDEX rialto_channels_payer;
DROP INDEX rialto_receipts_order;
ALTER TABLE rialto_channels DROP COLUMN payer;
ALTER TABLE rialto_receipts DROP COLUMN channel;
ALTER TABLE rialto_receipts DROP COLUMN charged_before;
UPDATE rialto_meta SET value = '1' WHERE name = 'format'";

//! The audit: silent on a ledger that is right, and on one that is not, it names the first
//! difference with its channel and receipt.

use alloy_primitives::{Address, B256, U256};
use rialto_channels::{
    Amount, ChainTime, ChannelId, SettlementDomain, SigningKey, payee::ChannelSnapshot,
    receipt::SignedReceipt,
};
use rialto_ledger::{
    Account, Audit, Audited, ChainFacts, ChannelFact, Config, Difference, Entry, Finding, Ledger,
    Movement, ReceiverFact, Store, Totals, TrialBalance,
};

use crate::fixture::{self, DOMAIN, Till, exact, host};

/// Everything that an audit looks at.
#[derive(Clone, Debug)]
struct Contents {
    receipts: Vec<SignedReceipt>,
    channels: Vec<ChannelSnapshot>,
    totals: Vec<Totals>,
    books: TrialBalance,
    facts: ChainFacts,
}

/// Two channels with three charges each, one of them claimed and settled in part, and a payment
/// outside channels.
pub(crate) async fn fill(ledger: &impl Store) -> ChainFacts {
    let put = async |entry| ledger.commit(entry).await.unwrap();
    let (mut one, mut two) = (Till::new(1), Till::new(2));
    for amount in [10, 20, 30] {
        put(one.charge_entry(amount)).await;
        put(two.charge_entry(amount + 1)).await;
    }
    put(Entry::Charge {
        snapshot: None,
        payment: exact(1, 55),
    })
    .await;
    one.channel
        .on_claimed(Amount::new(60), ChainTime::new(2_000_000));
    put(Entry::Channel(one.channel.snapshot())).await;
    put(one.charge_entry(5)).await;
    put(Entry::Settled(Movement {
        transaction: B256::repeat_byte(1),
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(45),
    }))
    .await;
    let fact = |till: &Till, claimed| {
        let state = till.channel.state();
        let claimed = Amount::new(claimed);
        let balance = state.balance;
        (state.id, ChannelFact { balance, claimed })
    };
    let receiver = ReceiverFact {
        claimed: Amount::new(60),
        settled: Amount::new(45),
    };
    ChainFacts {
        channels: [fact(&one, 60), fact(&two, 0)].into(),
        receivers: [((fixture::receiver(), fixture::token()), receiver)].into(),
    }
}

/// What an audit of it counts.
pub(crate) const ALL: Audited = Audited {
    receipts: 8,
    channels: 2,
};

fn contents() -> Contents {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let facts = runtime.block_on(fill(&ledger));
    let mut receipts = Vec::new();
    ledger
        .visit_receipts(|signed| receipts.push(signed))
        .unwrap();
    Contents {
        receipts,
        channels: ledger.channels().unwrap(),
        totals: ledger.totals().unwrap(),
        books: ledger.trial_balance().unwrap(),
        facts,
    }
}

fn audit(contents: &Contents) -> Result<Audited, Finding> {
    let mut audit = Audit::new(host().address(), DOMAIN, &contents.facts);
    contents
        .receipts
        .iter()
        .try_for_each(|signed| audit.receipt(signed))?;
    contents
        .channels
        .iter()
        .try_for_each(|channel| audit.channel(channel))?;
    audit.finish(&contents.totals, &contents.books)
}

/// A whole ledger of either kind; see the conformance tests.
pub(crate) async fn a_right_ledger_has_no_finding_and_a_wrong_one_has(ledger: impl Store) {
    let mut facts = fill(&ledger).await;
    let host = host().address();
    let found = rialto_ledger::audit(&ledger, host, DOMAIN, &facts).await;
    assert_eq!(found.unwrap(), Ok(ALL));
    // What never came is taken back, and that is no difference.
    let unpaid = Movement {
        transaction: exact(1, 55).receipt.receipt.id,
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(55),
    };
    ledger.commit(Entry::Unpaid(unpaid)).await.unwrap();
    let found = rialto_ledger::audit(&ledger, host, DOMAIN, &facts).await;
    assert_eq!(found.unwrap(), Ok(ALL));
    // An entry that the chain knows nothing of.
    let movement = Movement {
        transaction: B256::repeat_byte(2),
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(1),
    };
    ledger.commit(Entry::Settled(movement)).await.unwrap();
    let found = rialto_ledger::audit(&ledger, host, DOMAIN, &facts).await;
    let Difference::Sum(sum) = *found.unwrap().unwrap_err().difference else {
        panic!("not the sum of settlements")
    };
    assert_eq!(sum.what, "settled");
    // And a channel on the chain with another balance: that comes first.
    let (channel, fact) = facts.channels.pop_first().unwrap();
    let stored = fact.balance;
    let chain = Amount::new(7);
    facts.channels.insert(
        channel,
        ChannelFact {
            balance: chain,
            ..fact
        },
    );
    let found = rialto_ledger::audit(&ledger, host, DOMAIN, &facts).await;
    let found = found.unwrap().unwrap_err();
    assert_eq!(found.channel, Some(channel));
    assert_eq!(*found.difference, Difference::Balance { stored, chain });
}

#[test]
fn a_right_ledger_has_no_finding() {
    let mut contents = contents();
    assert_eq!(audit(&contents), Ok(ALL));
    // Whatever the order, as an upgraded ledger shows them.
    contents.receipts.sort_by_key(|signed| signed.receipt.id);
    assert_eq!(audit(&contents), Ok(ALL));
    contents.receipts.reverse();
    assert_eq!(audit(&contents), Ok(ALL));
}

/// Audits a ledger with one thing changed.
fn finding(change: impl FnOnce(&mut Contents)) -> Finding {
    let mut contents = contents();
    change(&mut contents);
    let finding = audit(&contents).unwrap_err();
    let text = finding.to_string();
    assert_eq!(
        finding.receipt.is_some(),
        text.contains("receipt 0x"),
        "{text}"
    );
    assert_eq!(
        finding.channel.is_some(),
        text.contains("channel 0x"),
        "{text}"
    );
    finding
}

fn sign_again(signed: &SignedReceipt) -> SignedReceipt {
    signed.receipt.clone().sign(&host())
}

#[test]
fn a_changed_receipt_is_named() {
    let id = |at: usize| contents().receipts[at].receipt.id;
    // Not signed again.
    let found = finding(|it| it.receipts[2].receipt.issued_at += 1);
    assert!(matches!(*found.difference, Difference::Receipt(_)));
    assert_eq!(
        (found.receipt, found.channel.is_some()),
        (Some(id(2)), true)
    );
    // By someone else.
    let other = SigningKey::from_bytes(&[9; 32]).unwrap();
    let found = finding(|it| it.receipts[0] = it.receipts[0].receipt.clone().sign(&other));
    assert!(matches!(*found.difference, Difference::Receipt(_)));
    // Signed again, so that the next one names another digest.
    let found = finding(|it| {
        it.receipts[2].receipt.issued_at += 1;
        it.receipts[2] = sign_again(&it.receipts[2]);
    });
    assert!(
        matches!(*found.difference, Difference::Missing { .. }),
        "{found}"
    );
    assert_eq!(found.receipt, Some(id(4)));
}

#[test]
fn a_missing_or_doubled_receipt_is_named() {
    let all = contents();
    let found = finding(|it| {
        it.receipts.remove(2);
    });
    let previous = all.receipts[2].receipt.digest();
    assert_eq!(*found.difference, Difference::Missing { previous });
    assert_eq!(found.receipt, Some(all.receipts[4].receipt.id));
    // The last one of the second channel.
    let found = finding(|it| {
        it.receipts.remove(5);
    });
    assert!(
        matches!(*found.difference, Difference::LastReceipt { .. }),
        "{found}"
    );
    // Two answers to one call, both signed: a fork at the beginning, and one further on.
    for (at, receipt) in [(0, 0), (2, 2)] {
        let found = finding(|it| {
            let mut twin = it.receipts[receipt].clone();
            twin.receipt.response = B256::repeat_byte(0xaa);
            it.receipts.insert(at + 1, sign_again(&twin));
        });
        assert_eq!(found.channel, all.receipts[receipt].receipt.channel);
        let forked = matches!(
            *found.difference,
            Difference::Fork | Difference::Missing { .. }
        );
        assert!(forked, "{found}");
    }
}

#[test]
fn a_changed_channel_is_named() {
    let first = contents().channels[0].id;
    let check = |change: fn(&mut ChannelSnapshot), expected: fn(&Difference) -> bool| {
        let found = finding(|it| change(&mut it.channels[0]));
        assert_eq!(found.channel, Some(first));
        assert!(expected(&found.difference), "{found}");
    };
    check(
        |it| it.charged = Amount::new(it.charged.get() - 1),
        |found| matches!(found, Difference::Charged { .. }),
    );
    check(
        |it| it.best = None,
        |found| matches!(found, Difference::Channel(_)),
    );
    check(
        |it| it.balance = Amount::new(7),
        |found| matches!(found, Difference::Balance { stored, .. } if stored.get() == 7),
    );
    check(
        |it| it.claimed = Amount::new(it.claimed.get() + 1),
        |found| matches!(found, Difference::Claimed { .. }),
    );
    check(
        |it| it.last_receipt = B256::ZERO,
        |found| matches!(found, Difference::LastReceipt { .. }),
    );
    let found = finding(|it| {
        it.channels.remove(0);
    });
    assert_eq!(
        (found.channel, *found.difference),
        (Some(first), Difference::UnknownChannel)
    );
}

#[test]
fn what_the_chain_knows_and_the_ledger_does_not_is_named() {
    let lost = ChannelId(B256::repeat_byte(0xee));
    let balance = Amount::new(9);
    let found = finding(|it| {
        let claimed = Amount::ZERO;
        it.facts
            .channels
            .insert(lost, ChannelFact { balance, claimed });
    });
    assert_eq!(
        (found.channel, *found.difference),
        (Some(lost), Difference::Lost { balance })
    );
    // Another contract: no voucher is good there.
    let contents = contents();
    let other = SettlementDomain {
        contract: Address::ZERO,
        ..DOMAIN
    };
    let mut audit = Audit::new(host().address(), other, &contents.facts);
    let found = audit.channel(&contents.channels[0]).unwrap_err();
    assert!(matches!(*found.difference, Difference::Channel(_)));
}

#[test]
fn a_changed_sum_is_named() {
    let check = |named: &str, change: fn(&mut Contents)| {
        let found = finding(change);
        let Difference::Sum(sum) = &*found.difference else {
            panic!("{found}")
        };
        assert_eq!(sum.what, named);
    };
    check("charged", |it| it.totals[0].charged = Amount::new(1));
    check("exact", |it| it.totals[0].exact = Amount::new(54));
    check("exact", |it| {
        it.receipts
            .retain(|signed| signed.receipt.channel.is_some());
    });
    check("claimed by channel", |it| {
        it.facts
            .receivers
            .values_mut()
            .for_each(|fact| fact.claimed = Amount::new(61));
    });
    check("settled", |it| {
        it.facts
            .receivers
            .values_mut()
            .for_each(|fact| fact.settled = Amount::ZERO);
    });
    let found = finding(|it| it.books.accounts[0].debit += U256::from(1));
    assert_eq!(*found.difference, Difference::Unbalanced);
    check("deposits in the books", |it| {
        for line in &mut it.books.accounts {
            line.debit += U256::from(u64::from(line.account == Account::Deposits));
            line.credit += U256::from(u64::from(line.account == Account::Wallets));
        }
    });
    check("exact in the books", |it| {
        for line in &mut it.books.accounts {
            line.debit += U256::from(u64::from(line.account == Account::Exact));
            line.credit += U256::from(u64::from(line.account == Account::Wallets));
        }
    });
    check("exact and never paid", |it| {
        for line in &mut it.books.accounts {
            line.credit += U256::from(56 * u64::from(line.account == Account::Exact));
            line.debit += U256::from(56 * u64::from(line.account == Account::Wallets));
        }
    });
    check("earned in the books", |it| {
        for line in &mut it.books.accounts {
            line.debit += U256::from(u64::from(line.account == Account::Earned));
            line.credit += U256::from(u64::from(line.account == Account::Deposits));
        }
    });
}

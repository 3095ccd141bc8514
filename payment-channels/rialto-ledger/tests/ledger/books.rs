//! The journal: it always balances, and says what the channels and the sums say.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    time::Duration,
};

use alloy_primitives::{B256, U256};
use proptest::prelude::*;
use rialto_channels::{Amount, payee::ChannelSnapshot};
use rialto_ledger::{
    Account, Config, Day, Entry, Flow, Flows, JournalLine, Ledger, Movement, TrialBalance,
    claimable,
};

use crate::{
    disk::Disk,
    fixture::{self, Till, exact},
};

/// What can happen.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Charge { till: usize, amount: u8, day: u8 },
    Deposit { till: usize, amount: u32 },
    Claim { till: usize },
    Unclaim { till: usize },
    Refund { till: usize, amount: u16 },
    Withdraw { till: usize, amount: u16 },
    Settle { transaction: u8, amount: u16 },
    Exact { number: u8, amount: u16 },
    Unpaid { number: u8, more: u16 },
    Checkpoint,
    Reopen,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let till = 0..3_usize;
    let step = prop_oneof![
        6 => (till.clone(), 1..100_u8, 0..3_u8)
            .prop_map(|(till, amount, day)| Step::Charge { till, amount, day }),
        1 => (till.clone(), any::<u32>()).prop_map(|(till, amount)| Step::Deposit { till, amount }),
        1 => till.clone().prop_map(|till| Step::Claim { till }),
        1 => till.clone().prop_map(|till| Step::Unclaim { till }),
        1 => (till.clone(), any::<u16>()).prop_map(|(till, amount)| Step::Refund { till, amount }),
        1 => (till, any::<u16>()).prop_map(|(till, amount)| Step::Withdraw { till, amount }),
        1 => (any::<u8>(), any::<u16>())
            .prop_map(|(transaction, amount)| Step::Settle { transaction, amount }),
        2 => (0..6_u8, 1..u16::MAX).prop_map(|(number, amount)| Step::Exact { number, amount }),
        2 => (0..6_u8, 0..2_u16).prop_map(|(number, more)| Step::Unpaid { number, more }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The states of channels as the entries made them, and the sums beside them.
pub(crate) struct Model {
    channels: Vec<ChannelSnapshot>,
    serial: u64,
    flows: BTreeMap<Flow, u128>,
    /// Of the payments outside channels, by number.
    exact: BTreeMap<u8, u16>,
    /// Those that were taken back.
    unpaid: BTreeSet<u8>,
}

impl Model {
    pub(crate) fn new() -> Self {
        // With a voucher that covers whatever is charged.
        let channels = (0..3).map(|number| {
            let till = Till::new(number);
            let best = Some(till.signed(u128::MAX));
            let channel = till.channel.snapshot();
            ChannelSnapshot { best, ..channel }
        });
        Self {
            channels: channels
                .map(|channel| ChannelSnapshot {
                    balance: Amount::ZERO,
                    version: 0,
                    ..channel
                })
                .collect(),
            serial: 0,
            flows: BTreeMap::new(),
            exact: BTreeMap::new(),
            unpaid: BTreeSet::new(),
        }
    }

    fn count(&mut self, flow: Flow, amount: u128) {
        *self.flows.entry(flow).or_default() += amount;
    }

    /// The entry of a step, or `None` if it asks for what cannot be.
    pub(crate) fn entry(&mut self, step: &Step) -> Option<Entry> {
        self.serial += 1;
        match *step {
            Step::Charge { till, amount, day } => Some(self.charge(till, amount.into(), day)),
            Step::Deposit { till, amount } => {
                self.count(Flow::Deposited, amount.into());
                let change = |channel: &mut ChannelSnapshot| {
                    channel.balance = more(channel.balance, amount.into());
                };
                Some(Entry::Channel(self.change(till, change)))
            }
            Step::Claim { till } => {
                let channel = &self.channels[till];
                self.count(Flow::Claimed, channel.unclaimed().get());
                Some(Entry::Channel(
                    self.change(till, |channel| channel.claimed = channel.charged),
                ))
            }
            Step::Unclaim { till } => {
                let channel = &self.channels[till];
                self.count(Flow::Unclaimed, channel.claimed.get());
                Some(Entry::Channel(
                    self.change(till, |channel| channel.claimed = Amount::ZERO),
                ))
            }
            Step::Refund { till, amount } => {
                let left = self.channels[till]
                    .balance
                    .checked_sub(Amount::new(amount.into()))
                    .ok()?;
                self.count(Flow::Refunded, amount.into());
                let change = |channel: &mut ChannelSnapshot| {
                    channel.balance = left;
                    channel.refund_nonce += U256::from(1);
                };
                Some(Entry::Channel(self.change(till, change)))
            }
            Step::Withdraw { till, amount } => {
                let left = self.channels[till]
                    .balance
                    .checked_sub(Amount::new(amount.into()))
                    .ok()?;
                self.count(Flow::Withdrawn, amount.into());
                Some(Entry::Channel(
                    self.change(till, |channel| channel.balance = left),
                ))
            }
            Step::Settle {
                transaction,
                amount,
            } => Some(Entry::Settled(Movement {
                transaction: B256::repeat_byte(transaction),
                receiver: fixture::receiver(),
                token: fixture::token(),
                amount: Amount::new(amount.into()),
            })),
            Step::Exact { number, amount } => {
                // The same number again is refused.
                if let btree_map::Entry::Vacant(place) = self.exact.entry(number) {
                    place.insert(amount);
                    self.count(Flow::Exact, amount.into());
                }
                Some(Entry::Charge {
                    snapshot: None,
                    payment: exact(number.into(), amount.into()),
                })
            }
            Step::Unpaid { number, more } => Some(self.unpaid(number, more)),
            Step::Checkpoint | Step::Reopen => None,
        }
    }

    fn charge(&mut self, till: usize, amount: u128, day: u8) -> Entry {
        self.count(Flow::Charged, amount);
        let channel = self.change(till, |channel| {
            channel.charged = more(channel.charged, amount);
        });
        let mut payment = exact(1_000 + self.serial, amount);
        payment.receipt.receipt.channel = Some(channel.id);
        payment.receipt.receipt.issued_at = u64::from(day) * 86_400;
        Entry::Charge {
            snapshot: Some(channel),
            payment,
        }
    }

    fn unpaid(&mut self, number: u8, more: u16) -> Entry {
        let booked = self.exact.get(&number).copied();
        let amount = booked.unwrap_or_default() + more;
        if booked == Some(amount) && self.unpaid.insert(number) {
            self.count(Flow::Unpaid, amount.into());
        }
        Entry::Unpaid(Movement {
            transaction: exact(number.into(), amount.into()).receipt.receipt.id,
            receiver: fixture::receiver(),
            token: fixture::token(),
            amount: Amount::new(amount.into()),
        })
    }

    fn change(
        &mut self,
        till: usize,
        change: impl FnOnce(&mut ChannelSnapshot),
    ) -> ChannelSnapshot {
        let channel = &mut self.channels[till];
        channel.version += 1;
        change(channel);
        channel.clone()
    }
}

fn more(amount: Amount, by: u128) -> Amount {
    amount.checked_add(Amount::new(by)).unwrap()
}

fn slow() -> Config {
    Config {
        checkpoint_interval: Duration::from_secs(3600),
        ..Config::default()
    }
}

fn run(steps: &[Step]) -> (Ledger, Model) {
    let mut disk = Disk::default();
    let mut ledger = Ledger::on_storage(disk.clone(), slow()).unwrap();
    let mut model = Model::new();
    for step in steps {
        if matches!(step, Step::Checkpoint) {
            assert!(ledger.trial_balance().unwrap().is_balanced());
        }
        if matches!(step, Step::Reopen) {
            // As a killed process leaves it.
            disk = disk.after_power_cut(|_| false);
            ledger = Ledger::on_storage(disk.clone(), slow()).unwrap();
        }
        let Some(entry) = model.entry(step) else {
            continue;
        };
        let settled = |ledger: &Ledger| {
            ledger
                .totals()
                .unwrap()
                .first()
                .map_or(0, |it| it.settled.get())
        };
        let before = settled(&ledger);
        let outcome = ledger.enqueue(entry).unwrap().wait();
        if matches!(step, Step::Settle { .. }) {
            // Nothing, if it was reported before.
            model.count(Flow::Settled, settled(&ledger) - before);
        } else if let Step::Unpaid { number, .. } = step {
            // Refused, if it was not booked or was another sum; said twice, it counts once.
            assert_eq!(outcome.is_ok(), model.unpaid.contains(number));
        } else if !matches!(step, Step::Exact { .. }) {
            outcome.unwrap();
        }
    }
    (ledger, model)
}

/// Every line, a few at a time.
fn lines(ledger: &Ledger) -> Vec<JournalLine> {
    let mut lines: Vec<JournalLine> = Vec::new();
    loop {
        let page = ledger
            .journal(Day::MIN..=Day::MAX, lines.last(), 2)
            .unwrap();
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
    }
}

fn check(ledger: &Ledger, model: &Model) {
    let books = ledger.trial_balance().unwrap();
    assert!(
        books.is_balanced(),
        "M6: the sum over all accounts is constant"
    );
    let lines = lines(ledger);
    let mut flows = Flows::default();
    for line in &lines {
        flows.add(&line.flows).unwrap();
    }
    for flow in Flow::ALL {
        let expected = model.flows.get(&flow).copied().unwrap_or_default();
        assert_eq!(flows.get(flow), U256::from(expected), "{flow:?}");
    }
    assert_eq!(
        books,
        posted(&lines),
        "the accounts are the sums of the postings"
    );
    check_balances(&books, model, ledger);
    let days: Vec<_> = lines
        .iter()
        .map(|line| (line.day, line.channel.is_none(), line.channel))
        .collect();
    assert!(days.is_sorted(), "by day, and then by channel");
}

fn posted(lines: &[JournalLine]) -> TrialBalance {
    let mut sums = BTreeMap::<_, (U256, U256)>::new();
    for line in lines {
        for posting in line.postings() {
            let (debit, credit) = sums
                .entry((line.receiver, line.token, posting.account))
                .or_default();
            *debit += posting.debit;
            *credit += posting.credit;
        }
    }
    let accounts = sums
        .into_iter()
        .map(
            |((receiver, token, account), (debit, credit))| rialto_ledger::AccountBalance {
                receiver,
                token,
                account,
                debit,
                credit,
            },
        );
    TrialBalance {
        accounts: accounts.collect(),
    }
}

/// What is in the accounts is what the channels say.
fn check_balances(books: &TrialBalance, model: &Model, ledger: &Ledger) {
    let balance = |account| books.balance(fixture::receiver(), fixture::token(), account);
    let sum = |of: fn(&ChannelSnapshot) -> u128| -> U256 {
        model
            .channels
            .iter()
            .map(|channel| U256::from(of(channel)))
            .sum()
    };
    let (charged, claimed) = (sum(|it| it.charged.get()), sum(|it| it.claimed.get()));
    assert_eq!(balance(Account::Earned), charged.checked_sub(claimed));
    let settled = ledger
        .totals()
        .unwrap()
        .first()
        .map_or(0, |it| it.settled.get());
    assert_eq!(balance(Account::Settled), Some(U256::from(settled)));
    assert_eq!(
        balance(Account::Claimed),
        claimed.checked_sub(U256::from(settled))
    );
    assert_eq!(
        balance(Account::Deposits),
        sum(|it| it.balance.get()).checked_sub(charged)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_always_balances(steps in steps()) {
        let (ledger, model) = run(&steps);
        check(&ledger, &model);
    }
}

#[test]
fn charges_belong_to_the_day_of_their_receipt() {
    let charge = |amount, day| Step::Charge {
        till: 0,
        amount,
        day,
    };
    let (ledger, _) = run(&[charge(5, 1), charge(6, 1), charge(7, 2)]);
    let on = |days| -> Vec<_> {
        let lines = ledger.journal(days, None, 9).unwrap();
        lines
            .iter()
            .map(|line| (line.day, line.flows.charged.to::<u64>()))
            .collect()
    };
    assert_eq!(on(Day::MIN..=Day::MAX), [(Day(1), 11), (Day(2), 7)]);
    assert_eq!(on(Day(2)..=Day(2)), [(Day(2), 7)]);
    assert_eq!(on(Day(3)..=Day::MAX), []);
}

#[test]
fn only_what_is_covered_is_claimable() {
    let mut till = Till::new(1);
    let (channel, _) = till.charge(40);
    assert_eq!(claimable(&channel), Amount::new(40));
    let with = |change: fn(&mut ChannelSnapshot)| {
        let mut channel = channel.clone();
        change(&mut channel);
        claimable(&channel).get()
    };
    assert_eq!(with(|it| it.claimed = Amount::new(15)), 25);
    assert_eq!(with(|it| it.balance = Amount::new(30)), 30);
    assert_eq!(with(|it| it.best = None), 0);
    assert_eq!(with(|it| it.claimed = Amount::new(41)), 0);
}

//! Whether an entry is accepted, decided exactly and in order, and what it changes.
//!
//! An entry is checked against what is being written with it, what waits for the tables, and the
//! tables; in full before anything of it is kept, so a refused one leaves no trace.

mod moves;
mod replay;

use std::{collections::HashMap, ops::Range};

use alloy_primitives::Address;
use redb::Database;
use rialto_channels::{Amount, payee::ChannelSnapshot, receipt::Receipt};

use super::{
    filter::Filter,
    generation::{Generation, Moved, Place, Record},
    heads::Heads,
    logged::{self, AnswersMark, NonceKey, Parts},
    lookup::Lookup,
    state::State,
    tables,
};
use crate::{
    Config, Entry, ExactNonce, Movement, PaymentRecord, Totals,
    codec::{self, ChannelRow, RecordRow},
    error::CommitError,
    head::{Head, flows},
    journal::{Day, Flow},
};

use moves::{Kind, take_movement};

/// What came of one entry: the outer error ends the whole group, the inner is the entry's own.
pub(super) type Outcome = Result<Result<(), CommitError>, redb::Error>;

/// What decisions need to know of everything accepted before.
#[derive(Debug)]
pub(super) struct Decider {
    config: Config,
    heads: Heads,
    totals: HashMap<(Address, Address), Totals>,
    answers: AnswersMark,
    /// Number of the next entry.
    next: u64,
}

/// A group in the making.
#[derive(Debug)]
pub(super) struct Draft {
    /// The frame: room for its head, then the entries.
    pub(super) frame: Vec<u8>,
    pub(super) generation: Generation,
    /// Number of the first entry.
    pub(super) first: u64,
    /// How many entries.
    pub(super) count: u32,
    day: Day,
}

impl Draft {
    fn new(frame: Vec<u8>, first: u64, recorded_at: u64) -> Self {
        Self {
            frame,
            generation: Generation::default(),
            first,
            count: 0,
            day: Day::of_unix_secs(recorded_at),
        }
    }
}

/// What a decision is checked against.
#[derive(Debug)]
pub(super) struct Known<'k> {
    state: &'k State,
    filter: &'k Filter,
    lookup: Lookup<'k>,
}

impl<'k> Known<'k> {
    /// `state` must stay locked as long as this lives: what is not in it is in the tables.
    pub(super) fn new(state: &'k State, filter: &'k Filter, db: &'k Database) -> Self {
        Self {
            state,
            filter,
            lookup: Lookup::new(db),
        }
    }

    fn has_payment(&self, draft: &Generation, key: &[u8; 32]) -> Result<bool, redb::Error> {
        Ok(draft.payments.contains_key(key)
            || self.state.waiting().any(|it| it.payments.contains_key(key))
            || (self.filter.may_hold(tables::short(key)) && self.lookup.has_payment(key)?))
    }

    fn has_receipt(&self, draft: &Generation, id: &[u8; 32]) -> Result<bool, redb::Error> {
        Ok(draft.receipts.contains_key(id)
            || self.state.waiting().any(|it| it.receipts.contains_key(id))
            || (self.filter.may_hold(tables::short(id)) && self.lookup.has_receipt(id)?))
    }

    /// The receipt of this id, be it in the group that is being written.
    fn receipt(&self, draft: &Draft, id: &[u8; 32]) -> Result<Option<Receipt>, redb::Error> {
        let being_written = draft.generation.receipt(id);
        let being_written = being_written.map(|record| record.row.bytes_in(&draft.frame));
        let waiting = || {
            let mut waiting = self.state.waiting();
            waiting.find_map(|it| it.receipt(id).map(|record| it.bytes_at(&record.row)))
        };
        if let Some(bytes) = being_written.or_else(waiting) {
            let row: RecordRow = codec::decode(bytes)?;
            return Ok(Some(row.into_receipt()?.receipt));
        }
        if !self.filter.may_hold(tables::short(id)) {
            return Ok(None);
        }
        let stored = self.lookup.receipt(id)?;
        Ok(stored.map(|stored| stored.receipt.receipt))
    }
}

impl Decider {
    pub(super) fn new(
        config: Config,
        totals: HashMap<(Address, Address), Totals>,
        answers: AnswersMark,
        applied: u64,
    ) -> Self {
        Self {
            heads: Heads::new(config.channels_cached),
            config,
            totals,
            answers,
            next: applied.saturating_add(1),
        }
    }

    /// Number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// A group that starts with the next entry.
    pub(super) fn draft(&self, frame: Vec<u8>, recorded_at: u64) -> Draft {
        Draft::new(frame, self.next, recorded_at)
    }

    /// Decides on one entry and, if it is accepted, adds it to the draft.
    pub(super) fn decide(
        &mut self,
        known: &Known<'_>,
        draft: &mut Draft,
        entry: &Entry,
    ) -> Outcome {
        match entry {
            Entry::Channel(snapshot) => self.channel(known, draft, snapshot),
            Entry::Charge { snapshot, payment } => {
                self.charge(known, draft, snapshot.as_ref(), payment)
            }
            Entry::Nonce(nonce) => self.nonce(known, draft, nonce),
            Entry::Claimed(movement) => self.movement(known, draft, Kind::Claimed, movement),
            Entry::Settled(movement) => self.movement(known, draft, Kind::Settled, movement),
            Entry::Refunded(movement) => self.movement(known, draft, Kind::Refunded, movement),
            Entry::Unpaid(movement) => self.movement(known, draft, Kind::Unpaid, movement),
        }
    }

    fn channel(
        &mut self,
        known: &Known<'_>,
        draft: &mut Draft,
        snapshot: &ChannelSnapshot,
    ) -> Outcome {
        let head = self.head(known, snapshot)?;
        match check_channel(snapshot, head) {
            Err(refused) => return Ok(Err(refused)),
            // Covered by what is stored.
            Ok(false) => return Ok(Ok(())),
            Ok(true) => {}
        }
        let Parts::Channel(part) = logged::put_channel(&mut draft.frame, snapshot)? else {
            return Ok(Ok(()));
        };
        self.take_channel(draft, snapshot, head, None, part);
        self.accepted(draft);
        Ok(Ok(()))
    }

    fn charge(
        &mut self,
        known: &Known<'_>,
        draft: &mut Draft,
        snapshot: Option<&ChannelSnapshot>,
        payment: &PaymentRecord,
    ) -> Outcome {
        let receipt = &payment.receipt.receipt;
        // M5: one execution per payment id.
        if known.has_payment(&draft.generation, &payment.key)?
            || known.has_receipt(&draft.generation, &receipt.id.0)?
        {
            return Ok(Err(CommitError::DuplicatePayment));
        }
        let mut newer = None;
        if let Some(snapshot) = snapshot {
            let head = self.head(known, snapshot)?;
            match check_channel(snapshot, head) {
                Err(refused) => return Ok(Err(refused)),
                Ok(true) => newer = Some((snapshot, head)),
                Ok(false) => {}
            }
        }
        let totals = match self.charged(receipt) {
            Err(refused) => return Ok(Err(refused)),
            Ok(totals) => totals,
        };
        let answer = payment
            .answer
            .as_ref()
            .filter(|answer| answer.body.len() <= self.config.answer_bytes_max);
        let parts = logged::put_charge(
            &mut draft.frame,
            newer.map(|(snapshot, _)| snapshot),
            payment,
            answer,
            &mut self.answers,
        )?;
        let Parts::Charge {
            channel,
            record,
            answer,
        } = parts
        else {
            return Ok(Ok(()));
        };
        self.put_totals(draft, totals);
        if let (Some((snapshot, head)), Some(part)) = (newer, channel) {
            self.take_channel(draft, snapshot, head, Some(receipt), part);
        }
        self.take_record(draft, payment.key, receipt, record, answer);
        self.accepted(draft);
        Ok(Ok(()))
    }

    fn nonce(&mut self, known: &Known<'_>, draft: &mut Draft, nonce: &ExactNonce) -> Outcome {
        let key: NonceKey = tables::nonce_key(nonce);
        let used = draft.generation.nonces.contains(&key)
            || known.state.waiting().any(|it| it.nonces.contains(&key))
            || known.lookup.has_nonce(&key)?;
        if used {
            return Ok(Err(CommitError::NonceUsed));
        }
        logged::put_nonce(&mut draft.frame, key);
        draft.generation.nonces.insert(key);
        self.accepted(draft);
        Ok(Ok(()))
    }

    /// Counts a movement, once however often it is reported.
    fn movement(
        &mut self,
        known: &Known<'_>,
        draft: &mut Draft,
        kind: Kind,
        movement: &Movement,
    ) -> Outcome {
        let key = tables::movement_key(kind.tag(), movement);
        let noted = draft.generation.movements.contains_key(&key)
            || known
                .state
                .waiting()
                .any(|it| it.movements.contains_key(&key))
            || known.lookup.has_movement(&key)?;
        if noted {
            return Ok(Ok(()));
        }
        if kind == Kind::Unpaid {
            let id = movement.transaction;
            let receipt = known.receipt(draft, &id.0)?;
            if !receipt.is_some_and(|receipt| moves::is_of(movement, &receipt)) {
                return Ok(Err(CommitError::NotExact(id)));
            }
        }
        let Movement {
            receiver,
            token,
            amount,
            ..
        } = *movement;
        let totals = match self.add(receiver, token, amount, |totals| kind.sum(totals)) {
            Err(refused) => return Ok(Err(refused)),
            Ok(totals) => totals,
        };
        logged::put_movement(&mut draft.frame, key, amount.get());
        self.put_totals(draft, totals);
        take_movement(draft, kind, key, amount.get());
        self.accepted(draft);
        Ok(Ok(()))
    }

    fn head(
        &self,
        known: &Known<'_>,
        snapshot: &ChannelSnapshot,
    ) -> Result<Option<Head>, redb::Error> {
        if let Some(head) = self.heads.get(&snapshot.id) {
            return Ok(Some(head));
        }
        for generation in known.state.waiting() {
            if let Some(place) = generation.channels.get(&snapshot.id) {
                let stored = read_channel(Some(generation.bytes_at(place)))?;
                return Ok(Some(Head::from(&stored)));
            }
        }
        known.lookup.head(&snapshot.id)
    }

    fn take_channel(
        &mut self,
        draft: &mut Draft,
        snapshot: &ChannelSnapshot,
        head: Option<Head>,
        charge: Option<&Receipt>,
        part: Range<usize>,
    ) {
        let new = Head::from(snapshot);
        let charged_on = charge.map_or(draft.day, |receipt| Day::of_unix_secs(receipt.issued_at));
        for (flow, amount) in flows(&head.unwrap_or_default(), &new) {
            let day = if flow == Flow::Charged {
                charged_on
            } else {
                draft.day
            };
            draft.generation.moved.push(Moved {
                day,
                channel: Some(snapshot.id),
                receiver: snapshot.config.receiver,
                token: snapshot.config.token,
                flow,
                amount,
            });
        }
        self.heads.put(snapshot.id, new);
        draft
            .generation
            .channels
            .insert(snapshot.id, Place::first(part));
    }

    fn take_record(
        &self,
        draft: &mut Draft,
        key: [u8; 32],
        receipt: &Receipt,
        record: Range<usize>,
        answer: Option<Range<usize>>,
    ) {
        if receipt.channel.is_none() && !receipt.booked().is_zero() {
            draft.generation.moved.push(Moved {
                day: Day::of_unix_secs(receipt.issued_at),
                channel: None,
                receiver: receipt.provider,
                token: receipt.token,
                flow: Flow::Exact,
                amount: receipt.booked(),
            });
        }
        draft.generation.add_record(Record {
            number: self.next,
            key,
            receipt: receipt.id.0,
            row: Place::first(record),
            answer: answer.map(Place::first),
        });
    }

    fn accepted(&mut self, draft: &mut Draft) {
        draft.generation.last = self.next;
        draft.generation.answers = self.answers;
        draft.count += 1;
        self.next += 1;
    }

    fn charged(&self, receipt: &Receipt) -> Result<Totals, CommitError> {
        let on_channel = receipt.channel.is_some();
        self.add(
            receipt.provider,
            receipt.token,
            receipt.booked(),
            |totals| {
                Some(if on_channel {
                    &mut totals.charged
                } else {
                    &mut totals.exact
                })
            },
        )
    }

    fn add(
        &self,
        receiver: Address,
        token: Address,
        amount: Amount,
        pick: impl Fn(&mut Totals) -> Option<&mut Amount>,
    ) -> Result<Totals, CommitError> {
        let mut totals = match self.totals.get(&(receiver, token)) {
            Some(totals) => *totals,
            None => Totals::empty(receiver, token),
        };
        if let Some(sum) = pick(&mut totals) {
            *sum = sum.checked_add(amount).map_err(|_| CommitError::Overflow)?;
        }
        Ok(totals)
    }

    fn put_totals(&mut self, draft: &mut Draft, totals: Totals) {
        let key = (totals.receiver, totals.token);
        self.totals.insert(key, totals);
        draft.generation.totals.insert(key, totals);
    }
}

/// Whether `snapshot` is newer than what is known. An older one is already covered by the stored
/// state and is skipped, unless it holds a charge that the stored state lacks.
fn check_channel(snapshot: &ChannelSnapshot, head: Option<Head>) -> Result<bool, CommitError> {
    let Some(stored) = head else {
        return Ok(true);
    };
    let newer = snapshot.version > stored.version;
    let lost = if newer {
        stored.loses_charges_to(snapshot)
    } else {
        snapshot.charged > stored.charged
    };
    if lost {
        return Err(CommitError::Conflict(snapshot.id));
    }
    Ok(newer)
}

fn read_channel(bytes: Option<&[u8]>) -> Result<ChannelSnapshot, codec::Malformed> {
    codec::decode::<ChannelRow>(bytes.unwrap_or_default())?.try_into()
}

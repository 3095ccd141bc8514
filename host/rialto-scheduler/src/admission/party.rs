//! One tenant at the door: what its calls hold, and which of them wait.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::TicketId;
use crate::tenant::Tenant;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) id: TicketId,
    pub(super) since: Duration,
    /// How many of the tenant's calls waited when it came.
    pub(super) behind: usize,
    pub(super) payer: Tenant,
    pub(super) bytes: u64,
    /// How often others went before it although it was its turn.
    pub(super) passed: u32,
    pub(super) work: T,
}

/// What a tenant holds and wants.
#[derive(Debug)]
pub(super) struct Party<T> {
    weight: u32,
    places: u32,
    bytes: u64,
    payers: HashMap<Tenant, Payer<T>>,
    /// The payers with calls that wait, by their turn.
    turns: BTreeMap<Turn, Tenant>,
    waiting: usize,
    /// When it last had a turn, as a number that grows with each.
    last_turn: u64,
    /// How long a call waits for each that waited before it.
    pace: Option<Duration>,
}

#[derive(Debug)]
struct Payer<T> {
    places: u32,
    last_turn: u64,
    queue: VecDeque<Waiter<T>>,
}

/// Fewest running calls first; among equals who had no turn for longest, then who came first.
type Turn = (u32, u64, TicketId);

/// A share of everything, at weight 1.
const SCALE: u128 = 1 << 32;

impl<T> Party<T> {
    pub(super) fn new(weight: u32) -> Self {
        Self {
            weight,
            places: 0,
            bytes: 0,
            payers: HashMap::new(),
            turns: BTreeMap::new(),
            waiting: 0,
            last_turn: 0,
            pace: None,
        }
    }

    /// When it last had a turn.
    pub(super) const fn last_turn(&self) -> u64 {
        self.last_turn
    }

    /// The larger of its parts of all places and of all bytes, over its weight.
    pub(super) fn share(&self, places_max: u32, bytes_max: u64) -> u128 {
        let part = |held: u64, of: u64| u128::from(held) * SCALE / u128::from(of.max(1));
        let places = part(self.places.into(), places_max.into());
        places.max(part(self.bytes, bytes_max)) / u128::from(self.weight.max(1))
    }

    /// The call whose turn it is.
    pub(super) fn first(&self) -> Option<&Waiter<T>> {
        let (_, payer) = self.turns.first_key_value()?;
        self.payers.get(payer)?.queue.front()
    }

    /// Another tenant's call goes before the first.
    pub(super) fn pass(&mut self) {
        let first = self.turns.first_key_value();
        let payer = first.and_then(|(_, payer)| self.payers.get_mut(payer));
        if let Some(waiter) = payer.and_then(|payer| payer.queue.front_mut()) {
            waiter.passed = waiter.passed.saturating_add(1);
        }
    }

    pub(super) fn join(&mut self, waiter: Waiter<T>) {
        let name = waiter.payer.clone();
        self.change(&name, |payer| payer.queue.push_back(waiter));
        self.waiting = self.waiting.saturating_add(1);
    }

    /// Takes the first call out of the queue, in the turn of this number.
    pub(super) fn admit(&mut self, now: Duration, turn: u64) -> Option<Waiter<T>> {
        let name = self.turns.first_key_value()?.1.clone();
        self.last_turn = turn;
        let waiter = self.change(&name, |payer| {
            payer.last_turn = turn;
            payer.queue.pop_front()
        })?;
        self.waiting = self.waiting.saturating_sub(1);
        let turns =
            u32::try_from(waiter.behind).map_or(u32::MAX, |behind| behind.saturating_add(1));
        let pace = now.saturating_sub(waiter.since) / turns;
        // An eighth of the news: one odd wait does not turn callers away.
        self.pace = Some(match self.pace {
            Some(before) => before - before / 8 + pace / 8,
            None => pace,
        });
        Some(waiter)
    }

    pub(super) fn leave(&mut self, id: TicketId) -> Option<Waiter<T>> {
        let holds = |payer: &Payer<T>| payer.queue.iter().position(|waiter| waiter.id == id);
        let mut found = self.payers.iter();
        let (name, index) = found.find_map(|(name, payer)| Some((name.clone(), holds(payer)?)))?;
        let waiter = self.change(&name, |payer| payer.queue.remove(index))?;
        self.waiting = self.waiting.saturating_sub(1);
        Some(waiter)
    }

    pub(super) fn hold(&mut self, payer: &Tenant, bytes: u64) {
        self.places = self.places.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.change(payer, |payer| payer.places = payer.places.saturating_add(1));
    }

    pub(super) fn release(&mut self, payer: &Tenant, bytes: u64) {
        self.places = self.places.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.change(payer, |payer| payer.places = payer.places.saturating_sub(1));
    }

    pub(super) const fn running(&self) -> u32 {
        self.places
    }

    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How long one more call would wait, by what others waited.
    pub(super) fn expected_wait(&self) -> Duration {
        let turns =
            u32::try_from(self.waiting).map_or(u32::MAX, |waiting| waiting.saturating_add(1));
        self.pace.unwrap_or_default().saturating_mul(turns)
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.waiting == 0 && self.places == 0
    }

    /// Changes a payer and keeps its turn right; forgets one that neither holds nor wants anything.
    fn change<R>(&mut self, name: &Tenant, change: impl FnOnce(&mut Payer<T>) -> R) -> R {
        let payer = self.payers.entry(name.clone());
        let payer = payer.or_insert_with(|| Payer {
            places: 0,
            last_turn: 0,
            queue: VecDeque::new(),
        });
        if let Some(turn) = payer.turn() {
            self.turns.remove(&turn);
        }
        let result = change(payer);
        if let Some(turn) = payer.turn() {
            self.turns.insert(turn, name.clone());
        } else if payer.places == 0 {
            self.payers.remove(name);
        }
        result
    }
}

impl<T> Payer<T> {
    fn turn(&self) -> Option<Turn> {
        Some((self.places, self.last_turn, self.queue.front()?.id))
    }
}

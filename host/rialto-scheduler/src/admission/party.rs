//! One tenant at the door: what its calls hold, and which of them wait.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::crowd::Crowd;
use super::payers::Roll;
use super::prices::{Prices, Rank};
use super::{Order, TicketId};
use crate::tenant::Tenant;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) id: TicketId,
    pub(super) since: Duration,
    pub(super) payer: Tenant,
    pub(super) bytes: u64,
    pub(super) deadline: Option<Duration>,
    /// What it pays for the time it is expected to take.
    pub(super) rate: u128,
    /// How often others went before it although it was its turn.
    pub(super) passed: u32,
    pub(super) work: T,
}

/// What a tenant holds and wants.
#[derive(Debug)]
pub(super) struct Party<T> {
    weight: u32,
    /// Places that it may hold.
    running_max: u32,
    places: u32,
    bytes: u64,
    payers: HashMap<Tenant, Payer<T>>,
    /// The payers with calls that wait, by their turn.
    turns: BTreeMap<Turn, Tenant>,
    /// Calls by price, where that counts.
    prices: Option<Prices>,
    waiting: usize,
    /// When it last had a turn, as a number that grows with each.
    last_turn: u64,
    /// How long it takes until the next of its calls that wait is let in.
    pace: Option<Duration>,
    /// When one of them was let in.
    moved: Option<Duration>,
    /// How long a call runs.
    usual: Option<Duration>,
    /// Since when calls waited longer than [`Party::target`].
    long_since: Option<Duration>,
    crowd: Crowd,
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
/// A wait that is never called long.
const TARGET_MIN: Duration = Duration::from_millis(100);
/// A queue that was long for this many targets is standing: no burst, but more than can be done.
const STANDING: u32 = 4;

impl<T> Party<T> {
    pub(super) fn new(
        weight: u32,
        running_max: u32,
        order: Order,
        usual: Option<Duration>,
    ) -> Self {
        Self {
            weight,
            running_max,
            places: 0,
            bytes: 0,
            payers: HashMap::new(),
            turns: BTreeMap::new(),
            prices: (order == Order::Price).then(Prices::default),
            waiting: 0,
            last_turn: 0,
            pace: None,
            moved: None,
            usual,
            long_since: None,
            crowd: Crowd::default(),
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

    /// Whether one more of its calls may run.
    pub(super) const fn may_run(&self) -> bool {
        self.places < self.running_max
    }

    /// The call whose turn it is, of payers that may have one more; none while it has as many as it may.
    pub(super) fn first(&self, now: Duration, payers: &Roll) -> Option<&Waiter<T>> {
        if !self.may_run() {
            return None;
        }
        let (payer, index) = self.turn(now, payers)?;
        self.payers.get(payer)?.queue.get(index)
    }

    /// How the price of its first call compares with others'.
    pub(super) fn rank(&self, now: Duration, payers: &Roll) -> Option<Rank> {
        Some(self.prices.as_ref()?.first(now, payers)?.0)
    }

    /// The payer whose turn it is, and the place of the call in its queue.
    fn turn(&self, now: Duration, payers: &Roll) -> Option<(&Tenant, usize)> {
        let Some(prices) = &self.prices else {
            let mut turns = self.turns.values();
            return Some((turns.find(|payer| payers.may_run(payer))?, 0));
        };
        let ((_, _, id), payer) = prices.first(now, payers)?;
        let queue = &self.payers.get(payer)?.queue;
        let index = queue.iter().position(|waiter| waiter.id == id)?;
        Some((payer, index))
    }

    /// Another tenant's call goes before the first.
    pub(super) fn pass(&mut self, now: Duration, payers: &Roll) {
        let Some((payer, index)) = self.turn(now, payers) else {
            return;
        };
        let payer = payer.clone();
        let queue = self.payers.get_mut(&payer).map(|payer| &mut payer.queue);
        if let Some(waiter) = queue.and_then(|queue| queue.get_mut(index)) {
            waiter.passed = waiter.passed.saturating_add(1);
        }
    }

    pub(super) fn join(&mut self, waiter: Waiter<T>) {
        let name = waiter.payer.clone();
        if let Some(prices) = &mut self.prices {
            prices.join(waiter.id, waiter.rate, waiter.since, &name);
        }
        self.change(&name, |payer| payer.queue.push_back(waiter));
        self.waiting = self.waiting.saturating_add(1);
    }

    /// Takes the first call out of the queue, in the turn of this number.
    pub(super) fn take(&mut self, now: Duration, turn: u64, payers: &Roll) -> Option<Waiter<T>> {
        let (name, index) = self.turn(now, payers)?;
        let name = name.clone();
        self.last_turn = turn;
        let waiter = self.change(&name, |payer| {
            payer.last_turn = turn;
            payer.queue.remove(index)
        })?;
        self.gone(&waiter);
        Some(waiter)
    }

    /// Learns from a call that is about to be let in, into one of so many places.
    pub(super) fn learn(&mut self, now: Duration, waiter: &Waiter<T>, payers: &Roll, places: u32) {
        let moved = self.moved.replace(now);
        if !payers.is_held(&waiter.payer, places) {
            self.learn_pace(now, waiter, moved, places);
            self.learn_wait(now, waiter);
        }
    }

    /// Learns how fast the queue moves. One turn that took much longer than its calls run says that this machine
    /// stood still for a moment, and little of the turns to come: those who pay are not sent away for that. Of the
    /// first turn no more counts than so many places let expect.
    fn learn_pace(
        &mut self,
        now: Duration,
        waiter: &Waiter<T>,
        moved: Option<Duration>,
        places: u32,
    ) {
        let since = moved.map_or(waiter.since, |moved| moved.max(waiter.since));
        let usual = self.usual();
        let most = self.pace.map_or_else(
            || usual / places.clamp(1, self.running_max),
            |pace| pace.max(usual).saturating_mul(2),
        );
        let took = now.saturating_sub(since).min(most);
        self.pace = Some(smooth(self.pace, took));
    }

    /// Learns from a wait that is over.
    fn learn_wait(&mut self, now: Duration, waiter: &Waiter<T>) {
        let waited = now.saturating_sub(waiter.since);
        if waited > self.target() {
            self.long_since.get_or_insert(now);
        } else if waited <= self.target() / 2 || self.waiting == 0 {
            // Well below: a queue that is kept at its target is still one of more than can be done.
            self.long_since = None;
        }
    }

    /// The newest call of the payer with the most that wait.
    pub(super) fn push_out(&mut self) -> Option<Waiter<T>> {
        let size = |payer: &Payer<T>| (payer.queue.len(), payer.queue.back().map(|last| last.id));
        let longest = self.payers.iter().max_by_key(|(_, payer)| size(payer));
        let name = longest?.0.clone();
        let waiter = self.change(&name, |payer| payer.queue.pop_back())?;
        self.gone(&waiter);
        Some(waiter)
    }

    /// A call waits no more.
    fn gone(&mut self, waiter: &Waiter<T>) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(prices) = &mut self.prices {
            prices.leave(waiter.id);
        }
    }

    pub(super) fn leave(&mut self, id: TicketId) -> Option<Waiter<T>> {
        let holds = |payer: &Payer<T>| payer.queue.iter().position(|waiter| waiter.id == id);
        let mut found = self.payers.iter();
        let (name, index) = found.find_map(|(name, payer)| Some((name.clone(), holds(payer)?)))?;
        let waiter = self.change(&name, |payer| payer.queue.remove(index))?;
        self.gone(&waiter);
        Some(waiter)
    }

    /// A call is turned away: when it is to come again, if many are.
    pub(super) fn turn_away(&mut self, now: Duration) -> Option<Duration> {
        self.crowd.turn_away(now)
    }

    pub(super) fn hold(&mut self, now: Duration, payer: &Tenant, bytes: u64) {
        self.crowd.admit(now);
        self.places = self.places.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.change(payer, |payer| payer.places = payer.places.saturating_add(1));
    }

    /// A call that ran for so long is over.
    pub(super) fn release(&mut self, payer: &Tenant, bytes: u64, ran: Duration) {
        self.usual = Some(smooth(self.usual, ran));
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

    /// Calls of a payer that wait.
    pub(super) fn waiting_of(&self, payer: &Tenant) -> usize {
        self.payers.get(payer).map_or(0, |payer| payer.queue.len())
    }

    /// The most calls of one payer that wait.
    pub(super) fn waiting_most(&self) -> usize {
        let queues = self.payers.values().map(|payer| payer.queue.len());
        queues.max().unwrap_or(0)
    }

    /// How many calls go before one more of this payer.
    pub(super) fn ahead(&self, payer: &Tenant) -> usize {
        if self.prices.is_some() {
            return self.waiting;
        }
        let own = self.waiting_of(payer);
        let others = self.turns.len().saturating_sub(usize::from(own > 0));
        // Payers take turns: one of each of the others for each of its own.
        let turns = others.saturating_mul(own.saturating_add(1));
        turns.saturating_add(own).min(self.waiting)
    }

    /// How long one more call of this payer would wait, by how fast the queue moved; not at all while that is not known.
    pub(super) fn expected_wait(&self, payer: &Tenant) -> Duration {
        let ahead = self.ahead(payer);
        let turns = u32::try_from(ahead).map_or(u32::MAX, |ahead| ahead.saturating_add(1));
        self.pace
            .map_or(Duration::ZERO, |pace| pace.saturating_mul(turns))
    }

    /// How long a call is expected to run; no time before one has ended.
    pub(super) fn usual(&self) -> Duration {
        self.usual.unwrap_or(Duration::ZERO)
    }

    /// How long its calls ran, if one has ended.
    pub(super) const fn learnt(&self) -> Option<Duration> {
        self.usual
    }

    /// A wait that is long for what its calls take.
    pub(super) fn target(&self) -> Duration {
        self.usual().saturating_mul(2).max(TARGET_MIN)
    }

    /// Whether the queue has been long for a while.
    pub(super) fn is_standing(&self, now: Duration) -> bool {
        let long = self.long_since.map(|since| now.saturating_sub(since));
        self.waiting > 0 && long.is_some_and(|long| long >= self.target().saturating_mul(STANDING))
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

/// An eighth of the news: one odd time turns nobody away.
fn smooth(before: Option<Duration>, news: Duration) -> Duration {
    before.map_or(news, |before| before - before / 8 + news / 8)
}

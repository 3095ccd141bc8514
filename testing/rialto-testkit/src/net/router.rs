//! A router between TUN devices that delays, loses and cuts, and a NAT in front of whom it is told.
//!
//! The kernel's own emulator (netem) is missing from many kernels; this one needs none. Packets keep their
//! order: each waits as long as the one before it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tun_tap::Iface;

use super::packet::{self, Flow};

/// What happens to packets between hosts.
#[derive(Debug, Default, Clone)]
pub struct Weather {
    /// How long each packet is on its way.
    pub delay: Duration,
    /// How many of a thousand packets are lost.
    pub loss_permille: u64,
    /// Whoever is in here reaches whoever is in here alone, and the other way round.
    pub island: HashSet<Ipv4Addr>,
    /// Pairs between which nothing passes, in either direction.
    pub cut: HashSet<(Ipv4Addr, Ipv4Addr)>,
}

/// A router. Clones are the same one; it runs to the end of the process.
#[derive(Debug, Clone)]
pub struct Router {
    shared: Arc<Shared>,
    queue: Sender<Waiting>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    weather: Weather,
    /// Who is not delayed, lost or cut: the chain, and whoever watches.
    spared: HashSet<Ipv4Addr>,
    /// From the address inside to the address outside.
    nats: HashMap<Ipv4Addr, Ipv4Addr>,
    /// What was begun from inside a NAT, as it is seen outside.
    begun: HashSet<Flow>,
    devices: HashMap<Ipv4Addr, Arc<Iface>>,
    passed: HashMap<(Ipv4Addr, Ipv4Addr), u64>,
    lost: u64,
    dice: u64,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    to: Arc<Iface>,
    packet: Vec<u8>,
}

impl Router {
    /// A router in good weather, that spares these.
    #[must_use]
    pub fn new(spared: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        let (queue, waiting) = channel();
        std::thread::spawn(move || deliver(&waiting));
        let state = State {
            spared: spared.into_iter().collect(),
            dice: 0x9e37_79b9_7f4a_7c15,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
            }),
            queue,
        }
    }

    /// Changes the weather from now on.
    pub fn set(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.state().weather);
    }

    /// Puts a NAT in front of an address: outside it is another, and only those get in who are answering.
    pub fn nat(&self, inside: Ipv4Addr, outside: Ipv4Addr) {
        self.state().nats.insert(inside, outside);
    }

    /// Packets that got through from one address to another, as both are seen outside.
    #[must_use]
    pub fn passed(&self, from: Ipv4Addr, to: Ipv4Addr) -> u64 {
        let state = self.state();
        state.passed.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Packets lost by chance.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    pub(super) fn join(&self, address: Ipv4Addr, device: Iface) {
        let device = Arc::new(device);
        self.state().devices.insert(address, Arc::clone(&device));
        let router = self.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; PACKET_BYTES_MAX];
            while let Ok(length) = device.recv(&mut buffer) {
                router.route(buffer[..length].to_vec());
            }
        });
    }

    fn route(&self, mut packet: Vec<u8>) {
        let routed = self.state().route(&mut packet);
        if let Some((to, delay)) = routed {
            let due = Instant::now() + delay;
            // Only the end of the process ends the other side.
            self.queue.send(Waiting { due, to, packet }).ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where a packet goes and when, if anywhere; rewritten where a NAT is passed.
    fn route(&mut self, packet: &mut [u8]) -> Option<(Arc<Iface>, Duration)> {
        let mut flow = Flow::of(packet)?;
        if self.spared.contains(&flow.from.0) || self.spared.contains(&flow.to.0) {
            let device = self.devices.get(&flow.to.0)?;
            return Some((Arc::clone(device), Duration::ZERO));
        }
        if let Some(outside) = self.nats.get(&flow.from.0) {
            packet::set_from(packet, *outside);
            flow.from.0 = *outside;
            self.begun.insert(flow);
        }
        let (from, to) = (flow.from.0, flow.to.0);
        if self.is_cut(from, to) {
            return None;
        }
        let outside = |(_, outside): &(&Ipv4Addr, &Ipv4Addr)| **outside == to;
        let inside = self.nats.iter().find(outside).map(|(inside, _)| *inside);
        if inside.is_some() && !self.begun.contains(&flow.reversed()) {
            return None;
        }
        if let Some(inside) = inside {
            packet::set_to(packet, inside);
        } else if self.nats.contains_key(&to) {
            // Nobody outside has a way to an address inside.
            return None;
        }
        if self.roll() < self.weather.loss_permille {
            self.lost += 1;
            return None;
        }
        let device = Arc::clone(self.devices.get(&inside.unwrap_or(to))?);
        *self.passed.entry((from, to)).or_default() += 1;
        Some((device, self.weather.delay))
    }

    fn is_cut(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        let Weather { island, cut, .. } = &self.weather;
        island.contains(&from) != island.contains(&to)
            || cut.contains(&(from, to))
            || cut.contains(&(to, from))
    }

    /// Below a thousand; the same row of numbers each time (xorshift).
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % 1000
    }
}

/// Hands out packets when they are due.
fn deliver(incoming: &Receiver<Waiting>) {
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    loop {
        let now = Instant::now();
        while waiting.front().is_some_and(|first| first.due <= now) {
            if let Some(first) = waiting.pop_front() {
                // A device whose host is gone takes nothing, like a cable that is out.
                first.to.send(&first.packet).ok();
            }
        }
        let next = waiting.front().map_or(IDLE, |first| first.due - now);
        match incoming.recv_timeout(next) {
            Ok(packet) => {
                let place = waiting.partition_point(|other| other.due <= packet.due);
                waiting.insert(place, packet);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

const PACKET_BYTES_MAX: usize = 65_536;
const IDLE: Duration = Duration::from_secs(1);

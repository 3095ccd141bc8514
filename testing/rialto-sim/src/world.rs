//! One run: the events in their order, the network that carries messages, and what is counted.

use std::collections::BTreeMap;

use rialto_channels::{ChannelId, SigningKey};

use crate::{
    Failure, Options, Rule, Summary,
    books::Books,
    chain::{BLOCK_SECS, Chain, DEPTH_MAX},
    message::Message,
    parties::{HOST_KEY, START, WALLET, WALLET_KEY, key},
    payee::Payee,
    payer::Payer,
    random::Random,
};

/// What happens at one moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A payer does something.
    Act(usize),
    Deliver(Message),
    /// A call's work ends.
    Finish(u64),
    /// The payee's disk has what was written.
    Sync,
    Mine,
    /// The payee looks at its channels on the chain.
    Watch,
    Collect,
    CrashPayee,
    /// As that, but nothing follows from it.
    CrashOnce,
    /// A payer waited long enough for an answer.
    Timeout {
        payer: usize,
        call: u64,
    },
    /// The payee's endpoint of the chain goes, or comes back.
    Outage(bool),
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss_percent: u64,
    duplicates_percent: u64,
    delay_secs_max: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    weather: Weather,
    pub(crate) chain: Chain,
    pub(crate) payee: Payee,
    pub(crate) payers: Vec<Payer>,
    pub(crate) books: Books,
    pub(crate) broken: Option<Rule>,
    pub(crate) summary: Summary,
    /// Nothing bad happens any more; everything comes to rest.
    pub(crate) calm: bool,
    violation: Option<String>,
    trace: bool,
}

/// Runs one seed.
///
/// # Errors
/// [`Failure`] with the rule that did not hold.
pub fn run(seed: u64, options: &Options) -> Result<Summary, Failure> {
    let mut world = World::new(seed, options);
    world.live().map_err(|message| Failure {
        seed,
        broken: options.broken,
        secs: world.now - START,
        message,
    })?;
    Ok(world.summary)
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        let host = key(HOST_KEY);
        let payers = 1 + random.index(3);
        let payee_cheats = random.percent(25);
        let payers: Vec<_> = (0..payers)
            .map(|number| {
                let cheats = !payee_cheats && random.percent(35);
                Payer::new(number, cheats, &host, &mut random)
            })
            .collect();
        let wallets = payers
            .iter()
            .map(|payer| (payer.wallet.address(), WALLET))
            .collect();
        let mut chain = Chain::new(START, wallets);
        chain.mints = options.broken == Some(Rule::Mint);
        let weather = Weather {
            loss_percent: random.below(16),
            duplicates_percent: random.below(16),
            delay_secs_max: random.between(1, 40),
        };
        let payee = Payee::new(
            host,
            payee_cheats,
            seed.is_multiple_of(SIGNED_SHARE),
            &mut random,
        );
        Self {
            random,
            now: START,
            events: BTreeMap::new(),
            next_event: 0,
            weather,
            chain,
            payee,
            payers,
            books: Books::default(),
            broken: options.broken,
            summary: Summary::default(),
            calm: false,
            violation: None,
            trace: options.trace,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.after(BLOCK_SECS, Event::Mine);
        self.after(1, Event::Watch);
        self.after(300, Event::Collect);
        for payer in 0..self.payers.len() {
            let first = self.random.between(1, 60);
            self.after(first, Event::Act(payer));
        }
        for event in [Event::CrashPayee, Event::Outage(true)] {
            let first = self.random.between(100, 1_500);
            self.after(first, event);
        }
        self.until(START + ACTIVE_SECS)?;
        self.settle_down()
    }

    /// Handles everything that happens until then.
    pub(crate) fn until(&mut self, end: u64) -> Result<(), String> {
        while let Some(entry) = self.events.first_entry() {
            let time = entry.key().0;
            if time > end {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(time);
            if self.trace {
                self.note(|| {
                    if let Event::Deliver(message) = &event {
                        return message.to_string();
                    }
                    format!("{event:?}")
                });
            }
            self.handle(event);
            self.check();
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act(payer) => self.act(payer),
            Event::Deliver(Message::Call(request)) => self.arrive(*request),
            Event::Deliver(Message::Refund(request)) => self.arrive_refund(*request),
            Event::Deliver(Message::Answer {
                payer,
                call,
                answer,
            }) => self.hear(payer, call, *answer),
            Event::Finish(execution) => self.finish(execution),
            Event::Sync => self.sync(),
            Event::Mine => self.mine(),
            Event::Watch => {
                self.watch();
                let pause = self.random.between(30, 120);
                self.after(pause, Event::Watch);
            }
            Event::Collect => {
                self.collect();
                self.after(1_200, Event::Collect);
            }
            Event::CrashPayee => {
                self.crash_payee();
                let pause = self.random.between(200, 2_000);
                self.after(pause, Event::CrashPayee);
            }
            Event::CrashOnce => self.crash_payee(),
            Event::Timeout { payer, call } => self.time_out(payer, call),
            Event::Outage(begins) => {
                self.payee.blind = begins && !self.calm;
                let pause = if begins {
                    self.random.between(10, 120)
                } else {
                    self.random.between(400, 2_000)
                };
                self.after(pause, Event::Outage(!begins));
            }
        }
    }

    fn mine(&mut self) {
        let (now, calm) = (self.now, self.calm);
        if !calm && self.random.percent(4) {
            let depth = 1 + self.random.index(DEPTH_MAX);
            self.chain.reorganise(depth, &mut self.random);
            self.summary.reorganisations += 1;
            self.note(|| format!("reorganisation of {depth}"));
        }
        self.chain.mine(now, &mut self.random, calm);
        self.after(BLOCK_SECS, Event::Mine);
        self.note(|| format!("block: {}", self.chain.told()));
        self.see_block();
    }

    pub(crate) fn after(&mut self, secs: u64, event: Event) {
        self.next_event += 1;
        let at = (self.now + secs, self.next_event);
        self.events.insert(at, event);
    }

    /// Nothing that goes wrong by itself is left in the queue.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.payee.blind = false;
        self.events.retain(|_, event| {
            !matches!(event, Event::CrashPayee | Event::CrashOnce | Event::Act(_))
        });
    }

    /// Loses, delays, repeats and reorders.
    pub(crate) fn send(&mut self, message: Message) {
        let weather = self.weather;
        if self.calm {
            return self.after(1, Event::Deliver(message));
        }
        if self.random.percent(weather.duplicates_percent) {
            let delay = self.random.between(0, weather.delay_secs_max * 3);
            self.after(delay, Event::Deliver(message.clone()));
        }
        if self.random.percent(weather.loss_percent) {
            self.summary.lost += 1;
            return;
        }
        let delay = self.random.between(0, weather.delay_secs_max);
        self.after(delay, Event::Deliver(message));
    }

    pub(crate) fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    /// The first rule that does not hold ends the run.
    pub(crate) fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub(crate) fn violated(&mut self) -> Result<(), String> {
        self.violation.take().map_or(Ok(()), Err)
    }

    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            crate::trace(self.now - START, &text());
        }
    }

    /// The payer whose channel this is.
    pub(crate) fn payer_of(&self, channel: ChannelId) -> Option<usize> {
        self.payers
            .iter()
            .position(|payer| payer.channel.id() == channel)
    }
}

/// The wallet of a payer.
pub(crate) fn wallet_key(number: usize) -> SigningKey {
    key(WALLET_KEY + u8::try_from(number).unwrap_or_default())
}

/// In one of so many runs receipts are signed and checked; vouchers, claims, deposits and refunds
/// are in all of them.
const SIGNED_SHARE: u64 = 8;
/// How long a run is lively, in seconds.
const ACTIVE_SECS: u64 = 3_000;

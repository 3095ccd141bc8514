//! How long it takes to choose among 300 offers that are at hand.
//!
//! As a client does it for each call: offers that were checked when they came become candidates, and the
//! router, which knows all of them from earlier calls, takes one.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use rialto_channels::{Address, Amount, SigningKey};
use rialto_registry::offer::Payee;
use rialto_registry::router::{
    Action, CallSpec, Candidate, Capabilities, Config, Millis, Outcome, Permille, ProviderId,
    Reach, Router,
};
use rialto_registry::{Digest, MethodName, Offer, PeerKey, SignedOffer};
use serde::Serialize;

use crate::spread::{Spread, percentile};

/// What was found, round by round.
#[derive(Debug, Serialize)]
pub(super) struct Choice {
    pub(super) offers: usize,
    /// Candidates made of all offers, and one chosen.
    pub(super) p50_us: Spread,
    pub(super) p99_us: Spread,
    /// Of this the router's part.
    pub(super) router_p50_us: Spread,
    /// Of an offer as it comes: both signatures checked, and read.
    pub(super) check_us: Spread,
}

/// Measures.
///
/// # Errors
/// An offer cannot be signed, or the router chooses nobody.
pub(super) fn measure(rounds: u32) -> Result<Choice> {
    let offers = offers()?;
    let mut scene = Scene {
        router: Router::new(Config::default()),
        now: Millis(1_000),
        method: "greet".parse()?,
        offers,
    };
    for random in 0..WARM {
        scene.choose(random)?;
    }
    let (mut p50, mut p99, mut router, mut check) = (vec![], vec![], vec![], vec![]);
    for round in 0..u64::from(rounds) {
        let (mut whole, mut part) = (Vec::new(), Vec::new());
        for call in 0..CALLS {
            let (all, routed) = scene.choose(WARM + round * CALLS + call)?;
            whole.push(all);
            part.push(routed);
        }
        whole.sort_by(f64::total_cmp);
        part.sort_by(f64::total_cmp);
        p50.push(percentile(&whole, 50));
        p99.push(percentile(&whole, 99));
        router.push(percentile(&part, 50));
        check.push(scene.check()?);
    }
    Ok(Choice {
        offers: scene.offers.len(),
        p50_us: Spread::of(p50),
        p99_us: Spread::of(p99),
        router_p50_us: Spread::of(router),
        check_us: Spread::of(check),
    })
}

/// A client that has called all of them before.
struct Scene {
    router: Router,
    now: Millis,
    method: MethodName,
    offers: Vec<(ProviderId, SignedOffer)>,
}

impl Scene {
    /// Chooses once, and lets the call be answered; in microseconds: all of it, and the router's part.
    fn choose(&mut self, random: u64) -> Result<(f64, f64)> {
        let begun = Instant::now();
        let candidates: Vec<Candidate> = self
            .offers
            .iter()
            .filter_map(|(id, offer)| self.candidate(id, offer.offer()))
            .collect();
        let routing = Instant::now();
        let spec = CallSpec::new("bench".parse()?, self.now.plus(Millis(10_000)));
        let mut call = self.router.begin(spec, &candidates, self.now, random);
        let Action::Try(attempt) = call.poll(&mut self.router, self.now) else {
            bail!("nobody was chosen");
        };
        let took = (micros(begun), micros(routing));
        // Answers take unlike times, so that there is something to choose by.
        self.now = self.now.plus(Millis(5 + random % 40));
        call.on_result(&mut self.router, attempt.id, Outcome::Answered, self.now);
        Ok(took)
    }

    fn candidate(&self, id: &ProviderId, offer: &Offer) -> Option<Candidate> {
        let price = *offer.prices.get(&self.method)?;
        Some(Candidate {
            provider: id.clone(),
            price,
            load_permille: offer.load,
            region: offer
                .region
                .as_ref()
                .and_then(|region| region.as_str().parse().ok()),
            capabilities: Capabilities::NONE,
            reputation: Permille::FULL,
            channel_open: false,
            reach: Reach::Direct,
            expires: Millis::MAX,
        })
    }

    fn check(&self) -> Result<f64> {
        let begun = Instant::now();
        for (_, offer) in &self.offers {
            SignedOffer::parse(offer.bytes())?;
        }
        Ok(micros(begun) / self.offers.len().max(1) as f64)
    }
}

fn offers() -> Result<Vec<(ProviderId, SignedOffer)>> {
    let mut offers = Vec::new();
    for number in 0..OFFERS {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let (peer, host) = (PeerKey::from_seed(&seed), SigningKey::from_bytes(&seed)?);
        let offer = offer(number, &host).context("an offer")?;
        let signed = SignedOffer::sign(offer, &peer, &host)?;
        let id = format!("{}/{}", signed.peer(), signed.offer().service);
        offers.push((id.parse()?, signed));
    }
    Ok(offers)
}

fn offer(number: u64, host: &SigningKey) -> Result<Offer> {
    let address = host.address();
    let price = Amount::new(u128::from(100 + number % 17));
    Ok(Offer {
        service: "bench".parse()?,
        manifest: Digest::of(b"manifest"),
        version: "0.1.0".parse()?,
        registry: "eip155:84532:0x8004A818BFB912233c491871b3d84c89A494BD9e".parse()?,
        interfaces: vec!["rialto:bench/api@0.1.0".to_owned()],
        tags: vec!["text".parse()?],
        region: Some("eu-west".parse()?),
        hardware: vec!["cpu".parse()?],
        prices: [("greet".parse()?, price)].into(),
        payee: Payee {
            chain_id: 84_532,
            token: Address::repeat_byte(1),
            payout: address,
            receiver: address,
            host: address,
        },
        gateways: Vec::new(),
        addresses: vec!["/ip4/192.0.2.7/tcp/4001".to_owned()],
        capacity: 16,
        load: u16::try_from(number % 1_000)?,
        seq: 1,
        issued: 1_000,
        expires: 2_800,
    })
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

const OFFERS: u64 = 300;
/// Calls before anything counts: enough that every provider has answered.
const WARM: u64 = 3_000;
const CALLS: u64 = 2_000;

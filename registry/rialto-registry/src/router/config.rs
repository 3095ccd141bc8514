//! The router's settings, and what a single call asks for.
//!
//! Not here: decoding them from text. The defaults are those of the service meshes that proved them:
//! a retry budget of 20% and ten a second and five seconds for a refusal (Linkerd), ejection after five
//! failures and of at most half (Envoy).

use rialto_channels::Amount;

use super::{
    candidate::{Capabilities, Region, ServiceId},
    units::Millis,
};

/// Settings of a [`Router`](super::Router). A value that makes no sense (a window of none, a half-life of
/// nothing) is used as the nearest that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How price, reputation and reach weigh against latency.
    pub weights: Weights,
    /// When a failing provider is left alone.
    pub breaker: BreakerConfig,
    /// The latency of a provider that nobody has tried, while its service has none to go by either.
    pub latency_prior: Millis,
    /// How long until half of a latency peak is forgotten.
    pub latency_half_life: Millis,
    /// A failed attempt counts as one that took at least this long.
    pub failure_latency: Millis,
    /// How long a provider rests that refused without saying until when.
    pub rest_default: Millis,
    /// The longest rest that a refusal can ask for.
    pub rest_max: Millis,
    /// So many answers make a provider known.
    pub newcomer_answers: u32,
    /// So many calls may be in flight at a newcomer while a known provider could take them.
    pub newcomer_in_flight_max: u32,
    /// Retries that calls earn, in thousandths of a retry for each call.
    pub retry_permille: u64,
    /// Retries that time earns, for each second.
    pub retries_per_second: u64,
    /// Retries that may be saved up. A service begins with so many.
    pub retries_saved_max: u64,
    /// Hedges that calls earn, in thousandths of a hedge for each call. A service begins with none.
    pub hedge_permille: u64,
    /// Hedges that may be saved up.
    pub hedges_saved_max: u64,
    /// A hedge never goes out sooner after the first attempt than this.
    pub hedge_after_min: Millis,
    /// Providers that one call may be sent to, a hedge included.
    pub providers_per_call_max: u32,
    /// How often one call may be sent again to a provider that it was sent to already.
    pub repeats_per_call_max: u32,
    /// After so many repeats that brought no answer, an idempotent call may leave its payment behind.
    pub repeats_before_leaving: u32,
    /// The pause before the first repeat; it doubles with each.
    pub repeat_pause_min: Millis,
    /// The longest pause before a repeat.
    pub repeat_pause_max: Millis,
    /// With less time left than this, nothing more is sent.
    pub attempt_min: Millis,
    /// Candidates that one call weighs; of more, so many are drawn by chance.
    pub candidates_per_call_max: usize,
    /// Providers whose health is remembered; beyond, those longest unused are forgotten.
    pub providers_max: usize,
    /// Services whose budgets are remembered; beyond, those longest unused are forgotten.
    pub services_max: usize,
}

/// Weights of the cost. Cost is a product, so an exponent weighs a factor: [`price_permille`] 500 means
/// that four times the price weighs as much as twice the latency.
///
/// [`price_permille`]: Self::price_permille
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// The price's exponent in thousandths. 0: price does not matter below the ceiling.
    pub price_permille: u32,
    /// The reputation's exponent in thousandths.
    pub reputation_permille: u32,
    /// Cost in thousandths where no channel is open yet: opening one is a transaction.
    pub no_channel_permille: u32,
    /// Cost in thousandths where the provider is reached through a relay.
    pub relayed_permille: u32,
}

/// Settings of the breaker of each provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Opens after so many failures in a row.
    pub failures_max: u32,
    /// Outcomes that the success rate is taken over, 1 to 64; no rate before there are so many.
    pub window: u32,
    /// Opens when fewer than so many thousandths of the window succeeded.
    pub success_min_permille: u32,
    /// From opening to the first probe; doubles with each probe that fails.
    pub backoff_min: Millis,
    /// The longest time between two probes.
    pub backoff_max: Millis,
    /// So many successes in a row make the next opening start at the shortest backoff again.
    pub calm_after: u32,
    /// The share, in thousandths, of a call's candidates that may be ejected at once.
    pub ejected_max_permille: u32,
}

/// What one call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSpec {
    /// Whose budget and latencies the call counts with.
    pub service: ServiceId,
    /// True if executing the method twice does no harm.
    pub idempotent: bool,
    /// Nothing is sent, and no answer awaited, from this moment on.
    pub deadline: Millis,
    /// The most that one payment of this call may be, in base units.
    pub price_max: Option<Amount>,
    /// The one region that will do.
    pub region: Option<Region>,
    /// What the provider must be able to do.
    pub needs: Capabilities,
    /// Whether a payment may be left behind at a provider that went silent.
    pub abandon: Abandon,
    /// Whether a second provider may be asked while the first is late.
    pub hedge: Hedge,
    /// The longest that one attempt may take, if the application knows better than the deadline's half.
    pub attempt_max: Option<Millis>,
}

/// Whether an idempotent call may go to another provider although the first may have executed it.
///
/// The application gets one answer and pays once; but a signed voucher cannot be taken back, and a
/// provider that went silent may still charge what it was promised. What is left behind so is the call's
/// exposure: bounded here, and reported with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandon {
    /// Only payments of nothing are left behind.
    Never,
    /// Payments of at most so many base units in all.
    UpTo(Amount),
}

/// Whether a late idempotent call is also sent to a second provider.
///
/// The answer that comes first counts. The other provider is told to stop, but may charge all the same:
/// a hedged call can cost both prices, and the loser's is reported as exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// No.
    Never,
    /// Yes, where the second provider's price is at most this. Zero: to free providers only.
    Allowed {
        /// Base units that the second provider may cost.
        extra_max: Amount,
    },
}

impl CallSpec {
    /// The strictest call of `service`: not idempotent, at any price and place, nothing left behind.
    #[must_use]
    pub const fn new(service: ServiceId, deadline: Millis) -> Self {
        Self {
            service,
            idempotent: false,
            deadline,
            price_max: None,
            region: None,
            needs: Capabilities::NONE,
            abandon: Abandon::Never,
            hedge: Hedge::Never,
            attempt_max: None,
        }
    }
}

impl Abandon {
    /// Base units that may be left behind.
    #[must_use]
    pub const fn limit(self) -> Amount {
        match self {
            Self::Never => Amount::ZERO,
            Self::UpTo(limit) => limit,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            breaker: BreakerConfig::default(),
            latency_prior: Millis(250),
            latency_half_life: Millis(3_000),
            failure_latency: Millis(1_000),
            rest_default: Millis(5_000),
            rest_max: Millis(60_000),
            newcomer_answers: 3,
            newcomer_in_flight_max: 2,
            retry_permille: 200,
            retries_per_second: 10,
            retries_saved_max: 100,
            hedge_permille: 50,
            hedges_saved_max: 10,
            hedge_after_min: Millis(5),
            providers_per_call_max: 3,
            repeats_per_call_max: 10,
            repeats_before_leaving: 1,
            repeat_pause_min: Millis(25),
            repeat_pause_max: Millis(2_000),
            attempt_min: Millis(1),
            candidates_per_call_max: 64,
            providers_max: 4_096,
            services_max: 1_024,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            price_permille: 500,
            reputation_permille: 1_000,
            no_channel_permille: 1_500,
            relayed_permille: 1_500,
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures_max: 5,
            window: 32,
            success_min_permille: 500,
            backoff_min: Millis(1_000),
            backoff_max: Millis(60_000),
            calm_after: 20,
            ejected_max_permille: 500,
        }
    }
}

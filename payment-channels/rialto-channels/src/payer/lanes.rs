//! Lanes: several channels to one provider, told apart by their salt, so that calls do not wait
//! for each other; and the session keys that sign for them.

use alloy_primitives::{Address, B256, keccak256};

use crate::{Amount, ChannelConfig, KeyError, SettlementDomain, SigningKey};

/// The salt of a lane. Lane 0 is the channel that other clients open, with a salt of zero.
#[must_use]
pub fn salt(lane: u32) -> B256 {
    if lane == 0 {
        return B256::ZERO;
    }
    let number = lane.to_be_bytes();
    keccak256([LANE.as_bytes(), number.as_slice()].concat())
}

/// The same terms on another lane.
#[must_use]
pub fn on_lane(config: ChannelConfig, lane: u32) -> ChannelConfig {
    ChannelConfig {
        salt: salt(lane),
        ..config
    }
}

/// What is known of a lane when a call looks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its number.
    pub number: u32,
    /// Calls that are open on it.
    pub open_calls: usize,
    /// What vouchers could still promise on it, in base units.
    pub left: Amount,
    /// Whether it may be used: not while a withdrawal, a refund or a deposit is under way.
    pub usable: bool,
}

/// How many lanes, and how many calls on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Most lanes to one provider; each holds a deposit.
    pub lanes_max: u32,
    /// Most calls open on one lane: the offer's headroom, and never more than the provider takes.
    pub calls_max: usize,
}

/// What to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Use this lane; it holds enough.
    Use(u32),
    /// Use this lane after a deposit: nothing is open on it.
    TopUp(u32),
    /// Open this lane with a deposit.
    Open(u32),
    /// Wait until a call ends or a lane becomes usable.
    Wait,
}

/// Picks the lane for a call that an offer asks `asked` for: the least busy one that holds
/// enough; else an idle one to top up; else a new one; else wait.
///
/// Few lanes are kept busy rather than many: a deposit lies idle in each.
#[must_use]
pub fn choose(lanes: &[Lane], asked: Amount, limits: &LaneLimits) -> Choice {
    let free = |lane: &&Lane| lane.usable && lane.open_calls < limits.calls_max.max(1);
    let least_busy = |lanes: &mut dyn Iterator<Item = &Lane>| {
        lanes
            .min_by_key(|lane| (lane.open_calls, lane.number))
            .map(|lane| lane.number)
    };
    let enough = &mut lanes.iter().filter(free).filter(|lane| lane.left >= asked);
    if let Some(number) = least_busy(enough) {
        return Choice::Use(number);
    }
    let idle = &mut lanes
        .iter()
        .filter(free)
        .filter(|lane| lane.open_calls == 0);
    if let Some(number) = least_busy(idle) {
        return Choice::TopUp(number);
    }
    let unused = |number: &u32| lanes.iter().all(|lane| lane.number != *number);
    (0..limits.lanes_max)
        .find(unused)
        .map_or(Choice::Wait, Choice::Open)
}

/// Derives the key that signs vouchers on one lane to one receiver, so that it need not be
/// stored. `seed` is a secret of 32 random bytes, kept like the wallet's key; the session key
/// itself can spend no more than the channel holds, and only to that receiver.
///
/// # Errors
/// [`KeyError`] for a seed whose hash is no key; its chance is 2^-128, and no two in a row were
/// ever found. Use another lane.
pub fn session_key(
    seed: &[u8; 32],
    domain: &SettlementDomain,
    receiver: Address,
    lane: u32,
) -> Result<SigningKey, KeyError> {
    let text = [
        SESSION.as_bytes(),
        seed.as_slice(),
        &domain.chain_id.to_be_bytes(),
        domain.contract.as_slice(),
        receiver.as_slice(),
        &lane.to_be_bytes(),
    ]
    .concat();
    SigningKey::from_bytes(&keccak256(text).0)
}

const LANE: &str = "rialto lane v1\0";
const SESSION: &str = "rialto session key v1\0";

//! Who takes part, under which terms. The same keys in every run: signing is deterministic, and
//! chance comes from the seed alone.

use rialto_channels::{
    Address, Amount, B256, ChannelConfig, SettlementDomain, SigningKey, TokenDomain,
    payee::{ExposureLimits, Terms},
    payer::{Limits, lanes},
};

pub(crate) const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84_532,
    contract: Address::repeat_byte(0x40),
};
pub(crate) const COLLECTOR: Address = Address::repeat_byte(0x41);
/// What a call costs at most.
pub(crate) const PRICE: u128 = 100;
pub(crate) const HEADROOM: u128 = 5;
/// What an offer asks to sign for a call.
pub(crate) const OFFERED: Amount = Amount::new(PRICE * HEADROOM);
pub(crate) const DELAY_SECS: u64 = 900;
pub(crate) const IN_FLIGHT_MAX: usize = 4;
pub(crate) const DEPOSIT_MIN: Amount = Amount::new(500);
pub(crate) const WALLET: u128 = 1_000_000;
pub(crate) const START: u64 = 1_000_000;

pub(crate) const EXPOSURE: ExposureLimits = ExposureLimits {
    channel_max: Some(Amount::new(PRICE * 14)),
    payer_max: Some(Amount::new(PRICE * 20)),
};

pub(crate) fn key(number: u8) -> SigningKey {
    match SigningKey::from_bytes(&[number; 32]) {
        Ok(key) => key,
        Err(_) => unreachable!("a small number is a key"),
    }
}

/// The payee's host key; payers' keys count from [`WALLET_KEY`] and [`SESSION_KEY`].
pub(crate) const HOST_KEY: u8 = 3;
pub(crate) const WALLET_KEY: u8 = 10;
pub(crate) const SESSION_KEY: u8 = 50;
/// Nobody's key in this mesh.
pub(crate) const STRANGER_KEY: u8 = 99;

pub(crate) fn terms(host: &SigningKey) -> Terms {
    Terms {
        receiver: Address::repeat_byte(2),
        receiver_authorizer: host.address(),
        token: token().token,
        withdraw_delay: DELAY_SECS,
        in_flight_max: IN_FLIGHT_MAX,
    }
}

pub(crate) fn token() -> TokenDomain {
    TokenDomain {
        chain_id: DOMAIN.chain_id,
        token: Address::repeat_byte(4),
        name: "USDC".into(),
        version: "2".into(),
    }
}

/// The channel of a payer's lane.
pub(crate) fn config(
    wallet: &SigningKey,
    session: &SigningKey,
    terms: &Terms,
    lane: u32,
) -> ChannelConfig {
    let config = ChannelConfig {
        payer: wallet.address(),
        payer_authorizer: session.address(),
        receiver: terms.receiver,
        receiver_authorizer: terms.receiver_authorizer,
        token: terms.token,
        withdraw_delay: terms.withdraw_delay,
        salt: B256::ZERO,
    };
    lanes::on_lane(config, lane)
}

pub(crate) fn limits() -> Limits {
    Limits {
        call_max: OFFERED,
        deposit_max: Amount::new(WALLET / 10),
        deposit_calls: 3,
    }
}

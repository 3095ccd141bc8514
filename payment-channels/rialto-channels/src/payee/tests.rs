//! The payee, decision by decision.

mod charges;
mod restoring;
mod settlement;

use alloy_primitives::{Address, B256, U256};

use super::*;
use crate::{ChannelId, SigningKey, Voucher, Withdrawal};

const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84532,
    contract: Address::repeat_byte(0x40),
};
const NOW: ChainTime = ChainTime::new(1_000_000);
const BALANCE: u128 = 10_000;

fn payer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

fn terms() -> Terms {
    Terms {
        receiver: Address::repeat_byte(2),
        receiver_authorizer: Address::repeat_byte(3),
        token: Address::repeat_byte(4),
        withdraw_delay: 900,
        in_flight_max: 4,
    }
}

fn config() -> ChannelConfig {
    ChannelConfig {
        payer: payer().address(),
        payer_authorizer: payer().address(),
        receiver: terms().receiver,
        receiver_authorizer: terms().receiver_authorizer,
        token: terms().token,
        withdraw_delay: terms().withdraw_delay,
        salt: B256::ZERO,
    }
}

fn view(balance: u128, claimed: u128) -> OnChainView {
    OnChainView {
        balance: Amount::new(balance),
        claimed: Amount::new(claimed),
        refund_nonce: U256::ZERO,
        withdrawal: None,
        read_at: NOW,
    }
}

fn channel() -> PayeeChannel {
    PayeeChannel::new(&terms(), &DOMAIN, config(), &view(BALANCE, 0)).unwrap()
}

fn voucher(ceiling: u128) -> VerifiedVoucher {
    voucher_on(config().id(&DOMAIN), ceiling)
}

fn voucher_on(channel: ChannelId, ceiling: u128) -> VerifiedVoucher {
    Voucher {
        channel,
        ceiling: Amount::new(ceiling),
    }
    .sign(&DOMAIN, &payer())
    .verify(&DOMAIN, payer().address())
    .unwrap()
}

fn reserve(channel: &mut PayeeChannel, ceiling: u128, price: u128) -> Result<Reservation, Reject> {
    channel.reserve(&voucher(ceiling), Amount::new(price), NOW)
}

fn charge(channel: &mut PayeeChannel, ceiling: u128, price: u128, actual: u128) -> Committed {
    let call = reserve(channel, ceiling, price).unwrap();
    channel
        .commit(call, Amount::new(actual), B256::repeat_byte(7))
        .unwrap()
}

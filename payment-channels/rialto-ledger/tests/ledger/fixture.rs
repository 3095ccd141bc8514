//! A till: a real payee's channel that makes real charges, so that what is stored is what a host
//! would store.

use alloy_primitives::{Address, B256, U256, keccak256};
use rialto_channels::{
    Amount, ChainTime, ChannelConfig, OnChainView, SettlementDomain, SignedVoucher, SigningKey,
    VerifiedVoucher, Voucher,
    payee::{ChannelSnapshot, PayeeChannel, Reservation, Terms},
    receipt::{Receipt, SignedReceipt, Usage},
};
use rialto_ledger::{Entry, PaymentRecord, StoredAnswer};

pub(crate) const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84532,
    contract: Address::repeat_byte(0x40),
};
pub(crate) const NOW: ChainTime = ChainTime::new(1_000_000);
const BALANCE: Amount = Amount::new(1_000_000_000_000);
const PRICE: Amount = Amount::new(100);

pub(crate) fn host() -> SigningKey {
    SigningKey::from_bytes(&[3; 32]).unwrap()
}

pub(crate) fn receiver() -> Address {
    Address::repeat_byte(2)
}

pub(crate) fn token() -> Address {
    Address::repeat_byte(4)
}

fn payer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

fn terms() -> Terms {
    Terms {
        receiver: receiver(),
        receiver_authorizer: host().address(),
        token: token(),
        withdraw_delay: 900,
        in_flight_max: 8,
    }
}

fn config(number: u64) -> ChannelConfig {
    ChannelConfig {
        payer: payer().address(),
        payer_authorizer: payer().address(),
        receiver: receiver(),
        receiver_authorizer: host().address(),
        token: token(),
        withdraw_delay: 900,
        salt: B256::from(U256::from(number)),
    }
}

pub(crate) fn view() -> OnChainView {
    OnChainView {
        balance: BALANCE,
        claimed: Amount::ZERO,
        refund_nonce: U256::ZERO,
        withdrawal: None,
        read_at: NOW,
    }
}

#[derive(Debug)]
pub(crate) struct Till {
    pub(crate) channel: PayeeChannel,
    /// Tells receipts of several lives of one channel apart.
    life: u64,
}

impl Till {
    /// A new channel; each number is another.
    pub(crate) fn new(number: u64) -> Self {
        let channel = PayeeChannel::new(&terms(), &DOMAIN, config(number), &view()).unwrap();
        Self { channel, life: 0 }
    }

    /// The channel as it was stored, in another life of the process.
    pub(crate) fn restore(snapshot: ChannelSnapshot, life: u64) -> Self {
        let mut channel = PayeeChannel::restore(snapshot, &DOMAIN, 8).unwrap();
        channel.on_chain_view(&view());
        Self { channel, life }
    }

    /// Makes a charge of `amount`, up to 100, with a voucher that just covers it.
    pub(crate) fn charge(&mut self, amount: u128) -> (ChannelSnapshot, PaymentRecord) {
        let id = self.channel.state().id;
        let ceiling = self.channel.state().charged.checked_add(PRICE).unwrap();
        let voucher = Voucher {
            channel: id,
            ceiling,
        }
        .sign(&DOMAIN, &payer());
        let voucher = voucher.verify(&DOMAIN, payer().address()).unwrap();
        let call = self.channel.reserve(&voucher, PRICE, NOW).unwrap();
        let charge = self.channel.charge(&call, Amount::new(amount)).unwrap();
        let place = [id.0.0, charge.before.to_u256().to_be_bytes(), [0; 32]].concat();
        let key = keccak256([place.as_slice(), &self.life.to_be_bytes()].concat());
        let receipt = Receipt {
            id: keccak256(key),
            channel: Some(id),
            before: charge.before,
            charged: charge.charged,
            after: charge.after,
            previous: charge.previous,
            ..receipt()
        };
        let signed = receipt.sign(&host());
        let digest = signed.receipt.digest();
        let done = self
            .channel
            .commit(call, Amount::new(amount), digest)
            .unwrap();
        let answer = Some(answer(&[7; 32]));
        (
            done.snapshot,
            PaymentRecord {
                key: key.0,
                receipt: signed,
                answer,
            },
        )
    }

    /// A voucher of the channel's payer.
    pub(crate) fn voucher(&self, ceiling: u128) -> VerifiedVoucher {
        let signed = self.signed(ceiling);
        signed.verify(&DOMAIN, payer().address()).unwrap()
    }

    /// The same as it comes over the wire.
    pub(crate) fn signed(&self, ceiling: u128) -> SignedVoucher {
        let voucher = Voucher {
            channel: self.channel.state().id,
            ceiling: Amount::new(ceiling),
        };
        voucher.sign(&DOMAIN, &payer())
    }

    pub(crate) fn charge_entry(&mut self, amount: u128) -> Entry {
        let (snapshot, payment) = self.charge(amount);
        Entry::Charge {
            snapshot: Some(snapshot),
            payment,
        }
    }
}

/// Charges a call that is in flight, and says so in a receipt.
pub(crate) fn commit(
    channel: &mut PayeeChannel,
    call: Reservation,
    amount: Amount,
    key: [u8; 32],
) -> PaymentRecord {
    let charge = channel.charge(&call, amount).unwrap();
    let receipt = Receipt {
        id: keccak256(key),
        channel: Some(channel.state().id),
        before: charge.before,
        charged: charge.charged,
        after: charge.after,
        previous: charge.previous,
        ..receipt()
    };
    let signed = receipt.sign(&host());
    let digest = signed.receipt.digest();
    let _stored_with_the_channel = channel.commit(call, amount, digest).unwrap();
    PaymentRecord {
        key,
        receipt: signed,
        answer: Some(answer(&key)),
    }
}

pub(crate) fn answer(body: &[u8]) -> StoredAnswer {
    StoredAnswer {
        content_type: "application/json".into(),
        body: body.to_vec(),
    }
}

/// A payment outside channels.
pub(crate) fn exact(number: u64, amount: u128) -> PaymentRecord {
    let id = keccak256(number.to_be_bytes());
    let amount = Amount::new(amount);
    let receipt = Receipt {
        id,
        price: amount,
        charged: amount,
        after: amount,
        ..receipt()
    };
    PaymentRecord {
        key: keccak256(id).0,
        receipt: receipt.sign(&host()),
        answer: None,
    }
}

pub(crate) fn key_of(entry: &Entry) -> [u8; 32] {
    let Entry::Charge { payment, .. } = entry else {
        panic!("not a charge")
    };
    payment.key
}

pub(crate) fn receipt_of(entry: &Entry) -> SignedReceipt {
    let Entry::Charge { payment, .. } = entry else {
        panic!("not a charge")
    };
    payment.receipt.clone()
}

fn receipt() -> Receipt {
    Receipt {
        id: B256::ZERO,
        channel: None,
        payer: payer().address(),
        provider: receiver(),
        chain_id: DOMAIN.chain_id,
        token: token(),
        service: "filetype".into(),
        version: "0.1.0".into(),
        component: B256::repeat_byte(6),
        models: vec![B256::repeat_byte(7)],
        method: "identify".into(),
        request: B256::repeat_byte(8),
        response: B256::repeat_byte(9),
        usage: Usage {
            guest_time_us: 11,
            tensor_runs: 1,
            ..Usage::default()
        },
        price: PRICE,
        before: Amount::ZERO,
        charged: Amount::ZERO,
        after: Amount::ZERO,
        issued_at: 1_700_000_000,
        engine: "test".into(),
        deterministic: true,
        previous: B256::ZERO,
        parent: None,
    }
}

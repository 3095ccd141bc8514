//! Names for requests and payments.

use alloy_primitives::{Address, B256, keccak256};

use crate::api::{ChannelPayment, ExactPayment};

/// Names what was asked: service, method and body.
pub(crate) fn request(service: &str, method: &str, body_digest: &[u8; 32]) -> B256 {
    keccak256(
        [
            b"rialto request v1\0",
            service.as_bytes(),
            b"\0",
            method.as_bytes(),
            b"\0",
            body_digest,
        ]
        .concat(),
    )
}

/// The key under which a payment by voucher is executed once (M5).
pub(crate) fn payment_key(payment: &ChannelPayment, request: &B256) -> [u8; 32] {
    let ceiling = payment.voucher.voucher.ceiling;
    let id = payment.payment_id.as_deref();
    rialto_channels::payee::payment_key(payment.channel, ceiling, id, request)
}

/// The key of a payment by one transfer: the chain accepts its nonce once, and so do we.
pub(crate) fn exact_key(payment: &ExactPayment) -> [u8; 32] {
    let authorization = &payment.authorization;
    keccak256(
        [
            b"rialto exact v1\0",
            authorization.from.as_slice(),
            authorization.nonce.as_slice(),
        ]
        .concat(),
    )
    .0
}

/// The key under which a payment by one transfer is executed once (M5): the payer's own payment id
/// where it gave one, scoped to the payer; otherwise the transfer itself.
pub(crate) fn exact_payment_key(payment: &ExactPayment) -> [u8; 32] {
    let payer = payment.authorization.from;
    match &payment.payment_id {
        Some(id) => {
            keccak256(
                [
                    b"rialto exact payment id v1\0",
                    payer.as_slice(),
                    id.as_bytes(),
                ]
                .concat(),
            )
            .0
        }
        None => exact_key(payment),
    }
}

/// The receipt of a call that another one makes: the `place`th of it.
pub(crate) fn hire(parent: &B256, place: u32) -> B256 {
    keccak256(
        [
            b"rialto hire v1\0".as_slice(),
            parent.as_slice(),
            &place.to_be_bytes(),
        ]
        .concat(),
    )
}

/// For whom a service's calls of others are made: its own caller, by way of it.
pub(crate) fn on_behalf(party: Address, service: &str) -> B256 {
    keccak256(
        [
            b"rialto hire party v1\0".as_slice(),
            party.as_slice(),
            service.as_bytes(),
        ]
        .concat(),
    )
}

/// As whom a service knows a caller: the payer, or whom it speaks for. Nobody speaks for another payer's.
pub(crate) fn party(payer: Option<Address>, on_behalf: Option<B256>) -> Option<Address> {
    let payer = payer?;
    Some(match on_behalf {
        Some(whom) => Address::from_word(keccak256(
            [
                b"rialto caller party v1\0".as_slice(),
                payer.as_slice(),
                whom.as_slice(),
            ]
            .concat(),
        )),
        None => payer,
    })
}

/// The key under which such a call is executed once.
pub(crate) fn hire_key(id: &B256) -> [u8; 32] {
    keccak256([b"rialto hire key v1\0".as_slice(), id.as_slice()].concat()).0
}

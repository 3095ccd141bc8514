//! Names for requests and payments.

use alloy_primitives::{B256, keccak256};

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

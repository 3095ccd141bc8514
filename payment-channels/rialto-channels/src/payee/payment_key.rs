//! The name of a payment, under which it is executed and charged once (M5).

use alloy_primitives::{B256, keccak256};

use crate::{Amount, ChannelId};

/// The key of a payment by voucher (M5: one execution per payment id).
///
/// The payer's own payment id where it gave one, scoped to its channel. Otherwise the voucher
/// together with the request: clients without payment ids reuse one voucher for calls that overlap,
/// so the voucher alone would not tell two calls apart.
#[must_use]
pub fn payment_key(
    channel: ChannelId,
    ceiling: Amount,
    payment_id: Option<&str>,
    request: &B256,
) -> [u8; 32] {
    let channel = channel.0;
    if let Some(id) = payment_id {
        return keccak256([BY_ID, channel.as_slice(), id.as_bytes()].concat()).0;
    }
    let ceiling = ceiling.get().to_be_bytes();
    keccak256([BY_VOUCHER, channel.as_slice(), &ceiling, request.as_slice()].concat()).0
}

const BY_ID: &[u8] = b"rialto payment id v1\0";
const BY_VOUCHER: &[u8] = b"rialto voucher use v1\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_are_told_apart_by_their_id_or_else_by_voucher_and_request() {
        let channel = |byte| ChannelId(B256::repeat_byte(byte));
        let key = |byte, ceiling, id, request| {
            payment_key(
                channel(byte),
                Amount::new(ceiling),
                id,
                &B256::repeat_byte(request),
            )
        };
        assert_eq!(key(1, 5, Some("a"), 1), key(1, 6, Some("a"), 2));
        assert_ne!(key(1, 5, Some("a"), 1), key(2, 5, Some("a"), 1));
        assert_ne!(key(1, 5, Some("a"), 1), key(1, 5, Some("b"), 1));
        assert_eq!(key(1, 5, None, 1), key(1, 5, None, 1));
        for other in [key(2, 5, None, 1), key(1, 6, None, 1), key(1, 5, None, 2)] {
            assert_ne!(key(1, 5, None, 1), other);
        }
    }
}

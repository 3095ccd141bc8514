//! What fuzz targets call: the decoders of this crate that read what a peer sent, each with the
//! properties that must hold for all it accepts. A broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the loop
//! that makes inputs (`fuzz/`).

use std::str;

use crate::{
    Address, Amount, B256, ChannelId, ParseAmountError, SettlementDomain, Signature,
    SignatureError, SignedVoucher, SigningKey, Voucher, digest, recover,
};

/// Amounts, channel ids, signatures and keys as text.
pub fn channel_text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    amount(text);
    if let Ok(id) = text.parse::<ChannelId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(signature) = text.parse::<Signature>() {
        assert_eq!(signature.to_hex(), text.to_ascii_lowercase());
    }
    if let Ok(key) = SigningKey::from_hex(text) {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        assert_eq!(digits.len(), 64);
        assert_eq!(
            recover(B256::ZERO, &key.sign(B256::ZERO)),
            Ok(key.address())
        );
    }
}

/// M1: an amount is decimal digits and nothing else, and never another number than was written.
fn amount(text: &str) {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let significant = text.trim_start_matches('0');
    match text.parse::<Amount>() {
        Ok(amount) => {
            assert!(is_decimal, "{text:?} was taken for an amount");
            let written = amount.to_string();
            assert_eq!(written.trim_start_matches('0'), significant);
            assert_eq!(written.parse(), Ok(amount));
        }
        Err(ParseAmountError::NotDecimal) => assert!(!is_decimal),
        Err(ParseAmountError::TooLarge) => {
            let longest = Amount::MAX.to_string();
            let digits = (significant.len(), significant);
            assert!(digits > (longest.len(), &longest), "{text:?} fits");
        }
    }
}

/// A voucher of 16 bytes of ceiling, 32 of channel id and 65 of signature: accepted for the
/// account that signed it, as it was signed, and for nobody and nothing else.
pub fn voucher(data: &[u8]) {
    let Some((ceiling, rest)) = data.split_first_chunk::<16>() else {
        return;
    };
    let Some((channel, signature)) = rest.split_first_chunk::<32>() else {
        return;
    };
    let voucher = Voucher {
        channel: ChannelId(B256::from(*channel)),
        ceiling: Amount::new(u128::from_be_bytes(*ceiling)),
    };
    if let Ok(key) = SigningKey::from_bytes(channel) {
        accepted_for_its_signer_alone(voucher.sign(&DOMAIN, &key), key.address());
    }
    let Ok(signature) = Signature::parse(signature) else {
        return;
    };
    assert_eq!(signature.to_hex().parse(), Ok(signature));
    let signed = SignedVoucher { voucher, signature };
    match recover(
        digest::voucher(&DOMAIN, &voucher.channel, voucher.ceiling),
        &signature,
    ) {
        Ok(signer) => accepted_for_its_signer_alone(signed, signer),
        Err(error) => {
            assert_eq!(error, SignatureError::Unrecoverable);
            assert_eq!(signed.verify(&DOMAIN, Address::ZERO), Err(error));
        }
    }
}

fn accepted_for_its_signer_alone(signed: SignedVoucher, signer: Address) {
    match signed.verify(&DOMAIN, signer) {
        Ok(verified) => {
            assert_eq!(verified.signed(), signed);
            assert_eq!(verified.authorizer(), signer);
        }
        Err(error) => panic!("recovered to {signer}, yet {error}"),
    }
    let stranger = Address::from(signer.0.0.map(|byte| !byte));
    let wrong = Err(SignatureError::WrongSigner);
    assert_eq!(signed.verify(&DOMAIN, stranger), wrong);
    let elsewhere = SettlementDomain {
        chain_id: 1,
        ..DOMAIN
    };
    assert!(signed.verify(&elsewhere, signer).is_err());
    let mut raised = signed;
    raised.voucher.ceiling = Amount::new(!signed.voucher.ceiling.get());
    assert!(raised.verify(&DOMAIN, signer).is_err());
    let mut moved = signed;
    moved.voucher.channel = ChannelId(B256::from(signed.voucher.channel.0.0.map(|byte| !byte)));
    assert!(moved.verify(&DOMAIN, signer).is_err());
}

const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84_532,
    contract: Address::repeat_byte(0x40),
};

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_it_was_written_as() {
        replay::seeds("channel_text", channel_text);
    }

    #[test]
    fn a_voucher_is_its_signers() {
        replay::seeds("voucher", voucher);
    }
}

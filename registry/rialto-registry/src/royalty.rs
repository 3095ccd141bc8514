//! The table `royalty`: what the author of a service is paid.
//!
//! Non-goals: the splitter's address, which is `rialto_channels::royalty`'s.

use alloy_primitives::Address;
use rialto_channels::royalty::{Royalty, Share};

use crate::{
    problem::{Problems, quoted, required},
    raw::RawRoyalty,
};

/// Checks the table; a service without one pays nothing.
pub(crate) fn royalty(raw: Option<RawRoyalty>, problems: &mut Problems) -> Option<Royalty> {
    let raw = raw?;
    let account = required("royalty.account", raw.account, WRITE_ACCOUNT, problems);
    let publisher = account.and_then(|text| {
        let parsed = address(&text).map_err(|reason| format!("= {text:?}: {reason}"));
        problems.take("royalty.account", parsed, WRITE_ACCOUNT)
    });
    let share = required("royalty.share", raw.share, WRITE_SHARE, problems);
    let share = share.and_then(|text| {
        let parsed = quoted(&text, text.parse::<Share>());
        problems.take("royalty.share", parsed, WRITE_SHARE)
    });
    Some(Royalty {
        publisher: publisher?,
        share: share?,
    })
}

/// An account that can be paid. Mixed case must be EIP-55's: a typing error would pay a stranger.
fn address(text: &str) -> Result<Address, &'static str> {
    let digits = text.strip_prefix("0x").ok_or("does not begin with 0x")?;
    let plain = !digits.bytes().any(|byte| byte.is_ascii_uppercase())
        || !digits.bytes().any(|byte| byte.is_ascii_lowercase());
    let address = if plain {
        text.parse().map_err(|_| "is no address")?
    } else {
        Address::parse_checksummed(text, None).map_err(|_| "has a wrong checksum")?
    };
    if address == Address::ZERO {
        return Err("is nobody's");
    }
    Ok(address)
}

const WRITE_ACCOUNT: &str =
    "the account that is paid, such as `0x70997970C51812dc3A010C7d01b50e0d17dc79C8`";
const WRITE_SHARE: &str = "its share of what the service earns, 0.01% to 50%, such as `5%`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_checked_before_they_are_paid() {
        let good = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        assert!(address(good).is_ok());
        assert_eq!(address(&good.to_lowercase()), address(good));
        for (bad, reason) in [
            (
                "70997970C51812dc3A010C7d01b50e0d17dc79C8",
                "does not begin with 0x",
            ),
            (
                "0x70997970C51812dc3A010C7d01b50e0d17dc79",
                "has a wrong checksum",
            ),
            ("0x70997970c51812dc3a010c7d01b50e0d17dc79", "is no address"),
            (
                "0x70997970C51812dc3A010C7d01b50e0d17dc79c8",
                "has a wrong checksum",
            ),
            ("0x0000000000000000000000000000000000000000", "is nobody's"),
        ] {
            assert_eq!(address(bad), Err(reason), "{bad}");
        }
    }
}

//! Royalties: where a service's earnings go, and how they are split.
//!
//! A channel that pays for a service with a royalty names as its receiver the address of a splitter
//! contract, which pays publisher and provider. The address follows from publisher, provider and
//! share alone (CREATE2), so that a payer computes it and refuses any other, and may pay it before
//! there is code (`contracts/src/interfaces/IRoyaltySplitterFactory.sol`, invariant F1).
//!
//! Non-goals: deploying splitters and releasing money from them, which is the chain's client's.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, U256, address, b256, keccak256};
use alloy_sol_types::SolValue;

use crate::{Amount, AmountOverflow};

/// The splitters' factory, at the same address on every chain: it is deployed through the CREATE2
/// deployer with salt 0, so the address follows from its code.
pub const SPLITTER_FACTORY: Address = address!("faa9DD09F61171Ebf53423A9219dB447c4Cb3585");

/// The hash of a splitter's init code, which is the same for all of them: of the committed artifact
/// `contracts/artifacts/RoyaltySplitter.json`, and what the factory's `INIT_CODE_HASH` says.
pub const SPLITTER_INIT_CODE_HASH: B256 =
    b256!("7932652d29074fc1b7d7a2a2496fb818a0ecbd2079847a8d3138d23fd7cb2a2d");

/// A publisher's part of what a service earns: 0.01% to 50%, in basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    /// The smallest share, in basis points.
    pub const BPS_MIN: u16 = 1;
    /// The largest share, in basis points: the factory refuses more.
    pub const BPS_MAX: u16 = 5_000;

    /// A share of so many hundredths of a percent.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`] outside `1..=5000`.
    pub fn from_bps(bps: u16) -> Result<Self, ShareError> {
        if (Self::BPS_MIN..=Self::BPS_MAX).contains(&bps) {
            Ok(Self(bps))
        } else {
            Err(ShareError::OutOfRange)
        }
    }

    /// Hundredths of a percent.
    #[must_use]
    pub const fn bps(self) -> u16 {
        self.0
    }

    /// The publisher's and the provider's part of all that has ever arrived at a splitter. They sum
    /// up to it (M6: the sum over all accounts is constant), and the publisher's is rounded down.
    #[must_use]
    pub fn split(self, arrived: Amount) -> (Amount, Amount) {
        // No overflow: 128 bits times 13 bits fit into 256.
        let product = arrived.to_u256().checked_mul(U256::from(self.0));
        let part = product.and_then(|product| product.checked_div(U256::from(WHOLE_BPS)));
        let part = part.and_then(|part| Amount::try_from(part).ok());
        // A part is never more than the whole, so nothing is lost below.
        let publisher = part.unwrap_or_default().min(arrived);
        let provider = arrived.saturating_sub(publisher);
        (publisher, provider)
    }

    /// The least that has to arrive for the provider's part to be so much.
    ///
    /// # Errors
    /// [`AmountOverflow`] above `uint128`.
    pub fn gross(self, provider: Amount) -> Result<Amount, AmountOverflow> {
        // arrived - floor(arrived * share) = ceil(arrived * (1 - share)), which is first as much as is wanted
        // where arrived * (1 - share) is more than one unit less.
        let Some(less) = provider.get().checked_sub(1) else {
            return Ok(Amount::ZERO);
        };
        let rest = WHOLE_BPS.saturating_sub(self.0);
        let scaled = U256::from(less).saturating_mul(U256::from(WHOLE_BPS));
        let whole = scaled.checked_div(U256::from(rest)).unwrap_or_default();
        Amount::try_from(whole.saturating_add(U256::ONE)).map_err(|_| AmountOverflow)
    }
}

impl fmt::Display for Share {
    /// As a percentage: `5%`, `2.5%`, `0.01%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0.div_euclid(100), self.0.rem_euclid(100));
        if rest == 0 {
            return write!(f, "{percent}%");
        }
        let digits = format!("{rest:02}");
        write!(f, "{percent}.{}%", digits.trim_end_matches('0'))
    }
}

impl FromStr for Share {
    type Err = ShareError;

    /// Parses a percentage with at most two decimals, such as `5%` or `2.25%`.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').ok_or(ShareError::NotPercent)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            let fits = (1..=most).contains(&text.len());
            fits && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(part, 2) {
            return Err(ShareError::NotPercent);
        }
        let hundredths = format!("{whole}{part:0<2}");
        let bps: u32 = hundredths.parse().map_err(|_| ShareError::NotPercent)?;
        let bps = u16::try_from(bps).map_err(|_| ShareError::OutOfRange)?;
        Self::from_bps(bps)
    }
}

/// A share that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Not a number with a percent sign.
    #[error("is no percentage with at most two decimals")]
    NotPercent,
    /// Zero, or more than half.
    #[error("is not within 0.01% to 50%")]
    OutOfRange,
}

/// What a manifest promises to the author of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Royalty {
    /// Who is paid the share.
    pub publisher: Address,
    /// How much of what the service earns.
    pub share: Share,
}

impl Royalty {
    /// The receiver that every channel for the service must name when `provider` runs it: the
    /// splitter of the two, or the provider itself when it is the publisher.
    #[must_use]
    pub fn receiver(&self, provider: Address) -> Address {
        if self.publisher == provider {
            return provider;
        }
        splitter(
            SPLITTER_FACTORY,
            SPLITTER_INIT_CODE_HASH,
            self.publisher,
            provider,
            self.share,
        )
    }
}

/// The address of the splitter that `factory` would make from this init code (EIP-1014).
#[must_use]
pub fn splitter(
    factory: Address,
    init_code_hash: B256,
    publisher: Address,
    provider: Address,
    share: Share,
) -> Address {
    let salt = keccak256((publisher, provider, U256::from(share.bps())).abi_encode());
    factory.create2(salt, init_code_hash)
}

/// A whole, in basis points.
const WHOLE_BPS: u16 = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_percentages() {
        let check = |text: &str, expected: Result<u16, ShareError>| {
            let parsed = text.parse::<Share>();
            assert_eq!(parsed.map(Share::bps), expected, "{text:?}");
        };
        check("5%", Ok(500));
        check("2.5%", Ok(250));
        check("2.25%", Ok(225));
        check("0.01%", Ok(1));
        check("50%", Ok(5_000));
        check("050%", Ok(5_000));
        for (text, error) in [
            ("0%", ShareError::OutOfRange),
            ("0.00%", ShareError::OutOfRange),
            ("50.01%", ShareError::OutOfRange),
            ("100%", ShareError::OutOfRange),
            ("999.99%", ShareError::OutOfRange),
            ("5", ShareError::NotPercent),
            ("%", ShareError::NotPercent),
            ("5 %", ShareError::NotPercent),
            ("-5%", ShareError::NotPercent),
            ("+5%", ShareError::NotPercent),
            ("5.%", ShareError::NotPercent),
            (".5%", ShareError::NotPercent),
            ("5.123%", ShareError::NotPercent),
            ("5.1.2%", ShareError::NotPercent),
            ("5,5%", ShareError::NotPercent),
            ("1e1%", ShareError::NotPercent),
            ("0005%", ShareError::NotPercent),
            ("٥%", ShareError::NotPercent),
        ] {
            check(text, Err(error));
        }
        assert_eq!(Share::from_bps(0), Err(ShareError::OutOfRange));
        assert_eq!(Share::from_bps(5_001), Err(ShareError::OutOfRange));
    }

    #[test]
    fn a_publisher_that_provides_needs_no_splitter() {
        let royalty = Royalty {
            publisher: Address::repeat_byte(1),
            share: Share(500),
        };
        let own = Address::repeat_byte(1);
        assert_eq!(royalty.receiver(own), own);
        let other = Address::repeat_byte(2);
        let receiver = royalty.receiver(other);
        assert_ne!(receiver, other);
        assert_ne!(receiver, own);
        // Each of the three changes the address, and their order matters.
        let share = Share(501);
        assert_ne!(Royalty { share, ..royalty }.receiver(other), receiver);
        let swapped = Royalty {
            publisher: other,
            ..royalty
        };
        assert_ne!(swapped.receiver(own), receiver);
    }

    proptest! {
        #[test]
        fn a_printed_share_reads_back(bps in Share::BPS_MIN..=Share::BPS_MAX) {
            let share = Share(bps);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
        }

        #[test]
        fn gross_is_the_least_that_leaves_so_much(bps in 1..=5_000_u16, wanted in 0..=1_u128 << 120) {
            let share = Share::from_bps(bps).unwrap();
            let gross = share.gross(Amount::new(wanted)).unwrap();
            prop_assert!(share.split(gross).1.get() >= wanted);
            if let Ok(less) = gross.checked_sub(Amount::new(1)) {
                prop_assert!(share.split(less).1.get() < wanted);
            }
        }

        #[test]
        fn nothing_is_lost_in_a_split(bps in 1..=5_000_u16, arrived in any::<u128>(), more in any::<u64>()) {
            let (arrived, share) = (Amount::new(arrived), Share(bps));
            let (publisher, provider) = share.split(arrived);
            prop_assert_eq!(publisher.checked_add(provider), Ok(arrived));
            let exact = arrived.to_u256() * U256::from(bps);
            prop_assert!(publisher.to_u256() * U256::from(10_000) <= exact);
            prop_assert!((publisher.to_u256() + U256::from(1)) * U256::from(10_000) > exact);
            // Neither part falls when more arrives, so what was paid was never too much.
            if let Ok(later) = arrived.checked_add(Amount::from(more)) {
                let (publisher_later, provider_later) = share.split(later);
                prop_assert!(publisher_later >= publisher && provider_later >= provider);
            }
        }
    }
}

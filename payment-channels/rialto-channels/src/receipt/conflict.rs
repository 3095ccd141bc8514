//! Proof that a host contradicts itself: two receipts that it signed and that cannot both be true.
//!
//! The proof needs nothing but the two receipts, so that anyone can check it. What follows from
//! it (avoid the host, tell others) is not decided here.

use alloy_primitives::Address;

use super::{Receipt, SignedReceipt};
use crate::{ChannelId, SignatureError, recover};

/// Why two receipts of one host cannot both be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contradiction {
    /// One call's id, and two statements about it.
    SameCall,
    /// Both name the same receipt as the channel's last one, or both are its first.
    SamePlace,
    /// Both charge the same base units of the channel's cumulative count.
    SameMoney,
}

/// Two receipts, both signed by `host`, that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose signature is under both.
    pub host: Address,
    /// How they contradict each other.
    pub contradiction: Contradiction,
    /// The channel, unless the two are about different ones or none.
    pub channel: Option<ChannelId>,
}

/// Proves that one host signed both receipts and that they cannot both be true.
///
/// An honest host never signs such a pair: its receipts form one chain per channel, each charge
/// starts where the one before ended, and every call has an id of its own.
///
/// # Errors
/// [`NoConflict`] with the reason why the pair proves nothing.
pub fn conflict(a: &SignedReceipt, b: &SignedReceipt) -> Result<Conflict, NoConflict> {
    let first = recover(a.receipt.digest(), &a.signature).map_err(NoConflict::FirstSignature)?;
    let second = recover(b.receipt.digest(), &b.signature).map_err(NoConflict::SecondSignature)?;
    if first != second {
        return Err(NoConflict::TwoHosts { first, second });
    }
    if a.receipt == b.receipt {
        return Err(NoConflict::Same);
    }
    let (one, other) = (&a.receipt, &b.receipt);
    let shared = one.channel.filter(|_| one.channel == other.channel);
    let contradiction = if one.id == other.id {
        Contradiction::SameCall
    } else if shared.is_some() && one.previous == other.previous {
        Contradiction::SamePlace
    } else if shared.is_some() && overlap(one, other) {
        Contradiction::SameMoney
    } else {
        return Err(NoConflict::Compatible);
    };
    Ok(Conflict {
        host: first,
        contradiction,
        channel: shared,
    })
}

/// Whether both charge some base unit of the cumulative count. A charge of nothing overlaps none.
fn overlap(one: &Receipt, other: &Receipt) -> bool {
    one.before.max(other.before) < one.after.min(other.after)
}

/// Why two receipts prove nothing against a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConflict {
    /// Nobody can have signed the first.
    #[error("the first receipt's signature is no good")]
    FirstSignature(#[source] SignatureError),
    /// Nobody can have signed the second.
    #[error("the second receipt's signature is no good")]
    SecondSignature(#[source] SignatureError),
    /// Two hosts may say different things. A receipt that was changed after signing looks like
    /// another host's, too.
    #[error("the receipts are signed by two hosts, {first} and {second}, or one was changed")]
    TwoHosts {
        /// Signer of the first.
        first: Address,
        /// Signer of the second.
        second: Address,
    },
    /// They say the same: two copies of one receipt.
    #[error("both are the same receipt")]
    Same,
    /// They are about different calls and can both be true.
    #[error("both receipts can be true: other calls, at other places of the chain")]
    Compatible,
}

//! The chain of one channel's receipts, link by link.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use rialto_channels::{Amount, payee::ChannelSnapshot, receipt::Receipt};

use super::Difference;

/// How far a channel's receipts follow each other.
#[derive(Debug, Default)]
pub(super) struct Chain {
    end: Option<Link>,
    /// Receipts that came before the one they follow, by the digest of that one.
    early: BTreeMap<B256, Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    id: B256,
    digest: B256,
    before: Amount,
    after: Amount,
}

impl Chain {
    /// Adds a receipt; charges up to `proved` need none: the chain's claims prove them.
    pub(super) fn add(&mut self, receipt: &Receipt, proved: Amount) -> Result<(), Difference> {
        let link = Link {
            id: receipt.id,
            digest: receipt.digest(),
            before: receipt.before,
            after: receipt.after,
        };
        let end_digest = self.end.map_or(B256::ZERO, |end| end.digest);
        if receipt.previous != end_digest {
            if receipt.previous.is_zero() || self.early.insert(receipt.previous, link).is_some() {
                return Err(Difference::Fork);
            }
            return Ok(());
        }
        let mut next = Some(link);
        while let Some(link) = next {
            self.follow(link, proved)?;
            next = self.early.remove(&link.digest);
        }
        Ok(())
    }

    /// Checks that the receipts lead to the channel's state.
    pub(super) fn end(
        self,
        channel: &ChannelSnapshot,
        proved: Amount,
    ) -> Result<(), (Box<Difference>, Option<B256>)> {
        // The lowest one: everything above it follows from its missing predecessor.
        let lowest = self.early.iter().min_by_key(|(_, link)| link.before);
        if let Some((previous, link)) = lowest {
            let previous = *previous;
            return Err((Box::new(Difference::Missing { previous }), Some(link.id)));
        }
        let id = self.end.map(|end| end.id);
        let digest = self.end.map_or(B256::ZERO, |end| end.digest);
        if channel.last_receipt != digest {
            let difference = Difference::LastReceipt {
                stored: channel.last_receipt,
                receipts: digest,
            };
            return Err((Box::new(difference), id));
        }
        let after = self.end.map_or(Amount::ZERO, |end| end.after);
        if channel.charged != after && !proved_up_to(after, channel.charged, proved) {
            let difference = Difference::Charged {
                stored: channel.charged,
                receipts: after,
            };
            return Err((Box::new(difference), id));
        }
        Ok(())
    }

    fn follow(&mut self, link: Link, proved: Amount) -> Result<(), Difference> {
        let end = self.end.map_or(Amount::ZERO, |end| end.after);
        if link.before != end && !proved_up_to(end, link.before, proved) {
            return Err(Difference::Gap {
                before: link.before,
                end,
            });
        }
        self.end = Some(link);
        Ok(())
    }
}

/// Whether the charges between two places need no receipt: a state that was lost starts again at
/// what is claimed on chain.
fn proved_up_to(from: Amount, to: Amount, proved: Amount) -> bool {
    from < to && to <= proved
}

//! Checking a host's receipts: signed by the channel's host, true, and one after another.
//!
//! Calls overlap, so receipts arrive in any order; each says from which cumulative charge to which
//! it goes, and so where in the chain it belongs.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use rialto_channels::receipt::{Receipt, SignedReceipt};
use rialto_channels::{Amount, ChannelId};
use sha2::{Digest as _, Sha256};

use super::ReceiptFault;
use crate::record::request_digest;

/// What a call's receipt must say.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) host: Address,
    pub(super) channel: ChannelId,
    pub(super) payer: Address,
    pub(super) chain_id: u64,
    pub(super) token: Address,
    pub(super) service: &'a str,
    pub(super) method: &'a str,
    pub(super) request: &'a [u8],
    pub(super) response: &'a [u8],
    pub(super) charged: Amount,
}

impl Expected<'_> {
    /// Checks everything that one receipt says by itself.
    pub(super) fn check(&self, signed: &SignedReceipt) -> Result<(), ReceiptFault> {
        signed.verify(self.host)?;
        let receipt = &signed.receipt;
        let method = self.method.replace('-', "_");
        let asked = request_digest(self.service, &method, self.request);
        let truths = [
            ("channel", receipt.channel == Some(self.channel)),
            ("payer", receipt.payer == self.payer),
            ("chain_id", receipt.chain_id == self.chain_id),
            ("token", receipt.token == self.token),
            ("service", receipt.service == self.service),
            ("method", receipt.method == method),
            ("request", receipt.request == asked),
            ("response", receipt.response == sha256(self.response)),
            ("charged", receipt.charged == self.charged),
        ];
        match truths.into_iter().find(|(_, true_)| !true_) {
            Some((field, _)) => Err(ReceiptFault::Untrue { field }),
            None => Ok(()),
        }
    }
}

/// A receipt that proved true.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) signed: SignedReceipt,
    /// Whether the host sent it again: whoever lost the first answer sees it now, and anybody else has it.
    pub(super) again: bool,
}

/// A channel's receipts, as far as they are linked.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The newest linked receipt: the cumulative charge after it and its digest.
    last: Option<(Amount, B256)>,
    /// Receipts that came before those that they follow, by the charge that they start from.
    early: BTreeMap<Amount, (Amount, B256, B256)>,
}

impl Links {
    pub(super) fn new(last: Option<(Amount, B256)>) -> Self {
        Self {
            last,
            early: BTreeMap::new(),
        }
    }

    /// The newest receipt that is linked.
    pub(super) fn last(&self) -> Option<(Amount, B256)> {
        self.last
    }

    /// Takes the next receipt to arrive. With nothing else in flight no earlier one can still
    /// come, so a gap is another client's calls and the chain starts anew.
    fn add(&mut self, receipt: &Receipt, alone: bool) -> Result<(), ReceiptFault> {
        if self.last.is_some_and(|(after, _)| receipt.before < after) {
            return Err(ReceiptFault::Unlinked);
        }
        let link = (receipt.after, receipt.digest(), receipt.previous);
        self.keep_early(receipt.before, link);
        let linked = self.link();
        if alone && !self.early.is_empty() {
            self.start_anew();
        }
        linked
    }

    /// Takes any receipt; as [`add`](Self::add) what is not there yet.
    pub(super) fn take(&mut self, arrived: &Arrived, alone: bool) -> Result<(), ReceiptFault> {
        let receipt = &arrived.signed.receipt;
        match arrived.again && self.may_have(receipt) {
            true => Ok(()),
            false => self.add(receipt, alone),
        }
    }

    /// Whether a receipt may have arrived before. Of those that charged nothing, several start from the same charge.
    fn may_have(&self, receipt: &Receipt) -> bool {
        let is_linked = self.last.is_some_and(|(after, digest)| {
            receipt.before < after || (receipt.before == after && receipt.previous != digest)
        });
        is_linked || self.early.contains_key(&receipt.before)
    }

    fn link(&mut self) -> Result<(), ReceiptFault> {
        let mut result = Ok(());
        while let Some((after, digest)) = self.last {
            let Some((next_after, next_digest, previous)) = self.early.remove(&after) else {
                break;
            };
            if previous != digest {
                result = Err(ReceiptFault::Unlinked);
            }
            self.last = Some((next_after, next_digest));
        }
        result
    }

    fn start_anew(&mut self) {
        if let Some((after, digest, _)) = self.early.values().next_back() {
            self.last = Some((*after, *digest));
        }
        self.early.clear();
    }

    fn keep_early(&mut self, before: Amount, link: (Amount, B256, B256)) {
        if self.early.len() >= EARLY_MAX {
            self.start_anew();
        }
        self.early.insert(before, link);
    }
}

fn sha256(bytes: &[u8]) -> B256 {
    B256::from(<[u8; 32]>::from(Sha256::digest(bytes)))
}

/// Far more than calls ever overlap on one channel.
const EARLY_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use rialto_channels::SigningKey;
    use rialto_channels::receipt::Usage;

    use super::*;

    fn receipt(before: u64, previous: B256) -> Receipt {
        Receipt {
            id: B256::repeat_byte(1),
            channel: Some(ChannelId(B256::repeat_byte(2))),
            payer: Address::repeat_byte(3),
            provider: Address::repeat_byte(4),
            chain_id: 84532,
            token: Address::repeat_byte(5),
            service: "embed".to_owned(),
            version: "0.1.0".to_owned(),
            component: B256::ZERO,
            models: Vec::new(),
            method: "embed_all".to_owned(),
            request: request_digest("embed", "embed_all", b"in"),
            response: sha256(b"out"),
            usage: Usage::default(),
            price: Amount::new(10),
            before: before.into(),
            charged: Amount::new(10),
            after: (before + 10).into(),
            issued_at: 0,
            engine: String::new(),
            deterministic: false,
            previous,
            parent: None,
        }
    }

    /// Receipts of three calls, one after another.
    fn chain() -> [Receipt; 3] {
        let first = receipt(0, B256::ZERO);
        let second = receipt(10, first.digest());
        let third = receipt(20, second.digest());
        [first, second, third]
    }

    #[test]
    fn any_order_of_arrival_links() {
        let [a, b, c] = chain();
        for order in [[&a, &b, &c], [&a, &c, &b]] {
            let mut links = Links::default();
            assert_eq!(links.add(order[0], true), Ok(()));
            assert_eq!(links.add(order[1], false), Ok(()));
            assert_eq!(links.add(order[2], true), Ok(()));
            assert_eq!(links.last(), Some((c.after, c.digest())));
        }
    }

    #[test]
    fn a_forked_or_repeated_receipt_is_noticed() {
        let [a, b, _] = chain();
        let mut links = Links::default();
        links.add(&a, true).unwrap();
        let fork = receipt(10, B256::repeat_byte(9));
        assert_eq!(links.add(&fork, true), Err(ReceiptFault::Unlinked));

        let mut links = Links::new(Some((b.after, b.digest())));
        assert_eq!(links.add(&a, true), Err(ReceiptFault::Unlinked));
    }

    #[test]
    fn a_client_may_begin_in_the_middle() {
        let [a, b, c] = chain();
        let mut links = Links::default();
        links.add(&c, false).unwrap();
        links.add(&b, true).unwrap();
        assert_eq!(links.last(), Some((c.after, c.digest())));
        assert_eq!(links.add(&a, true), Err(ReceiptFault::Unlinked));
    }

    #[test]
    fn what_was_sent_again_is_linked_once() {
        let [a, b, c] = chain();
        let host = SigningKey::from_bytes(&[7; 32]).unwrap();
        let again = |receipt: &Receipt| Arrived {
            signed: receipt.clone().sign(&host),
            again: true,
        };
        let mut links = Links::default();
        links.add(&a, true).unwrap();
        // Its first answer was lost.
        assert_eq!(links.take(&again(&b), true), Ok(()));
        assert_eq!(links.last(), Some((b.after, b.digest())));
        assert_eq!(links.take(&again(&a), true), Ok(()));
        assert_eq!(links.take(&again(&b), true), Ok(()));
        assert_eq!(links.last(), Some((b.after, b.digest())));
        assert_eq!(links.add(&c, true), Ok(()));
        // Two that charged nothing, one after the other.
        let free = |previous| Receipt {
            charged: Amount::ZERO,
            after: Amount::new(30),
            ..receipt(30, previous)
        };
        let first = free(c.digest());
        let second = free(first.digest());
        for receipt in [&first, &second, &first, &second] {
            assert_eq!(links.take(&again(receipt), true), Ok(()));
        }
        assert_eq!(links.last(), Some((Amount::new(30), second.digest())));
    }

    #[test]
    fn another_clients_calls_leave_a_gap_and_no_fault() {
        let [a, _, c] = chain();
        let mut links = Links::default();
        links.add(&a, true).unwrap();
        assert_eq!(links.add(&c, true), Ok(()));
        assert_eq!(links.last(), Some((c.after, c.digest())));
    }

    #[test]
    fn what_a_receipt_says_must_be_true() {
        let host = SigningKey::from_bytes(&[7; 32]).unwrap();
        let signed = receipt(0, B256::ZERO).sign(&host);
        let expected = |request: &'static [u8], charged: u64, host: Address| Expected {
            host,
            channel: ChannelId(B256::repeat_byte(2)),
            payer: Address::repeat_byte(3),
            chain_id: 84532,
            token: Address::repeat_byte(5),
            service: "embed",
            method: "embed-all",
            request,
            response: b"out",
            charged: charged.into(),
        };
        let field = |expected: Expected<'_>| match expected.check(&signed) {
            Err(ReceiptFault::Untrue { field }) => Some(field),
            _ => None,
        };
        assert_eq!(expected(b"in", 10, host.address()).check(&signed), Ok(()));
        assert_eq!(
            field(expected(b"other", 10, host.address())),
            Some("request")
        );
        assert_eq!(field(expected(b"in", 9, host.address())), Some("charged"));
        assert!(matches!(
            expected(b"in", 10, Address::ZERO).check(&signed),
            Err(ReceiptFault::Invalid(_))
        ));
    }
}

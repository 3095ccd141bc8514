//! Who has to be paid for a service: its provider, or the splitter that follows from the royalty of
//! its manifest. A host that names any other receiver is refused before anything is signed.
//!
//! Not here: the manifest's own authenticity; the gateway that serves it is believed so far.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::Address;
use rialto_channels::royalty::Royalty;
use serde::Deserialize;

use super::{ClientError, PayingClient};
use crate::listing::RoyaltyRecord;

/// Receivers that were found right, by service.
#[derive(Debug, Default)]
pub(super) struct Receivers(Mutex<HashMap<String, Address>>);

#[derive(Deserialize)]
struct NodeRecord {
    receiver: Address,
}

#[derive(Deserialize)]
struct ServiceRecord {
    royalty: Option<RoyaltyRecord>,
}

impl Receivers {
    fn knows(&self, service: &str, receiver: Address) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(service) == Some(&receiver)
    }

    fn note(&self, service: &str, receiver: Address) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERVICES_MAX {
            known.clear();
        }
        known.insert(service.to_owned(), receiver);
    }
}

impl PayingClient {
    /// Checks whom an offer of this service pays, asking the gateway for manifest and provider
    /// unless this very receiver was found right before.
    ///
    /// # Errors
    /// [`ClientError::WrongReceiver`] if it is not who has to be paid.
    pub(super) async fn check_receiver(
        &self,
        service: &str,
        receiver: Address,
    ) -> Result<(), ClientError> {
        let known = &self.inner.receivers;
        if known.knows(service, receiver) {
            return Ok(());
        }
        let node: NodeRecord = self.get_json("node").await?;
        let record: ServiceRecord = self.get_json(&format!("services/{service}")).await?;
        let royalty = record.royalty.map(|royalty| read(&royalty)).transpose()?;
        let expected = match &royalty {
            Some(royalty) => royalty.receiver(node.receiver),
            None => node.receiver,
        };
        if receiver != expected {
            return Err(ClientError::WrongReceiver {
                service: service.to_owned(),
                found: receiver,
                expected,
                royalty,
            });
        }
        known.note(service, receiver);
        Ok(())
    }
}

fn read(record: &RoyaltyRecord) -> Result<Royalty, ClientError> {
    let wrong = |what: &str| ClientError::Offer(format!("the manifest's royalty has {what}"));
    Ok(Royalty {
        publisher: record
            .publisher
            .parse()
            .map_err(|_| wrong("an account that is none"))?,
        share: record
            .share
            .parse()
            .map_err(|_| wrong("a share that is none"))?,
    })
}

/// Services that are remembered at a time; a client that uses more asks again.
const SERVICES_MAX: usize = 256;

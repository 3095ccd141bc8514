//! What peers say: offers that are heard on topics, and reminders of our own.

use std::sync::PoisonError;

use rialto_discovery::{Event, Incoming};
use rialto_registry::SignedOffer;
use tokio::sync::mpsc;

use super::Mesh;
use super::offers::since_epoch;
use crate::Node;

impl Node {
    /// Listens for as long as the node runs.
    pub(crate) async fn listen_to_peers(self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        let events = mesh
            .events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut events) = events else {
            return;
        };
        loop {
            tokio::select! {
                () = self.stopping() => return,
                event = events.recv() => match event {
                    Some(event) => mesh.heard(event),
                    None => return,
                }
            }
        }
    }
}

impl Mesh {
    fn heard(&self, event: Event) {
        match event {
            Event::Heard { record, .. } => {
                // It was judged before it was passed on.
                if let Ok(offer) = SignedOffer::parse(&record.bytes) {
                    self.directory().keep(offer, since_epoch().as_secs());
                }
            }
            Event::RefreshDue { .. } | Event::Addresses(_) => self.offer_soon(),
            Event::Banned { peer } => tracing::info!(%peer, "a peer was shut out"),
        }
    }

    /// The streams that peers open; once.
    pub(super) fn take_incoming(&self) -> Option<mpsc::Receiver<Incoming>> {
        self.incoming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

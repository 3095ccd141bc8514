//! What this node offers: for each service that it provides by a signed manifest, a statement that ends soon
//! and is made anew before it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rialto_chain::client::RegistryError;
use rialto_channels::Amount;
use rialto_discovery::{Key, Topic};
use rialto_registry::offer::{OFFER_SECS_MAX, OfferError, Payee};
use rialto_registry::{Manifest, MethodName, Name, Offer, SignedManifest, SignedOffer, Status};

use super::Mesh;
use crate::Node;
use crate::api::ServiceView;

/// Numbers for offers that grow over restarts, too: the milliseconds of the clock, or one more than the last.
#[derive(Debug, Default)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    fn next(&self) -> u64 {
        let now = since_epoch().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let step = |last: u64| Some(now.max(last.saturating_add(1)));
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        // The closure always gives a number.
        before.map_or(now, |last| now.max(last.saturating_add(1)))
    }
}

impl Node {
    /// Makes offers for as long as the node runs.
    pub(crate) async fn offer_forever(self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        loop {
            self.offer_all().await;
            tokio::select! {
                () = self.stopping() => break,
                () = mesh.wanted.notified() => {}
                () = tokio::time::sleep(self.config().mesh.offer_every) => {}
            }
        }
        // Who looks for a provider should not find one that is gone; offers that cannot be taken back end.
        let all = mesh.offered().clone();
        let taking_back = async {
            for service in all {
                mesh.take_back(&service).await;
            }
        };
        if tokio::time::timeout(TAKE_BACK_TIME_MAX, taking_back)
            .await
            .is_err()
        {
            tracing::debug!("not all offers were taken back");
        }
    }

    async fn offer_all(&self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        mesh.provide_receipts().await;
        for manifest in mesh.published.all() {
            if let Err(error) = mesh.serve(&manifest).await {
                tracing::warn!(service = %manifest.name(), %error, "peers cannot fetch it from here");
            }
            let service = manifest.name().to_string();
            match self.offer(mesh, &manifest).await {
                Ok(()) => {}
                Err(NotOffered::Never(why)) => {
                    tracing::debug!(service, why, "not offered");
                    mesh.take_back(manifest.name()).await;
                }
                Err(error) => tracing::warn!(service, %error, "not offered"),
            }
        }
    }

    /// Offers a service by a signed manifest, while it runs here as it was signed and its owner wants it.
    async fn offer(&self, mesh: &Mesh, manifest: &SignedManifest) -> Result<(), NotOffered> {
        let view = self.service(manifest.name().as_str());
        let view = view.ok_or(NotOffered::Never("it does not run here"))?;
        if view.component.0 != *manifest.component().as_bytes()
            || !same_terms(&view.manifest, manifest.manifest())
        {
            return Err(NotOffered::Never(
                "another version runs here than the signed one",
            ));
        }
        if view.closed.is_some() {
            return Err(NotOffered::Never("it takes no calls now"));
        }
        let known = self.name_on_chain(manifest.name()).await?;
        let known = known.ok_or(NotOffered::Never("nobody owns its name"))?;
        if known.manifest != Some(manifest.digest()) {
            return Err(NotOffered::Never(
                "its owner has published something else since",
            ));
        }
        if matches!(known.status, Status::Revoked(_)) {
            return Err(NotOffered::Never("its owner revoked it"));
        }
        let offer = self.unsigned(mesh, manifest, &view);
        let signed = SignedOffer::sign(offer, &mesh.key, self.key())?;
        let now = since_epoch().as_secs();
        let own = self.reputation(mesh.peer());
        mesh.directory().learn(&signed, manifest, &known, now, own);
        mesh.offered().insert(manifest.name().clone());
        mesh.spread(signed).await;
        Ok(())
    }

    /// Makes offers anew at once: what runs has changed.
    pub(crate) fn offer_soon(&self) {
        if let Some(mesh) = self.mesh() {
            mesh.offer_soon();
        }
    }

    fn unsigned(&self, mesh: &Mesh, manifest: &SignedManifest, view: &ServiceView) -> Offer {
        let config = &self.config().mesh;
        let payee = self.payee();
        let issued = since_epoch().as_secs();
        // Two more chances to make it anew before it ends.
        let lasts = config.offer_every.as_secs().saturating_mul(3);
        let load = self.door();
        let tags = manifest.tags().iter();
        Offer {
            service: manifest.name().clone(),
            manifest: manifest.digest(),
            version: manifest.version().clone(),
            registry: manifest.registry(),
            interfaces: first(manifest.interfaces()),
            tags: tags
                .filter_map(|tag| tag.parse().ok())
                .take(LIST_MAX)
                .collect(),
            region: config.region.clone(),
            hardware: config.hardware.clone(),
            prices: self.least(view),
            payee: Payee {
                chain_id: payee.chain_id,
                token: payee.token,
                payout: payee.provider,
                receiver: view
                    .manifest
                    .royalty()
                    .map_or(payee.provider, |royalty| royalty.receiver(payee.provider)),
                host: payee.receiver_authorizer,
            },
            gateways: config.gateways.clone(),
            addresses: first(&mesh.addresses()),
            capacity: view.calls_max,
            load: permille(load.running, view.calls_max),
            seq: mesh.sequence.next(),
            issued,
            expires: issued.saturating_add(lasts.clamp(60, OFFER_SECS_MAX)),
        }
    }

    /// For each method what the smallest call costs at least.
    fn least(&self, view: &ServiceView) -> BTreeMap<MethodName, Amount> {
        let prices = view.manifest.prices().iter();
        prices
            .map(|(name, price)| (name.clone(), price.call))
            .take(METHODS_MAX)
            .collect()
    }
}

/// Why a service is not offered now.
#[derive(Debug, thiserror::Error)]
enum NotOffered {
    #[error("{0}")]
    Never(&'static str),
    #[error("the chain cannot be asked who owns its name")]
    Chain(#[from] RegistryError),
    #[error(transparent)]
    Offer(#[from] OfferError),
}

impl Mesh {
    /// Hands an offer to the peers that keep it, and says it to those who listen.
    async fn spread(&self, offer: SignedOffer) {
        let service = &offer.offer().service;
        let record = Bytes::copy_from_slice(offer.bytes());
        match self.discovery.publish(record.clone()).await {
            Ok(published) => {
                let peers = published.stored_least();
                tracing::debug!(%service, peers, "offered");
            }
            Err(error) => tracing::debug!(%service, %error, "offered to nobody"),
        }
        for topic in topics(offer.offer()) {
            // Who offers wants to know who else does.
            self.discovery.subscribe(&topic).await;
            if let Err(error) = self.discovery.announce(&topic, record.clone()).await {
                tracing::debug!(%service, %error, "said to nobody");
            }
        }
    }

    /// Provides a service no more by what was signed.
    pub(crate) async fn withdraw(&self, service: &str) {
        {
            let _alone = self.pinning.lock().await;
            self.published.forget(service);
            self.provided.forget(service);
        }
        if let Ok(name) = service.parse() {
            self.take_back(&name).await;
        }
    }

    /// Takes the offer of a service out again, if there is one.
    async fn take_back(&self, service: &Name) {
        if !self.offered().remove(service) {
            return;
        }
        self.directory().forget(service, self.peer());
        let peers = self.discovery.withdraw(Key::service(service.as_str()));
        let peers = peers.await;
        tracing::debug!(%service, peers, "offered no more");
    }

    /// What this node offers now.
    fn offered(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        // Names are put in and taken out whole.
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes offers anew at once.
    pub(crate) fn offer_soon(&self) {
        self.wanted.notify_one();
    }

    /// Where peers reach this node.
    fn addresses(&self) -> Vec<String> {
        let mut known = self.discovery.addresses();
        if known.is_empty() {
            known = self.discovery.listening();
        }
        known.iter().map(ToString::to_string).collect()
    }
}

/// The time of this machine's clock since the Unix epoch.
pub(super) fn since_epoch() -> Duration {
    // A clock before 1970 makes offers that nobody takes, and says so by that.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// Whether what runs asks, allows and costs what was signed. Where models are fetched from does not matter.
fn same_terms(runs: &Manifest, signed: &Manifest) -> bool {
    let models = |manifest: &Manifest| -> Vec<_> {
        let models = manifest.models().iter();
        models.map(|it| (it.name.clone(), it.digest)).collect()
    };
    runs.version() == signed.version()
        && runs.prices() == signed.prices()
        && runs.royalty() == signed.royalty()
        && runs.limits() == signed.limits()
        && runs.grants() == signed.grants()
        && runs.config() == signed.config()
        && runs.deterministic() == signed.deterministic()
        && models(runs) == models(signed)
}

/// Where an offer is talked about: its interfaces, in its region and everywhere.
fn topics(offer: &Offer) -> Vec<Topic> {
    let region = offer
        .region
        .as_ref()
        .map_or("any", |region| region.as_str());
    let interfaces = offer.interfaces.iter();
    // A name that makes no topic is talked about nowhere, and found all the same.
    interfaces
        .filter_map(|interface| Topic::new(interface, region).ok())
        .collect()
}

fn first(list: &[String]) -> Vec<String> {
    list.iter().take(LIST_MAX).cloned().collect()
}

fn permille(running: u32, of: u32) -> u16 {
    let part = u64::from(running).saturating_mul(1_000) / u64::from(of.max(1));
    u16::try_from(part.min(1_000)).unwrap_or(1_000)
}

/// How long a node that stops takes for its offers.
const TAKE_BACK_TIME_MAX: Duration = Duration::from_secs(2);
/// As many as an offer takes of each list.
const LIST_MAX: usize = 8;
/// Prices that fit into an offer beside the rest.
const METHODS_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does() {
        let sequence = Sequence(AtomicU64::new(u64::MAX - 2));
        assert_eq!(sequence.next(), u64::MAX - 1);
        assert_eq!(sequence.next(), u64::MAX);
        let sequence = Sequence::default();
        let mut last = 0;
        for _ in 0..1_000 {
            let next = sequence.next();
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn load_is_a_part_of_a_thousand() {
        for (running, of, load) in [
            (0, 16, 0),
            (4, 16, 250),
            (16, 16, 1_000),
            (99, 16, 1_000),
            (1, 0, 1_000),
        ] {
            assert_eq!(permille(running, of), load);
        }
    }
}

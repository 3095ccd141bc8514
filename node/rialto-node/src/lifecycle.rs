//! What an operator does with the services of a running node: deploy, roll back, drain, take off.
//!
//! Not here: how it is done (`catalog`), and who may ask (the command line's desk, guarded by file
//! permissions).

use std::path::Path;
use std::time::Duration;

use rialto_registry::Manifest;

use crate::Node;
use crate::api::CallError;
use crate::catalog::{ChangeError, Changed, Standing};

impl Node {
    /// Takes in a version of a service from a folder with `service.toml` and `component.wasm`: loads and
    /// checks it beside what runs, and lets new calls go to it. Calls that began end where they began.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub async fn deploy(&self, folder: &Path) -> Result<Changed, ChangeError> {
        let (changed, manifest) = self.0.catalog.deploy(folder).await?;
        self.offer_soon();
        Ok(self.took_in(changed, &manifest))
    }

    /// Lets new calls of a service go to a version that ran before: the one named by its number or in
    /// full, else the one before this one.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub async fn roll_back(
        &self,
        service: &str,
        version: Option<&str>,
    ) -> Result<Changed, ChangeError> {
        let (changed, manifest) = self.0.catalog.roll_back(service, version).await?;
        self.offer_soon();
        Ok(self.took_in(changed, &manifest))
    }

    /// Takes a service off this host; rolling back brings it back. Returns how many calls still run.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub async fn remove_service(&self, service: &str) -> Result<u32, ChangeError> {
        let running = self.0.catalog.remove(service).await?;
        if let Some(mesh) = self.mesh() {
            mesh.withdraw(service).await;
            self.give_back().await;
        }
        Ok(running)
    }

    /// Lets no new calls of a service in: they are refused before anything is begun or paid. Holds until
    /// it is [resumed](Self::resume), across restarts. Returns how many calls still run.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub async fn drain(&self, service: &str) -> Result<u32, ChangeError> {
        let running = self.0.catalog.drain(service, true).await?;
        self.offer_soon();
        Ok(running)
    }

    /// Lets calls of a service in again, and ends its quarantine.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub async fn resume(&self, service: &str) -> Result<(), ChangeError> {
        self.0.catalog.drain(service, false).await?;
        self.offer_soon();
        Ok(())
    }

    /// Lets no new calls of any service in, until the node ends or is resumed. Returns how many still run.
    pub fn drain_all(&self) -> u32 {
        let running = self.0.catalog.drain_all(true);
        self.offer_soon();
        running
    }

    /// Ends [`drain_all`](Self::drain_all).
    pub fn resume_all(&self) {
        self.0.catalog.drain_all(false);
        self.offer_soon();
    }

    /// Waits until no call of a service runs, or of all of them, and at most so long. Returns how many still
    /// run.
    pub async fn quiet(&self, service: Option<&str>, wait: Duration) -> u32 {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let running = || self.0.catalog.running(service);
        // Late is no error: the answer is how many run then.
        tokio::time::timeout(wait, async {
            while running() > 0 {
                look.tick().await;
            }
        })
        .await
        .ok();
        running()
    }

    /// Whether a service takes calls now; to be asked before a caller is told what it costs.
    ///
    /// # Errors
    /// [`CallError::UnknownService`], or [`CallError::NotServing`].
    pub fn check_open(&self, service: &str) -> Result<(), CallError> {
        self.open(service).map(drop)
    }

    /// Every service with its versions, and what was left out.
    pub fn standing(&self) -> Standing {
        self.0.catalog.standing()
    }

    /// Channels may pay the splitter of a royalty that is new.
    fn took_in(&self, changed: Changed, manifest: &Manifest) -> Changed {
        let provider = self.payee().provider;
        let splitter = manifest.royalty().map(|royalty| royalty.receiver(provider));
        self.book().add_receivers(splitter);
        tracing::info!(service = %changed.service, version = %changed.version, "new calls go to this version");
        changed
    }
}

/// How soon it is noticed that the last call ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

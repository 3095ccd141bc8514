//! What a folder's service is, without running it: for whoever publishes it.

use std::path::Path;
use std::sync::Arc;

use rialto_host::Interface;
use rialto_registry::Manifest;

use super::Catalog;
use super::change::{ChangeError, Parcel};
use crate::models;
use crate::progress::Progress;

/// A service as its folder has it, checked.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) manifest: Manifest,
    /// `service.toml` as it is written.
    pub(crate) text: Vec<u8>,
    pub(crate) component: Vec<u8>,
    pub(crate) interface: Arc<Interface>,
}

impl Catalog {
    /// Reads and checks the service in `folder`, and fetches its models, so that this host has all that it
    /// is going to offer.
    ///
    /// # Errors
    /// [`ChangeError::Read`], [`ChangeError::Manifest`], or [`ChangeError::CannotRun`].
    pub(crate) async fn inspect(&self, folder: &Path) -> Result<Inspected, ChangeError> {
        let parcel = Parcel::read(folder.to_owned()).await?;
        let cannot = |source| ChangeError::CannotRun {
            service: parcel.manifest.name().to_string(),
            version: parcel.manifest.version().to_string(),
            source: Box::new(source),
        };
        let known = self
            .loader
            .vet(folder, &parcel.manifest)
            .await
            .map_err(cannot)?;
        let store = &self.loader.site.store;
        for grant in parcel.manifest.models() {
            models::fetch(grant, store, &Progress::silent())
                .await
                .map_err(|error| cannot(Box::new(error).into()))?;
        }
        Ok(Inspected {
            interface: Arc::clone(known.interface()),
            manifest: parcel.manifest,
            text: parcel.text,
            component: parcel.component,
        })
    }
}

//! Objects of S3-compatible stores, through Apache's `object_store`.
//!
//! The operator's environment says which store and who asks; a manifest names bucket and key only.
//! Without credentials, requests are not signed, so that public buckets can be read. Plain HTTP is for
//! stores on this machine. Not here: other clouds.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture};
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt,
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key},
    buffered::BufWriter,
    client::ClientConfigKey,
    path::Path,
};
use reqwest::Url;
use rialto_registry::source::ObjectAddress;
use tokio::{fs::File, io::AsyncWriteExt};

use crate::{
    Config, FetchError, PublishError, Store,
    http::{READ_TIME_MAX, is_loopback},
    remote::{Opened, Remote},
};

impl Store {
    pub(crate) fn object(&self, address: &ObjectAddress) -> Result<Object, FetchError> {
        Object::new(&self.inner.config, address).map_err(|source| FetchError::Object {
            address: address.to_string(),
            source,
        })
    }

    /// Sends a file in parts, so that none is in memory whole.
    pub(crate) async fn put_object(
        &self,
        mut file: File,
        address: &ObjectAddress,
    ) -> Result<(), PublishError> {
        let failed = |source| PublishError::Object {
            address: address.to_string(),
            source,
        };
        let object = Object::new(&self.inner.config, address).map_err(failed)?;
        let mut writer = BufWriter::with_capacity(object.store, object.path, PART_BYTES)
            .with_max_concurrency(PARTS_AT_ONCE);
        let sent = async {
            tokio::io::copy(&mut file, &mut writer).await?;
            writer.shutdown().await
        };
        if let Err(error) = sent.await {
            // Parts without an end cost their owner money.
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, object = %address, "cannot take back a broken upload");
            }
            return Err(failed(object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            }));
        }
        Ok(())
    }
}

/// One object of a store.
#[derive(Debug)]
pub(crate) struct Object {
    address: String,
    path: Path,
    store: Arc<AmazonS3>,
}

impl Object {
    fn new(config: &Config, address: &ObjectAddress) -> Result<Self, object_store::Error> {
        Ok(Self {
            address: address.to_string(),
            path: Path::parse(address.key())?,
            store: Arc::new(builder(config).with_bucket_name(address.bucket()).build()?),
        })
    }

    async fn ask(&self, from: u64) -> Result<GetResult, object_store::Error> {
        let options = GetOptions {
            range: (from > 0).then_some(GetRange::Offset(from)),
            ..GetOptions::default()
        };
        self.store.get_opts(&self.path, options).await
    }

    /// Asks again without a range, because stores do not say apart that they are out of order, that they
    /// know no ranges, and that there is no such byte. The last is said as HTTP does.
    async fn ask_whole(
        &self,
        from: u64,
        before: object_store::Error,
    ) -> Result<GetResult, FetchError> {
        // A store that does not even say the size is out of order, and what is here may be good.
        let Ok(known) = self.store.head(&self.path).await else {
            return Err(self.failed(before));
        };
        if known.size <= from {
            return Err(FetchError::Status {
                url: self.address.clone(),
                status: 416,
            });
        }
        self.ask(0).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, source: object_store::Error) -> FetchError {
        FetchError::Object {
            address: self.address.clone(),
            source,
        }
    }
}

impl Remote for Object {
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, FetchError>> {
        Box::pin(async move {
            let found = match self.ask(from).await {
                Ok(found) => found,
                Err(error @ object_store::Error::Generic { .. }) if from > 0 => {
                    self.ask_whole(from, error).await?
                }
                Err(error) => return Err(self.failed(error)),
            };
            let (start, size) = (found.range.start, found.meta.size);
            let address = self.address.clone();
            let body = found.into_stream().map(move |chunk| {
                chunk.map_err(|source| FetchError::Object {
                    address: address.clone(),
                    source,
                })
            });
            Ok(Opened {
                start,
                bytes_total: Some(size),
                body: Box::pin(body),
            })
        })
    }
}

fn builder(config: &Config) -> AmazonS3Builder {
    let options = ClientOptions::new()
        .with_timeout_disabled()
        .with_read_timeout(READ_TIME_MAX);
    let retry = RetryConfig {
        max_retries: usize::try_from(config.retries_max).unwrap_or(usize::MAX),
        backoff: BackoffConfig {
            init_backoff: config.retry_pause,
            ..BackoffConfig::default()
        },
        retry_timeout: RETRY_TIME_MAX,
    };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(options)
        .with_retry(retry);
    for (name, value) in &config.object_store {
        // Unknown names are other tools' settings.
        let Ok(key) = name.to_ascii_lowercase().parse::<Key>() else {
            continue;
        };
        // What the address says, and what is decided below.
        if !matches!(key, Key::Bucket | Key::Client(ClientConfigKey::AllowHttp)) {
            builder = builder.with_config(key, value.reveal());
        }
    }
    let is_set = |key: Key| builder.get_config_value(&key).is_some();
    let signs = [
        Key::AccessKeyId,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::MetadataEndpoint,
    ]
    .into_iter()
    .any(is_set);
    let endpoint = builder
        .get_config_value(&Key::S3Endpoint)
        .or_else(|| builder.get_config_value(&Key::Endpoint));
    let here = endpoint
        .and_then(|endpoint| Url::parse(&endpoint).ok())
        .is_some_and(|endpoint| is_loopback(&endpoint));
    if !signs {
        builder = builder.with_skip_signature(true);
    }
    builder.with_allow_http(here)
}

const RETRY_TIME_MAX: Duration = Duration::from_secs(60);
/// S3 takes parts of 5 MiB and more.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 2;

//! Putting an artifact into a registry: its bytes, then a config, then the manifest that names both.
//!
//! What is there already is not sent again. Not here: resuming a push that broke off.

use futures_util::{Stream, stream};
use reqwest::{
    Body, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use rialto_registry::{
    Digest,
    source::{OciReference, OciVersion},
};
use tokio::{fs::File, io::AsyncReadExt};

use super::{OciError, manifest, session::Session};
use crate::{PublishError, Store};

impl Store {
    /// Puts an artifact of the store under a tag and returns the manifest's digest.
    pub(crate) async fn push(
        &self,
        digest: &Digest,
        file: File,
        to: &OciReference,
    ) -> Result<Digest, PublishError> {
        let OciVersion::Tag(tag) = to.version() else {
            return Err(PublishError::NoTag(to.to_string()));
        };
        let session = self.oci_session(to, "push").await?;
        let size = file.metadata().await?.len();
        let mut file = file;
        let is_wasm = is_component(&mut file).await?;
        let body = |file| Body::wrap_stream(chunks(file));
        session.upload(digest, size, move || body(file)).await?;
        let (config, manifest) = manifest::describe(digest, size, is_wasm);
        let config_digest = Digest::of(&config);
        let config_size = u64::try_from(config.len()).unwrap_or(u64::MAX);
        session
            .upload(&config_digest, config_size, move || Body::from(config))
            .await?;
        let name = Digest::of(&manifest);
        let dress = move |request: reqwest::RequestBuilder| {
            request
                .header(CONTENT_TYPE, manifest::MANIFEST_TYPE)
                .body(manifest.clone())
        };
        session
            .send(Method::PUT, &["manifests", tag], "manifest", dress)
            .await?;
        Ok(name)
    }
}

impl Session {
    /// Sends one blob in one piece, unless it is there.
    async fn upload(
        &self,
        digest: &Digest,
        size: u64,
        body: impl FnOnce() -> Body,
    ) -> Result<(), OciError> {
        let name = format!("sha256:{digest}");
        let found = self
            .send_any(Method::HEAD, &["blobs", &name], |request| request)
            .await?;
        if found.status() == StatusCode::OK {
            return Ok(());
        }
        let begun = self
            .send(
                Method::POST,
                &["blobs", "uploads", ""],
                "upload",
                |request| request.header(CONTENT_LENGTH, 0),
            )
            .await?;
        let mut url = self.given(self.location(&begun)?, "upload")?;
        url.query_pairs_mut().append_pair("digest", &name);
        let request = self
            .http()
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size)
            .body(body());
        let sent = self.send_to(url, request).await?;
        self.insist(sent, "upload").map(|_| ())
    }

    fn location<'a>(&self, response: &'a Response) -> Result<&'a str, OciError> {
        let header = response.headers().get(LOCATION);
        header
            .and_then(|location| location.to_str().ok())
            .ok_or_else(|| self.wrong("upload", "names no address"))
    }
}

/// Whether a file begins as WebAssembly does, looked at without moving on.
async fn is_component(file: &mut File) -> std::io::Result<bool> {
    use tokio::io::AsyncSeekExt;
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic).await?;
    file.rewind().await?;
    Ok(magic == *b"\0asm")
}

fn chunks(file: File) -> impl Stream<Item = std::io::Result<Vec<u8>>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = file.read(&mut chunk).await?;
        chunk.truncate(length);
        Ok((length > 0).then_some((chunk, file)))
    })
}

const CHUNK_BYTES: usize = 256 << 10;

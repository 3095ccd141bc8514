//! Model hubs: `hf://owner/name@revision/path` is a file below the hub's address.
//!
//! Not here: searching a hub, uploading to it.

use reqwest::{Url, header::HeaderValue};
use rialto_registry::source::HubFile;

use crate::{
    Config, FetchError, Store,
    http::{Page, is_private},
};

impl Store {
    /// Where a hub's file is, with what the hub is shown.
    pub(crate) fn hub_page(&self, file: &HubFile) -> Result<Page, FetchError> {
        let config = &self.inner.config;
        Ok(Page {
            web: self.inner.web.clone(),
            url: address(config, file)?.into(),
            authorization: authorization(config)?,
        })
    }
}

fn address(config: &Config, file: &HubFile) -> Result<Url, FetchError> {
    let wrong = || FetchError::Hub {
        url: config.hub_url.clone(),
    };
    let mut url = Url::parse(&config.hub_url).map_err(|_| wrong())?;
    if !is_private(&url) {
        return Err(wrong());
    }
    let mut path = url.path_segments_mut().map_err(|()| wrong())?;
    path.pop_if_empty()
        .extend([file.owner(), file.name(), "resolve", file.revision()])
        .extend(file.path().split('/'));
    drop(path);
    Ok(url)
}

fn authorization(config: &Config) -> Result<Option<HeaderValue>, FetchError> {
    let Some(token) = &config.hub_token else {
        return Ok(None);
    };
    // A token with a line break in it would be two headers.
    let mut header =
        HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| {
            FetchError::Hub {
                url: config.hub_url.clone(),
            }
        })?;
    header.set_sensitive(true);
    Ok(Some(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_addresses() {
        let file: HubFile = "hf://owner/name@v1.0/a b/m#1.onnx".parse().unwrap();
        let mut config = Config::new("store");
        for (hub, expected) in [
            (
                "https://hub.example",
                Some("https://hub.example/owner/name/resolve/v1.0/a%20b/m%231.onnx"),
            ),
            (
                "https://mirror.example/hf/",
                Some("https://mirror.example/hf/owner/name/resolve/v1.0/a%20b/m%231.onnx"),
            ),
            (
                "http://127.0.0.1:9",
                Some("http://127.0.0.1:9/owner/name/resolve/v1.0/a%20b/m%231.onnx"),
            ),
            ("http://hub.example", None),
            ("hub.example", None),
            ("", None),
        ] {
            config.hub_url = hub.to_owned();
            let found = address(&config, &file).ok().map(String::from);
            assert_eq!(found.as_deref(), expected, "{hub}");
        }
    }
}

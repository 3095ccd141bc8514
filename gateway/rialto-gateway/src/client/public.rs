//! Where a stranger's gateway may be: on the internet. One that names this machine or a private network would
//! make a client ask there in its stead.

use std::net::IpAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rialto_node::is_public;

/// Resolves names to addresses that belong to anybody on the internet.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicNames;

/// A gateway's name or address is private.
#[derive(Debug, thiserror::Error)]
#[error("{0} is an address of this machine or a private network")]
struct NotPublic(String);

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|it| is_public(it.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic(name.as_str().to_owned()).into());
            }
            let public: Addrs = Box::new(public.into_iter());
            Ok(public)
        })
    }
}

/// Whether a gateway's URL is a web address that names no private one; what a name resolves to is seen
/// when it is connected to.
pub(crate) fn may_be_public(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let Some(host) = url.host_str() else {
        return false;
    };
    let is_web = ["http", "https"].contains(&url.scheme());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    is_web
        && host
            .parse::<IpAddr>()
            .map_or(host != "localhost", is_public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_gateways_are_seen() {
        for url in [
            "http://127.0.0.1:8402",
            "http://[::1]:8402",
            "http://10.1.2.3",
            "http://169.254.169.254/latest",
            "http://localhost:8402",
            "http://2130706433",
            "file:///etc/passwd",
            "ftp://example.com",
            "no url",
        ] {
            assert!(!may_be_public(url), "{url}");
        }
        for url in [
            "https://host.example",
            "http://9.9.9.9:8402",
            "http://[2606:4700::1111]",
        ] {
            assert!(may_be_public(url), "{url}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_not_resolved() {
        let http = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(PublicNames))
            .build()
            .unwrap();
        let error = http.get("http://localhost:9/").send().await.unwrap_err();
        assert!(format!("{error:?}").contains("NotPublic"), "{error:?}");
    }
}

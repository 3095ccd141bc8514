//! Which addresses this node dials at all, wherever it learnt them: the library also dials what other peers
//! name in a lookup, which no rule of this crate has seen.
//!
//! Not here: which addresses are believed and passed on (see `prefix`).

use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};

use crate::config::Config;
use crate::prefix::{AddressRule, first_ip, is_global};

/// What may be dialled: the open network, private ones where they count, and what the settings name.
#[derive(Debug, Clone)]
pub(crate) struct Dials {
    rule: AddressRule,
    named: HashSet<IpAddr>,
}

impl Dials {
    pub(crate) fn new(config: &Config) -> Self {
        let named = config.bootstrap.iter().chain(&config.relays);
        let named = named.filter_map(|address| ip(address.multiaddr()));
        Self {
            rule: config.rule(),
            named: named.collect(),
        }
    }

    fn allow(&self, address: &Multiaddr) -> bool {
        ip(address).is_none_or(|ip| self.rule.private || is_global(ip) || self.named.contains(&ip))
    }
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().next().and_then(|part| first_ip(&part))
}

/// A transport that dials only what it may. It stands below the lookup of names, so that a name leads
/// nowhere else.
#[derive(Debug)]
pub(crate) struct Checked<T> {
    inner: T,
    dials: Dials,
}

impl<T> Checked<T> {
    pub(crate) const fn new(inner: T, dials: Dials) -> Self {
        Self { inner, dials }
    }
}

impl<T: Transport + Unpin> Transport for Checked<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if self.dials.allow(&address) {
            self.inner.dial(address, opts)
        } else {
            tracing::debug!(%address, "not an address of the open network");
            Err(TransportError::MultiaddrNotSupported(address))
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::tcp;

    use super::*;
    use crate::Identity;

    #[tokio::test]
    async fn what_strangers_name_is_dialled_only_on_the_open_network() {
        let identity = Identity::from_seed([1; 32]);
        let mut config = Config::new(identity.clone());
        let named = format!("/ip4/10.0.0.7/tcp/4001/p2p/{}", identity.peer());
        config.bootstrap = vec![named.parse().unwrap()];
        let dials = |config: &Config, text: &str| {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default());
            let opts = DialOpts {
                role: Endpoint::Dialer,
                port_use: PortUse::New,
            };
            Checked::new(tcp, Dials::new(config))
                .dial(text.parse().unwrap(), opts)
                .is_ok()
        };
        let texts = [
            ("/ip4/93.184.216.34/tcp/1", true),
            ("/ip6/2606:2800:220:1::1/tcp/1", true),
            ("/ip4/127.0.0.1/tcp/1", false),
            ("/ip4/10.0.0.8/tcp/1", false),
            ("/ip4/169.254.169.254/tcp/80", false),
            ("/ip6/::ffff:192.168.0.1/tcp/1", false),
            ("/ip6/::1/tcp/1", false),
            ("/ip4/10.0.0.7/tcp/9", true),
        ];
        for (text, open) in texts {
            assert_eq!(dials(&config, text), open, "{text}");
        }
        config.private_addresses = true;
        for (text, _) in texts {
            assert!(dials(&config, text), "{text}");
        }
    }
}

//! Which addresses are believed, and which neighbourhood an address belongs to.
//!
//! One operator gets many addresses of one network cheaply and few networks dearly, so limits are
//! counted by /24 and /48 as well as by peer.
//!
//! Not here: the limits themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;

use crate::judge::ADDRESSES_MAX;

/// The neighbourhood of an address: an IPv4 /24, an IPv6 /48, a relay, whose clients show no address of
/// their own, or 256 ports of the memory transport, which simulations take for a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Prefix {
    V4([u8; 3]),
    V6([u8; 6]),
    /// All who come through one relay, by the end of its name.
    Relay([u8; 8]),
    Memory(u64),
}

impl Prefix {
    /// The prefix of an address's first part; of a relayed one, the relay's.
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        address.iter().find_map(|part| match first_ip(&part) {
            Some(IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                Some(Self::V4([a, b, c]))
            }
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Some(Self::V6([a, b, c, d, e, f]))
            }
            None => memory_port(&part).map(|port| Self::Memory(port >> 8)),
        })
    }
}

/// Which addresses this node would dial or pass on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressRule {
    /// Whether addresses of private networks and this machine count: on a local mesh they are all
    /// there is, on the open network they are somebody else's.
    pub(crate) private: bool,
    /// Whether the memory transport is what this node speaks, and nothing else.
    pub(crate) memory: bool,
}

impl AddressRule {
    /// Returns whether an address that a stranger names is one to dial.
    pub(crate) fn accepts(self, address: &Multiaddr) -> bool {
        if address.as_ref().len() > ADDRESS_BYTES_MAX || address.iter().count() > ADDRESS_PARTS_MAX
        {
            return false;
        }
        let Some(first) = address.iter().next() else {
            return false;
        };
        if memory_port(&first).is_some() {
            return self.memory;
        }
        if self.memory {
            return false;
        }
        match first_ip(&first) {
            Some(ip) => self.private || is_global(ip),
            None => matches!(
                first,
                Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
            ),
        }
    }

    /// Keeps the addresses that are accepted, and no more than count.
    pub(crate) fn filter(self, addresses: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let mut kept = Vec::new();
        for address in addresses.into_iter().take(ADDRESSES_LOOKED_AT) {
            if kept.len() == ADDRESSES_MAX {
                break;
            }
            if self.accepts(&address) && !kept.contains(&address) {
                kept.push(address);
            }
        }
        kept
    }

    /// The prefix whose limits an address counts against: none where the rule takes private networks,
    /// in which all peers are neighbours.
    pub(crate) fn limited_prefix(self, address: &Multiaddr) -> Option<Prefix> {
        let prefix = Prefix::of(address)?;
        let ip = address.iter().find_map(|part| first_ip(&part));
        match ip {
            Some(ip) if self.private && !is_global(ip) => None,
            Some(_) | None => Some(prefix),
        }
    }
}

impl AddressRule {
    /// The network whose limits a connection counts against.
    pub(crate) fn network_of(self, endpoint: &ConnectedPoint) -> Option<Prefix> {
        match endpoint {
            ConnectedPoint::Dialer { address, .. } => self.network(None, address),
            ConnectedPoint::Listener {
                local_addr,
                send_back_addr,
            } => self.network(Some(local_addr), send_back_addr),
        }
    }

    /// The same by its addresses. Where a peer came through a relay only the local one says so.
    pub(crate) fn network(self, local: Option<&Multiaddr>, remote: &Multiaddr) -> Option<Prefix> {
        let circuit = local.into_iter().chain([remote]).find(|at| is_relayed(at));
        let Some(circuit) = circuit else {
            return self.limited_prefix(remote);
        };
        let ip = circuit.iter().find_map(|part| first_ip(&part));
        if self.private && ip.is_some_and(|ip| !is_global(ip)) {
            return None;
        }
        let relay = circuit.iter().find_map(|part| {
            if let Protocol::P2p(relay) = part {
                relay.to_bytes().last_chunk().copied()
            } else {
                None
            }
        });
        // A circuit without a relay's name would be nobody's; they share one place.
        Some(Prefix::Relay(relay.unwrap_or([0; 8])))
    }
}

/// Returns whether an address goes through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The address that one part is, an IPv4 one in its own form.
pub(crate) fn first_ip(part: &Protocol<'_>) -> Option<IpAddr> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library adds protocols; only two of them are IP"
    )]
    match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(*ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(*ip), IpAddr::V4)),
        _ => None,
    }
}

fn memory_port(part: &Protocol<'_>) -> Option<u64> {
    if let Protocol::Memory(port) = part {
        Some(*port)
    } else {
        None
    }
}

/// Returns whether an address is routed on the open network, by IANA's special-purpose registries.
pub(crate) fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0))
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // What is assigned to the open network begins with 001; 2001:db8::/32 is for documents.
    first >> 13 == 1 && !(first == 0x2001 && second == 0xdb8)
}

/// The longest address that is looked at, in bytes: a relayed one has two peers' names.
const ADDRESS_BYTES_MAX: usize = 256;
/// The most parts of an address that is looked at.
const ADDRESS_PARTS_MAX: usize = 12;
/// How many of the addresses that a stranger names are looked at.
const ADDRESSES_LOOKED_AT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: AddressRule = AddressRule {
        private: false,
        memory: false,
    };
    const LOCAL: AddressRule = AddressRule {
        private: true,
        memory: false,
    };
    const MEMORY: AddressRule = AddressRule {
        private: true,
        memory: true,
    };

    #[test]
    fn strangers_name_only_addresses_of_the_open_network() {
        for (text, open, local) in [
            ("/ip4/93.184.216.34/tcp/4001", true, true),
            ("/ip4/127.0.0.1/tcp/4001", false, true),
            ("/ip4/10.1.2.3/udp/4001/quic-v1", false, true),
            ("/ip4/169.254.169.254/tcp/80", false, true),
            ("/ip4/100.64.0.1/tcp/80", false, true),
            ("/ip6/::ffff:192.168.0.1/tcp/80", false, true),
            ("/ip6/2606:2800:220:1::1/tcp/4001", true, true),
            ("/ip6/fe80::1/tcp/4001", false, true),
            ("/dns4/mesh.example/tcp/4001", true, true),
            ("/memory/7", false, false),
            ("/unix/etc", false, false),
        ] {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!(OPEN.accepts(&address), open, "{text}");
            assert_eq!(LOCAL.accepts(&address), local, "{text}");
        }
        assert!(MEMORY.accepts(&"/memory/7".parse().unwrap()));
        assert!(!MEMORY.accepts(&"/ip4/93.184.216.34/tcp/4001".parse().unwrap()));
    }

    #[test]
    fn a_neighbourhood_is_a_24_or_a_48() {
        let prefix = |text: &str| Prefix::of(&text.parse().unwrap());
        assert_eq!(
            prefix("/ip4/93.184.216.34/tcp/1"),
            prefix("/ip4/93.184.216.9/udp/2/quic-v1")
        );
        assert_ne!(
            prefix("/ip4/93.184.216.34/tcp/1"),
            prefix("/ip4/93.184.217.34/tcp/1")
        );
        assert_eq!(
            prefix("/ip6/2606:2800:220:1::1/tcp/1"),
            prefix("/ip6/2606:2800:220:9::/tcp/1")
        );
        assert_eq!(prefix("/memory/512"), prefix("/memory/767"));
        assert_ne!(prefix("/memory/512"), prefix("/memory/768"));
        assert_eq!(prefix("/dns4/a.example/tcp/1"), None);
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(LOCAL.limited_prefix(&local), None);
        assert!(OPEN.limited_prefix(&local).is_some());
    }

    #[test]
    fn who_comes_through_a_relay_counts_by_the_relay() {
        let circuit = |seed: u8| {
            let relay = crate::Identity::from_seed([seed; 32]).peer();
            let text = format!("/ip4/93.184.216.34/tcp/1/p2p/{relay}/p2p-circuit");
            text.parse::<Multiaddr>().unwrap()
        };
        let peer = crate::Identity::from_seed([9; 32]).peer();
        let remote: Multiaddr = format!("/p2p/{peer}").parse().unwrap();
        assert_eq!(
            OPEN.limited_prefix(&remote),
            None,
            "its address says nothing"
        );
        let listener = |seed| ConnectedPoint::Listener {
            local_addr: circuit(seed),
            send_back_addr: remote.clone(),
        };
        let one = OPEN.network_of(&listener(1));
        assert!(matches!(one, Some(Prefix::Relay(_))), "{one:?}");
        assert_eq!(LOCAL.network_of(&listener(1)), one);
        assert_ne!(OPEN.network_of(&listener(2)), one);
        let dialled = circuit(1).with(Protocol::P2p(peer.id()));
        assert_eq!(OPEN.network(None, &dialled), one);
        let direct = "/ip4/93.184.216.34/tcp/1".parse().unwrap();
        let here = "/ip4/93.184.217.1/tcp/1".parse().unwrap();
        let network = OPEN.network(Some(&here), &direct);
        assert_eq!(network, Some(Prefix::V4([93, 184, 216])));
    }

    #[test]
    fn no_more_addresses_are_kept_than_count() {
        let many = (1..200).map(|port| format!("/ip4/93.184.216.34/tcp/{port}").parse().unwrap());
        assert_eq!(OPEN.filter(many).len(), ADDRESSES_MAX);
        let same = vec!["/ip4/93.184.216.34/tcp/1".parse::<Multiaddr>().unwrap(); 3];
        assert_eq!(OPEN.filter(same).len(), 1);
    }
}

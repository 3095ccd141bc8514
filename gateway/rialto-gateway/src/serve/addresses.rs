//! How many connections each address holds: one client cannot take all places.
//!
//! An address of IPv6 counts with the rest of its /64, which is what one customer is usually given. The
//! loopback may be exempt: a proxy that does TLS on this machine speaks for everybody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Config;

/// The connections of all addresses. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    each_max: usize,
    loopback_exempt: bool,
}

/// A connection's place among those of its address, until it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    addresses: Addresses,
    counted: Option<IpAddr>,
}

impl Addresses {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            held: Arc::default(),
            each_max: config.connections_per_address_max,
            loopback_exempt: config.loopback_exempt,
        }
    }

    /// One more connection of this address; none if it holds as many as it may.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Guest> {
        let address = address.to_canonical();
        if self.loopback_exempt && address.is_loopback() {
            return Some(self.guest(None));
        }
        let address = customer(address);
        let mut held = self.lock();
        let count = held.entry(address).or_insert(0);
        if *count >= self.each_max {
            return None;
        }
        *count = count.saturating_add(1);
        drop(held);
        Some(self.guest(Some(address)))
    }

    fn guest(&self, counted: Option<IpAddr>) -> Guest {
        Guest {
            addresses: self.clone(),
            counted,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No step under this lock leaves something half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some(address) = self.counted else {
            return;
        };
        let mut held = self.addresses.lock();
        if let Some(count) = held.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&address);
            }
        }
    }
}

/// What counts as one: the address, or the network of 64 bits that it is in.
fn customer(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(each_max: usize, loopback_exempt: bool) -> Addresses {
        Addresses::new(&Config {
            connections_per_address_max: each_max,
            loopback_exempt,
            ..Config::default()
        })
    }

    #[test]
    fn each_address_has_its_own_places_and_gives_them_back() {
        let addresses = addresses(2, true);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let held = [enter("192.0.2.1"), enter("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none(), "mapped is the same address");
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        drop(other);
        assert!(
            addresses.lock().is_empty(),
            "nobody is remembered for nothing"
        );
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one() {
        let addresses = addresses(1, true);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let held = enter("2001:db8:0:1::1");
        assert!(held.is_some() && enter("2001:db8:0:1:ffff::9").is_none());
        assert!(enter("2001:db8:0:2::1").is_some());
    }

    #[test]
    fn the_loopback_is_exempt_if_that_is_said() {
        for (exempt, second) in [(true, true), (false, false)] {
            let addresses = addresses(1, exempt);
            let enter = || addresses.enter(IpAddr::from([127, 0, 0, 1]));
            let held = enter();
            assert_eq!((held.is_some(), enter().is_some()), (true, second));
        }
    }
}

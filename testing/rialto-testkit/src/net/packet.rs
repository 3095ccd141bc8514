//! As much of IPv4 as a router needs: who sends to whom, and rewriting an address with its checksums.
//!
//! Not here: fragments, options, IPv6, ICMP.

use std::net::Ipv4Addr;

/// Who talks to whom by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// TCP is 6, UDP 17.
    pub protocol: u8,
    /// The sender.
    pub from: (Ipv4Addr, u16),
    /// The receiver.
    pub to: (Ipv4Addr, u16),
}

impl Flow {
    /// Reads a packet's headers. None for what this module does not know.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        let start = payload(packet)?;
        let protocol = *packet.get(9)?;
        if protocol != TCP && protocol != UDP {
            return None;
        }
        Some(Self {
            protocol,
            from: (address(packet, FROM)?, word(packet, start)?),
            to: (address(packet, TO)?, word(packet, start + 2)?),
        })
    }

    /// The way back.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            from: self.to,
            to: self.from,
        }
    }
}

/// Puts another sender into a packet.
pub fn set_from(packet: &mut [u8], to: Ipv4Addr) {
    rewrite(packet, FROM, to);
}

/// Puts another receiver into a packet.
pub fn set_to(packet: &mut [u8], to: Ipv4Addr) {
    rewrite(packet, TO, to);
}

/// Both checksums cover the address; they are carried along as RFC 1624 says.
fn rewrite(packet: &mut [u8], at: usize, new: Ipv4Addr) {
    let (Some(start), Some(old)) = (payload(packet), address(packet, at)) else {
        return;
    };
    let sum = match packet.get(9) {
        Some(&TCP) => Some(start + 16),
        // None was computed where it is zero.
        Some(&UDP) if word(packet, start + 6) != Some(0) => Some(start + 6),
        _ => None,
    };
    for place in [Some(10), sum].into_iter().flatten() {
        if let Some(before) = word(packet, place) {
            let after = adjust(before, old, new);
            packet[place..place + 2].copy_from_slice(&after.to_be_bytes());
        }
    }
    packet[at..at + 4].copy_from_slice(&new.octets());
}

fn adjust(sum: u16, old: Ipv4Addr, new: Ipv4Addr) -> u16 {
    let halves = |address: Ipv4Addr| {
        let [a, b, c, d] = address.octets();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    };
    let mut total = u32::from(!sum);
    for (old, new) in halves(old).into_iter().zip(halves(new)) {
        total += u32::from(!old) + u32::from(new);
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    // Folded above.
    !u16::try_from(total).unwrap_or(u16::MAX)
}

/// Where the header ends, if it is IPv4.
fn payload(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    (first >> 4 == 4).then_some(usize::from(first & 0xf) * 4)
}

fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes))
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    let bytes: [u8; 2] = packet.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

const FROM: usize = 12;
const TO: usize = 16;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(packet: &[u8]) -> u16 {
        let words = packet.chunks(2);
        let mut total: u32 = words
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        !u16::try_from(total).unwrap()
    }

    #[test]
    fn checksums_follow_the_addresses() {
        let mut packet = vec![0_u8; 28];
        packet[0] = 0x45;
        packet[3] = 28;
        packet[8] = 64;
        packet[9] = UDP;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
        packet[20..24].copy_from_slice(&[1, 2, 3, 4]);
        let header = sum(&packet[..20]);
        packet[10..12].copy_from_slice(&header.to_be_bytes());
        set_from(&mut packet, Ipv4Addr::new(192, 168, 250, 7));
        set_to(&mut packet, Ipv4Addr::new(172, 16, 0, 255));
        assert_eq!(sum(&packet[..20]), 0, "{packet:?}");
        let flow = Flow::of(&packet).unwrap();
        assert_eq!(flow.from, (Ipv4Addr::new(192, 168, 250, 7), 0x0102));
        assert_eq!(
            flow.reversed().from,
            (Ipv4Addr::new(172, 16, 0, 255), 0x0304)
        );
        assert_eq!(Flow::of(&packet[..3]), None);
    }
}

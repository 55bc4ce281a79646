//! Who may hold a connection: bounded in all and per peer. When there is no room, the connection that makes progress least gives way, and
//! never the newcomer: a probe that sends its request at once is answered however many others hold their connections open.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Connections of one peer. Browsers open six, a probe or a scrape one.
pub(super) const PER_PEER: usize = 16;
/// Connections in all of peers on other machines.
const TOTAL: usize = 64;
/// As many more for loopback, which others cannot take.
const RESERVE: usize = 2 * PER_PEER;

/// The connections that are open.
pub(super) struct Slots<H> {
    /// In the order in which they came.
    open: Vec<Open<H>>,
}

struct Open<H> {
    peer: IpAddr,
    asked: Asked,
    handle: H,
}

/// Set when the head of a request has come.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

impl Asked {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<H> Slots<H> {
    pub fn new() -> Self {
        Slots { open: Vec::new() }
    }

    /// Makes room for a connection from `ip`: returns the one that has to be closed, if any.
    pub fn make_room(&mut self, ip: IpAddr) -> Option<H> {
        let peer = peer_of(ip);
        let same = |open: &Open<H>| open.peer == peer;
        if self.count(same) >= PER_PEER {
            return self.take(same);
        }
        // Peers on this machine and elsewhere do not displace each other.
        let kind = |open: &Open<H>| open.peer.is_loopback() == peer.is_loopback();
        let limit = if peer.is_loopback() { RESERVE } else { TOTAL };
        match self.count(kind) >= limit {
            true => self.take(kind),
            false => None,
        }
    }

    /// A connection is open.
    pub fn enter(&mut self, ip: IpAddr, asked: Asked, handle: H) {
        self.open.push(Open {
            peer: peer_of(ip),
            asked,
            handle,
        });
    }

    /// Forgets the connections that have ended.
    pub fn retain(&mut self, is_open: impl Fn(&H) -> bool) {
        self.open.retain(|open| is_open(&open.handle));
    }

    fn count(&self, which: impl Fn(&Open<H>) -> bool) -> usize {
        self.open.iter().filter(|open| which(open)).count()
    }

    /// Takes out the oldest that has not asked yet, else the oldest.
    fn take(&mut self, which: impl Fn(&Open<H>) -> bool) -> Option<H> {
        let all = self.open.iter().enumerate().filter(|(_, open)| which(open));
        // The first of equals is the oldest.
        let least = all.min_by_key(|(_, open)| open.asked.0.load(Ordering::Relaxed));
        let at = least.map(|(at, _)| at)?;
        Some(self.open.remove(at).handle)
    }
}

/// An IPv6 host has a whole network of 64 bits.
fn peer_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let network = ip.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(slots: &mut Slots<usize>, ip: &str, handle: usize, asks: bool) -> Option<usize> {
        let ip = ip.parse().unwrap();
        let evicted = slots.make_room(ip);
        let asked = Asked::default();
        if asks {
            asked.set();
        }
        slots.enter(ip, asked, handle);
        evicted
    }

    #[test]
    fn one_peer_displaces_only_itself_and_first_what_has_not_asked() {
        let mut slots = Slots::new();
        add(&mut slots, "192.0.2.2", 1000, false);
        for number in 0..PER_PEER {
            let asks = number != 5;
            assert_eq!(add(&mut slots, "192.0.2.1", number, asks), None);
        }
        assert_eq!(add(&mut slots, "192.0.2.1", 100, true), Some(5));
        assert_eq!(add(&mut slots, "::ffff:192.0.2.1", 101, true), Some(0));
        slots.retain(|handle| *handle != 3);
        assert_eq!(add(&mut slots, "192.0.2.1", 102, true), None);
    }

    #[test]
    fn many_peers_displace_each_other_and_never_loopback() {
        let mut slots = Slots::new();
        assert_eq!(add(&mut slots, "127.0.0.1", 1000, false), None);
        let mut closed = 0;
        for number in 0..1000 {
            let ip = format!("10.0.{}.{}", number / 250, number % 250);
            let evicted = add(&mut slots, &ip, number, false);
            assert_ne!(evicted, Some(1000));
            closed += usize::from(evicted.is_some());
            assert!(slots.open.len() <= TOTAL + 1);
        }
        assert_eq!(closed, 1000 - TOTAL, "no newcomer is refused");
        assert_eq!(
            add(&mut slots, "::1", 1001, false),
            None,
            "there is room for loopback"
        );
        for network in 0..3 {
            for host in 1..=8 {
                let ip = format!("2001:db8:0:{network}::{host}");
                add(&mut slots, &ip, 2000, false);
            }
        }
        let peers = slots.count(|open| open.peer.is_ipv6() && !open.peer.is_loopback());
        assert_eq!(peers, 24);
        assert_eq!(
            peer_of("2001:db8::1:2:3:4".parse().unwrap()).to_string(),
            "2001:db8::"
        );
    }
}

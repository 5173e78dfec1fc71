//! Connections of chargers that were not added: how many there may be in total and from one peer address.
//!
//! Under a policy that lets unknown chargers connect, anybody can make up identities. Two bounds prevent that
//! from using up the connections of others: one address holds only its share, and where the directory has
//! chargers, unknown ones leave a quarter of `connections_max` to those that are in it.

use crate::admission::pending::PeerAddress;
use common::lock::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownShare {
    Total,
    Address,
}

impl UnknownShare {
    pub(crate) const ALL: [Self; 2] = [Self::Total, Self::Address];

    /// As in labels of metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

/// Counts the connections of unknown chargers.
pub(crate) struct UnknownConnections {
    total_max: usize,
    per_address_max: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    addresses: HashMap<PeerAddress, usize>,
}

impl UnknownConnections {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self {
            total_max,
            per_address_max,
            counts: Arc::default(),
        }
    }

    /// Counts one more connection of this address until the permit is dropped. The total is bounded only
    /// where the directory has chargers: without any, all chargers are unknown.
    ///
    /// # Errors
    /// With the bound that is reached.
    pub(crate) fn acquire(
        &self,
        address: PeerAddress,
        has_known: bool,
    ) -> Result<UnknownPermit, UnknownShare> {
        let mut counts = lock(&self.counts);
        let of_address = counts.addresses.get(&address).copied().unwrap_or(0);
        if of_address >= self.per_address_max {
            return Err(UnknownShare::Address);
        }
        if has_known && counts.total >= self.total_max {
            return Err(UnknownShare::Total);
        }
        counts.total += 1;
        counts.addresses.insert(address, of_address + 1);
        drop(counts);
        Ok(UnknownPermit {
            address,
            counts: Arc::clone(&self.counts),
        })
    }

    /// How many there are now: in total, and of the address that has the most.
    pub(crate) fn count(&self) -> [usize; 2] {
        let counts = lock(&self.counts);
        let of_address = counts.addresses.values().max().copied();
        [counts.total, of_address.unwrap_or(0)]
    }
}

/// A counted connection of an unknown charger.
#[derive(Debug)]
pub(crate) struct UnknownPermit {
    address: PeerAddress,
    counts: Arc<Mutex<Counts>>,
}

impl Drop for UnknownPermit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        if let Some(count) = counts.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> PeerAddress {
        PeerAddress::of(text.parse().expect("an address"))
    }

    #[test]
    fn one_address_holds_only_its_share() {
        let unknown = UnknownConnections::new(100, 2);
        let first = unknown.acquire(address("192.0.2.1"), true).expect("free");
        let _second = unknown.acquire(address("192.0.2.1"), true).expect("free");
        let third = unknown.acquire(address("192.0.2.1"), true);
        assert_eq!(third.expect_err("bound"), UnknownShare::Address);
        let _other = unknown.acquire(address("192.0.2.2"), true).expect("free");
        assert_eq!(unknown.count(), [3, 2]);
        drop(first);
        assert_eq!(unknown.count(), [2, 1]);
        assert!(unknown.acquire(address("192.0.2.1"), true).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bound() {
        let unknown = UnknownConnections::new(100, 1);
        let _first = unknown
            .acquire(address("2001:db8:1:2::1"), true)
            .expect("free");
        let second = unknown.acquire(address("2001:db8:1:2:ffff::9"), true);
        assert_eq!(second.expect_err("bound"), UnknownShare::Address);
        assert!(unknown.acquire(address("2001:db8:1:3::1"), true).is_ok());
    }

    #[test]
    fn the_total_is_bounded_only_where_there_are_known_chargers() {
        let unknown = UnknownConnections::new(2, 10);
        let mut held = Vec::new();
        for last in 1..=3 {
            let address = address(&format!("192.0.2.{last}"));
            held.push(unknown.acquire(address, false).expect("no bound"));
        }
        let refused = unknown.acquire(address("192.0.2.9"), true);
        assert_eq!(refused.expect_err("bound"), UnknownShare::Total);
        held.clear();
        assert_eq!(unknown.count(), [0, 0]);
        assert!(lock(&unknown.counts).addresses.is_empty());
    }
}

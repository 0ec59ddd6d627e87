//! How much one address may hold at once, for everything that accepts connections.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;

/// One person owns a /64 of IPv6, so that is what counts as an address.
#[must_use]
pub fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

/// Places taken, by address; clones share them.
#[derive(Debug, Default, Clone)]
pub struct Gate {
    open: Arc<DashMap<IpAddr, u32>>,
}

/// One place of an address at the gate, given back on drop.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    /// A place for `address`, unless it holds `limit` already.
    #[must_use]
    pub fn enter(&self, address: IpAddr, limit: u32) -> Option<Permit> {
        let address = prefix(address);
        let mut count = self.open.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Permit { gate: self.clone(), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(mut count) = self.gate.open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
        }
        self.gate.open.remove_if(&self.address, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_counts_per_address_and_forgets() {
        let gate = Gate::default();
        let one = IpAddr::from([127, 0, 0, 1]);
        let held: Vec<_> = (0..3).map(|_| gate.enter(one, 3).expect("below the limit")).collect();
        assert!(gate.enter(one, 3).is_none());
        assert!(gate.enter(IpAddr::from([127, 0, 0, 2]), 3).is_some());
        drop(held);
        assert!(gate.open.is_empty());
        assert!(gate.enter(one, 3).is_some());
    }

    #[test]
    fn a_person_is_a_slash_64() {
        let ip = |text: &str| prefix(text.parse().expect("address"));
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
    }
}

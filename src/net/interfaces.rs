//! The local addresses media listens on.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Loopback and LAN addresses of this machine, IPv4 before IPv6, loopback last: the order in which
/// clients are offered them. Link-local addresses are left out, as a client cannot know their
/// interface.
///
/// # Errors
/// What `getifaddrs` says.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list = std::ptr::null_mut::<libc::ifaddrs>();
    // SAFETY: `list` is a valid place for the head of the list, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list.cast_const();
    // SAFETY: every node is null or a valid entry until `freeifaddrs`.
    while let Some(interface) = unsafe { next.as_ref() } {
        // SAFETY: the address of an entry is null or a whole socket address of its family.
        found.extend(unsafe { address_of(interface) }.filter(is_useful));
        next = interface.ifa_next;
    }
    // SAFETY: `list` came from `getifaddrs` and no reference into it is left.
    unsafe { libc::freeifaddrs(list) };
    Ok(in_order(found))
}

/// The address of an interface that is up.
///
/// # Safety
/// `interface` must be an entry of a live `getifaddrs` list.
unsafe fn address_of(interface: &libc::ifaddrs) -> Option<IpAddr> {
    if interface.ifa_flags & libc::IFF_UP as libc::c_uint == 0 {
        return None;
    }
    // SAFETY: null or a socket address, by contract.
    let family = unsafe { interface.ifa_addr.as_ref() }?.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in.
            let v4 = unsafe { interface.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6.
            let v6 = unsafe { interface.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn is_useful(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified() && !v4.is_multicast(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_unspecified() && !v6.is_multicast(),
    }
}

fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_key(|address| (address.is_loopback(), address.is_ipv6(), *address));
    addresses.dedup();
    addresses
}

/// What to bind for a configured list: empty = every local address, `0.0.0.0` and `::` = every
/// one of that family. A wildcard is never bound itself: a reply would leave with whichever source
/// address the route prefers, and browsers drop it without a word.
///
/// # Errors
/// What [`local_addresses`] says.
pub fn bind_addresses(configured: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let local = local_addresses()?;
    if configured.is_empty() {
        return Ok(local);
    }
    let mut addresses = Vec::new();
    for address in configured {
        if address.is_unspecified() {
            addresses.extend(local.iter().filter(|found| found.is_ipv4() == address.is_ipv4()));
        } else {
            addresses.push(*address);
        }
    }
    Ok(in_order(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_link_local_is_not() {
        let found = local_addresses().expect("interfaces");
        assert!(found.contains(&Ipv4Addr::LOCALHOST.into()), "{found:?}");
        assert!(found.iter().all(is_useful));
    }

    #[test]
    fn a_wildcard_becomes_the_addresses_of_its_family() {
        let v4 = bind_addresses(&[Ipv4Addr::UNSPECIFIED.into()]).expect("interfaces");
        assert!(!v4.is_empty() && v4.iter().all(|address| address.is_ipv4()));
        assert!(v4.iter().all(|address| !address.is_unspecified()));
        let one = bind_addresses(&[Ipv4Addr::LOCALHOST.into()]).expect("interfaces");
        assert_eq!(one, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    #[test]
    fn the_order_is_lan_before_loopback_and_v4_before_v6() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let order =
            in_order(vec![ip("::1"), ip("fd00::1"), ip("127.0.0.1"), ip("10.0.0.1"), ip("::1")]);
        assert_eq!(order, [ip("10.0.0.1"), ip("fd00::1"), ip("127.0.0.1"), ip("::1")]);
    }
}

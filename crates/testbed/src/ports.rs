//! Free ports that stay free while their server is stopped.
//!
//! They are outside the kernel's ephemeral range. A port in that range could be assigned to an outgoing connection while
//! the server is stopped, even to one that connects to this port, which then connects to itself.

use common::lock::lock;
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::Mutex;

/// Ports that this process has assigned, so that two servers do not get the same one.
static ASSIGNED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A TCP port on 127.0.0.1 on which no process listens, outside the kernel's ephemeral range. The same process never gets
/// it again.
///
/// # Errors
///
/// When none of 1,000 ports tried was free.
pub fn spare_port() -> io::Result<u16> {
    let range = quiet_range();
    let mut assigned = lock(&ASSIGNED);
    for _ in 0..1_000 {
        let port = fastrand::u16(range.clone());
        if assigned.contains(&port) || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            continue;
        }
        assigned.insert(port);
        return Ok(port);
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("no spare port in {range:?} on 127.0.0.1"),
    ))
}

/// The larger of the two ranges below and above the ephemeral one, without the usual ports of RabbitMQ, PostgreSQL and
/// other services.
fn quiet_range() -> Range<u16> {
    let (low, high) = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| parse_range(&text))
        .unwrap_or((32_768, 60_999));
    let below = 16_000..low.max(16_000);
    let above = high.min(65_000)..65_000;
    let widest = if below.len() >= above.len() {
        below
    } else {
        above
    };
    if widest.len() >= 1_000 {
        widest
    } else {
        20_000..30_000
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_range_is_parsed() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("32768"), None);
    }

    #[test]
    fn no_port_is_assigned_twice() {
        let ports: BTreeSet<u16> = (0..200)
            .map(|_| spare_port().expect("a spare port"))
            .collect();
        assert_eq!(ports.len(), 200);
        assert!(ports.iter().all(|port| quiet_range().contains(port)));
    }
}

//! Spare ports that stay ours while their server is down.
//!
//! A port from the kernel's ephemeral range will not do: between a server's death and its return a client that knocks
//! at that port may be given the very same number as its own and so connect to itself, or any other program may get it
//! for an outgoing connection. So we choose outside of that range.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::Mutex;

/// Given out in this process already, so that two servers that start at once do not get the same one.
static GIVEN_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A TCP port on 127.0.0.1 where nobody listens, outside the range from which the kernel serves outgoing connections,
/// and never given out twice by one process.
///
/// # Errors
///
/// When none of 1,000 ports tried was free.
pub fn spare_port() -> io::Result<u16> {
    let range = quiet_range();
    let mut given_out = GIVEN_OUT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in 0..1_000 {
        let port = fastrand::u16(range.clone());
        if given_out.contains(&port) || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            continue;
        }
        given_out.insert(port);
        return Ok(port);
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("no spare port in {range:?} on 127.0.0.1"),
    ))
}

/// The larger of the two ranges beside the ephemeral one, without privileged ports and without those where the
/// machine's own RabbitMQ, PostgreSQL and friends live.
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
    fn the_range_of_the_kernel_is_read() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("32768"), None);
    }

    #[test]
    fn no_port_is_given_out_twice() {
        let ports: BTreeSet<u16> = (0..200)
            .map(|_| spare_port().expect("a spare port"))
            .collect();
        assert_eq!(ports.len(), 200);
        assert!(ports.iter().all(|port| quiet_range().contains(port)));
    }
}

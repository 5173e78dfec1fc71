//! The address that a charger connects from. Behind a proxy the socket has the proxy's address; the charger's own is in a
//! PROXY protocol header or in an HTTP header. Both are used only if a trusted proxy sent them: any peer can send
//! them, and bounds by address and log lines would otherwise depend on what an attacker sends.

use crate::admission::pending::PeerAddress;
use crate::config::{ForwardedHeader, ListenerConfig};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The address that a charger connects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    ip: IpAddr,
    /// Not known if an HTTP header named the address without its port.
    port: Option<u16>,
    /// The socket's address, if a proxy has it.
    proxy: Option<SocketAddr>,
}

impl Peer {
    /// The peer of a socket, as long as nothing else is known.
    pub(crate) fn of_socket(address: SocketAddr) -> Self {
        Self {
            ip: address.ip().to_canonical(),
            port: Some(address.port()),
            proxy: None,
        }
    }

    /// The same socket, with the address that its proxy named.
    fn behind_proxy(self, ip: IpAddr, port: Option<u16>) -> Self {
        let socket = SocketAddr::new(self.ip, self.port.unwrap_or_default());
        Self {
            ip: ip.to_canonical(),
            port,
            proxy: Some(self.proxy.unwrap_or(socket)),
        }
    }

    /// The same socket, with the source address of a PROXY protocol header.
    pub(crate) fn with_source(self, source: SocketAddr) -> Self {
        self.behind_proxy(source.ip(), Some(source.port()))
    }

    /// The address for bounds by address.
    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress::of(self.ip)
    }

    /// The socket's address, if the charger's own is another one.
    pub(crate) const fn proxy(&self) -> Option<SocketAddr> {
        self.proxy
    }

    /// Whether the listener trusts this address as a proxy.
    pub(crate) fn is_trusted(&self, listener: &ListenerConfig) -> bool {
        listener.trusts(self.ip)
    }

    /// The charger's own address, if this is a trusted proxy and the HTTP header names it: the last address in the header
    /// that is not a trusted proxy, because a proxy appends the address from which it was called. A value that is no
    /// address ends the search: what precedes it is not trusted.
    pub(crate) fn forwarded(self, listener: &ListenerConfig, header: &str) -> Self {
        let mut peer = self;
        for value in header.rsplit(',') {
            if !peer.is_trusted(listener) {
                break;
            }
            let named = match listener.forwarded_header {
                ForwardedHeader::XForwardedFor => address(value),
                ForwardedHeader::Forwarded => forwarded_for(value),
            };
            let Some((ip, port)) = named else {
                break;
            };
            peer = peer.behind_proxy(ip, port);
        }
        peer
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<(IpAddr, Option<u16>)> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

/// An address with or without a port, an IPv6 address with or without brackets.
fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let text = text.trim();
    if let Ok(ip) = text.parse() {
        return Some((ip, None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip(), Some(address.port())));
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse().ok().map(|ip| (ip, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(header: ForwardedHeader) -> ListenerConfig {
        let nets = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"];
        ListenerConfig {
            trusted_proxies: nets.map(|net| net.parse().expect("a net")).to_vec(),
            forwarded_header: header,
            ..ListenerConfig::default()
        }
    }

    fn shown(socket: &str, header: ForwardedHeader, value: &str) -> String {
        let peer = Peer::of_socket(socket.parse().expect("an address"));
        peer.forwarded(&listener(header), value).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_counts() {
        let shown = |value| shown("10.0.0.1:5000", ForwardedHeader::XForwardedFor, value);
        for (value, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9:4711"),
            ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 10.1.1.1,192.0.2.1", "203.0.113.9"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("2a00::7", "2a00::7"),
            ("[2a00::7]", "2a00::7"),
            ("[2a00::7]:4711", "[2a00::7]:4711"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("", "10.0.0.1:5000"),
            ("unknown", "10.0.0.1:5000"),
            ("6.6.6.6, unknown, 10.1.1.1", "10.1.1.1"),
            ("6.6.6.6,", "10.0.0.1:5000"),
            ("203.0.113.9\n", "203.0.113.9"),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn a_header_from_an_address_that_is_not_trusted_is_ignored() {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            for value in ["203.0.113.9", "for=203.0.113.9"] {
                assert_eq!(shown("192.0.2.2:5000", header, value), "192.0.2.2:5000");
            }
        }
        let trusted = shown(
            "[::ffff:10.0.0.1]:1",
            ForwardedHeader::XForwardedFor,
            "6.6.6.6",
        );
        assert_eq!(
            trusted, "6.6.6.6",
            "an IPv4 address in IPv6 form is the same"
        );
    }

    #[test]
    fn the_standard_header_is_read_in_all_its_forms() {
        let shown = |value| shown("[2001:db8::1]:5000", ForwardedHeader::Forwarded, value);
        for (value, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            (
                "proto=https; For=\"203.0.113.9:4711\" ;by=10.0.0.1",
                "203.0.113.9:4711",
            ),
            ("for=6.6.6.6, for=\"[2a00::7]:4711\"", "[2a00::7]:4711"),
            ("for=203.0.113.9, for=10.0.0.7;proto=http", "203.0.113.9"),
            ("for=_hidden", "[2001:db8::1]:5000"),
            ("proto=https", "[2001:db8::1]:5000"),
            ("203.0.113.9", "[2001:db8::1]:5000"),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn the_proxy_is_the_sockets_address() {
        let socket: SocketAddr = "10.0.0.1:5000".parse().expect("an address");
        let source = "10.0.0.2:7".parse().expect("an address");
        let peer = Peer::of_socket(socket).with_source(source);
        let peer = peer.forwarded(&listener(ForwardedHeader::XForwardedFor), "203.0.113.9");
        assert_eq!(peer.to_string(), "203.0.113.9");
        assert_eq!(peer.proxy(), Some(socket));
        assert_eq!(Peer::of_socket(socket).proxy(), None);
    }
}

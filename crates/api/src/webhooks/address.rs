//! Which addresses a webhook may reach.
//!
//! Who may add a webhook must not be able to reach services that only this machine can reach: its own ports, the private
//! network, the metadata of a cloud. A name can resolve to another address each time, so what counts is the address that is
//! connected to, and it is checked then ([`Reach::check`]); the check of the URL ([`Reach::target`]) is for early errors.

use axum::http::Uri;
use central::model::WEBHOOK_URL_BYTES_MAX as URL_MAX;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

/// Why a URL or an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no absolute URL.
    #[error(
        "it must be a URL such as https://example.com/hook, in ASCII and of {URL_MAX} characters at most"
    )]
    NotAUrl,
    /// Its scheme is not `https`.
    #[error("its scheme must be https; the setting webhooks.allow_http allows http")]
    NotHttps,
    /// It has a user or a password. They would be in logs.
    #[error("it must have no user and password; the signature shows who sends")]
    HasCredentials,
    /// It has a fragment, which is never sent.
    #[error("it must have no #fragment")]
    HasFragment,
    /// The address is not on the internet.
    #[error(
        "the address {0} is not a public one; the setting webhooks.allowed_networks allows others"
    )]
    Refused(IpAddr),
}

/// The settings of what may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether `http` is allowed, and not only `https`.
    pub allow_http: bool,
    /// Networks that may be reached besides the public addresses.
    pub allowed_networks: Vec<IpNet>,
}

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is used.
    pub is_tls: bool,
    /// A name or an address; an IPv6 address is without brackets.
    pub host: String,
    /// The port, 443 or 80 if the URL names none.
    pub port: u16,
    /// The value of the header `Host`.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Reach {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is no URL of a webhook, or its host is an address that must not be reached. A host that is a name is not
    /// resolved.
    pub fn target(&self, url: &str) -> Result<Target, AddressError> {
        if url.len() > URL_MAX || !url.is_ascii() {
            return Err(AddressError::NotAUrl);
        }
        if url.contains('#') {
            return Err(AddressError::HasFragment);
        }
        let uri = Uri::from_str(url).map_err(|_| AddressError::NotAUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(AddressError::NotAUrl);
        };
        let is_tls = match scheme {
            "https" => true,
            "http" if self.allow_http => false,
            _ => return Err(AddressError::NotHttps),
        };
        if authority.as_str().contains('@') {
            return Err(AddressError::HasCredentials);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        let port = match authority.port() {
            Some(port) => Some(port.as_u16()),
            // `Authority` takes `host:` and a port that is too large for a number without a port.
            None if authority.as_str().len() != authority.host().len() => None,
            None => Some(if is_tls { 443 } else { 80 }),
        };
        let port = port.filter(|port| *port != 0);
        let (Some(port), false) = (port, host.is_empty()) else {
            return Err(AddressError::NotAUrl);
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            self.check(address)?;
        }
        let path = uri.path_and_query();
        Ok(Target {
            is_tls,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: path.map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// Whether this address may be connected to: it is a public one, or in an allowed network. An IPv6 address that stands
    /// for an IPv4 address counts as that one.
    ///
    /// # Errors
    /// When it must not be reached.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        let meant = embedded(address);
        let is_allowed = self
            .allowed_networks
            .iter()
            .any(|network| network.contains(&address) || network.contains(&meant));
        let is_public = match meant {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        if is_allowed || is_public {
            Ok(())
        } else {
            Err(AddressError::Refused(address))
        }
    }
}

/// The IPv4 address that an IPv6 address stands for: IPv4-mapped (RFC 4291) or of the well-known prefix of NAT64 (RFC 6052).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => address,
    }
}

/// Blocks of IPv4 that are not on the internet: the IANA registry of special-purpose addresses (RFC 6890), multicast and the
/// reserved block.
const SPECIAL_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Blocks of `2000::/3` that are not on the internet, or stand for other addresses: `2001::/23` has Teredo, `2002::/16` is
/// 6to4.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// The only block of IPv6 in which public unicast addresses are assigned (RFC 4291, IANA).
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in =
        |&(network, bits): &(Ipv4Addr, u8)| Ipv4Net::new_assert(network, bits).contains(&address);
    !SPECIAL_V4.iter().any(is_in)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_in =
        |&(network, bits): &(Ipv6Addr, u8)| Ipv6Net::new_assert(network, bits).contains(&address);
    is_in(&GLOBAL_V6) && !SPECIAL_V6.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn public_addresses_may_be_reached() {
        let reach = Reach::default();
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "172.15.0.1",
            "172.32.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert_eq!(reach.check(ip(public)), Ok(()), "{public}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_in_each_form() {
        let reach = Reach::default();
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
        ] {
            let refused = AddressError::Refused(ip(private));
            assert_eq!(reach.check(ip(private)), Err(refused), "{private}");
        }
    }

    #[test]
    fn allowed_network_allows_its_addresses_and_no_others() {
        let reach = Reach {
            allowed_networks: vec!["10.2.0.0/16".parse().expect("a network")],
            ..Reach::default()
        };
        for allowed in ["10.2.3.4", "::ffff:10.2.3.4"] {
            assert_eq!(reach.check(ip(allowed)), Ok(()), "{allowed}");
        }
        for refused in ["10.3.0.1", "127.0.0.1"] {
            assert!(reach.check(ip(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn url_has_its_parts() {
        let target = Reach::default().target("https://example.com/a?b=c");
        let target = target.expect("a URL");
        assert_eq!(
            target,
            Target {
                is_tls: true,
                host: "example.com".to_owned(),
                port: 443,
                authority: "example.com".to_owned(),
                path: "/a?b=c".to_owned(),
            }
        );
        let http = Reach {
            allow_http: true,
            ..Reach::default()
        };
        let target = http.target("http://[2606:4700::1111]:8080");
        let target = target.expect("a URL");
        let shown = (target.host.as_str(), target.port, target.path.as_str());
        assert_eq!(shown, ("2606:4700::1111", 8_080, "/"));
        assert_eq!(target.authority, "[2606:4700::1111]:8080");
    }

    #[test]
    fn wrong_urls_are_refused() {
        let reach = Reach::default();
        let long = format!("https://example.com/{}", "a".repeat(URL_MAX));
        for (url, error) in [
            ("", AddressError::NotAUrl),
            ("/hook", AddressError::NotAUrl),
            ("example.com", AddressError::NotAUrl),
            ("https://", AddressError::NotAUrl),
            ("https:///hook", AddressError::NotAUrl),
            ("https://example.com:0/", AddressError::NotAUrl),
            ("https://example.com:99999/", AddressError::NotAUrl),
            ("https://exa mple.com/", AddressError::NotAUrl),
            ("https://example.com/\r\nX: y", AddressError::NotAUrl),
            ("https://bücher.example/", AddressError::NotAUrl),
            (long.as_str(), AddressError::NotAUrl),
            ("http://example.com/", AddressError::NotHttps),
            ("ftp://example.com/", AddressError::NotHttps),
            ("https://u:p@example.com/", AddressError::HasCredentials),
            ("https://u@example.com/", AddressError::HasCredentials),
            ("https://example.com/#a", AddressError::HasFragment),
            ("https://127.0.0.1/", AddressError::Refused(ip("127.0.0.1"))),
            ("https://[::1]/", AddressError::Refused(ip("::1"))),
        ] {
            assert_eq!(reach.target(url), Err(error), "{url}");
        }
    }
}

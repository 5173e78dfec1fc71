//! Parses `broker.url`: one node or several, with one sentence for each kind of invalid URL.

use crate::Config;
use lapin::uri::{AMQPScheme, AMQPUri};
use std::fmt;

/// The address and the credentials of one RabbitMQ node.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) uri: AMQPUri,
}

impl Address {
    /// Every node of `broker.url`, in its order.
    pub(crate) fn all(config: &Config) -> Result<Vec<Self>, String> {
        let addresses = config
            .url
            .split(',')
            .map(|url| Self::parse(url.trim(), config))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(addresses)
    }

    fn parse(url: &str, config: &Config) -> Result<Self, String> {
        const RIGHT: &str = "write amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://…";
        // The URL is not repeated in errors, because it contains a password.
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("broker.url is not a URL; {RIGHT}"));
        };
        if scheme != "amqp" && scheme != "amqps" {
            return Err(format!(
                "broker.url begins with {scheme}://, which is not RabbitMQ's protocol; {RIGHT}"
            ));
        }
        let mut uri: AMQPUri = url.parse().map_err(|error| {
            format!(
                "broker.url cannot be read ({error}); {RIGHT}, signs such as @ / # in the password \
                 percent-encoded"
            )
        })?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return Err(format!("broker.url names no host; {RIGHT}"));
        }
        if let Some(v6) = host
            .strip_prefix('[')
            .and_then(|host| host.split(']').next())
        {
            uri.authority.host = v6.to_owned();
        }
        if uri.vhost.is_empty() {
            // `amqp://host/` would select a virtual host with an empty name, which hardly exists.
            uri.vhost = "/".into();
        }
        uri.query.heartbeat = Some(config.heartbeat_s);
        Ok(Self { uri })
    }

    pub(crate) fn host(&self) -> &str {
        &self.uri.authority.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.uri.authority.port
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }

    pub(crate) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.uri.vhost
    }
}

impl fmt::Display for Address {
    /// Host and port; never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(url: &str) -> Result<Vec<Address>, String> {
        Address::all(&Config {
            url: url.into(),
            ..Config::default()
        })
    }

    #[test]
    fn several_nodes_are_parsed_in_order() {
        let nodes = all("amqp://u:p%40@a/v, amqps://b:1234,amqp://[::1]:7/").unwrap();
        let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a:5672", "b:1234", "::1:7"]);
        assert_eq!(nodes[0].uri.authority.userinfo.password, "p@");
        assert_eq!(nodes[0].vhost(), "v");
        assert_eq!(nodes[1].vhost(), "/");
        assert_eq!(nodes[2].vhost(), "/");
        assert!(nodes[1].is_tls() && !nodes[0].is_tls());
        assert_eq!(nodes[0].uri.query.heartbeat, Some(10));
    }

    #[test]
    fn a_bad_url_is_reported_without_its_password() {
        for url in [
            "",
            "localhost:5672",
            "http://u:secret@h/",
            "amqp://u:secret@:5672/",
            "amqp://u:secret@h:port/",
            "amqp://",
            "amqp://u:secret@h,",
        ] {
            let sentence = all(url).unwrap_err();
            assert!(sentence.starts_with("broker.url "), "{sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }
}

//! The gateway's settings. Each has a working default; the documentation of each bound says what happens at it.

use crate::admission::pending::PendingHandshakes;
use common::settings::{Section, SettingError};
use ipnet::IpNet;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const GATEWAY: Section = Section("gateway");

/// What to do with a charger that offers no `Sec-WebSocket-Protocol` at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssumeVersion {
    /// Refuse the handshake with 400.
    #[serde(rename = "refuse")]
    Refuse,
    /// Assume OCPP 1.6.
    #[serde(rename = "1.6")]
    V16,
    /// Assume OCPP 2.0.1.
    #[serde(rename = "2.0.1")]
    V201,
    /// Assume OCPP 2.1.
    #[serde(rename = "2.1")]
    V21,
}

impl AssumeVersion {
    /// The version to assume, if any.
    #[must_use]
    pub const fn version(self) -> Option<Version> {
        match self {
            Self::Refuse => None,
            Self::V16 => Some(Version::V16),
            Self::V201 => Some(Version::V201),
            Self::V21 => Some(Version::V21),
        }
    }
}

/// What must have happened to a record before its answer is sent. Every record passes the journal in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is synced to this gateway's disk.
    #[default]
    Journal,
    /// RabbitMQ has confirmed it too, so that it survives the loss of this gateway's disk. When that takes longer than
    /// `durability_wait_ms`, answers wait only for the journal until the sink has caught up; a metric, the log and the
    /// health page say so.
    Broker,
}

/// One address where chargers connect: a section `[[gateway.listeners]]` of `wattpost.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port. Default `0.0.0.0:9000`: chargers come from outside this machine, and 9000 is where their
    /// URL (`ws://HOST:9000/ocpp/{identity}`) points. Port 0 takes a free one.
    pub address: SocketAddr,
    /// OCPP security profile of the chargers that connect here. 1: every charger must give its password (HTTP
    /// Basic authentication). 0: a charger must give its password only if one is set for it. Default 0.
    pub security_profile: u8,
    /// Addresses of proxies in front of this listener, each as an address or a network (`10.0.0.0/8`). Default: none. The
    /// charger's own address is then taken from `forwarded_header`, or from the PROXY protocol; what any other address
    /// sends of these is ignored. All bounds by address, the log and the records use the charger's own address.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// The HTTP header in which the trusted proxies name the charger's address: `"x-forwarded-for"` (default) or
    /// `"forwarded"` (RFC 7239). Only this one is read: a proxy passes on the other one as the charger wrote it.
    pub forwarded_header: ForwardedHeader,
    /// Whether the trusted proxies begin each connection with a header of the PROXY protocol (version 1 or 2). Default
    /// false. If true, a connection of a trusted proxy without it is closed.
    pub proxy_protocol: bool,
    /// Certificate and key for TLS. Default: none. TLS is not served yet, so [`GatewayConfig::check`] refuses any value.
    pub tls: Option<TlsConfig>,
}

impl ListenerConfig {
    /// Whether `ip` is one of the trusted proxies.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let mut nets = self.trusted_proxies.iter();
        nets.any(|TrustedProxy(net)| net.contains(&ip))
    }
}

/// A proxy that is trusted to name the charger's address: a network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| {
            text.parse::<IpAddr>()
                .map(|ip| IpNet::from(ip.to_canonical()))
        });
        net.map(|net: IpNet| Self(net.trunc())).map_err(|_| {
            format!(
                "gateway.listeners[].trusted_proxies has {text:?}; each must be an IP address or a network such as \
                 \"10.0.0.0/8\", not a host name"
            )
        })
    }
}

impl TryFrom<String> for TrustedProxy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TrustedProxy> for String {
    fn from(TrustedProxy(net): TrustedProxy) -> Self {
        net.to_string()
    }
}

/// The HTTP header in which a proxy names the charger's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// TLS of a listener: `tls` in a section `[[gateway.listeners]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the server's certificate, followed by its intermediate certificates.
    pub certificate_file: PathBuf,
    /// PEM file with the certificate's private key.
    pub private_key_file: PathBuf,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9000)),
            security_profile: 0,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: false,
            tls: None,
        }
    }
}

/// Security profiles that a listener may have; 2 and 3 need TLS.
const SECURITY_PROFILE_MAX: u8 = 1;

/// Settings of the gateway: section `[gateway]` of `wattpost.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where chargers connect. Default: one listener with its own defaults.
    pub listeners: Vec<ListenerConfig>,

    /// Version for a charger that offers no subprotocol, until its messages show another: `"1.6"`, `"2.0.1"`, `"2.1"` or
    /// `"refuse"`.
    /// Default `"1.6"`: old chargers omit the header (rule C-7).
    pub assume_version: AssumeVersion,
    /// Whether the Basic-auth user name must be the identity of the path, without regard to case.
    /// Default true (rule S-3). Set false for chargers that send another user name.
    pub user_must_be_identity: bool,
    /// Whether permessage-deflate is accepted when a charger offers it. Default true (rule C-9).
    pub compression: bool,
    /// Answers shorter than this many bytes are not compressed. Default 256: compressing less costs
    /// more time than the bytes are worth.
    pub compression_bytes_min: usize,

    /// Connections at most; further handshakes get 503. Default 50,000. Lowered when the process may open too few
    /// files: see [`GatewayConfig::fit_into`].
    pub connections_max: usize,
    /// Sockets at most whose handshake is not finished. At this bound a new socket replaces the one that has been
    /// silent for longest (at least a second, without having sent the whole head of its request); without such a
    /// socket the new one gets 503. Default 2,048. As many closed sockets may linger for a second.
    pub handshakes_max: usize,
    /// The same for one peer address (one /64 of IPv6), so that no single address can use all of them. Default 256. Only
    /// sockets count that have not finished their handshake, so any number of chargers may be connected behind one
    /// router. Where all come through a proxy, name it in `trusted_proxies`.
    pub handshakes_per_address_max: usize,
    /// Connections at most of one peer address (one /64 of IPv6) by chargers that nobody has added, under a
    /// policy that lets such chargers connect; further ones get 503. Default 12,500: a quarter of the default
    /// of `connections_max`. Chargers that were added do not count. Where all come through a proxy, name it in
    /// `trusted_proxies`. Where any charger was added, those that were not have at most three
    /// quarters of `connections_max` together.
    pub unknown_per_address_max: usize,
    /// Handshakes per second; further ones get 503 with `Retry-After`, which spreads reconnects after an outage (rule
    /// H-9). Default 5,000, with bursts of the same size.
    pub handshakes_per_second: u32,
    /// The same for one peer address (one /64 of IPv6), so that no single address can use up the total. Default 1,000.
    /// Where all chargers come through a proxy, name it in `trusted_proxies`.
    pub handshakes_per_second_per_address: u32,
    /// Milliseconds within which a handshake must be complete; then the socket is closed. Default 10,000.
    pub handshake_timeout_ms: u64,
    /// Milliseconds within which the first byte of a handshake must arrive; then the socket is closed. Default 5,000: a
    /// charger sends at once, and a packet lost in a mobile network is sent again within 3 s.
    pub first_byte_timeout_ms: u64,
    /// Bytes of a request's head at most; longer ones get 431. Default 8,192.
    pub header_bytes_max: usize,
    /// Concurrent password checks (Argon2). Default 1: each takes tens of milliseconds of a core, which answers need
    /// too. Others wait within the handshake's deadline: 128 for each concurrent check, of these 16 from one peer address
    /// and 4 from one address with one identity; further ones get 503.
    pub password_checks_max: usize,

    /// Bytes of one message at most; a longer one closes the connection with 1009, and the charger sends it again after
    /// each reconnect. Default 2 MiB, which is also the maximum: a StopTransaction with hours of `transactionData` has more
    /// than 1 MiB. One charger's profile may allow up to 8 MiB, and at most half of `unfinished_bytes_max`.
    pub frame_bytes_max: usize,
    /// Milliseconds within which a message must be complete, from its first byte on; then the connection is closed with
    /// 1008. Pings between its parts do not extend the time; time in which the gateway does not read from the charger
    /// does not count. Default 60,000: a message of 1 MiB at 150 kbit/s. In proportion longer for a charger whose profile
    /// allows longer messages than `frame_bytes_max`.
    pub unfinished_timeout_ms: u64,
    /// Bytes of incomplete messages over all connections, for messages above 2 KiB; when more is held, the connections
    /// that hold the most bytes for the longest time are closed with 1008. Default 64 MiB: thirty-two of the longest
    /// messages at once. As many bytes more may be held by complete messages of up to 16 KiB that wait for their turn
    /// while messages are paced.
    pub unfinished_bytes_max: usize,
    /// Bytes of answers waiting for a slow reader; above it nothing more is read from that charger.
    /// Default 64 KiB.
    pub outbound_bytes_max: usize,
    /// Milliseconds without progress in writing after which the connection is closed. Default 30,000.
    pub write_timeout_ms: u64,
    /// Seconds of silence after which a ping is sent. Default 30 (rule H-3: shorter than the idle timers of
    /// mobile networks).
    pub ping_interval_s: u64,
    /// Pings that may remain unanswered before the connection is closed. Any byte counts as an answer.
    /// Default 2.
    pub ping_misses_max: u32,
    /// Seconds of silence allowed to a charger that has not answered a ping on this connection: some never do. Default
    /// 900: three heartbeats.
    pub silence_s_max: u64,
    /// Milliseconds that a new connection waits for what the charger's old connection remembers. Default 2,000.
    pub handover_timeout_ms: u64,

    /// Records of one batch to the sink at most. Default 4,000: large batches merge more changes of the same row, which
    /// helps most with a backlog.
    pub batch_records_max: usize,
    /// Bytes of one batch at most. Default 4 MiB.
    pub batch_bytes_max: usize,
    /// A batch that is not full waits until this many milliseconds after the one before it; after a pause, up to eight
    /// batches do not wait. Default 20: under load it saves the database a commit for every few records.
    pub batch_age_ms: u64,
    /// First pause after a delivery that failed, in milliseconds; doubles up to `retry_ms_max`, with
    /// jitter. Default 50.
    pub retry_ms_min: u64,
    /// Longest pause after a delivery that failed, in milliseconds. Default 1,000: a retry costs next to nothing.
    pub retry_ms_max: u64,

    /// What must have happened to a record before its answer is sent: `"journal"` (synced to this gateway's disk) or
    /// `"broker"` (RabbitMQ has confirmed it too). Default `"journal"`. With `"broker"` acknowledged messages survive the
    /// loss of a gateway's disk, and answers take one round trip to RabbitMQ longer.
    pub durability: Durability,
    /// Milliseconds that an answer waits for RabbitMQ's confirm at most, with `durability = "broker"`; then answers wait
    /// only for the journal's sync until RabbitMQ has caught up. Default 500:
    /// far below the 30 s after which chargers give up (rule F-26), and above a short stall.
    pub durability_wait_ms: u64,
    /// Seconds for which RabbitMQ must have been unavailable before records are delivered directly to the database.
    /// Default 10: a restart of RabbitMQ is shorter, and the journal holds the records meanwhile.
    pub broker_grace_s: u64,

    /// Seconds after its connect at which a charger that has not reported its connectors is asked for their status with
    /// `TriggerMessage`. Default 30: a charger that reports by itself has done so by then. 0 switches it off.
    pub ask_status_after_s: u64,

    /// Bytes acknowledged but not yet stored above which messages are paced while the sink is healthy.
    /// Default: an eighth of the journal's bound, at most 256 MiB. 0 switches pacing off.
    pub pace_from_bytes: Option<u64>,
    /// If a turn takes longer than this many milliseconds while messages are paced, further handshakes get 503:
    /// chargers that are not connected keep their messages, while each connected one makes the others wait longer.
    /// Connected chargers wait for their turn however long it takes. Default 20,000: below the 30 s after which chargers
    /// give up (rule F-26).
    pub pace_wait_ms_max: u64,

    /// Messages per second taken in from all chargers together that are not accepted (pending or rejected); further ones
    /// wait unread. After its first ten, each such charger may send one per second, where every 4 KiB count as one
    /// more. Default 100: such chargers may only boot, which they do once a minute or less often, and must not fill the
    /// journal (rule B-4).
    pub unaccepted_per_second: u32,

    /// Milliseconds without progress of the journal's disk while records wait for it; then all connections are closed
    /// and handshakes get 503 until it makes progress, as with a full journal. Default 10,000: a third of the 30 s that
    /// chargers wait (rule H-11).
    pub durable_timeout_ms: u64,

    /// Seconds between loads of the directory. Default 3. Until the first load has succeeded, or a kept directory was
    /// read, handshakes get 503.
    pub directory_refresh_s: u64,
    /// Milliseconds that the look-up of a token may take; then the policy decides. Default 500.
    pub token_timeout_ms: u64,
    /// Seconds by which this machine's clock may differ from the database's; above it chargers are refused with 503
    /// until one of the two is corrected, because a message recorded under a wrong time counts as the newest, or the
    /// oldest, for good. 0: any difference is allowed. Default 86,400: no correct clock differs by a day, whatever its
    /// time zone. Without effect with SQLite, which uses the same clock.
    pub clock_off_s_max: u64,
    /// `Retry-After` of a 503, in seconds; a random value between this and twice this is sent. Default 10.
    pub retry_after_s: u64,
    /// Bytes of the journal's newest records read at the start, so that resends are recognised after a restart. Default
    /// 64 MiB.
    pub resend_replay_bytes_max: u64,
    /// Seconds over which the connections are closed at a stop. Default 10: thousands of chargers
    /// that reconnect in the same instant would be a storm (rule H-9).
    pub shutdown_grace_s: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerConfig::default()],
            assume_version: AssumeVersion::V16,
            user_must_be_identity: true,
            compression: true,
            compression_bytes_min: 256,
            connections_max: 50_000,
            handshakes_max: 2_048,
            handshakes_per_address_max: 256,
            unknown_per_address_max: 12_500,
            handshakes_per_second: 5_000,
            handshakes_per_second_per_address: 1_000,
            handshake_timeout_ms: 10_000,
            first_byte_timeout_ms: 5_000,
            header_bytes_max: 8_192,
            password_checks_max: 1,
            frame_bytes_max: FRAME_BYTES_MAX,
            unfinished_timeout_ms: 60_000,
            unfinished_bytes_max: 64 << 20,
            outbound_bytes_max: 64 << 10,
            write_timeout_ms: 30_000,
            ping_interval_s: 30,
            ping_misses_max: 2,
            silence_s_max: 900,
            handover_timeout_ms: 2_000,
            batch_records_max: 4_000,
            batch_bytes_max: 4 << 20,
            batch_age_ms: 20,
            retry_ms_min: 50,
            retry_ms_max: 1_000,
            durability: Durability::Journal,
            durability_wait_ms: 500,
            broker_grace_s: 10,
            ask_status_after_s: 30,
            pace_from_bytes: None,
            pace_wait_ms_max: 20_000,
            unaccepted_per_second: 100,
            durable_timeout_ms: 10_000,
            directory_refresh_s: 3,
            token_timeout_ms: 500,
            clock_off_s_max: 86_400,
            retry_after_s: 10,
            resend_replay_bytes_max: 64 << 20,
            shutdown_grace_s: 10,
        }
    }
}

/// 2 MiB: even if JSON escapes make it six times as long, it fits into the 16 MiB that RabbitMQ 4 accepts by default.
const FRAME_BYTES_MAX: usize = 2 << 20;

impl GatewayConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// With the first setting that cannot work.
    pub fn check(&self) -> Result<(), SettingError> {
        self.check_listeners()?;
        let at_least = |key: &str, value: u64, least: u64| GATEWAY.at_least(key, value, least);
        GATEWAY.at_most(
            "frame_bytes_max",
            self.frame_bytes_max,
            FRAME_BYTES_MAX,
            "a record must fit into the journal and into a message of RabbitMQ",
        )?;
        at_least("connections_max", self.connections_max as u64, 1)?;
        at_least("handshakes_max", self.handshakes_max as u64, 1)?;
        at_least(
            "handshakes_per_second",
            self.handshakes_per_second.into(),
            1,
        )?;
        at_least(
            "handshakes_per_address_max",
            self.handshakes_per_address_max as u64,
            1,
        )?;
        at_least(
            "unknown_per_address_max",
            self.unknown_per_address_max as u64,
            1,
        )?;
        at_least(
            "handshakes_per_second_per_address",
            self.handshakes_per_second_per_address.into(),
            1,
        )?;
        at_least("handshake_timeout_ms", self.handshake_timeout_ms, 100)?;
        at_least("first_byte_timeout_ms", self.first_byte_timeout_ms, 100)?;
        at_least("header_bytes_max", self.header_bytes_max as u64, 1_024)?;
        at_least("password_checks_max", self.password_checks_max as u64, 1)?;
        at_least("frame_bytes_max", self.frame_bytes_max as u64, 4_096)?;
        at_least("unfinished_timeout_ms", self.unfinished_timeout_ms, 1_000)?;
        at_least(
            "unfinished_bytes_max",
            self.unfinished_bytes_max as u64,
            2 * self.frame_bytes_max as u64,
        )?;
        at_least("pace_wait_ms_max", self.pace_wait_ms_max, 100)?;
        at_least(
            "unaccepted_per_second",
            self.unaccepted_per_second.into(),
            1,
        )?;
        at_least("outbound_bytes_max", self.outbound_bytes_max as u64, 4_096)?;
        at_least("write_timeout_ms", self.write_timeout_ms, 100)?;
        at_least("ping_interval_s", self.ping_interval_s, 1)?;
        at_least("ping_misses_max", self.ping_misses_max.into(), 1)?;
        at_least("silence_s_max", self.silence_s_max, self.ping_interval_s)?;
        at_least("batch_records_max", self.batch_records_max as u64, 1)?;
        at_least("batch_bytes_max", self.batch_bytes_max as u64, 4_096)?;
        at_least("retry_ms_min", self.retry_ms_min, 1)?;
        at_least("retry_ms_max", self.retry_ms_max, self.retry_ms_min)?;
        at_least("durability_wait_ms", self.durability_wait_ms, 10)?;
        at_least("durable_timeout_ms", self.durable_timeout_ms, 200)?;
        at_least("directory_refresh_s", self.directory_refresh_s, 1)?;
        Ok(())
    }

    fn check_listeners(&self) -> Result<(), SettingError> {
        if self.listeners.is_empty() {
            return Err(GATEWAY.error("listeners", &"empty", "at least one address", None));
        }
        for (i, listener) in self.listeners.iter().enumerate() {
            if listener.tls.is_some() {
                return Err(GATEWAY.error(
                    &format!("listeners[{i}].tls"),
                    &"set",
                    "left out",
                    Some("TLS is not served yet, so terminate TLS in a proxy in front of the gateway"),
                ));
            }
            GATEWAY.at_most(
                &format!("listeners[{i}].security_profile"),
                listener.security_profile,
                SECURITY_PROFILE_MAX,
                "profiles 2 and 3 need TLS, which a proxy before the gateway can provide",
            )?;
            if listener.proxy_protocol && listener.trusted_proxies.is_empty() {
                return Err(GATEWAY.error(
                    &format!("listeners[{i}].proxy_protocol"),
                    &true,
                    "false while trusted_proxies is empty",
                    Some("the PROXY protocol is read only from trusted proxies, so name their addresses in trusted_proxies"),
                ));
            }
            let others = &self.listeners[..i];
            let is_twice = others.iter().any(|other| other.address == listener.address);
            if is_twice && listener.address.port() != 0 {
                return Err(GATEWAY.error(
                    &format!("listeners[{i}].address"),
                    &listener.address,
                    "an address that no other listener has",
                    None,
                ));
            }
        }
        Ok(())
    }

    /// File handles that chargers' sockets may use: connections, unfinished handshakes, sockets that were told to close for
    /// a new one, and sockets that linger.
    #[must_use]
    pub const fn handles_max(&self) -> u64 {
        let handshakes = self.handshakes_max as u64;
        let leaving = PendingHandshakes::leaving_max(self.handshakes_max) as u64;
        (self.connections_max as u64)
            .saturating_add(handshakes)
            .saturating_add(leaving)
            .saturating_add(self.lingering_max() as u64)
    }

    /// These settings with `connections_max` (and, with very few handles, `handshakes_max`) lowered so that all sockets
    /// of chargers together use at most `handles` file handles. Subtract what the rest of the process needs (journal,
    /// database, RabbitMQ, HTTP) first: then no number of sockets can use up the handles that delivery needs.
    ///
    /// # Errors
    /// With the number of missing handles, if there are fewer than [`HANDLES_MIN`](Self::HANDLES_MIN).
    pub fn fit_into(&self, handles: u64) -> Result<Self, u64> {
        if handles < Self::HANDLES_MIN {
            return Err(Self::HANDLES_MIN - handles);
        }
        let mut fitting = self.clone();
        if fitting.handles_max() <= handles {
            return Ok(fitting);
        }
        let handles = usize::try_from(handles).unwrap_or(usize::MAX);
        fitting.handshakes_max = fitting.handshakes_max.min(handles / 8).max(1);
        let others = fitting.handles_max() - fitting.connections_max as u64;
        let others = usize::try_from(others).unwrap_or(usize::MAX);
        fitting.connections_max = fitting.connections_max.min(handles.saturating_sub(others));
        Ok(fitting)
    }

    /// The fewest file handles for sockets that a gateway starts with.
    pub const HANDLES_MIN: u64 = 16;

    /// Connections of chargers that nobody has added, where any were added: three quarters of
    /// `connections_max`.
    pub(crate) const fn unknown_max(&self) -> usize {
        self.connections_max - self.connections_max / 4
    }

    /// Closed sockets that linger at a time at most.
    pub(crate) const fn lingering_max(&self) -> usize {
        self.handshakes_max
    }

    pub(crate) const fn clock_off_max(&self) -> Duration {
        Duration::from_secs(self.clock_off_s_max)
    }

    /// How long [`Gateway::shutdown`](crate::Gateway::shutdown) should be given.
    #[must_use]
    pub const fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_s)
    }

    pub(crate) const fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub(crate) const fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.first_byte_timeout_ms)
    }

    pub(crate) const fn unfinished_timeout(&self) -> Duration {
        Duration::from_millis(self.unfinished_timeout_ms)
    }

    pub(crate) const fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    pub(crate) const fn ping_interval(&self) -> Duration {
        Duration::from_secs(self.ping_interval_s)
    }

    pub(crate) const fn durable_timeout(&self) -> Duration {
        Duration::from_millis(self.durable_timeout_ms)
    }

    /// How long RabbitMQ must have been unavailable before records are delivered directly; for
    /// [`FailoverSink::new`](crate::FailoverSink::new).
    #[must_use]
    pub const fn broker_grace(&self) -> Duration {
        Duration::from_secs(self.broker_grace_s)
    }

    /// How long after a connect a charger is asked for the status of its connectors; zero: never.
    #[must_use]
    pub const fn ask_status_after(&self) -> Duration {
        Duration::from_secs(self.ask_status_after_s)
    }

    pub(crate) const fn durability_wait(&self) -> Duration {
        Duration::from_millis(self.durability_wait_ms)
    }

    pub(crate) const fn silence_max(&self) -> Duration {
        Duration::from_secs(self.silence_s_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(GatewayConfig::default().check(), Ok(()));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error =
            serde_json::from_str::<GatewayConfig>(r#"{"lisen": []}"#).expect_err("must be refused");
        assert!(error.to_string().contains("lisen"), "{error}");
    }

    #[test]
    fn a_setting_that_cannot_work_is_named_with_its_value() {
        let config = GatewayConfig {
            frame_bytes_max: 7,
            ..GatewayConfig::default()
        };
        let error = config.check().expect_err("must be refused");
        assert!(
            error.to_string().contains("gateway.frame_bytes_max is 7"),
            "{error}"
        );
    }

    #[test]
    fn listeners_that_cannot_work_are_named() {
        let with = |listeners| {
            let config = GatewayConfig {
                listeners,
                ..GatewayConfig::default()
            };
            config.check().expect_err("must be refused").to_string()
        };
        assert!(with(Vec::new()).contains("gateway.listeners is empty"));
        let profile_2 = ListenerConfig {
            security_profile: 2,
            ..ListenerConfig::default()
        };
        let error = with(vec![profile_2]);
        assert!(
            error.contains("gateway.listeners[0].security_profile is 2"),
            "{error}"
        );
        let error = with(vec![ListenerConfig::default(); 2]);
        assert!(
            error.contains("gateway.listeners[1].address is 0.0.0.0:9000"),
            "{error}"
        );
    }

    #[test]
    fn tls_of_a_listener_is_refused_with_its_key_and_the_remedy() {
        let config: GatewayConfig = serde_json::from_str(
            r#"{"listeners": [{}, {"tls": {"certificate_file": "a.pem", "private_key_file": "b.pem"}}]}"#,
        )
        .expect("the keys exist");
        let error = config.check().expect_err("must be refused").to_string();
        assert_eq!(
            error,
            "gateway.listeners[1].tls is set; it must be left out: TLS is not served yet, so terminate TLS in a proxy \
             in front of the gateway"
        );
    }

    #[test]
    fn trusted_proxies_are_addresses_or_networks() {
        let read = |proxies: &str| {
            let text = format!(r#"{{"listeners": [{{"trusted_proxies": {proxies}}}]}}"#);
            serde_json::from_str::<GatewayConfig>(&text)
        };
        let config = read(r#"["10.1.2.3/8", "192.0.2.1", "2001:db8::/32"]"#).expect("are valid");
        let listener = &config.listeners[0];
        for (address, is_trusted) in [
            ("10.200.0.1", true),
            ("::ffff:10.200.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8::7", true),
            ("2001:db9::7", false),
        ] {
            let ip = address.parse().expect("an address");
            assert_eq!(listener.trusts(ip), is_trusted, "{address}");
        }
        let again = serde_json::to_string(&config).expect("can be written");
        assert_eq!(
            serde_json::from_str::<GatewayConfig>(&again).expect("is valid"),
            config
        );
        for wrong in ["proxy.example.com", "10.0.0.0/33", ""] {
            let error = read(&format!("[{wrong:?}]")).expect_err("must be refused");
            let error = error.to_string();
            assert!(
                error.contains("gateway.listeners[].trusted_proxies"),
                "{error}"
            );
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    fn the_proxy_protocol_without_trusted_proxies_is_refused() {
        let listener = ListenerConfig {
            proxy_protocol: true,
            ..ListenerConfig::default()
        };
        let config = GatewayConfig {
            listeners: vec![listener],
            ..GatewayConfig::default()
        };
        let error = config.check().expect_err("must be refused").to_string();
        assert!(
            error.contains("gateway.listeners[0].proxy_protocol is true")
                && error.contains("trusted_proxies"),
            "{error}"
        );
    }

    #[test]
    fn all_sockets_together_fit_into_the_available_handles() {
        let config = GatewayConfig::default();
        assert_eq!(config.fit_into(1 << 20), Ok(config.clone()));
        assert_eq!(config.fit_into(config.handles_max()), Ok(config.clone()));
        for handles in [16, 17, 50, 100, 500, 4_096, 20_000, 54_000, 54_600] {
            let fitting = config.fit_into(handles).expect("enough");
            assert!(fitting.handles_max() <= handles, "{handles}: {fitting:?}");
            assert_eq!(fitting.check(), Ok(()), "{handles}");
            // Most handles are for connected chargers.
            assert!(
                fitting.connections_max as u64 * 2 >= handles,
                "{handles}: {fitting:?}"
            );
        }
        assert_eq!(config.fit_into(10), Err(6));
        let few = GatewayConfig {
            connections_max: 10,
            handshakes_max: 5,
            ..config
        };
        assert_eq!(few.fit_into(1_000), Ok(few.clone()));
    }
}

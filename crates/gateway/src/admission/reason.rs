//! Why a handshake is refused. The log, the answer's status and `docs/connecting-a-charger.md` have one source: this
//! table. A test holds the page equal to it.

use crate::admission::handshake::Status;

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    Tls,
    NotHttp,
    Malformed,
    HeadTooLarge,
    PlainHttp,
    Soap,
    ApiRequest,
    NotGet,
    NoKey,
    WebSocketVersion,
    NoIdentity,
    BadIdentity,
    LongIdentity,
    NoSubprotocol,
    OtherSubprotocol,
    UnknownCharger,
    NoPassword,
    OtherScheme,
    BrokenBase64,
    NoColon,
    OtherUser,
    WrongPassword,
    NoPasswordSet,
    UnusableHash,
    NoProxyHeader,
    BadProxyHeader,
    UnexpectedProxyHeader,
    NotNow,
}

impl Reason {
    /// All reasons, in the order of the page.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 28] = [
        Self::Tls,
        Self::NotHttp,
        Self::Malformed,
        Self::HeadTooLarge,
        Self::PlainHttp,
        Self::Soap,
        Self::ApiRequest,
        Self::NotGet,
        Self::NoKey,
        Self::WebSocketVersion,
        Self::NoIdentity,
        Self::BadIdentity,
        Self::LongIdentity,
        Self::NoSubprotocol,
        Self::OtherSubprotocol,
        Self::UnknownCharger,
        Self::NoPassword,
        Self::OtherScheme,
        Self::BrokenBase64,
        Self::NoColon,
        Self::OtherUser,
        Self::WrongPassword,
        Self::NoPasswordSet,
        Self::UnusableHash,
        Self::NoProxyHeader,
        Self::BadProxyHeader,
        Self::UnexpectedProxyHeader,
        Self::NotNow,
    ];

    /// The HTTP status of the answer, after which the connection is closed.
    pub(crate) const fn status(self) -> Status {
        match self {
            Self::Tls
            | Self::NotHttp
            | Self::Malformed
            | Self::NoKey
            | Self::BadIdentity
            | Self::LongIdentity
            | Self::NoSubprotocol
            | Self::OtherSubprotocol
            | Self::NoProxyHeader
            | Self::BadProxyHeader
            | Self::UnexpectedProxyHeader => Status::BadRequest,
            Self::HeadTooLarge => Status::HeadTooLarge,
            Self::PlainHttp | Self::Soap | Self::ApiRequest | Self::WebSocketVersion => {
                Status::UpgradeRequired
            }
            Self::NotGet => Status::MethodNotAllowed,
            Self::NoIdentity | Self::UnknownCharger => Status::NotFound,
            Self::NoPassword
            | Self::OtherScheme
            | Self::BrokenBase64
            | Self::NoColon
            | Self::OtherUser
            | Self::WrongPassword
            | Self::NoPasswordSet
            | Self::UnusableHash => Status::Unauthorized,
            Self::NotNow => Status::Unavailable,
        }
    }

    /// What was wrong, as the log says it after "charger refused: ".
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::Tls => "TLS on a port without TLS",
            Self::NotHttp => "not an HTTP request",
            Self::Malformed => "malformed HTTP request",
            Self::HeadTooLarge => "request head too long",
            Self::PlainHttp => "plain HTTP request without Upgrade: websocket",
            Self::Soap => "SOAP request (OCPP-S)",
            Self::ApiRequest => "request for the HTTP API on the port for chargers",
            Self::NotGet => "WebSocket upgrade that is not a GET",
            Self::NoKey => "WebSocket upgrade without Sec-WebSocket-Key",
            Self::WebSocketVersion => "WebSocket version other than 13",
            Self::NoIdentity => "no identity in the URL",
            Self::BadIdentity => "identity with characters that are not allowed",
            Self::LongIdentity => "identity too long",
            Self::NoSubprotocol => "no OCPP version offered",
            Self::OtherSubprotocol => "no supported OCPP version offered",
            Self::UnknownCharger => "unknown charger",
            Self::NoPassword => "no password",
            Self::OtherScheme => "Authorization is not Basic",
            Self::BrokenBase64 => "Authorization: Basic is not Base64",
            Self::NoColon => "Authorization: Basic without a colon",
            Self::OtherUser => "user name is not the identity",
            Self::WrongPassword => "wrong password",
            Self::NoPasswordSet => "no password is set for this charger",
            Self::UnusableHash => "stored password hash cannot be used",
            Self::NoProxyHeader => "no PROXY protocol header from a trusted proxy",
            Self::BadProxyHeader => "broken PROXY protocol header",
            Self::UnexpectedProxyHeader => "PROXY protocol header that was not expected",
            Self::NotNow => "not now",
        }
    }

    /// What to do about it: sentences, with names of settings, values, commands and addresses between backticks. The log line
    /// has it in the field `cure`, the API too, and the dashboard shows what is between backticks as code.
    pub(crate) const fn cure(self) -> &'static str {
        match self {
            Self::Tls => {
                "Set the charger's URL to `ws://` instead of `wss://`, or connect it to a TLS proxy in front of this port."
            }
            Self::NotHttp => "Connect with OCPP-J over WebSocket; this port accepts nothing else.",
            Self::Malformed => {
                "Look for a proxy or firewall that changes requests, or update the charger's firmware."
            }
            Self::HeadTooLarge => {
                "Remove headers that a proxy adds, or raise `gateway.header_bytes_max`."
            }
            Self::PlainHttp => {
                "Use `ws://HOST:9000/ocpp/{identity}` in the charger; a proxy must pass on `Upgrade` and `Connection`."
            }
            Self::Soap => {
                "Switch the charger to OCPP-J (JSON over WebSocket): `ocpp1.6`, `ocpp2.0.1` or `ocpp2.1`; OCPP-S is not supported."
            }
            Self::ApiRequest => "Send API requests to the address in `http.listen` (port 8080).",
            Self::NotGet => {
                "Update the charger's firmware, or look for a proxy that changes the method."
            }
            Self::NoKey => {
                "Look for a proxy that removes `Sec-WebSocket-Key`, or update the charger's firmware."
            }
            Self::WebSocketVersion => {
                "Update the charger's firmware: it must offer `Sec-WebSocket-Version: 13`."
            }
            Self::NoIdentity => {
                "Append the charger's identity to the URL: `ws://HOST:9000/ocpp/{identity}`; any path may precede it."
            }
            Self::BadIdentity => {
                "Choose an identity without slashes and control characters, percent-encoded as UTF-8."
            }
            Self::LongIdentity => {
                "Choose an identity of at most 48 bytes (OCPP 2.x) or 255 bytes (OCPP 1.6)."
            }
            Self::NoSubprotocol => {
                "Set the charger's OCPP version, or set `gateway.assume_version` to the version that it uses."
            }
            Self::OtherSubprotocol => "Set the charger to `ocpp1.6`, `ocpp2.0.1` or `ocpp2.1`.",
            Self::UnknownCharger => {
                "Add it with `wattpost charger add {identity}`, or set `policy.unknown_charger` to `\"accept\"` or `\"pending\"`."
            }
            Self::NoPassword => {
                "Set this charger's password in the charger (`AuthorizationKey` or `BasicAuthPassword`), security profile 1."
            }
            Self::OtherScheme => {
                "Set the charger to HTTP Basic authentication (security profile 1); no other scheme is supported."
            }
            Self::BrokenBase64 => "Set the password in the charger again, or update its firmware.",
            Self::NoColon => "Set user name (the identity) and password in the charger.",
            Self::OtherUser => {
                "Set the charger's user name to its identity, or set `gateway.user_must_be_identity` to `false`."
            }
            Self::WrongPassword => {
                "Set the same password in the charger and with `wattpost charger add {identity} --password-stdin`."
            }
            Self::NoPasswordSet => {
                "Set one with `wattpost charger add {identity} --password-stdin`; this listener has `security_profile = 1`."
            }
            Self::UnusableHash => {
                "Set the password again with `wattpost charger add {identity} --password-stdin`."
            }
            Self::NoProxyHeader => {
                "Make the proxy send the PROXY protocol, or set `proxy_protocol = false` for this listener."
            }
            Self::BadProxyHeader => {
                "Make the proxy send a whole header of the PROXY protocol v1 or v2 at once."
            }
            Self::UnexpectedProxyHeader => {
                "Set `proxy_protocol = true` and `trusted_proxies` for this listener, or switch it off in the proxy."
            }
            Self::NotNow => {
                "Change nothing in the charger: it tries again; `/health/ready` says what this gateway waits for."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const PAGE: &str = include_str!("../../../../docs/connecting-a-charger.md");

    #[test]
    fn each_reason_is_a_row_of_the_page_with_its_status_and_cure() {
        for reason in Reason::ALL {
            let start = format!("| `{}` | {} | ", reason.line(), reason.status().code());
            let row = PAGE.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("no row begins with {start}"));
            let cell = row.trim_end_matches(" |").rsplit(" | ").next();
            assert_eq!(cell, Some(reason.cure()), "{}", reason.line());
        }
    }

    /// What looks like a setting, a header, a value of one, an address or a subprotocol.
    fn is_code(word: &str) -> bool {
        let word = word.trim_matches(|c: char| ".,;:()'".contains(c));
        let parts: Vec<&str> = word.split('.').collect();
        word.contains(['_', '=', '"', '{'])
            || word.contains("//")
            || word.starts_with(['/', '-'])
            || word.starts_with("ocpp")
            || word.starts_with("Sec-")
            || ["http", "gateway", "policy"].contains(&parts[0]) && parts.len() > 1
            || ["true", "false", "Upgrade", "Connection"].contains(&word)
    }

    #[test]
    fn each_cure_is_of_sentences_with_code_between_backticks() {
        for reason in Reason::ALL {
            let cure = reason.cure();
            assert!(cure.starts_with(|c: char| c.is_ascii_uppercase()), "{cure}");
            assert!(cure.ends_with('.') && !cure.ends_with(".."), "{cure}");
            // Between backticks is every second part, and each backtick has its other one.
            let parts: Vec<&str> = cure.split('`').collect();
            assert_eq!(parts.len() % 2, 1, "{cure}");
            for text in parts.iter().step_by(2) {
                let found: Vec<&str> = text
                    .split_whitespace()
                    .filter(|word| is_code(word))
                    .collect();
                assert!(found.is_empty(), "{cure}: {found:?} is code");
            }
            for code in parts.iter().skip(1).step_by(2) {
                assert!(!code.is_empty() && code.trim() == *code, "{cure}");
            }
        }
        for word in [
            "gateway.assume_version",
            "\"accept\"",
            "wss://,",
            "ocpp2.1;",
            "/health/ready",
            "proxy_protocol",
        ] {
            assert!(is_code(word), "{word}");
        }
    }

    /// The dashboard offers to add a charger at 404 and to set its password at 401 (`RefusedHandshake` in the API).
    #[test]
    fn the_status_tells_an_unknown_charger_and_wrong_credentials_from_other_reasons() {
        let of = |code: &str| {
            let reasons = Reason::ALL.into_iter();
            reasons
                .filter(|reason| reason.status().code() == code)
                .collect::<Vec<_>>()
        };
        // An entry without an identity offers nothing.
        assert_eq!(of("404"), [Reason::NoIdentity, Reason::UnknownCharger]);
        let credentials = [
            Reason::NoPassword,
            Reason::OtherScheme,
            Reason::BrokenBase64,
            Reason::NoColon,
            Reason::OtherUser,
            Reason::WrongPassword,
            Reason::NoPasswordSet,
            Reason::UnusableHash,
        ];
        assert_eq!(of("401"), credentials);
    }

    #[test]
    fn the_page_has_no_other_rows_and_no_reason_twice() {
        let rows: Vec<&str> = PAGE
            .lines()
            .skip_while(|line| !line.starts_with("| line: `charger refused: …` |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(rows.len(), Reason::ALL.len());
        let lines: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.line()).collect();
        assert_eq!(lines.len(), Reason::ALL.len());
    }
}

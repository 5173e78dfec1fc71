//! Requests to close the connection of a charger: the database is their queue, as it is for commands.
//!
//! A request names the gateway and the epoch of one connection, so it never closes a later connection of the same charger.
//! The gateway reads its requests from the database each second; an event between processes only makes it read at once.
//! So a request needs no RabbitMQ, and a gateway that is restarted meanwhile finds nothing to close.

use super::{ChangeRequest, DatabaseClock, Once, QueryError, QueryStore, Unavailable};
use crate::query::{ConnectionEnd, ConnectionView, PageRequest, Place};
use crate::record::{Epoch, GatewayId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use uuid::Uuid;

/// The close code of a request that names none: the other side goes away, and the charger shall connect again (RFC 6455,
/// section 7.4.1).
pub const DISCONNECT_CODE_DEFAULT: u16 = 1001;

/// Close codes that an operator may send. The others of RFC 6455, section 7.4, report faults of a message, or may not be
/// sent at all.
const CODES: [RangeInclusive<u16>; 5] = [
    1000..=1001,
    1008..=1008,
    1011..=1013,
    3000..=3999,
    4000..=4999,
];

/// What a valid close code is, for errors.
pub const DISCONNECT_CODE_EXPECTED: &str =
    "1000, 1001, 1008, 1011, 1012, 1013, or a number from 3000 to 4999";

/// Bytes of the reason at most: what fits into a close frame (RFC 6455, section 5.5).
pub const DISCONNECT_REASON_BYTES_MAX: usize = 123;

/// What a valid reason is, for errors.
pub const DISCONNECT_REASON_EXPECTED: &str =
    "a text of 1 to 123 bytes of UTF-8 without line ends and control characters";

/// Milliseconds in which a gateway must hear of a request. Later it does nothing: the operator has seen by then that nothing
/// happened.
pub const DISCONNECT_VALID_MS: i64 = 60_000;

/// Whether an operator may close a connection with this code.
#[must_use]
pub fn is_disconnect_code(code: u16) -> bool {
    CODES.iter().any(|codes| codes.contains(&code))
}

/// Whether this is a reason that a close frame can carry.
#[must_use]
pub fn is_disconnect_reason(reason: &str) -> bool {
    (1..=DISCONNECT_REASON_BYTES_MAX).contains(&reason.len()) && !reason.contains(char::is_control)
}

/// A request to close one connection, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// Its id.
    pub id: Uuid,
    /// The charger, in the spelling of the list of chargers.
    pub charger_id: String,
    /// The gateway that holds the connection.
    pub gateway_id: GatewayId,
    /// The connection's epoch.
    pub epoch: Epoch,
    /// The close code of WebSocket.
    pub code: u16,
    /// The reason for the close frame and the record of the end; empty if none was given.
    pub reason: String,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// From then on the gateway does nothing.
    pub expires_at: Timestamp,
}

/// A request to close the connection that a charger has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectRequest {
    /// The id that a new request gets.
    pub id: Uuid,
    /// The charger, in the spelling of the list of chargers.
    pub charger_id: String,
    /// The newest connection of the charger; `None` if it has ended.
    pub connection: Option<(GatewayId, Epoch)>,
    /// See [`is_disconnect_code`].
    pub code: u16,
    /// See [`is_disconnect_reason`]; or empty.
    pub reason: String,
    /// When, by [`DatabaseClock::time`].
    pub at: Timestamp,
    /// Who requests it. A condition is not used.
    pub request: ChangeRequest,
}

impl DisconnectRequest {
    /// What is stored of it.
    ///
    /// # Errors
    /// When the charger has no connection.
    pub fn accept(&self) -> Result<Disconnect, NotConnected> {
        let (gateway_id, epoch) = self.connection.ok_or(NotConnected)?;
        Ok(Disconnect {
            id: self.id,
            charger_id: self.charger_id.clone(),
            gateway_id,
            epoch,
            code: self.code,
            reason: self.reason.clone(),
            requested_at: self.at,
            expires_at: self.at.plus_millis(DISCONNECT_VALID_MS),
        })
    }
}

/// The charger has no connection that could be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotConnected;

/// What a gateway said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Timestamp,
    /// Whether it held the connection, and told it to end.
    pub was_held: bool,
}

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectState {
    /// The gateway has not said anything yet.
    Pending,
    /// The gateway has told the connection to end; the record of the end is not in the database yet.
    Closing,
    /// The connection has ended, and its end is recorded with the reason.
    Closed,
    /// The connection has ended without a record of it: its gateway was killed, or has no such connection.
    Ended,
    /// The gateway did not hear of the request in time, and does nothing.
    Expired,
}

impl DisconnectState {
    /// Whether nothing changes any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Ended | Self::Expired)
    }
}

/// A request with what became of it, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DisconnectView {
    /// The charger.
    pub charger_id: String,
    /// What is known.
    pub state: DisconnectState,
    /// The gateway that holds or held the connection.
    pub gateway_id: GatewayId,
    /// The connection's epoch.
    pub epoch: Epoch,
    /// The close code.
    pub code: u16,
    /// The reason, if one was given.
    pub reason: Option<String>,
    /// When it was requested.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub requested_at: Timestamp,
    /// From then on the gateway does nothing.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub expires_at: Timestamp,
    /// When the gateway heard of it.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub heard_at: Option<Timestamp>,
    /// The connection, as the list of connections shows it.
    pub connection: Option<ConnectionView>,
}

impl Disconnect {
    /// The view at `now`, with what the gateway said and with the connection.
    #[must_use]
    pub fn view(
        &self,
        heard: Option<Heard>,
        connection: Option<ConnectionView>,
        now: Timestamp,
    ) -> DisconnectView {
        let end = connection.as_ref().map(|connection| connection.end);
        let state = match (end, heard) {
            (Some(ConnectionEnd::Closed), _) => DisconnectState::Closed,
            (Some(ConnectionEnd::NotRecorded), _) => DisconnectState::Ended,
            (_, Some(heard)) if heard.was_held => DisconnectState::Closing,
            (_, Some(_)) => DisconnectState::Ended,
            (_, None) if now >= self.expires_at => DisconnectState::Expired,
            (_, None) => DisconnectState::Pending,
        };
        DisconnectView {
            charger_id: self.charger_id.clone(),
            state,
            gateway_id: self.gateway_id,
            epoch: self.epoch,
            code: self.code,
            reason: Some(self.reason.clone()).filter(|reason| !reason.is_empty()),
            requested_at: self.requested_at,
            expires_at: self.expires_at,
            heard_at: heard.map(|heard| heard.at),
            connection,
        }
    }
}

/// Upper bound of the newest connections among which the one of a request is looked for first.
const NEWEST: usize = 20;

/// What is known of a request at `now`, by [`DatabaseClock::time`], with what its gateway said. Blocks.
///
/// # Errors
/// When the database cannot be read now.
pub fn disconnect_seen(
    store: &dyn QueryStore,
    request: &Disconnect,
    heard: Option<Heard>,
    now: Timestamp,
) -> Result<DisconnectView, QueryError> {
    let id = (request.epoch, request.gateway_id);
    let charger = store.charger(&request.charger_id)?;
    let newest = PageRequest {
        limit: NEWEST,
        ..PageRequest::default()
    };
    // The charger may have connected many times since.
    let after = Place::Connection(Epoch(request.epoch.0.saturating_add(1)), request.gateway_id);
    let from_there = PageRequest {
        after: Some(after.to_cursor()),
        limit: 2,
    };
    let mut connection = None;
    for page in [newest, from_there] {
        let found = store.connections(&request.charger_id, &page)?;
        connection = found.items.into_iter().find(|row| row.id() == id);
        if connection.is_some() || found.next.is_none() {
            break;
        }
    }
    let connection = connection.zip(charger);
    let connection = connection.map(|(row, detail)| row.view(&detail.charger, now));
    Ok(request.view(heard, connection, now))
}

/// Requests to close connections. Calls block. Requests are made and judged by [`DatabaseClock::time`].
///
/// Laws: the request, its entry in the audit log (`charger.disconnect_requested`) and its idempotency key are one database
/// transaction. A request is given to its gateway only, until that has heard of it or the request has expired.
pub trait Disconnects: DatabaseClock {
    /// Stores a request.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn request_disconnect(
        &self,
        wanted: &DisconnectRequest,
    ) -> Result<Once<Disconnect, NotConnected>, Unavailable>;

    /// What the gateway said to a request; `None` if it has not said anything, or the request is older than 72 hours.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn disconnect_heard(&self, id: Uuid) -> Result<Option<Heard>, Unavailable>;

    /// At most `max` requests for connections of this gateway, which it has not heard of and which are not expired at `now`,
    /// by [`DatabaseClock::time`].
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn disconnects_of(
        &self,
        gateway: GatewayId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Disconnect>, Unavailable>;

    /// The gateway has heard of these requests. What was said of a request before stays.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn heard_disconnects(&self, heard: &[(Uuid, Heard)]) -> Result<(), Unavailable>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, ActorKind, Origin};
    use crate::query::ConnectionRow;
    use ocpp::Version;

    fn request(connection: Option<(GatewayId, Epoch)>) -> DisconnectRequest {
        DisconnectRequest {
            id: Uuid::from_u128(1),
            charger_id: "CP-1".to_owned(),
            at: Timestamp(1_000),
            connection,
            code: DISCONNECT_CODE_DEFAULT,
            reason: String::new(),
            request: ChangeRequest::of(Origin {
                at: Timestamp(1_000),
                by: Actor {
                    kind: ActorKind::CommandLine,
                    name: None,
                },
                from: "test".to_owned(),
                request_id: None,
                traceparent: None,
            }),
        }
    }

    #[test]
    fn only_codes_that_may_be_sent_are_valid() {
        for code in [1000, 1001, 1008, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
            assert!(is_disconnect_code(code), "{code}");
        }
        for code in [
            0, 999, 1002, 1004, 1005, 1006, 1007, 1009, 1010, 1014, 1015, 2999, 5000,
        ] {
            assert!(!is_disconnect_code(code), "{code}");
        }
        assert!(is_disconnect_code(DISCONNECT_CODE_DEFAULT));
    }

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        assert!(is_disconnect_reason(&"ä".repeat(61)));
        assert!(!is_disconnect_reason(&"ä".repeat(62)));
        assert!(!is_disconnect_reason(""));
        assert!(!is_disconnect_reason("a\nb"));
    }

    #[test]
    fn a_charger_without_a_connection_is_refused() {
        assert_eq!(request(None).accept(), Err(NotConnected));
    }

    #[test]
    fn a_request_is_done_only_when_the_end_is_known() {
        let id = (GatewayId(Uuid::from_u128(7)), Epoch(500));
        let disconnect = request(Some(id)).accept().expect("connected");
        let row = ConnectionRow {
            gateway: id.0,
            epoch: id.1,
            ocpp_version: Version::V16,
            connected_at: Some(Timestamp(500)),
            remote: None,
            ended: None,
            last_record_at: None,
            gateway_started_at: None,
            next_at: None,
        };
        let ended = ConnectionRow {
            ended: Some((Timestamp(1_500), "closed by operator".to_owned())),
            ..row.clone()
        };
        let mut charger = crate::model::ChargerState::default().view("CP-1", None, Timestamp(0));
        charger.connection = crate::model::ConnectionState::Open;
        charger.gateway_id = Some(id.0);
        charger.connected_at = Some(Timestamp(500));
        let state = |row: &ConnectionRow, heard: Option<bool>, now: i64| {
            let connection = row.view(&charger, Timestamp(now));
            let heard = heard.map(|was_held| Heard {
                at: Timestamp(1_200),
                was_held,
            });
            let view = disconnect.view(heard, Some(connection), Timestamp(now));
            view.state
        };
        assert_eq!(state(&row, None, 1_100), DisconnectState::Pending);
        assert_eq!(state(&row, Some(true), 1_300), DisconnectState::Closing);
        assert_eq!(state(&row, Some(false), 1_300), DisconnectState::Ended);
        assert_eq!(state(&row, None, 61_000), DisconnectState::Expired);
        assert_eq!(state(&ended, Some(true), 1_600), DisconnectState::Closed);
        let killed = ConnectionRow {
            gateway_started_at: Some(Timestamp(900)),
            ..row.clone()
        };
        assert_eq!(state(&killed, None, 1_100), DisconnectState::Ended);
    }
}

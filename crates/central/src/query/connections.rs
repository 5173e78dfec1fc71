//! The connections of one charger, as the records `connected`, `disconnected` and `gateway_started` tell them. A gateway that
//! is killed records no end of its connections; such an end is bounded by what was recorded before and after it, and never
//! guessed.

use crate::model::{ChargerView, ConnectionState};
use crate::project::charger::member;
use crate::record::{Epoch, GatewayId, RecordKind};
use crate::time::Timestamp;
use ocpp::Version;
use serde::Serialize;
use std::borrow::Cow;

/// What the records tell of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The gateway that held it.
    pub gateway: GatewayId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The version of OCPP that was agreed.
    pub ocpp_version: Version,
    /// When it began; `None` if that record is not in the database, because it is expired or not delivered yet.
    pub connected_at: Option<Timestamp>,
    /// The address of its peer, from the same record.
    pub remote: Option<String>,
    /// When it ended and why, if that was recorded.
    pub ended: Option<(Timestamp, String)>,
    /// When its last record was received, if its end was not recorded.
    pub last_record_at: Option<Timestamp>,
    /// When its gateway started the next time, if its end was not recorded.
    pub gateway_started_at: Option<Timestamp>,
    /// When the charger's next connection began.
    pub next_at: Option<Timestamp>,
}

/// The begin or the end of a connection, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The gateway that held it.
    pub gateway: GatewayId,
    /// Its epoch.
    pub epoch: Epoch,
    /// `Connected` or `Disconnected`; others say only that there was the connection.
    pub kind: RecordKind,
    /// The version of OCPP that was agreed.
    pub ocpp_version: Version,
    /// When the gateway wrote it.
    pub received_at: Timestamp,
    /// The payload of the record.
    pub payload: String,
    /// The reason of the record.
    pub reason: String,
}

impl ConnectionRow {
    /// The connections of one charger from their records, of which those of the newest connection are first and those of one
    /// connection are together. For adapters, which add what other records tell.
    #[must_use]
    pub fn of_records(records: impl IntoIterator<Item = ConnectionRecord>) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::new();
        for record in records {
            let id = (record.epoch, record.gateway);
            if rows.last().is_none_or(|row| row.id() != id) {
                let next_at = rows.last().map(Self::began_at);
                rows.push(Self {
                    gateway: record.gateway,
                    epoch: record.epoch,
                    ocpp_version: record.ocpp_version,
                    connected_at: None,
                    remote: None,
                    ended: None,
                    last_record_at: None,
                    gateway_started_at: None,
                    next_at,
                });
            }
            let Some(row) = rows.last_mut() else {
                continue;
            };
            match record.kind {
                RecordKind::Connected => {
                    row.connected_at = Some(record.received_at);
                    row.remote = member(&record.payload, "remote").map(Cow::into_owned);
                }
                RecordKind::Disconnected => row.ended = Some((record.received_at, record.reason)),
                _ => {}
            }
        }
        rows
    }

    /// What identifies it among the connections of its charger, and sorts them.
    #[must_use]
    pub const fn id(&self) -> (Epoch, GatewayId) {
        (self.epoch, self.gateway)
    }

    /// When it began. Where that is not recorded, its epoch, which is that time in milliseconds.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        self.connected_at.unwrap_or_else(|| at(self.epoch))
    }
}

fn at(epoch: Epoch) -> Timestamp {
    Timestamp(i64::try_from(epoch.0).unwrap_or(i64::MAX))
}

/// What is known of the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionEnd {
    /// It has not ended.
    Open,
    /// Its end is recorded.
    Closed,
    /// It has ended at a time that nobody recorded: its gateway was killed, or lost the record.
    NotRecorded,
    /// Whether it has ended is not known: its gateway does not report.
    Unknown,
}

/// A connection, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionView {
    /// The gateway that held it.
    pub gateway_id: GatewayId,
    /// Its number: the greater one is the newer.
    pub epoch: Epoch,
    /// The version of OCPP that was agreed.
    pub ocpp_version: Version,
    /// The address of its peer.
    pub remote: Option<String>,
    /// When it began.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub connected_at: Timestamp,
    /// What is known of its end.
    pub end: ConnectionEnd,
    /// When it ended, if that is recorded.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub disconnected_at: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Its last record, if its end is not recorded: it had not ended before.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub last_record_at: Option<Timestamp>,
    /// If its end was not recorded, the time at which it had ended: its gateway started again, or the charger connected
    /// again.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub ended_before: Option<Timestamp>,
    /// Milliseconds from its begin to its end, or to now while it is open; `None` if the end is not known.
    pub duration_ms: Option<i64>,
}

impl ConnectionRow {
    /// The view at `now`. `charger` is the charger as it is known now, which says of the newest connection whether it is open.
    #[must_use]
    pub fn view(&self, charger: &ChargerView, now: Timestamp) -> ConnectionView {
        let connected_at = self.began_at();
        let ended_before = [self.gateway_started_at, self.next_at]
            .into_iter()
            .flatten()
            .min();
        let is_newest = charger.gateway_id == Some(self.gateway)
            && charger.connected_at == Some(at(self.epoch))
            && ended_before.is_none();
        let end = match (&self.ended, is_newest, charger.connection) {
            (Some(_), ..) => ConnectionEnd::Closed,
            (None, true, ConnectionState::Open) => ConnectionEnd::Open,
            (None, true, ConnectionState::Unknown) => ConnectionEnd::Unknown,
            (None, ..) => ConnectionEnd::NotRecorded,
        };
        let disconnected_at = self.ended.as_ref().map(|(at, _)| *at);
        let until = match end {
            ConnectionEnd::Open => Some(now),
            _ => disconnected_at,
        };
        let is_recorded = end == ConnectionEnd::Closed;
        ConnectionView {
            gateway_id: self.gateway,
            epoch: self.epoch,
            ocpp_version: self.ocpp_version,
            remote: self.remote.clone(),
            connected_at,
            end,
            disconnected_at,
            reason: self.ended.as_ref().map(|(_, reason)| reason.clone()),
            last_record_at: self.last_record_at.filter(|_| !is_recorded),
            ended_before: ended_before.filter(|_| end == ConnectionEnd::NotRecorded),
            duration_ms: until.map(|until| {
                until
                    .as_millis()
                    .saturating_sub(connected_at.as_millis())
                    .max(0)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChargerState;
    use uuid::Uuid;

    fn row(epoch: u64) -> ConnectionRow {
        ConnectionRow {
            gateway: GatewayId(Uuid::from_u128(7)),
            epoch: Epoch(epoch),
            ocpp_version: Version::V16,
            connected_at: Some(Timestamp(1_000)),
            remote: None,
            ended: None,
            last_record_at: Some(Timestamp(4_000)),
            gateway_started_at: None,
            next_at: None,
        }
    }

    fn charger(connection: ConnectionState) -> ChargerView {
        let mut charger = ChargerState::default().view("CP-1", None, Timestamp(0));
        charger.connection = connection;
        charger.gateway_id = Some(GatewayId(Uuid::from_u128(7)));
        charger.connected_at = Some(Timestamp(1_000));
        charger
    }

    #[test]
    fn only_the_newest_connection_of_a_live_gateway_is_open() {
        let now = Timestamp(9_000);
        let view = row(1_000).view(&charger(ConnectionState::Open), now);
        assert_eq!(
            (view.end, view.duration_ms),
            (ConnectionEnd::Open, Some(8_000))
        );
        let view = row(1_000).view(&charger(ConnectionState::Unknown), now);
        assert_eq!((view.end, view.duration_ms), (ConnectionEnd::Unknown, None));
        let view = row(999).view(&charger(ConnectionState::Open), now);
        assert_eq!(view.end, ConnectionEnd::NotRecorded);
    }

    #[test]
    fn an_end_that_was_not_recorded_is_bounded_and_not_guessed() {
        let mut killed = row(1_000);
        killed.gateway_started_at = Some(Timestamp(7_000));
        killed.next_at = Some(Timestamp(7_500));
        let view = killed.view(&charger(ConnectionState::Open), Timestamp(9_000));
        assert_eq!(view.end, ConnectionEnd::NotRecorded);
        assert_eq!(view.last_record_at, Some(Timestamp(4_000)));
        assert_eq!(view.ended_before, Some(Timestamp(7_000)));
        assert_eq!((view.disconnected_at, view.duration_ms), (None, None));
    }

    #[test]
    fn a_recorded_end_counts_also_when_the_begin_is_gone() {
        let mut ended = row(2_000);
        ended.connected_at = None;
        ended.ended = Some((Timestamp(5_000), "no pong in time".to_owned()));
        ended.next_at = Some(Timestamp(4_500));
        let view = ended.view(&charger(ConnectionState::Open), Timestamp(9_000));
        assert_eq!(view.end, ConnectionEnd::Closed);
        assert_eq!(view.connected_at, Timestamp(2_000));
        assert_eq!(view.duration_ms, Some(3_000));
        assert_eq!((view.ended_before, view.last_record_at), (None, None));
    }
}

//! What cannot be answered now, although the request is right.

use super::ApiError;
use super::kinds::{
    BUSY, CROWDED, INTERNAL, NOT_STORED, TIMEOUT, TOO_MANY_CONNECTIONS, TOO_MANY_STREAMS,
    TOO_MANY_WAITING, UNAVAILABLE, UNREADABLE,
};
use central::ports::{Unavailable, UnavailableKind};
use std::time::Duration;

impl ApiError {
    /// The request needs a component that is unavailable, or an object that cannot be read: a repeat would fail again.
    pub(crate) fn unavailable(unavailable: &Unavailable) -> Self {
        if unavailable.kind == UnavailableKind::Corrupt {
            return Self::new(
                &UNREADABLE,
                format!(
                    "What is stored cannot be read: {}. It is damaged, or a newer version of Wattpost has written it.",
                    unavailable.detail
                ),
            );
        }
        Self::new(
            &UNAVAILABLE,
            format!("The {unavailable}. No data is lost; repeat the request."),
        )
        .retry_after_s(2)
    }

    pub(crate) fn timeout(timeout: Duration) -> Self {
        Self::new(
            &TIMEOUT,
            format!(
                "The database did not answer within {} ms; repeat the request, or narrow it (limit, \
                 from, to).",
                timeout.as_millis()
            ),
        )
        .retry_after_s(5)
    }

    pub(crate) fn busy(timeout: Duration) -> Self {
        Self::new(
            &BUSY,
            format!(
                "Other requests kept the database busy for {} ms; repeat the request.",
                timeout.as_millis()
            ),
        )
        .retry_after_s(5)
    }

    pub(crate) fn crowded(timeout: Duration, calls: usize) -> Self {
        Self::new(
            &CROWDED,
            format!(
                "Other requests of the same caller kept all {calls} database calls that it may have at once busy for {} \
                 ms; send fewer requests at once, or narrow them (limit, from, to).",
                timeout.as_millis()
            ),
        )
        .retry_after_s(5)
    }

    /// All ordinary connections are in use; only health and metrics are answered.
    pub(crate) fn too_many_connections() -> Self {
        Self::new(
            &TOO_MANY_CONNECTIONS,
            "All connections (http.connections_max) are in use; only /health/live, /health/ready and \
             /metrics are answered. Repeat the request."
                .to_owned(),
        )
        .retry_after_s(5)
    }

    pub(crate) fn not_stored(id: central::RecordId, waited: Duration) -> Self {
        Self::new(
            &NOT_STORED,
            format!(
                "The record {id} was not stored within {} s; /api/v1/messages/{id}/trace says where it is.",
                waited.as_secs()
            ),
        )
        .retry_after_s(1)
    }

    pub(crate) fn too_many_waiting(max: usize) -> Self {
        Self::new(
            &TOO_MANY_WAITING,
            format!("{max} requests wait for a record already; repeat the request."),
        )
        .retry_after_s(1)
    }

    /// Whether the database did not answer.
    pub(crate) fn is_of_database(&self) -> bool {
        [&UNAVAILABLE, &TIMEOUT].contains(&self.kind)
    }

    pub(crate) fn too_many_streams() -> Self {
        Self::new(
            &TOO_MANY_STREAMS,
            "Half of all connections (http.connections_max) are streams of events, which leaves the others for \
             requests. Close a stream, or raise the setting."
                .to_owned(),
        )
        .retry_after_s(5)
    }

    /// An internal error; the log has the details.
    pub(crate) fn internal() -> Self {
        Self::new(
            &INTERNAL,
            "Wattpost failed to answer this request; its log has the cause.".to_owned(),
        )
    }
}

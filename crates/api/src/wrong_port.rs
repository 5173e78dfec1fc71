//! Chargers that call the API's port by mistake: they get an answer that says where chargers connect, and the log says it
//! too, within bounds.

use crate::error::ApiError;
use axum::extract::Request;
use axum::http::header;
use common::log_bound::{Bounds, LogBound, Unlogged, cut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Lines in a minute.
const LINES: Bounds = Bounds {
    per_subject: 3,
    per_source: 30,
    total: 120,
};
/// How often to check whether a summary is due.
const SUMMARY_CHECK: Duration = Duration::from_secs(5);
/// Characters of a path that a line holds.
const PATH_CHARS_MAX: usize = 100;

/// The address of a request's client, in the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) SocketAddr);

/// Recognises chargers, and logs them.
pub(crate) struct WrongPort {
    lines: LogBound,
}

impl Default for WrongPort {
    fn default() -> Self {
        Self {
            lines: LogBound::new(LINES),
        }
    }
}

impl WrongPort {
    /// Refuses the request of a charger: a WebSocket upgrade, or a path that begins with `/ocpp`. The API has neither.
    ///
    /// # Errors
    /// With the answer to the charger, after logging it.
    pub(crate) fn check(&self, request: &Request) -> Result<(), ApiError> {
        let mut upgrades = request.headers().get_all(header::UPGRADE).iter();
        let is_upgrade = upgrades.any(|value| {
            let words = value.as_bytes().split(|byte| *byte == b',');
            let mut words = words.map(<[u8]>::trim_ascii);
            words.any(|word| word.eq_ignore_ascii_case(b"websocket"))
        });
        let path = request.uri().path();
        let first = path.split('/').find(|segment| !segment.is_empty());
        if !is_upgrade && !first.is_some_and(|first| first.eq_ignore_ascii_case("ocpp")) {
            return Ok(());
        }
        let client = request.extensions().get::<Client>();
        self.log(client.map(|Client(address)| *address), path);
        Err(ApiError::charger_here(request.uri()))
    }

    fn log(&self, client: Option<SocketAddr>, path: &str) {
        let ip = client.map(|address| address.ip());
        let kind = "a charger called the HTTP API";
        if self.lines.may_log(kind, &ip, path, Instant::now()) {
            tracing::info!(
                address = client.map(tracing::field::display),
                path = &*cut(path, PATH_CHARS_MAX),
                cure = "point the charger at an address in gateway.listeners: ws://HOST:9000/ocpp/{identity}",
                "{kind}"
            );
        }
    }

    /// Logs how many lines were not logged, until `stop`.
    pub(crate) async fn summarise(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SUMMARY_CHECK);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return log_unlogged(self.lines.take_all_unlogged()),
                _ = ticks.tick() => log_unlogged(self.lines.take_unlogged(Instant::now())),
            }
        }
    }
}

fn log_unlogged(unlogged: Option<Unlogged>) {
    if let Some(Unlogged { lines, .. }) = unlogged {
        tracing::info!(
            lines,
            "lines about chargers that called the HTTP API were not logged, because there were too many within a minute"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn is_charger(path: &str, upgrade: Option<&str>) -> bool {
        let mut request = Request::builder().uri(path);
        if let Some(upgrade) = upgrade {
            request = request.header(header::UPGRADE, upgrade);
        }
        let request = request.body(Body::empty()).expect("a request");
        WrongPort::default().check(&request).is_err()
    }

    #[test]
    fn an_upgrade_or_a_path_of_ocpp_is_that_of_a_charger() {
        for (path, upgrade, expected) in [
            ("/ocpp", None, true),
            ("/ocpp/CP-1", None, true),
            ("//OCPP//CP-1?x", None, true),
            ("/CP-1", Some("websocket"), true),
            ("/", Some("h2c, WebSocket"), true),
            ("/api/v1/chargers", Some("websocket"), true),
            ("/", None, false),
            ("/", Some("h2c"), false),
            ("/ocpp2", None, false),
            ("/api/v1/chargers/ocpp", None, false),
        ] {
            assert_eq!(is_charger(path, upgrade), expected, "{path} {upgrade:?}");
        }
    }
}

//! Periodic event streams (2.1): values of a monitored variable, sent as SENDs, which have no answer.

use super::Answer;
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};
use std::time::Duration;

/// Maximum number of streams.
pub(super) const STREAMS_MAX: usize = 4;
/// Simulated seconds between two messages of a stream that names no interval, and the least interval.
const INTERVAL_S: u64 = 60;
const INTERVAL_S_MIN: u64 = 1;

/// A stream. Its id is that of its monitor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stream {
    id: u64,
    interval_s: u64,
    values: u64,
    /// When the next message is due; `None` before the central system has accepted the stream.
    next_at: Option<TimestampUs>,
}

impl Stream {
    pub(super) fn new(id: u64, params: &Value) -> Self {
        let mut stream = Self {
            id,
            interval_s: INTERVAL_S,
            values: 1,
            next_at: None,
        };
        stream.adjust(params);
        stream
    }

    fn adjust(&mut self, params: &Value) {
        let interval = params["interval"].as_u64().unwrap_or(self.interval_s);
        self.interval_s = interval.clamp(INTERVAL_S_MIN, 86_400);
        self.values = params["values"].as_u64().unwrap_or(self.values);
    }

    fn constant_data(&self) -> Value {
        json!({
            "id": self.id,
            "variableMonitoringId": self.id,
            "params": {"interval": self.interval_s, "values": self.values},
        })
    }
}

impl Charger {
    /// Asks the central system whether it takes a stream.
    pub(super) fn open_stream(&mut self, stream: Stream, now: TimestampUs) {
        let streams = &mut self.kept().streams;
        streams.retain(|one| one.id != stream.id);
        if streams.len() >= STREAMS_MAX {
            return;
        }
        let request = json!({"constantStreamData": stream.constant_data()});
        streams.push(stream);
        self.push_pending(Action::OpenPeriodicEventStream, request.to_string(), 0, now);
    }

    pub(super) fn close_stream(&mut self, id: u64, now: TimestampUs) {
        let streams = &mut self.kept().streams;
        let count = streams.len();
        streams.retain(|one| one.id != id);
        if streams.len() < count {
            let request = json!({ "id": id });
            self.push_pending(
                Action::ClosePeriodicEventStream,
                request.to_string(),
                0,
                now,
            );
        }
    }

    /// Handles the answer to `OpenPeriodicEventStream` with this payload.
    pub(in crate::charger) fn stream_answered(
        &mut self,
        request: &str,
        is_accepted: bool,
        now: TimestampUs,
    ) {
        let request: Value = serde_json::from_str(request).unwrap_or_default();
        let id = request["constantStreamData"]["id"].as_u64();
        let settings = std::sync::Arc::clone(&self.settings);
        let streams = &mut self.kept().streams;
        let Some(index) = streams.iter().position(|one| Some(one.id) == id) else {
            return;
        };
        if is_accepted {
            let interval_s = streams[index].interval_s as f64;
            streams[index].next_at = Some(now.plus(settings.scaled(interval_s)));
        } else {
            streams.remove(index);
        }
    }

    pub(super) fn get_periodic_event_stream(&mut self, _: &Value, _: TimestampUs) -> Answer {
        let streams: Vec<Value> = self
            .kept()
            .streams
            .iter()
            .map(Stream::constant_data)
            .collect();
        if streams.is_empty() {
            return Answer::empty();
        }
        Answer::Result(json!({"constantStreamData": streams}))
    }

    pub(super) fn adjust_periodic_event_stream(
        &mut self,
        payload: &Value,
        _: TimestampUs,
    ) -> Answer {
        let id = payload["id"].as_u64();
        let streams = &mut self.kept().streams;
        match streams.iter_mut().find(|one| Some(one.id) == id) {
            Some(stream) => {
                stream.adjust(&payload["params"]);
                Answer::accepted()
            }
            None => self.status_because("Rejected", "UnknownStream"),
        }
    }

    pub(super) fn streams_deadline(&self) -> Option<TimestampUs> {
        if !self.is_ready() {
            return None;
        }
        let streams = &self.kept.as_ref()?.streams;
        streams.iter().filter_map(|one| one.next_at).min()
    }

    pub(super) fn drive_streams(&mut self, now: TimestampUs) {
        if !self.is_ready() {
            return;
        }
        for index in 0..self.kept().streams.len() {
            let stream = self.kept().streams[index].clone();
            if stream.next_at.is_none_or(|at| at > now) {
                continue;
            }
            // A lower bound, so that a great `speed_up` does not flood the connection.
            let interval = self.settings.scaled(stream.interval_s as f64);
            let interval = interval.max(Duration::from_millis(100));
            self.kept().streams[index].next_at = Some(now.plus(interval));
            let monitor = self.kept().monitors.get(&stream.id);
            let Some(about) = monitor.map(super::monitoring::Monitor::about) else {
                continue;
            };
            let value = match self.find(&about) {
                Ok(found) => self.value_of_found(&found, now),
                Err(_) => String::new(),
            };
            let message = json!({
                "id": stream.id,
                "pending": 0,
                "basetime": now.to_string(),
                "data": [{"t": 0, "v": value}],
            });
            self.send_unconfirmed("NotifyPeriodicEventStream", &message);
        }
    }
}

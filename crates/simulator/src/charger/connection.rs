//! The connection to the central system: opening and losing it, pings, heartbeats, and the registration with
//! BootNotification (rules B-1 to B-6, H-5, H-8, N-2, N-3, C-10).

use super::command::BootReason;
use super::message::{Action, Step};
use super::output::Output;
use super::send::Outstanding;
use super::{Charger, Refusal, payload};
use crate::ledger::Class;
use crate::timestamp::TimestampUs;
use ocpp::Version;

/// The state of the connection. *Online* means only that it is open (rule Q-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// Closed; to be opened at this time.
    Waiting(TimestampUs),
    /// Being opened.
    Opening,
    /// Open.
    Open,
    /// Closed at the end of the run.
    Stopped,
}

/// Whether the central system has accepted the charger since power-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registration {
    /// Not accepted. BootNotification may be sent at this time, and no other message before (rule B-3).
    Due(TimestampUs),
    /// Accepted.
    Accepted,
}

/// 2.x `OfflineThreshold` in seconds: after a longer time offline, the status of all connectors is sent, not only changed
/// ones (rule N-3).
const OFFLINE_THRESHOLD_S: f64 = 60.0;

/// Maximum number of messages of class N that are kept while offline, with the setting `status_first`.
const PENDING_MAX: usize = 100;

impl Charger {
    pub(super) fn connection_opened(&mut self, now: TimestampUs) {
        self.connection = ConnectionState::Open;
        self.back_off.succeeded();
        self.retry_at = None;
        self.pong_by = None;
        // Random, so that the chargers of a fleet do not ping at the same time.
        let part = 0.5 + 0.5 * self.rng.f64();
        self.ping_at = self.settings.ping.map(|ping| now.plus(ping.mul_f64(part)));
        if self.registration != Registration::Accepted {
            return;
        }
        if self.settings.boot_on_reconnect {
            self.registration = Registration::Due(now);
        } else {
            self.back_online(now);
        }
    }

    pub(super) fn connection_refused(&mut self, refusal: Refusal, now: TimestampUs) {
        if self.connection == ConnectionState::Opening {
            self.schedule_reconnect(Some(refusal), now);
        }
    }

    pub(super) fn connection_lost(&mut self, now: TimestampUs) {
        self.schedule_reconnect(None, now);
        self.offline_since = now;
        self.drop_delayed_commands();
        (self.ping_at, self.pong_by, self.heartbeat_at, self.retry_at) = (None, None, None, None);
        match self.outstanding.take() {
            Some(Outstanding {
                message: Some(message),
                ..
            }) => self.drop_unanswered(message, true, now),
            Some(_) if self.settings.count_lost_connections => self.front_failed(now),
            _ => {}
        }
        for message in std::mem::take(&mut self.pending) {
            if self.settings.status_first && message.action == Action::StatusNotification {
                self.pending.push_back(message);
            } else {
                self.drop_unsent(&message, now);
            }
        }
        // also messages that were queued before the connection was lost. Transmitted ones are resent unchanged.
        for message in self.queue.iter_mut().filter(|one| one.transmissions == 0) {
            message.was_offline = true;
        }
    }

    fn schedule_reconnect(&mut self, refusal: Option<Refusal>, now: TimestampUs) {
        let wait = self
            .back_off
            .next_wait(self.version, refusal, &self.settings, &mut self.rng);
        self.connection = ConnectionState::Waiting(now.plus(wait));
    }

    /// Does what is due on the connection.
    pub(super) fn drive_connection(&mut self, now: TimestampUs) {
        match self.connection {
            ConnectionState::Waiting(at) if at <= now => {
                self.connection = ConnectionState::Opening;
                self.outputs.push_back(Output::Connect);
            }
            ConnectionState::Open => self.drive_open_connection(now),
            ConnectionState::Waiting(_) | ConnectionState::Opening | ConnectionState::Stopped => {}
        }
    }

    fn drive_open_connection(&mut self, now: TimestampUs) {
        let is_due = |at: Option<TimestampUs>| at.is_some_and(|at| at <= now);
        if is_due(self.pong_by) {
            self.close_connection(now);
            return;
        }
        if is_due(self.outstanding.as_ref().map(|one| one.deadline)) {
            self.outstanding_unanswered(now);
            self.ping(now);
        }
        if is_due(self.ping_at) {
            self.ping(now);
        }
        if is_due(self.heartbeat_at) && self.is_ready() && !self.draining {
            self.heartbeat_at = Some(now.plus(self.heartbeat));
            self.push_pending(Action::Heartbeat, "{}".to_owned(), 0, now);
        }
    }

    /// Sends a ping, also after a timeout of a call (F-28). Without a pong the connection is closed.
    fn ping(&mut self, now: TimestampUs) {
        let Some(interval) = self.settings.ping else {
            return;
        };
        self.ping_at = Some(now.plus(interval));
        self.pong_by
            .get_or_insert(now.plus(self.settings.answer_timeout));
        self.outputs.push_back(Output::Ping);
    }

    pub(super) fn close_connection(&mut self, now: TimestampUs) {
        if self.connection == ConnectionState::Open {
            self.outputs.push_back(Output::Close);
            self.connection_lost(now);
        }
    }

    pub(super) fn connection_deadline(&self) -> Option<TimestampUs> {
        match self.connection {
            ConnectionState::Waiting(at) => Some(at),
            ConnectionState::Open => {
                let heartbeat = self
                    .heartbeat_at
                    .filter(|_| self.is_ready() && !self.draining);
                let deadline = self.outstanding.as_ref().map(|one| one.deadline);
                let due = [self.ping_at, self.pong_by, heartbeat, deadline];
                due.into_iter().flatten().min()
            }
            ConnectionState::Opening | ConnectionState::Stopped => None,
        }
    }

    pub(super) fn boot_payload(&self) -> String {
        payload::boot(self.version, &self.id, self.boot_reason)
    }

    /// Handles the answer to BootNotification (rules B-2, B-5, B-6).
    pub(super) fn boot_answered(&mut self, status: &str, interval_s: f64, now: TimestampUs) {
        if status != "Accepted" {
            // With 0 the charger chooses the interval.
            let seconds = if interval_s > 0.0 { interval_s } else { 60.0 };
            self.registration = Registration::Due(now.plus(self.settings.scaled(seconds)));
            return;
        }
        self.registration = Registration::Accepted;
        let interval_s = if interval_s > 0.0 { interval_s } else { 300.0 };
        self.heartbeat = self
            .settings
            .heartbeat
            .unwrap_or_else(|| self.settings.scaled(interval_s));
        // Random, so that the chargers of a fleet do not send heartbeats at the same time.
        let first = self.heartbeat.mul_f64(0.5 + 0.5 * self.rng.f64());
        self.heartbeat_at = Some(now.plus(first));
        if self.is_operative {
            self.back_online(now);
            return;
        }
        self.is_operative = true;
        if self.version == Version::V16 {
            let text = payload::status(self.version, 0, payload::Status::Available, now);
            self.push_pending(Action::StatusNotification, text, 0, now);
        }
        self.start_connectors(now);
    }

    /// Schedules another BootNotification after a timeout or a CALLERROR.
    pub(super) fn boot_failed(&mut self, now: TimestampUs) {
        let wait = self.settings.scaled(30.0).mul_f64(1.0 + self.rng.f64());
        self.registration = Registration::Due(now.plus(wait));
    }

    /// Sends changed statuses and a heartbeat after a reconnect.
    fn back_online(&mut self, now: TimestampUs) {
        let threshold = self.settings.scaled(OFFLINE_THRESHOLD_S);
        let was_long = now.since(self.offline_since) > threshold;
        for connector in 0..self.connectors.len() {
            if was_long && self.version != Version::V16 {
                self.connectors[connector].status_sent = None;
            }
            self.send_status(connector, now);
        }
        self.heartbeat_at = Some(now);
    }

    /// Creates a message of class N. It is dropped if the charger is offline or not accepted.
    pub(super) fn push_pending(
        &mut self,
        action: Action,
        text: String,
        connector: u8,
        now: TimestampUs,
    ) {
        let kept_offline =
            self.settings.status_first && action == Action::StatusNotification && self.is_operative;
        if !(self.is_ready() || kept_offline && self.pending.len() < PENDING_MAX) {
            return;
        }
        debug_assert_eq!(self.class(action), Class::N);
        let message = self.message(action, text.into(), connector, None, Step::Within);
        self.pending.push_back(message);
        if action != Action::Heartbeat {
            self.heartbeat_at = Some(now.plus(self.heartbeat));
        }
    }

    /// Queues a page of a report of a charger that is connected, but not accepted (rule B-5).
    pub(super) fn push_unaccepted(&mut self, action: Action, text: String) {
        let message = self.message(action, text.into(), 0, None, Step::Within);
        self.pending.push_back(message);
    }

    /// Simulates a restart; the queue is kept (rule Q-5).
    pub(super) fn power_cycle(&mut self, reason: BootReason, now: TimestampUs) {
        for connector in &mut self.connectors {
            *connector = super::connectors::Connector::default();
        }
        self.close_connection(now);
        self.pending.clear();
        self.registration = Registration::Due(now);
        self.is_operative = false;
        self.boot_reason = reason;
        self.values_after_reboot();
    }

    /// Ends the run.
    pub(super) fn stop_all(&mut self, now: TimestampUs) {
        if self.connection == ConnectionState::Open {
            self.outputs.push_back(Output::Close);
        }
        self.connection = ConnectionState::Stopped;
        self.drop_delayed_commands();
        if let Some(Outstanding {
            message: Some(message),
            ..
        }) = self.outstanding.take()
        {
            self.drop_unanswered(message, true, now);
        }
        self.outstanding = None;
        self.pending.clear();
        self.end_queue();
    }
}

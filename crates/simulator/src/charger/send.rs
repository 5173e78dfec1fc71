//! Sending: one unanswered call at a time (rule F-24). Messages of class T are sent in order and stay in the queue until
//! they are answered or discarded (rules ).

use super::Charger;
use super::connection::{ConnectionState, Registration};
use super::message::{Action, Message, QueueEdit, Step};
use super::output::{Count, EndedMessage, Output};
use super::payload::Draft;
use crate::config::ResendIds;
use crate::ledger::{Class, Outcome};
use crate::timestamp::TimestampUs;
use ocpp::frame::{self, MessageId};

/// The unanswered call.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) action: Action,
    pub(super) id: String,
    pub(super) sent_at: TimestampUs,
    pub(super) deadline: TimestampUs,
    /// The message if it is of class N; `None` if it is the front of the queue.
    pub(super) message: Option<Message>,
}

impl Charger {
    /// Creates a message.
    pub(super) fn message(
        &mut self,
        action: Action,
        draft: Draft,
        connector: u8,
        transaction: Option<u64>,
        step: Step,
    ) -> Message {
        self.state.last_n += 1;
        Message {
            n: self.state.last_n,
            action,
            payload: draft.payload,
            transaction_id_at: draft.transaction_id_at,
            offline_at: draft.offline_at,
            connector,
            transaction,
            step,
            message_ids: vec![self.next_id()],
            transmissions: 0,
            failures: 0,
            sent_at: None,
            was_offline: self.connection != ConnectionState::Open,
        }
    }

    /// Queues a message of class T.
    pub(super) fn enqueue(&mut self, message: Message) {
        if self.settings.keep_queue {
            let edit = QueueEdit::Push(Box::new(message.clone()), self.state.clone());
            self.outputs.push_back(Output::Save(edit));
        }
        self.queue.push_back(message);
    }

    pub(super) fn is_queue_full(&self) -> bool {
        self.queue.len() >= self.settings.queue_messages_max
    }

    /// Sends the next message, if one may be sent now.
    pub(super) fn send_next(&mut self, now: TimestampUs) {
        if self.connection != ConnectionState::Open || self.outstanding.is_some() {
            return;
        }
        if let Registration::Due(at) = self.registration {
            if at <= now {
                let text = self.boot_payload();
                let boot =
                    self.message(Action::BootNotification, text.into(), 0, None, Step::Within);
                self.transmit_now(boot, now);
            } else if self
                .pending
                .front()
                .is_some_and(|one| one.action.is_report())
                && let Some(report) = self.pending.pop_front()
            {
                // B-5: reports that the central system has asked for.
                self.transmit_now(report, now);
            }
            return;
        }
        let front_ready = !self.queue.is_empty() && self.retry_at.is_none_or(|at| at <= now);
        let pending_first = match (self.pending.front(), self.queue.front()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(pending), Some(front)) => {
                // While the front waits for its next attempt, messages of class N are sent.
                !front_ready || self.settings.status_first || pending.n < front.n
            }
        };
        if pending_first {
            if let Some(message) = self.pending.pop_front() {
                self.transmit_now(message, now);
            }
        } else if front_ready {
            self.transmit_front(now);
        }
    }

    pub(super) fn send_deadline(&self) -> Option<TimestampUs> {
        if self.connection != ConnectionState::Open || self.outstanding.is_some() {
            return None;
        }
        match self.registration {
            Registration::Due(at) => Some(at),
            Registration::Accepted if self.queue.is_empty() => None,
            Registration::Accepted => self.retry_at,
        }
    }

    /// Transmits a message of class N, which is never resent.
    fn transmit_now(&mut self, mut message: Message, now: TimestampUs) {
        message.transmissions = 1;
        message.sent_at = Some(now);
        let id = message.message_ids[0].clone();
        self.transmit(&id, message.action, &message.payload, now);
        self.count(Count::Sent(message.action));
        self.outstanding = Some(self.outstanding(message.action, id, Some(message), now));
    }

    /// Transmits the front of the queue, for the first time or again.
    fn transmit_front(&mut self, now: TimestampUs) {
        let Some(mut message) = self.queue.pop_front() else {
            return;
        };
        self.retry_at = None;
        // a transaction whose start was never answered has the id -1. Some firmware loses the id.
        let is_lost = self.settings.stops_without_id && message.step == Step::Stop;
        let transaction_id = message
            .transaction
            .filter(|_| !is_lost)
            .and_then(|number| self.state.wire_ids.get(&number))
            .copied()
            .unwrap_or(-1);
        message.fill_in(transaction_id);
        let is_resend = message.transmissions > 0;
        if is_resend && self.settings.resend_ids == ResendIds::New {
            message.message_ids.push(self.next_id());
        }
        message.transmissions += 1;
        message.sent_at.get_or_insert(now);
        let id = message.message_ids.last().cloned().unwrap_or_default();
        if self.settings.keep_queue {
            self.outputs.push_back(Output::Save(QueueEdit::Sent {
                n: message.n,
                id: id.clone(),
                offline: message.was_offline,
                at: now,
            }));
        }
        self.transmit(&id, message.action, &message.payload, now);
        self.count(if is_resend {
            Count::Resent(message.action)
        } else {
            Count::Sent(message.action)
        });
        self.outstanding = Some(self.outstanding(message.action, id, None, now));
        self.queue.push_front(message);
    }

    fn transmit(&mut self, id: &str, action: Action, payload: &str, now: TimestampUs) {
        let text = frame::write_call(&MessageId::from(id), action.as_str(), payload);
        self.outputs.push_back(Output::Send(text));
        if self.heartbeat_at.is_some() {
            // H-1: any message replaces a heartbeat.
            self.heartbeat_at = Some(now.plus(self.heartbeat));
        }
    }

    fn outstanding(
        &self,
        action: Action,
        id: String,
        message: Option<Message>,
        now: TimestampUs,
    ) -> Outstanding {
        Outstanding {
            action,
            id,
            sent_at: now,
            deadline: now.plus(self.settings.answer_timeout),
            message,
        }
    }

    /// The timeout of the unanswered call has passed.
    pub(super) fn outstanding_unanswered(&mut self, now: TimestampUs) {
        match self.outstanding.take() {
            Some(Outstanding {
                message: Some(message),
                ..
            }) => self.drop_unanswered(message, false, now),
            Some(_) => self.front_failed(now),
            None => {}
        }
    }

    /// A transmission of the queue's front has failed: schedules a resend, or discards the message (rule Q-6).
    pub(super) fn front_failed(&mut self, now: TimestampUs) {
        let Some(front) = self.queue.front_mut() else {
            return;
        };
        front.failures += 1;
        let failures = front.failures;
        if failures >= self.tunables.attempts {
            self.finish_front(Outcome::Discarded, None, None);
        } else {
            self.retry_at = Some(now.plus(self.tunables.retry_interval * failures));
        }
    }

    /// Removes the front of the queue, which has ended.
    pub(super) fn finish_front(
        &mut self,
        outcome: Outcome,
        acknowledged_at: Option<TimestampUs>,
        answer: Option<String>,
    ) {
        let Some(message) = self.queue.pop_front() else {
            return;
        };
        self.retry_at = None;
        if let (Step::Stop, Some(number)) = (message.step, message.transaction) {
            self.state.wire_ids.remove(&number);
        }
        if self.settings.keep_queue {
            let edit = QueueEdit::Done(message.n, self.state.clone());
            self.outputs.push_back(Output::Save(edit));
        }
        if outcome == Outcome::Discarded {
            self.count(Count::Discarded(message.action));
        }
        self.write_ledger(message, outcome, acknowledged_at, answer);
    }

    /// Ends a message of class N that got no answer, because the connection was lost or the timeout passed.
    pub(super) fn drop_unanswered(
        &mut self,
        message: Message,
        connection_lost: bool,
        now: TimestampUs,
    ) {
        self.count(Count::Unanswered(message.action));
        match message.action {
            Action::BootNotification if connection_lost => {
                // Sent again as soon as a connection is open.
                self.registration = Registration::Due(now);
            }
            Action::BootNotification => self.boot_failed(now),
            Action::Authorize => {
                self.token_unanswered(message.connector, connection_lost, now);
            }
            Action::StatusNotification => self.status_lost(message.connector),
            _ => {}
        }
        self.write_ledger(message, Outcome::Unanswered, None, None);
    }

    /// Drops a message of class N that was not transmitted before the connection was lost.
    pub(super) fn drop_unsent(&mut self, message: &Message, now: TimestampUs) {
        match message.action {
            Action::Authorize => self.token_unanswered(message.connector, true, now),
            Action::StatusNotification => self.status_lost(message.connector),
            _ => {}
        }
    }

    /// Ends all messages in the queue, at the end of the run.
    pub(super) fn end_queue(&mut self) {
        for message in std::mem::take(&mut self.queue) {
            let outcome = if message.transmissions > 0 {
                self.count(Count::Unanswered(message.action));
                Outcome::Unanswered
            } else {
                Outcome::Queued
            };
            self.write_ledger(message, outcome, None, None);
        }
    }

    pub(super) fn write_ledger(
        &mut self,
        message: Message,
        outcome: Outcome,
        acknowledged_at: Option<TimestampUs>,
        answer: Option<String>,
    ) {
        if !self.settings.keep_ledger {
            return;
        }
        let class: Class = self.class(message.action);
        self.outputs
            .push_back(Output::Ledger(Box::new(EndedMessage {
                n: message.n,
                action: message.action,
                class,
                session: message.transaction,
                payload: message.payload,
                message_ids: if message.transmissions > 0 {
                    message.message_ids
                } else {
                    Vec::new()
                },
                sent_at: message.sent_at,
                acknowledged_at,
                attempts: message.transmissions,
                outcome,
                answer,
            })));
    }

    pub(super) fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("{}{}", self.id_prefix, self.ids)
    }
}

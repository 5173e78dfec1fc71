//! The end of a connection: last answers, the record of the end, the handover of what is remembered, the close frame.

use crate::clock::wall_clock;
use crate::connection::Connection;
use crate::connection::control::{OrderedClose, Stop};
use crate::connection::frames::{Frames, Incoming};
use central::model::CloseStyle;
use central::ports::DISCONNECT_CODE_DEFAULT;
use central::station::{CloseReason, Output};
use central::{RecordKind, Timestamp};
use journal::AppendError;
use std::borrow::Cow;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long the last answers may take before the gateway closes a connection.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the loop ended.
pub(super) enum End {
    /// Another task told it to stop.
    Stopped(Stop),
    /// The gateway or the charger ended it.
    Closed(CloseReason),
    /// It is ready for another process.
    Frozen,
}

impl Connection {
    /// Ends the connection: sends last answers if they may still be sent, appends the record of the end, hands over what is
    /// remembered of the charger, and sends a close frame.
    pub(super) async fn finish(mut self: Box<Self>, end: End) {
        let (reason, code) = match &end {
            End::Stopped(Stop::Replaced) => (CloseReason::Replaced, 1000),
            End::Stopped(Stop::ReplacedElsewhere) => (CloseReason::ReplacedElsewhere, 1000),
            End::Stopped(Stop::Shutdown) => (CloseReason::Shutdown, 1001),
            End::Stopped(Stop::Refused) => (CloseReason::Refused, 1008),
            End::Stopped(Stop::NotDurable | Stop::Poisoned) => (CloseReason::NotDurable, 1013),
            End::Stopped(Stop::Unfinished) => (CloseReason::Unfinished, 1008),
            End::Stopped(Stop::NotCarried) | End::Frozen => (CloseReason::Shutdown, 1001),
            End::Stopped(Stop::ByOperator) => by_operator(self.control.ordered_close()),
            End::Closed(reason) => (reason.clone(), close_code(reason)),
        };
        // It may have been frozen when it ended.
        self.frames.meter().thaw();
        self.control.leave_turns();
        if let Some(claimed) = self.control.close_for_commands() {
            self.parts.commands.give_back(claimed);
        }
        let is_open = !matches!(reason, CloseReason::ByCharger(_) | CloseReason::Broken(_));
        let without_frame = comes_back(&reason) && self.station.close_style() == CloseStyle::Tcp;
        let is_polite = matches!(
            end,
            End::Stopped(Stop::Shutdown | Stop::NotDurable | Stop::ByOperator)
        );
        if is_polite || self.is_append_refused {
            let last = poll_fn(|cx| self.poll_last_answers(cx));
            let _ = tokio::time::timeout(LAST_ANSWERS, last).await;
        }
        // Messages that were read are recorded, whether or not their answers can be sent. Not those of a charger that is
        // not accepted: they would be recorded before the turns of all other chargers.
        if !self.is_append_refused
            && reason != CloseReason::Unfinished
            && self.station.is_accepted()
        {
            let (now, wall) = (Instant::now(), wall_clock());
            poll_fn(|cx| Poll::Ready(self.take_in_held(cx, now, wall).is_ok())).await;
        }
        if reason == CloseReason::NotDurable {
            self.parts.metrics.closed_not_durable.increment(1);
        }
        if reason == CloseReason::ReplacedElsewhere {
            self.parts
                .admission
                .log
                .replaced_elsewhere(self.control.peer, self.station.charger_id());
        }
        if let CloseReason::TooLarge {
            bytes,
            bytes_max,
            limit,
        } = reason
        {
            self.parts.admission.log.message_too_large(
                self.control.peer,
                self.station.charger_id(),
                bytes,
                bytes_max,
                limit,
            );
        }
        self.parts.admission.log.disconnected(
            self.control.peer,
            self.station.charger_id(),
            &reason.as_text(),
            self.control.began.elapsed(),
        );

        self.station.handle_closed(reason.clone(), wall_clock());
        while let Some(output) = self.station.poll_output() {
            // All other outputs are for a connection that has ended.
            let Output::Append { record, meta, .. } = output else {
                continue;
            };
            match self.parts.delivery.journal.append(&record, None) {
                Ok(_) => {
                    self.parts.metrics.record(meta);
                    self.command_recorded(meta.kind);
                }
                // No resend needs the record of an end. The start that is recorded when the journal has room again ends
                // this connection too.
                Err(AppendError::Full(_)) if meta.kind == RecordKind::Disconnected => {
                    self.parts.admission.starts.refuse(self.control.epoch);
                }
                // A resend must not be answered without being stored.
                Err(_) => self.station.handle_refused(&record),
            }
        }
        self.end_commands();
        let mut frames = self.release();
        if without_frame {
            // The last answers are sent; then TCP ends, and the socket lingers as any other.
            let flushing = poll_fn(|cx| frames.poll_flush(cx, &mut false));
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, flushing).await;
            return;
        }
        if is_open {
            frames.close(code, &frame_reason(&reason));
        }
        if reason == CloseReason::Unfinished {
            // Its buffers are freed at once, and nothing more is read.
            poll_fn(|cx| Poll::Ready(frames.poll_flush(cx, &mut false).is_ready())).await;
            return;
        }
        let closing = async {
            let _ = poll_fn(|cx| frames.poll_flush(cx, &mut false)).await;
            // Read until the peer's close frame, so that it has read ours. Also echoes the peer's close frame.
            while let Ok(incoming) = poll_fn(|cx| frames.poll_read(cx)).await {
                if matches!(incoming, Incoming::Close(_)) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }

    /// Hands over what is remembered of the charger; only the socket is left. A function of its own, because a future has room
    /// for all that lives in it, and all connections may end at once.
    fn release(self: Box<Self>) -> Box<Frames> {
        let Self {
            parts,
            control,
            key,
            station,
            frames,
            ..
        } = *self;
        let frames = Box::new(frames);
        parts
            .registry
            .release(&key, &control, station.into_memory());
        frames
    }

    /// Takes in messages that were read, whether or not their turn has come, because the connection ends.
    fn take_in_held(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), CloseReason> {
        while self.station.wants_frame()
            && let Some(held) = self.held.pop_front()
        {
            self.hand_in(&held.message, held.is_text, cx, now, wall)?;
        }
        Ok(())
    }

    /// Sends the answers to records that become durable, without reading anything new.
    fn poll_last_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.control.listen(cx.waker());
        let (now, wall) = (Instant::now(), wall_clock());
        if !self.is_append_refused && self.take_in_held(cx, now, wall).is_err() {
            return Poll::Ready(());
        }
        self.release_durable(now, wall);
        for fact in self.control.take_facts() {
            self.station.handle_fact(fact, wall);
        }
        let is_stuck = !self.is_append_refused && self.drain(cx, now, wall).is_err();
        if self.is_append_refused {
            // Only what was appended before may still be answered.
            while let Some(output) = self.station.poll_output() {
                match output {
                    Output::Send(text) => self.frames.send(text),
                    Output::Append { record, .. } => self.station.handle_refused(&record),
                    Output::Session(_) | Output::Ask(_) | Output::Close(_) => {}
                }
            }
        }
        let flushed = self.frames.poll_flush(cx, &mut false);
        let broken = matches!(flushed, Poll::Ready(Err(_)));
        let has_unanswered = !self.pending.is_empty()
            || (!self.is_append_refused && (!self.station.wants_frame() || !self.held.is_empty()));
        if broken || is_stuck || (!has_unanswered && flushed.is_ready()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The end that an operator wants.
fn by_operator(close: Option<&OrderedClose>) -> (CloseReason, u16) {
    let code = close.map_or(DISCONNECT_CODE_DEFAULT, |close| close.code);
    let reason = close.map_or_else(String::new, |close| close.reason.clone());
    (CloseReason::ByOperator { code, reason }, code)
}

/// What the close frame says; the operator's own words, which fit into one.
fn frame_reason(reason: &CloseReason) -> Cow<'_, str> {
    match reason {
        CloseReason::ByOperator { reason, .. } if !reason.is_empty() => reason.into(),
        other => other.as_text(),
    }
}

/// Whether the gateway ends a connection whose charger is to connect again: not one that it has replaced, not one of a
/// charger that it refuses, not one whose buffers are freed at once, and not one that an operator ends with a code.
const fn comes_back(reason: &CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::ByCharger(_)
            | CloseReason::Broken(_)
            | CloseReason::Replaced
            | CloseReason::ReplacedElsewhere
            | CloseReason::Refused
            | CloseReason::Unfinished
            | CloseReason::ByOperator { .. }
    )
}

/// RFC 6455, section 7.4.1.
const fn close_code(reason: &CloseReason) -> u16 {
    match reason {
        CloseReason::TooLarge { .. } => 1009,
        CloseReason::NotDurable => 1013,
        CloseReason::Shutdown => 1001,
        CloseReason::Unreadable | CloseReason::Refused | CloseReason::Unfinished => 1008,
        CloseReason::PingTimeout | CloseReason::SendTimeout => 1011,
        CloseReason::ByOperator { code, .. } => *code,
        CloseReason::ByCharger(_)
        | CloseReason::Broken(_)
        | CloseReason::Replaced
        | CloseReason::ReplacedElsewhere => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All connections may end at once, and each holds this memory until its charger has read the Close frame.
    #[test]
    fn the_end_of_a_connection_takes_little_memory() {
        fn size_of_future<F: Future>(_: fn(Box<Connection>, End) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_future(Connection::finish);
        assert!(bytes <= 1_024, "{bytes} bytes");
    }
}

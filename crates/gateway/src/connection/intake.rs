//! How a connection takes in messages: reads them while there is room for their answers, and holds them until their turn
//! comes. A charger that is not accepted is limited to a low rate of its own.

use crate::connection::frames::Incoming;
use crate::connection::unfinished::WaitingCharge;
use crate::connection::{Connection, broken};
use crate::flow::pace::Pace;
use bytes::Bytes;
use central::Timestamp;
use central::station::CloseReason;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Messages taken in before the task yields.
const MESSAGES_PER_TURN: u32 = 16;
/// Control frames taken in before the task yields.
const CONTROLS_PER_TURN: u32 = 64;
/// Messages that were read and wait for their turn or for the station. Two, because behind the first there is mostly a
/// ping, which must be answered. Nothing is read behind the second.
const HELD_MAX: usize = 2;
/// How often a charger that is not accepted may send a message.
const UNACCEPTED_EVERY: Duration = Duration::from_secs(1);
/// How many messages it may send at once.
const UNACCEPTED_BURST: u32 = 10;
/// The bytes of a message that count as one more message.
const UNACCEPTED_BYTES: usize = 4 << 10;

/// A message that waits for its turn (see `flow::pace`).
pub(super) struct Held {
    pub(super) message: Bytes,
    pub(super) is_text: bool,
    /// Only a compressed message is long here: the others are not read before their turn.
    _charge: WaitingCharge,
}

/// Where this connection stands in the queue for turns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has not asked for a turn.
    NotAsked,
    /// It is in the queue.
    Waiting,
    /// The next message may be taken in.
    Granted,
}

impl Connection {
    /// Takes in messages while there is room for their answers, and reads the next ones.
    pub(super) fn take_in(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), CloseReason> {
        let (mut messages, mut controls) = (0, 0);
        loop {
            if messages >= MESSAGES_PER_TURN || controls >= CONTROLS_PER_TURN {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            let has_room = self.frames.queued_bytes() < self.parts.config.outbound_bytes_max;
            if !has_room || !self.station.wants_frame() {
                self.pause(now);
                return Ok(());
            }
            if !self.held.is_empty()
                && self.has_turn(now)
                && let Some(held) = self.held.pop_front()
            {
                messages += 1;
                self.turn = Turn::NotAsked;
                self.hand_in(&held.message, held.is_text, cx, now, wall)?;
                continue;
            }
            if self.held.len() >= HELD_MAX {
                self.pause(now);
                return Ok(());
            }
            // A long message is not read before its turn, so that waiting messages stay small.
            let is_gated = self.turn != Turn::Granted && self.pace().is_on();
            self.frames.meter().close_gate(is_gated);
            let incoming = match self.frames.poll_read(cx) {
                Poll::Pending if self.frames.meter().is_gated() => {
                    if self.held.is_empty() && self.has_turn(now) {
                        continue;
                    }
                    self.pause(now);
                    return Ok(());
                }
                Poll::Pending => {
                    self.resume(now);
                    return Ok(());
                }
                Poll::Ready(Ok(incoming)) => incoming,
                Poll::Ready(Err(error)) => return Err(broken(error)),
            };
            self.resume(now);
            self.received_at = now;
            let (message, is_text) = match incoming {
                Incoming::Text(message) => (message, true),
                Incoming::Binary(message) => (message, false),
                Incoming::Ping => {
                    controls += 1;
                    continue;
                }
                Incoming::Pong => {
                    controls += 1;
                    self.has_ponged = true;
                    self.pings_unanswered = 0;
                    continue;
                }
                Incoming::Close(code) => return Err(CloseReason::ByCharger(code)),
            };
            if self.held.is_empty() && self.has_turn(now) {
                messages += 1;
                self.turn = Turn::NotAsked;
                self.hand_in(&message, is_text, cx, now, wall)?;
            } else {
                self.hold(message, is_text, now);
            }
        }
    }

    pub(super) fn hold(&mut self, message: Bytes, is_text: bool, now: Instant) {
        let budget = &self.parts.flow.budget;
        let charge = budget.charge_waiting(&self.control, message.len(), now);
        self.held.push_back(Held {
            message,
            is_text,
            _charge: charge,
        });
    }

    /// The queue in which this connection waits for its turns.
    fn pace(&self) -> &Pace {
        match self.station.is_accepted() {
            true => &self.parts.flow.pace,
            false => &self.parts.flow.unaccepted,
        }
    }

    /// Whether the next message may be taken in now. If not, the task is woken when it may be.
    fn has_turn(&mut self, now: Instant) -> bool {
        let is_accepted = self.station.is_accepted();
        if self.turn == Turn::NotAsked {
            if !is_accepted && self.unaccepted_at(now) > now {
                return false;
            }
            if self.pace().ask(&self.control) {
                self.turn = Turn::Granted;
            } else {
                self.turn = Turn::Waiting;
                let metrics = &self.parts.metrics;
                match is_accepted {
                    true => metrics.paced.increment(1),
                    false => metrics.unaccepted_held.increment(1),
                }
            }
        } else if self.turn == Turn::Waiting && self.control.take_turn() {
            self.turn = Turn::Granted;
        }
        self.turn == Turn::Granted
    }

    /// When a charger that is not accepted may send its next message.
    pub(super) fn unaccepted_at(&self, now: Instant) -> Instant {
        let burst = UNACCEPTED_EVERY * (UNACCEPTED_BURST - 1);
        self.unaccepted_until.checked_sub(burst).unwrap_or(now)
    }

    /// Stops reading from the charger.
    fn pause(&mut self, now: Instant) {
        self.paused_at.get_or_insert(now);
    }

    /// Reads from the charger again: neither silence nor an incomplete message counts against it for the time of the
    /// pause.
    fn resume(&mut self, now: Instant) {
        if let Some(paused_at) = self.paused_at.take() {
            let paused_for = now.saturating_duration_since(paused_at);
            self.frames.meter().postpone(paused_for);
            self.received_at = now;
            self.pings_unanswered = 0;
            self.ping_at = now + self.parts.config.ping_interval();
        }
    }

    /// Passes a message to the station and carries out what it says.
    pub(super) fn hand_in(
        &mut self,
        message: &[u8],
        is_text: bool,
        cx: &mut Context<'_>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), CloseReason> {
        if !self.station.is_accepted() {
            let size = 1 + message.len() / UNACCEPTED_BYTES;
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let until = self.unaccepted_until.max(now);
            self.unaccepted_until = until + UNACCEPTED_EVERY.saturating_mul(size);
        }
        match std::str::from_utf8(message) {
            Ok(text) if is_text => self.station.handle_text(text, wall),
            _ => self.station.handle_binary(message, wall),
        }
        self.drain(cx, now, wall)
    }
}

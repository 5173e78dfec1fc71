//! One task per charger: it waits for an event, passes it to the station, and carries out the station's outputs. It
//! contains no rule of OCPP.
//!
//! The task appends to the journal itself and is woken by the journal's writer, so between a message and its answer
//! there is no channel, no other task and no lock that all chargers share. An idle connection holds the station, small
//! buffers and one timer.

pub(crate) mod frames;
pub(crate) mod registry;
pub(crate) mod unfinished;

use crate::clock::wall_clock;
use crate::connection::frames::{Frames, Incoming, ReadError};
use crate::connection::registry::{Control, Stop};
use crate::connection::unfinished::WaitingCharge;
use crate::delivery::ack_gate::Needs;
use crate::flow::pace::Pace;
use crate::parts::Parts;
use bytes::Bytes;
use central::model::ChargerKey;
use central::station::{
    CloseReason, Fact, Output, Question, RecordMeta, Station, Ticket, TokenAnswer,
};
use central::{RecordKind, Timestamp};
use journal::{AppendError, FullReason};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

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
/// How long the last answers may take before the gateway closes a connection.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A record that was appended and whose answer may not be sent yet.
struct Pending {
    ticket: Ticket,
    seq: u64,
    needs: Needs,
    read_at: Instant,
}

/// A message that waits for its turn (see `flow::pace`).
struct Held {
    message: Bytes,
    is_text: bool,
    /// Only a compressed message is long here: the others are not read before their turn.
    _charge: WaitingCharge,
}

/// Where this connection stands in the queue for turns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It has not asked for a turn.
    NotAsked,
    /// It is in the queue.
    Waiting,
    /// The next message may be taken in.
    Granted,
}

/// Why the loop ended.
enum End {
    /// Another task told it to stop.
    Stopped(Stop),
    /// The gateway or the charger ended it.
    Closed(CloseReason),
}

/// One charger's connection.
pub(crate) struct Connection {
    parts: Arc<Parts>,
    control: Arc<Control>,
    key: ChargerKey,
    station: Station,
    frames: Frames,
    pending: VecDeque<Pending>,
    held: VecDeque<Held>,
    turn: Turn,
    /// Since when nothing is read from the charger.
    paused_at: Option<Instant>,
    /// When a charger that is not accepted will have used up the time for its messages.
    unaccepted_until: Instant,
    received_at: Instant,
    ping_at: Instant,
    pings_unanswered: u32,
    has_ponged: bool,
    /// Since when something waits to be written without progress.
    writing_since: Option<Instant>,
    /// A record could not be appended: no later message may be answered.
    is_append_refused: bool,
}

impl Connection {
    pub(crate) fn new(
        parts: Arc<Parts>,
        control: Arc<Control>,
        key: ChargerKey,
        station: Station,
        frames: Frames,
    ) -> Box<Self> {
        let now = Instant::now();
        // Chargers that connected together must not be pinged together.
        let jitter = fastrand::f64().mul_add(0.5, 0.75);
        let ping_at = now + parts.config.ping_interval().mul_f64(jitter);
        control.set_known(parts.directory.charger(&key).is_some());
        frames.meter().belong_to(&control);
        Box::new(Self {
            parts,
            control,
            key,
            station,
            frames,
            pending: VecDeque::new(),
            held: VecDeque::new(),
            turn: Turn::NotAsked,
            paused_at: None,
            unaccepted_until: now,
            received_at: now,
            ping_at,
            pings_unanswered: 0,
            has_ponged: false,
            writing_since: None,
            is_append_refused: false,
        })
    }

    /// Serves the charger until the connection ends. Boxed, because a future stores its arguments twice: as passed and as
    /// used.
    pub(crate) async fn run(mut self: Box<Self>) {
        let end = {
            let mut timer = pin!(tokio::time::sleep_until(self.ping_at.into()));
            let mut armed = false;
            poll_fn(|cx| self.poll(cx, timer.as_mut(), &mut armed)).await
        };
        // On the heap, so that an idle connection does not hold the memory for its end.
        Box::pin(self.finish(end)).await;
    }

    /// One round. The order of the steps is their priority.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        armed: &mut bool,
    ) -> Poll<End> {
        self.control.listen(cx.waker());
        loop {
            // 1. It was told to stop: nothing else matters.
            if let Some(stop) = self.control.stopped() {
                return Poll::Ready(End::Stopped(stop));
            }
            let now = Instant::now();
            if let Err(reason) = self.round(cx, now) {
                return Poll::Ready(End::Closed(reason));
            }
            // 7. Sleep until the next deadline. A timer that fires early is cheaper than one that is reset for every
            //    message.
            let next = self.next_deadline(now);
            if !*armed || next < timer.deadline().into_std() || timer.is_elapsed() {
                timer.as_mut().reset(next.into());
                *armed = true;
            } else if now < timer.deadline().into_std() {
                return Poll::Pending;
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn round(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), CloseReason> {
        let wall = wall_clock();
        // 2. Durable records release answers.
        self.release_durable(now, wall);
        // 3. Answers of the directory, and changes by the operator.
        for fact in self.control.take_facts() {
            self.station.handle_fact(fact, wall);
        }
        if self.control.take_new_profile() {
            let profile = self.parts.directory.charger(&self.key);
            self.station.handle_profile(profile);
        }
        // 4. Deadlines.
        self.check_deadlines(now, wall)?;
        self.drain(cx, now, wall)?;
        // 5. Answers are sent before new messages are taken in.
        self.flush(cx, now)?;
        // 6. The charger's messages, while there is room for their answers.
        self.take_in(cx, now, wall)?;
        if self.frames.is_writing() {
            self.flush(cx, now)?;
        }
        Ok(())
    }

    fn release_durable(&mut self, now: Instant, wall: Timestamp) {
        if self.pending.is_empty() {
            return;
        }
        let parts = &self.parts;
        let durable = parts.delivery.journal.durable_seq();
        let is_released = |pending: &Pending| {
            let (needs, seq) = (pending.needs, pending.seq);
            let ack_gate = &parts.delivery.ack_gate;
            ack_gate.is_released(&parts.delivery.journal, needs, seq, durable)
        };
        let mut upto = None;
        while let Some(first) = self.pending.pop_front_if(|first| is_released(first)) {
            parts
                .metrics
                .answered(now.saturating_duration_since(first.read_at));
            upto = Some(first.ticket);
        }
        if let Some(upto) = upto {
            self.station.handle_durable(upto, wall);
        }
    }

    fn check_deadlines(&mut self, now: Instant, wall: Timestamp) -> Result<(), CloseReason> {
        if self.station.poll_timeout().is_some_and(|at| at <= wall) {
            self.station.handle_timeout(wall);
        }
        let config = &self.parts.config;
        if self
            .writing_since
            .is_some_and(|since| now.duration_since(since) >= config.write_timeout())
        {
            return Err(CloseReason::SendTimeout);
        }
        if self.paused_at.is_some() {
            // Nothing is read, so silence says nothing about the charger. A broken connection is noticed when writing,
            // or when reading continues.
            self.ping_at = now + config.ping_interval();
            return Ok(());
        }
        let since = self.frames.meter().since();
        if since.is_some_and(|since| {
            now.saturating_duration_since(since) >= config.unfinished_timeout()
        }) {
            self.parts.metrics.unfinished_timeout.increment(1);
            tracing::info!(
                charger.id = %self.key,
                timeout_ms = config.unfinished_timeout_ms,
                "closing: a message was not finished within gateway.unfinished_timeout_ms"
            );
            return Err(CloseReason::Unfinished);
        }
        if now < self.ping_at {
            return Ok(());
        }
        let silent = now.saturating_duration_since(self.received_at);
        if silent < config.ping_interval() {
            // Any byte counts as a pong (rule H-1).
            self.pings_unanswered = 0;
            self.ping_at = self.received_at + config.ping_interval();
            return Ok(());
        }
        // Some firmware never answers pings (quirk 18) and gets the longer bound.
        let is_dead = if self.has_ponged {
            self.pings_unanswered >= config.ping_misses_max
        } else {
            silent >= config.silence_max()
        };
        if is_dead {
            return Err(CloseReason::PingTimeout);
        }
        self.pings_unanswered = self.pings_unanswered.saturating_add(1);
        self.ping_at = now + config.ping_interval();
        if !self.frames.is_writing() {
            self.frames.ping();
        }
        Ok(())
    }

    /// Carries out the station's outputs.
    fn drain(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), CloseReason> {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Append {
                    ticket,
                    record,
                    meta,
                } => self.append(ticket, &record, meta, cx, now)?,
                Output::Send(text) => self.frames.send(text),
                Output::Ask(Question::Token { question_id, id }) => {
                    if let Some(token) = self.parts.directory.token(&id) {
                        let answer = TokenAnswer::Known(token);
                        let fact = Fact::Token {
                            question_id,
                            answer,
                        };
                        self.station.handle_fact(fact, wall);
                    } else {
                        self.parts.directory.ask(&self.control, question_id, id);
                    }
                }
                Output::Close(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        ticket: Ticket,
        record: &[u8],
        meta: RecordMeta,
        cx: &Context<'_>,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let (journal, ack_gate) = (&self.parts.delivery.journal, &self.parts.delivery.ack_gate);
        let needs = ack_gate.needs();
        let waker = (needs == Needs::Journal).then(|| cx.waker());
        match journal.append(record, waker) {
            Ok(seq) => {
                if needs == Needs::Confirm {
                    ack_gate.wait(journal, seq, cx.waker());
                }
                self.pending.push_back(Pending {
                    ticket,
                    seq,
                    needs,
                    read_at: now,
                });
                self.parts.metrics.record(meta);
                Ok(())
            }
            Err(error) => {
                self.is_append_refused = true;
                self.station.handle_refused(record);
                Err(match error {
                    AppendError::TooLarge { .. } => CloseReason::TooLarge,
                    // Silence on an open socket would make the charger discard it (rule Q-13).
                    AppendError::Full(
                        FullReason::SizeLimit | FullReason::DiskFull | FullReason::DiskTooSlow,
                    )
                    | AppendError::Poisoned(_)
                    | AppendError::Closed => CloseReason::NotDurable,
                })
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), CloseReason> {
        let mut progress = false;
        match self.frames.poll_flush(cx, &mut progress) {
            Poll::Ready(Ok(())) => self.writing_since = None,
            Poll::Ready(Err(error)) => return Err(broken(error)),
            Poll::Pending if progress => self.writing_since = Some(now),
            Poll::Pending => {
                self.writing_since.get_or_insert(now);
            }
        }
        Ok(())
    }

    fn take_in(
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
            let has_room = self.frames.queued_bytes() < self.parts.config.outbound_max_bytes;
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
                Incoming::Binary(message) => {
                    self.parts.metrics.quirk_binary_frame.increment(1);
                    (message, false)
                }
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

    fn hold(&mut self, message: Bytes, is_text: bool, now: Instant) {
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
    fn unaccepted_at(&self, now: Instant) -> Instant {
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

    fn hand_in(
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
            Ok(_) => self.station.handle_binary(message, wall),
            Err(_) => {
                self.parts.metrics.quirk_invalid_utf8.increment(1);
                self.station.handle_binary(message, wall);
            }
        }
        self.drain(cx, now, wall)
    }

    fn next_deadline(&self, now: Instant) -> Instant {
        let mut next = self.ping_at;
        if self.paused_at.is_none()
            && let Some(since) = self.frames.meter().since()
        {
            next = next.min(since + self.parts.config.unfinished_timeout());
        }
        let wants_turn =
            self.turn == Turn::NotAsked && (!self.held.is_empty() || self.paused_at.is_some());
        if wants_turn && !self.station.is_accepted() {
            let at = self.unaccepted_at(now);
            if at > now {
                next = next.min(at);
            }
        }
        if let Some(since) = self.writing_since {
            next = next.min(since + self.parts.config.write_timeout());
        }
        if let Some(at) = self.station.poll_timeout() {
            let left = at
                .as_millis()
                .saturating_sub(wall_clock().as_millis())
                .max(1);
            next = next.min(now + Duration::from_millis(left.unsigned_abs()));
        }
        next
    }

    /// Ends the connection: sends last answers if they may still be sent, appends the record of the end, hands over what is
    /// remembered of the charger, and sends a close frame.
    async fn finish(mut self: Box<Self>, end: End) {
        let (reason, code) = match &end {
            End::Stopped(Stop::Replaced) => (CloseReason::Replaced, 1000),
            End::Stopped(Stop::ReplacedElsewhere) => (CloseReason::ReplacedElsewhere, 1000),
            End::Stopped(Stop::Shutdown) => (CloseReason::Shutdown, 1001),
            End::Stopped(Stop::Refused) => (CloseReason::Refused, 1008),
            End::Stopped(Stop::NotDurable | Stop::Poisoned) => (CloseReason::NotDurable, 1013),
            End::Stopped(Stop::Unfinished) => (CloseReason::Unfinished, 1008),
            End::Closed(reason) => (reason.clone(), close_code(reason)),
        };
        self.control.leave_turns();
        let is_open = !matches!(reason, CloseReason::ByCharger(_) | CloseReason::Broken(_));
        if matches!(end, End::Stopped(Stop::Shutdown | Stop::NotDurable)) || self.is_append_refused
        {
            let last = poll_fn(|cx| self.poll_last_answers(cx));
            let _ = tokio::time::timeout(LAST_ANSWERS, last).await;
        }
        // Messages that were read are recorded, whether or not their answers can be sent. Not those of a charger that is
        // not accepted: it would get ahead of the turns of all others.
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
        tracing::debug!(charger.id = %self.key, reason = %reason.as_text(), "connection ended");

        self.station.handle_closed(reason.clone(), wall_clock());
        while let Some(output) = self.station.poll_output() {
            // All other outputs are for a connection that has ended.
            let Output::Append { record, meta, .. } = output else {
                continue;
            };
            match self.parts.delivery.journal.append(&record, None) {
                Ok(_) => self.parts.metrics.record(meta),
                // No resend needs the record of an end. The start that is recorded when the journal has room again ends
                // this connection too.
                Err(AppendError::Full(_)) if meta.kind == RecordKind::Disconnected => {
                    self.parts.admission.starts.refuse(self.control.epoch);
                }
                // A resend must not be answered without being stored.
                Err(_) => self.station.handle_refused(&record),
            }
        }
        let this = *self;
        let memory = this.station.into_memory();
        this.parts
            .registry
            .release(&this.key, &this.control, memory);
        drop(this.held);

        let mut frames = this.frames;
        if is_open {
            frames.close(code, &reason.as_text());
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
                    Output::Ask(_) | Output::Close(_) => {}
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

fn broken(error: ReadError) -> CloseReason {
    match error {
        ReadError::Ended => CloseReason::Broken("closed without a close frame".to_owned()),
        ReadError::TooLarge => CloseReason::TooLarge,
        ReadError::Broken(words) => CloseReason::Broken(words),
    }
}

/// RFC 6455, section 7.4.1.
const fn close_code(reason: &CloseReason) -> u16 {
    match reason {
        CloseReason::TooLarge => 1009,
        CloseReason::NotDurable => 1013,
        CloseReason::Shutdown => 1001,
        CloseReason::Unreadable | CloseReason::Refused | CloseReason::Unfinished => 1008,
        CloseReason::PingTimeout | CloseReason::SendTimeout => 1011,
        CloseReason::ByCharger(_)
        | CloseReason::Broken(_)
        | CloseReason::Replaced
        | CloseReason::ReplacedElsewhere => 1000,
    }
}

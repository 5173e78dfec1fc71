//! One task per charger: it waits for an event, passes it to the station, and carries out the station's outputs. It
//! contains no rule of OCPP.
//!
//! The task appends to the journal itself and is woken by the journal's writer, so between a message and its answer
//! there is no channel, no other task and no lock that all chargers share; only where tokens may be in one transaction at a
//! time, starts and stops take one lock for a look-up in memory. An idle connection holds the station, small
//! buffers and one timer.

pub(crate) mod carry;
mod commanding;
pub(crate) mod control;
mod finish;
pub(crate) mod frames;
mod intake;
pub(crate) mod registry;
pub(crate) mod unfinished;
pub(crate) mod wire;

use crate::clock::wall_clock;
use crate::connection::commanding::Commanding;
use crate::connection::control::{Control, Stop};
use crate::connection::finish::End;
use crate::connection::frames::{Frames, ReadError};
use crate::connection::intake::{Held, Turn};
use crate::delivery::ack_gate::Needs;
use crate::parts::Parts;
use central::model::ChargerKey;
use central::station::{
    CloseReason, Fact, Output, Question, RecordMeta, SizeLimit, Station, Ticket,
};
use central::{Seq, Timestamp};
use journal::{AppendError, FullReason};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A record that was appended and whose answer may not be sent yet.
struct Pending {
    ticket: Ticket,
    seq: Seq,
    needs: Needs,
    read_at: Instant,
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
    /// The command that is not finished.
    commanding: Option<Box<Commanding>>,
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
            commanding: None,
        })
    }

    /// Serves the charger until the connection ends. Boxed, because a future stores its arguments twice: as passed and as
    /// used.
    pub(crate) async fn run(mut self: Box<Self>) {
        self.begin_commands();
        let end = {
            let mut timer = pin!(tokio::time::sleep_until(self.ping_at.into()));
            let mut armed = false;
            poll_fn(|cx| self.poll(cx, timer.as_mut(), &mut armed)).await
        };
        let (this, end) = match end {
            End::Frozen => match self.carry() {
                Ok(()) => return,
                Err(this) => (this, End::Stopped(Stop::NotCarried)),
            },
            end => (self, end),
        };
        // On the heap, so that an idle connection does not hold the memory for its end.
        Box::pin(this.finish(end)).await;
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
            if self.control.is_frozen() {
                return self.poll_frozen(cx, now);
            }
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
        self.take_command(wall);
        self.drain(cx, now, wall)?;
        // 5. Answers are sent before new messages are taken in.
        self.flush(cx, now)?;
        // 6. The charger's messages, while there is room for their answers.
        self.take_in(cx, now, wall)?;
        if self.take_command(wall) {
            self.drain(cx, now, wall)?;
        }
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
        let durable = Seq(parts.delivery.journal.durable_seq());
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
        let timeout = self.unfinished_timeout();
        if since.is_some_and(|since| now.saturating_duration_since(since) >= timeout) {
            self.parts.metrics.unfinished_timeout.increment(1);
            tracing::debug!(
                charger.id = self.key.as_str(),
                timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
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
                Output::Session(news) => self.parts.running.learn(&self.key, &news, wall),
                Output::Ask(Question::Token {
                    question_id,
                    id,
                    begins,
                }) => {
                    if let Some(token) = self.parts.directory.token(&id) {
                        let (running, begins) = (&self.parts.running, begins.as_ref());
                        let answer = running.answer(token, &self.key, begins, wall);
                        let fact = Fact::Token {
                            question_id,
                            answer,
                        };
                        self.station.handle_fact(fact, wall);
                    } else {
                        let (running, key) = (Arc::clone(&self.parts.running), self.key.clone());
                        let of_known =
                            move |token| running.answer(token, &key, begins.as_ref(), wall_clock());
                        let directory = &self.parts.directory;
                        directory.ask(&self.control, question_id, id, of_known);
                    }
                }
                Output::Close(reason) => return Err(reason),
            }
        }
        self.parts.metrics.resent(self.station.take_resends());
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
                let seq = Seq(seq);
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
                self.command_recorded(meta.kind);
                Ok(())
            }
            Err(error) => {
                self.is_append_refused = true;
                self.station.handle_refused(record);
                Err(match error {
                    AppendError::TooLarge { bytes, max } => CloseReason::TooLarge {
                        bytes: bytes as u64,
                        bytes_max: max as u64,
                        limit: SizeLimit::Record,
                    },
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

    /// How long a message may take: in proportion longer where the charger's profile allows longer messages than the
    /// setting, so that its line need not be faster than others' lines.
    fn unfinished_timeout(&self) -> Duration {
        let config = &self.parts.config;
        let bytes_max = self.frames.meter().limit().bytes_max;
        // At most 2,048: 8 MiB through 4 KiB.
        let times = bytes_max.div_ceil(config.frame_bytes_max).max(1);
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        config.unfinished_timeout().saturating_mul(times)
    }

    fn next_deadline(&self, now: Instant) -> Instant {
        let mut next = self.ping_at;
        let since = self.frames.meter().since();
        if self.paused_at.is_none()
            && let Some(since) = since
        {
            next = next.min(since + self.unfinished_timeout());
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
}

fn broken(error: ReadError) -> CloseReason {
    match error {
        ReadError::Ended => CloseReason::Broken("closed without a close frame".to_owned()),
        ReadError::TooLarge { bytes, limit } => CloseReason::TooLarge {
            bytes,
            bytes_max: limit.bytes_max as u64,
            limit: limit.source,
        },
        ReadError::Broken(words) => CloseReason::Broken(words),
    }
}

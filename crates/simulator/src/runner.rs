//! The task of one charger. It waits for one event (a frame, a timer, a change of the fleet's state), passes it to the
//! [`Charger`] and executes the outputs of the charger. It contains no rule of OCPP.

use crate::charger::{Charger, EndedMessage, Gauge, Output, QueueEdit, ReceivedCommand, Refusal};
use crate::handshake::{ConnectError, Socket, Target};
use crate::ledger::{CommandEntry, LedgerEntry, LedgerFile};
use crate::queue_file::QueueFile;
use crate::stats_collector::StatsCollector;
use crate::timestamp::TimestampUs;
use bytes::Bytes;
use futures_util::SinkExt as _;
use ocpp::Version;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, timeout};
use yawc::close::CloseCode;
use yawc::{Frame, OpCode};

/// The connection counts as lost when the central system has not read a frame within this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The connection is dropped when a Close frame is not answered within this time.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The state of a fleet's run. The states follow each other in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunState {
    Running,
    /// No new transactions; queued messages are sent.
    Draining,
    /// Connections are closed.
    Stopping,
    /// Connections are dropped without a Close frame.
    Killed,
}

/// What a fleet tells its chargers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) run_state: RunState,
    /// How often the network of all chargers has broken.
    pub(crate) cuts: u64,
}

impl Orders {
    pub(crate) const START: Self = Self {
        run_state: RunState::Running,
        cuts: 0,
    };
}

/// The wall clock at the start, continued by a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: TimestampUs,
    instant: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: TimestampUs::wall_clock(),
            instant: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> TimestampUs {
        self.start.plus(self.instant.elapsed())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }

    fn instant(&self, at: TimestampUs) -> Instant {
        // Bounded, because `Instant` may overflow.
        let wait = at.since(self.start).min(Duration::from_secs(3_000_000_000));
        self.instant + wait
    }
}

/// A loopback address by its number: 127.0.1.1, 127.0.1.2, …
fn loopback(number: u32) -> Ipv4Addr {
    let first = u32::from(Ipv4Addr::new(127, 0, 1, 1));
    Ipv4Addr::from(first.saturating_add(number))
}

/// What all chargers of a fleet share: target, clock, counters, ledger.
#[derive(Debug)]
pub(crate) struct FleetContext {
    /// Never empty.
    pub(crate) targets: Vec<Target>,
    /// The number of loopback addresses that the chargers connect from; 0 = the system chooses.
    pub(crate) loopback_addresses: u32,
    pub(crate) password: Option<String>,
    pub(crate) clock: Clock,
    pub(crate) stats: StatsCollector,
    pub(crate) ledger: Option<LedgerFile>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Box<Socket>, ConnectError>> + Send>>;

enum Link {
    Closed,
    Opening(Connecting),
    Open(Box<Socket>),
}

/// What a task waits for.
enum TaskEvent {
    Connected(Result<Box<Socket>, ConnectError>),
    Frame(Frame),
    Lost(String),
    Time,
    Orders(Orders),
}

/// One charger and what its task needs.
pub(crate) struct Runner {
    pub(crate) index: u32,
    pub(crate) id: Arc<str>,
    pub(crate) version: Version,
    pub(crate) charger: Charger,
    pub(crate) queue_file: Option<QueueFile>,
    pub(crate) context: Arc<FleetContext>,
    pub(crate) orders: watch::Receiver<Orders>,
}

impl Runner {
    /// Runs until the fleet stops.
    pub(crate) async fn run(self) {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let cuts = self.orders.borrow().cuts;
        let mut running = RunningTask {
            cuts,
            connects: 0,
            runner: self,
            link: Link::Closed,
            gauge: Gauge::default(),
            is_drained: false,
            draining: false,
            last_trouble: String::new(),
        };
        running.run_until_stopped(sleep).await;
        let gauge = running.gauge;
        running
            .runner
            .context
            .stats
            .update_gauges(gauge, Gauge { online: 0, ..gauge });
    }
}

struct RunningTask {
    /// The last value of [`Orders::cuts`].
    cuts: u64,
    /// Attempts to connect so far.
    connects: usize,
    runner: Runner,
    link: Link,
    gauge: Gauge,
    is_drained: bool,
    draining: bool,
    last_trouble: String,
}

impl RunningTask {
    async fn run_until_stopped(&mut self, mut sleep: Pin<Box<Sleep>>) {
        // Resetting a timer costs more than reading the clock. So it is reset only to an earlier time; when the
        // deadline moves back, the timer fires once too early, which is harmless.
        let mut timer_at = TimestampUs(0);
        let mut stopping = false;
        loop {
            self.drain_outputs().await;
            self.report();
            if stopping {
                return;
            }
            let due = self.runner.charger.poll_timeout();
            if let Some(due) = due
                && (due < timer_at || sleep.is_elapsed())
            {
                sleep.as_mut().reset(self.runner.context.clock.instant(due));
                timer_at = due;
            }
            let event = self.wait(sleep.as_mut(), due.is_some()).await;
            let now = self.runner.context.clock.now();
            let charger = &mut self.runner.charger;
            match event {
                TaskEvent::Frame(frame) if frame.opcode() == OpCode::Close => {
                    let code = frame.close_code().map_or(1005, u16::from);
                    self.answer_close().await;
                    self.runner.charger.handle_closed(now);
                    self.record_failure(&format!("closed with {code}"), "");
                }
                TaskEvent::Frame(frame) => self.handle_frame(&frame, now),
                TaskEvent::Time => {
                    timer_at = TimestampUs(u64::MAX);
                    charger.handle_timeout(now);
                }
                TaskEvent::Connected(Ok(socket)) => {
                    self.link = Link::Open(socket);
                    self.runner
                        .context
                        .stats
                        .record_connection(self.runner.index);
                    charger.handle_connected(now);
                }
                TaskEvent::Connected(Err(failure)) => {
                    self.link = Link::Closed;
                    charger.handle_refused(failure.refusal, now);
                    self.record_failure(&failure.kind, &failure.detail);
                }
                TaskEvent::Lost(why) => {
                    self.link = Link::Closed;
                    charger.handle_closed(now);
                    self.record_failure("connection lost", &why);
                }
                TaskEvent::Orders(orders) => {
                    if std::mem::replace(&mut self.cuts, orders.cuts) != orders.cuts {
                        self.handle_cut(now);
                    }
                    let charger = &mut self.runner.charger;
                    match orders.run_state {
                        RunState::Running => {}
                        RunState::Draining => {
                            if !std::mem::replace(&mut self.draining, true) {
                                charger.handle_drain(now);
                            }
                        }
                        RunState::Stopping => {
                            stopping = true;
                            charger.handle_stop(now);
                        }
                        RunState::Killed => return,
                    }
                }
            }
        }
    }

    /// The next event. Frames come first, because the other events usually wait for an answer.
    async fn wait(&mut self, sleep: Pin<&mut Sleep>, has_timer: bool) -> TaskEvent {
        let link = &mut self.link;
        let connection = async {
            match link {
                Link::Open(socket) => match socket.next_frame().await {
                    Ok(frame) => TaskEvent::Frame(frame),
                    Err(error) => TaskEvent::Lost(error.to_string()),
                },
                Link::Opening(connecting) => TaskEvent::Connected(connecting.await),
                Link::Closed => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = connection => event,
            () = sleep, if has_timer => TaskEvent::Time,
            changed = self.runner.orders.changed() => {
                let mut orders = *self.runner.orders.borrow();
                if changed.is_err() {
                    // The sender is gone: the fleet was dropped.
                    orders.run_state = RunState::Killed;
                }
                TaskEvent::Orders(orders)
            }
        }
    }

    /// The network breaks: an open connection is dropped without a Close frame, an attempt to connect fails.
    fn handle_cut(&mut self, now: TimestampUs) {
        let charger = &mut self.runner.charger;
        match std::mem::replace(&mut self.link, Link::Closed) {
            Link::Closed => return,
            Link::Open(_) => charger.handle_closed(now),
            Link::Opening(_) => charger.handle_refused(Refusal::NONE, now),
        }
        self.record_failure("connection lost", "the network broke");
    }

    fn handle_frame(&mut self, frame: &Frame, now: TimestampUs) {
        let charger = &mut self.runner.charger;
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => {
                let text = std::str::from_utf8(frame.payload()).unwrap_or("");
                charger.handle_text(text, now);
            }
            OpCode::Ping | OpCode::Pong => charger.handle_ping_or_pong(now),
            OpCode::Close | OpCode::Continuation => {}
        }
    }

    /// Executes all outputs of the charger, in order.
    async fn drain_outputs(&mut self) {
        let mut unflushed = false;
        loop {
            let Some(output) = self.runner.charger.poll_output() else {
                if unflushed {
                    unflushed = false;
                    self.flush().await;
                    continue;
                }
                return;
            };
            match output {
                Output::Send(text) => {
                    self.feed(Frame::text(Bytes::from(text))).await;
                    unflushed = true;
                }
                Output::Count(count) => self.runner.context.stats.count(self.runner.index, count),
                Output::Ledger(entry) => self.write_ledger(*entry),
                Output::Command(command) => self.write_command(*command),
                Output::Save(edit) => self.save(edit).await,
                Output::Ping => {
                    self.feed(Frame::ping(Bytes::new())).await;
                    unflushed = true;
                }
                Output::Connect => self.link = Link::Opening(self.connect()),
                Output::Close => {
                    unflushed = false;
                    self.close().await;
                }
                Output::Drop => {
                    unflushed = false;
                    self.link = Link::Closed;
                }
            }
        }
    }

    fn connect(&mut self) -> Connecting {
        // After each lost connection and each failure the charger tries the next URL.
        let number = self.runner.index as usize + self.connects;
        self.connects = self.connects.wrapping_add(1);
        let source = self
            .runner
            .context
            .loopback_addresses
            .checked_sub(1)
            .map(|last| loopback(self.runner.index % (last + 1)));
        let context = Arc::clone(&self.runner.context);
        let id = Arc::clone(&self.runner.id);
        let version = self.runner.version;
        let changed = self.runner.charger.password();
        Box::pin(async move {
            let password = changed.as_deref().or(context.password.as_deref());
            let target = &context.targets[number % context.targets.len()];
            target.connect(&id, version, password, source).await
        })
    }

    async fn feed(&mut self, frame: Frame) {
        if let Link::Open(socket) = &mut self.link {
            let result = timeout(WRITE_TIMEOUT, socket.feed(frame)).await;
            self.written(result);
        }
    }

    async fn flush(&mut self) {
        if let Link::Open(socket) = &mut self.link {
            let result = timeout(WRITE_TIMEOUT, socket.flush()).await;
            self.written(result);
        }
    }

    fn written<E: ToString>(&mut self, result: Result<Result<(), E>, tokio::time::error::Elapsed>) {
        let why = match result {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the central system does not read".to_owned(),
        };
        self.link = Link::Closed;
        let now = self.runner.context.clock.now();
        self.runner.charger.handle_closed(now);
        self.record_failure("connection lost", &why);
    }

    /// Answers a Close frame: the library sends the answer while it reads the next frame.
    async fn answer_close(&mut self) {
        if let Link::Open(mut socket) = std::mem::replace(&mut self.link, Link::Closed) {
            let _ = timeout(CLOSE_TIMEOUT, socket.next_frame()).await;
        }
    }

    async fn close(&mut self) {
        if let Link::Open(mut socket) = std::mem::replace(&mut self.link, Link::Closed) {
            let closing = async {
                let close = Frame::close(CloseCode::Normal, "");
                if socket.send(close).await.is_ok() {
                    // Frames that arrive before the answer to the Close are ignored.
                    while socket.next_frame().await.is_ok() {}
                }
            };
            let _ = timeout(CLOSE_TIMEOUT, closing).await;
        }
    }

    async fn save(&mut self, edit: QueueEdit) {
        let Some(mut file) = self.runner.queue_file.take() else {
            return;
        };
        let result = if matches!(edit, QueueEdit::Push(..)) {
            let task = tokio::task::spawn_blocking(move || {
                let result = file.append(edit);
                (file, result)
            });
            match task.await {
                Ok((file, result)) => {
                    self.runner.queue_file = Some(file);
                    result
                }
                Err(error) => Err(std::io::Error::other(error)),
            }
        } else {
            let result = file.append(edit);
            self.runner.queue_file = Some(file);
            result
        };
        if let Err(error) = result {
            self.record_failure("queue file", &error.to_string());
        }
    }

    fn write_ledger(&mut self, entry: EndedMessage) {
        let Some(ledger) = &self.runner.context.ledger else {
            return;
        };
        let line = LedgerEntry::from_entry(&self.runner.id, self.runner.version, entry);
        if let Err(error) = ledger.write(&line) {
            self.record_failure("ledger", &error.to_string());
        }
    }

    fn write_command(&mut self, command: ReceivedCommand) {
        let Some(ledger) = &self.runner.context.ledger else {
            return;
        };
        let line = CommandEntry::new(&self.runner.id, self.runner.version, command);
        if let Err(error) = ledger.write(&line) {
            self.record_failure("ledger", &error.to_string());
        }
    }

    /// Counts a failure, and logs it if its kind differs from that of the last one.
    fn record_failure(&mut self, kind: &str, detail: &str) {
        self.runner
            .context
            .stats
            .record_failure(self.runner.index, kind);
        if self.last_trouble != kind {
            tracing::debug!(charger.id = %self.runner.id, "{kind}: {detail}");
            kind.clone_into(&mut self.last_trouble);
        }
    }

    /// Adds the changes of this charger's gauges to those of the fleet.
    fn report(&mut self) {
        let stats = &self.runner.context.stats;
        let gauge = self.runner.charger.gauge();
        if gauge != self.gauge {
            stats.update_gauges(self.gauge, gauge);
            self.gauge = gauge;
        }
        let is_drained = self.draining && self.runner.charger.is_drained();
        if is_drained != self.is_drained {
            self.is_drained = is_drained;
            if is_drained {
                stats.drained.fetch_add(1, Relaxed);
            } else {
                stats.drained.fetch_sub(1, Relaxed);
            }
        }
    }
}

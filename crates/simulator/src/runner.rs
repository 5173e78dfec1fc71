//! One charger's task: waits for one thing (a frame, a timer, the fleet's word), hands it to the
//! [`Charger`], carries out what that decides. No rule of OCPP lives here.

use crate::charger::{Charger, Edit, Entry, Gauge, Output};
use crate::handshake::{Socket, Target, Trouble};
use crate::ledger::{LedgerFile, Line};
use crate::queue_file::QueueFile;
use crate::stats_collector::Board;
use crate::timestamp::Moment;
use bytes::Bytes;
use futures_util::SinkExt as _;
use ocpp::Version;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, timeout};
use yawc::close::CloseCode;
use yawc::{Frame, OpCode};

/// What a central system may take to read a frame of ours before the line counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// What it may take to answer a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How far a fleet's run is. Only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// No new transactions; say what is left to say.
    Finishing,
    /// Close.
    Stopping,
    /// End without a word.
    Cut,
}

/// The wall clock at the start, continued by a clock that never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Moment,
    instant: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Moment::wall_clock(),
            instant: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.start.plus(self.instant.elapsed())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }

    fn instant(&self, at: Moment) -> Instant {
        // A moment that far away never comes.
        let wait = at.since(self.start).min(Duration::from_secs(3_000_000_000));
        self.instant + wait
    }
}

/// What all chargers of a fleet share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) target: Target,
    pub(crate) password: Option<String>,
    pub(crate) clock: Clock,
    pub(crate) board: Board,
    pub(crate) ledger: Option<LedgerFile>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Box<Socket>, Trouble>> + Send>>;

enum Link {
    Closed,
    Opening(Connecting),
    Open(Box<Socket>),
}

/// What the loop waits for.
enum Happening {
    Connected(Result<Box<Socket>, Trouble>),
    Frame(Frame),
    Lost(String),
    Time,
    Stage(Stage),
}

/// One charger and its line.
pub(crate) struct Runner {
    pub(crate) index: u32,
    pub(crate) id: Arc<str>,
    pub(crate) version: Version,
    pub(crate) charger: Charger,
    pub(crate) queue_file: Option<QueueFile>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stage: watch::Receiver<Stage>,
}

impl Runner {
    /// Runs until the fleet stops.
    pub(crate) async fn run(self) {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut running = Running {
            runner: self,
            link: Link::Closed,
            gauge: Gauge::default(),
            is_drained: false,
            finishing: false,
            last_trouble: String::new(),
        };
        running.live(sleep).await;
        let gauge = running.gauge;
        running
            .runner
            .shared
            .board
            .moved(gauge, Gauge { online: 0, ..gauge });
    }
}

struct Running {
    runner: Runner,
    link: Link,
    gauge: Gauge,
    is_drained: bool,
    finishing: bool,
    last_trouble: String,
}

impl Running {
    async fn live(&mut self, mut sleep: Pin<Box<Sleep>>) {
        // Re-arming a timer costs more than a look at the clock: it is only moved forward when it
        // would ring too late, and rings once in vain otherwise.
        let mut rings_at = Moment(0);
        let mut stopping = false;
        loop {
            self.carry_out().await;
            self.show();
            if stopping {
                return;
            }
            let due = self.runner.charger.poll_timeout();
            if let Some(due) = due
                && (due < rings_at || sleep.is_elapsed())
            {
                sleep.as_mut().reset(self.runner.shared.clock.instant(due));
                rings_at = due;
            }
            let happening = self.wait(sleep.as_mut(), due.is_some()).await;
            let now = self.runner.shared.clock.now();
            let charger = &mut self.runner.charger;
            match happening {
                Happening::Frame(frame) if frame.opcode() == OpCode::Close => {
                    let code = frame.close_code().map_or(1005, u16::from);
                    self.answer_close().await;
                    self.runner.charger.handle_closed(now);
                    self.trouble(&format!("closed with {code}"), "");
                }
                Happening::Frame(frame) => self.heard(&frame, now),
                Happening::Time => {
                    rings_at = Moment(u64::MAX);
                    charger.handle_timeout(now);
                }
                Happening::Connected(Ok(socket)) => {
                    self.link = Link::Open(socket);
                    self.runner.shared.board.connected(self.runner.index);
                    charger.handle_connected(now);
                }
                Happening::Connected(Err(trouble)) => {
                    self.link = Link::Closed;
                    charger.handle_refused(trouble.refusal, now);
                    self.trouble(&trouble.kind, &trouble.detail);
                }
                Happening::Lost(why) => {
                    self.link = Link::Closed;
                    charger.handle_closed(now);
                    self.trouble("line lost", &why);
                }
                Happening::Stage(Stage::Running) => {}
                Happening::Stage(Stage::Finishing) => {
                    self.finishing = true;
                    charger.handle_finish(now);
                }
                Happening::Stage(Stage::Stopping) => {
                    stopping = true;
                    charger.handle_stop(now);
                }
                Happening::Stage(Stage::Cut) => return,
            }
        }
    }

    /// One thing. A frame comes first: it is what everything else waits for.
    async fn wait(&mut self, sleep: Pin<&mut Sleep>, has_timer: bool) -> Happening {
        let link = &mut self.link;
        let line = async {
            match link {
                Link::Open(socket) => match socket.next_frame().await {
                    Ok(frame) => Happening::Frame(frame),
                    Err(error) => Happening::Lost(error.to_string()),
                },
                Link::Opening(connecting) => Happening::Connected(connecting.await),
                Link::Closed => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            happening = line => happening,
            () = sleep, if has_timer => Happening::Time,
            changed = self.runner.stage.changed() => {
                // A fleet that was dropped stops too.
                let stage = changed.map_or(Stage::Cut, |()| *self.runner.stage.borrow());
                Happening::Stage(stage)
            }
        }
    }

    fn heard(&mut self, frame: &Frame, now: Moment) {
        let charger = &mut self.runner.charger;
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => {
                let text = std::str::from_utf8(frame.payload()).unwrap_or("");
                charger.handle_text(text, now);
            }
            OpCode::Ping | OpCode::Pong => charger.handle_sign_of_life(now),
            OpCode::Close | OpCode::Continuation => {}
        }
    }

    /// Carries out all decisions, in order.
    async fn carry_out(&mut self) {
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
                Output::Count(count) => self.runner.shared.board.count(self.runner.index, count),
                Output::Ledger(entry) => self.write_down(*entry),
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
            }
        }
    }

    fn connect(&self) -> Connecting {
        let shared = Arc::clone(&self.runner.shared);
        let id = Arc::clone(&self.runner.id);
        let version = self.runner.version;
        Box::pin(async move {
            let password = shared.password.as_deref();
            shared.target.connect(&id, version, password).await
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
            Err(_) => "the other side does not read".to_owned(),
        };
        self.link = Link::Closed;
        let now = self.runner.shared.clock.now();
        self.runner.charger.handle_closed(now);
        self.trouble("line lost", &why);
    }

    /// The other side says goodbye: the library's answer goes out with the next look at the line.
    async fn answer_close(&mut self) {
        if let Link::Open(mut socket) = std::mem::replace(&mut self.link, Link::Closed) {
            let _ = timeout(CLOSE_TIMEOUT, socket.next_frame()).await;
        }
    }

    async fn close(&mut self) {
        if let Link::Open(mut socket) = std::mem::replace(&mut self.link, Link::Closed) {
            let goodbye = async {
                let close = Frame::close(CloseCode::Normal, "");
                if socket.send(close).await.is_ok() {
                    // Until the other side has closed too; what it still says is not for us.
                    while socket.next_frame().await.is_ok() {}
                }
            };
            // A line that is given up may be dead: no answer is an answer too.
            let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
        }
    }

    async fn save(&mut self, edit: Edit) {
        let Some(mut file) = self.runner.queue_file.take() else {
            return;
        };
        let result = if matches!(edit, Edit::Push(..)) {
            let task = tokio::task::spawn_blocking(move || {
                let result = file.keep(edit);
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
            let result = file.keep(edit);
            self.runner.queue_file = Some(file);
            result
        };
        if let Err(error) = result {
            self.trouble("queue file", &error.to_string());
        }
    }

    fn write_down(&mut self, entry: Entry) {
        let Some(ledger) = &self.runner.shared.ledger else {
            return;
        };
        let line = Line::from_entry(&self.runner.id, self.runner.version, entry);
        if let Err(error) = ledger.write(&line) {
            self.trouble("ledger", &error.to_string());
        }
    }

    /// Counts a trouble, and logs it when it is another one than before.
    fn trouble(&mut self, kind: &str, detail: &str) {
        self.runner.shared.board.trouble(self.runner.index, kind);
        if self.last_trouble != kind {
            tracing::debug!(charger.id = %self.runner.id, "{kind}: {detail}");
            kind.clone_into(&mut self.last_trouble);
        }
    }

    /// Shows how the charger is to the fleet.
    fn show(&mut self) {
        let board = &self.runner.shared.board;
        let gauge = self.runner.charger.gauge();
        if gauge != self.gauge {
            board.moved(self.gauge, gauge);
            self.gauge = gauge;
        }
        let is_drained = self.finishing && self.runner.charger.is_drained();
        if is_drained != self.is_drained {
            self.is_drained = is_drained;
            if is_drained {
                board.drained.fetch_add(1, Relaxed);
            } else {
                board.drained.fetch_sub(1, Relaxed);
            }
        }
    }
}

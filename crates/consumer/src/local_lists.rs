//! Brings local authorization lists to chargers.
//!
//! Every process that writes to the database does it, and they need no election: each step of a list is one command with
//! an idempotency key of the charger and the step's number, and the progress of a list is saved only if nobody else has
//! saved it meanwhile. So a step that two processes decide, or that is decided again after `kill -9`, is one command.
//!
//! A round takes at most [`LISTS_PER_ROUND`] lists and is followed by a pause of a second, so that after an outage, or
//! when many tokens change, commands to chargers are spread over time.

use central::Timestamp;
use central::command_request::CommandRequest;
use central::local_list::{
    Asked, ChargerFacts, Content, Facts, LocalList, Next, Step, Wish, look_again, settle, step,
};
use central::model::{CommandId, CommandState, Token};
use central::ports::{
    ClusterEvent, ClusterEvents, Commands, Created, DirectorySource, Idempotency, LocalListFilter,
    LocalLists, QueryError, QueryStore, Unavailable,
};
use central::query::{ChargerDetail, PageRequest};
use ocpp::Version;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Lists that a round looks at: at most as many commands are requested each second.
const LISTS_PER_ROUND: usize = 32;
/// The pause after a round.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause while the database is unavailable.
const PAUSE_UNAVAILABLE: Duration = Duration::from_secs(5);
/// How often it is looked for chargers without a list, and for changed tokens.
const LOOK_EVERY_MS: i64 = 5_000;
/// How often lists are made due because tokens have changed, at most.
const HASTEN_EVERY_MS: i64 = 15_000;
/// How long the content of a list is used before it is made again, because tokens expire.
const CONTENT_MS: i64 = 60_000;
/// How long contents are kept that no list refers to.
const CONTENT_KEPT_MS: i64 = 600_000;
/// How long a command may wait to be sent.
const SEND_WITHIN_MS: i64 = 120_000;
/// How long it is waited when a charger's queue of commands is full.
const QUEUE_FULL_MS: i64 = 60_000;
/// Who requests the commands.
const REQUESTED_BY: &str = "local_lists";

/// What the task works with.
#[derive(Clone)]
pub struct LocalListDeps {
    /// Wishes and progress.
    pub lists: Arc<dyn LocalLists>,
    /// The tokens.
    pub directory: Arc<dyn DirectorySource>,
    /// Whether a charger is connected, with which version and firmware.
    pub queries: Arc<dyn QueryStore>,
    /// The queue of commands.
    pub commands: Arc<dyn Commands>,
    /// Tells gateways of new commands; without it they find them within a second.
    pub events: Option<Arc<dyn ClusterEvents>>,
}

/// The running task. Dropping it stops it after the current round, which is not waited for: each of its steps is atomic.
pub struct LocalListTask {
    _stop: Sender<()>,
}

impl LocalListTask {
    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(deps: LocalListDeps) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        std::thread::Builder::new()
            .name("local-lists".to_owned())
            .spawn(move || {
                common::restart::until_it_returns(
                    || work(deps.clone(), &stopped),
                    || tracing::error!("the thread of local lists panicked and is started again"),
                );
            })?;
        Ok(Self { _stop: stop })
    }
}

/// Makes rounds until the task is dropped.
fn work(deps: LocalListDeps, stopped: &Receiver<()>) {
    let mut worker = Worker::new(deps);
    let mut is_failing = false;
    loop {
        // Of the database: several processes work on the lists, and gateways judge their commands.
        let now = worker.deps.commands.time();
        let round = now.and_then(|now| worker.round(now));
        let pause = match &round {
            Ok(()) => PAUSE,
            Err(_) => PAUSE_UNAVAILABLE,
        };
        match (&round, is_failing) {
            (Err(error), false) => {
                tracing::warn!(%error, "local lists cannot be brought to chargers now; it is retried");
            }
            (Ok(()), true) => tracing::info!("local lists are brought to chargers again"),
            (Ok(()), false) | (Err(_), true) => {}
        }
        is_failing = round.is_err();
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// The state of one process; nothing of it must survive.
struct Worker {
    deps: LocalListDeps,
    tokens: HashMap<String, Token>,
    revision: Option<u64>,
    /// Contents by wish and version, made at the time that is with them.
    wanted: Vec<(Wish, Version, Arc<Content>)>,
    wanted_at: Timestamp,
    /// When each content was last kept in the database.
    kept: HashMap<String, Timestamp>,
    looked_at: Timestamp,
    hastened_at: Timestamp,
    must_hasten: bool,
    has_lists: bool,
}

/// Far enough in the past that everything is due.
const NEVER: Timestamp = Timestamp(0);

impl Worker {
    fn new(deps: LocalListDeps) -> Self {
        Self {
            deps,
            tokens: HashMap::new(),
            revision: None,
            wanted: Vec::new(),
            wanted_at: NEVER,
            kept: HashMap::new(),
            looked_at: NEVER,
            hastened_at: NEVER,
            must_hasten: false,
            has_lists: false,
        }
    }

    fn round(&mut self, now: Timestamp) -> Result<(), Unavailable> {
        if self.looked_at.plus_millis(LOOK_EVERY_MS) <= now || now < self.looked_at {
            self.look(now)?;
            self.looked_at = now;
        }
        if !self.has_lists {
            return Ok(());
        }
        if self.wanted_at.plus_millis(CONTENT_MS) <= now || now < self.wanted_at {
            self.wanted.clear();
            self.wanted_at = now;
            let before = now.plus_millis(-CONTENT_KEPT_MS);
            self.deps.lists.forget_contents(before)?;
            self.kept.retain(|_, at| *at >= before);
        }
        for list in self.deps.lists.due_lists(now, LISTS_PER_ROUND)? {
            self.advance(list, now)?;
        }
        Ok(())
    }

    /// Looks for chargers without a list and for changed tokens.
    fn look(&mut self, now: Timestamp) -> Result<(), Unavailable> {
        self.deps.lists.adopt_lists(now)?;
        let one = PageRequest {
            after: None,
            limit: 1,
        };
        let first = self
            .deps
            .lists
            .local_list_page(&LocalListFilter::default(), &one);
        self.has_lists = !available(first)?.items.is_empty();
        if !self.has_lists {
            return Ok(());
        }
        if let Some(snapshot) = self.deps.directory.load(self.revision)? {
            // Also at the start: tokens may have changed while no process looked.
            self.must_hasten = true;
            self.revision = Some(snapshot.revision);
            self.tokens = snapshot.tokens;
            self.wanted.clear();
        }
        let is_over = self.hastened_at.plus_millis(HASTEN_EVERY_MS) <= now;
        if self.must_hasten && (is_over || now < self.hastened_at) {
            self.deps.lists.hasten_lists(now)?;
            self.must_hasten = false;
            self.hastened_at = now;
        }
        Ok(())
    }

    /// One step of one list.
    fn advance(&mut self, mut list: LocalList, now: Timestamp) -> Result<(), Unavailable> {
        let detail = available(self.deps.queries.charger(list.charger.as_str()))?;
        let charger = facts_of(detail.as_ref());
        if let Some(asked) = list.progress.asked.clone() {
            let Some(view) = self.deps.commands.command(asked.command, now)? else {
                // Deleted by the retention: its outcome will not be known.
                list.progress.asked = None;
                list.progress.at_charger = None;
                list.progress.attempt += 1;
                self.deps.lists.save_list(&list, now)?;
                return Ok(());
            };
            match (&view.outcome, view.state) {
                (Some(outcome), CommandState::Done) => {
                    settle(
                        &mut list.progress,
                        &view.action,
                        outcome,
                        charger.firmware,
                        now,
                    );
                }
                _ => {
                    self.deps.lists.save_list(&list, look_again(now))?;
                    return Ok(());
                }
            }
        }
        let version = detail
            .as_ref()
            .and_then(|detail| detail.charger.ocpp_version)
            .unwrap_or(Version::V16);
        let wanted = self.content(&list.wish, version, now);
        let base = match &list.progress.content {
            Some(digest) if *digest == wanted.digest => Some((*wanted).clone()),
            Some(digest) => self.deps.lists.content(digest)?,
            None => None,
        };
        let facts = Facts {
            now,
            wished_at: list.wished_at,
            charger,
            wanted: &wanted,
            base: base.as_ref(),
        };
        let due_at = match step(&mut list.progress, &facts) {
            Next::Wait(at) => {
                // So that the lists of a fleet do not stay due at the same moment.
                let spread = (at.0 - now.0).max(0) / 10;
                at.plus_millis(fastrand::i64(0..=spread))
            }
            Next::Send {
                step,
                action,
                payload,
            } => {
                if step == Step::Send {
                    self.keep(&wanted, now)?;
                }
                self.request(&mut list, step, action, &payload.to_string(), now)?
            }
        };
        self.deps.lists.save_list(&list, due_at)?;
        Ok(())
    }

    /// Requests a command and notes it; returns when the list is due again.
    fn request(
        &self,
        list: &mut LocalList,
        step: Step,
        action: &str,
        payload: &str,
        now: Timestamp,
    ) -> Result<Timestamp, Unavailable> {
        let request = CommandRequest {
            charger_id: list.charger_id.clone(),
            action: action.to_owned(),
            payload: payload.to_owned(),
            waits_when_offline: true,
            expires_at: Some(now.plus_millis(SEND_WITHIN_MS)),
            answer_within_ms: None,
            skips_check: false,
        };
        let digest = blake3::hash(format!("{action} {payload}").as_bytes());
        let idempotency = Idempotency {
            // A wish that is removed and made again begins with the first attempt.
            key: format!(
                "{} {} {}",
                list.charger, list.wished_at.0, list.progress.attempt
            ),
            digest: *digest.as_bytes(),
        };
        let id = CommandId(common::id::new_v7());
        // The gateway checks the payload against the schema of the version that the charger has then.
        let new = match request.accept(id, REQUESTED_BY, None, Some(idempotency), now) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, charger.id = %list.charger_id, "a local list cannot be sent as a command");
                list.progress.why = Some(error.to_string());
                return Ok(now.plus_millis(QUEUE_FULL_MS));
            }
        };
        match self.deps.commands.create(&new)? {
            Created::New(view) | Created::Repeated(view) => {
                list.progress.asked = Some(Asked {
                    step,
                    command: view.id,
                });
                if let Some(events) = &self.deps.events {
                    events.publish(ClusterEvent::CommandsWaiting {
                        charger_id: list.charger_id.clone(),
                    });
                }
                Ok(look_again(now))
            }
            // Another process decided this step on other tokens and did not note it; it may have been sent.
            Created::Mismatch => {
                list.progress.attempt += 1;
                list.progress.at_charger = None;
                Ok(look_again(now))
            }
            Created::QueueFull => {
                list.progress.why = Some(
                    "as many commands as one charger may have are queued for it; the list waits"
                        .to_owned(),
                );
                Ok(now.plus_millis(QUEUE_FULL_MS))
            }
        }
    }

    fn content(&mut self, wish: &Wish, version: Version, now: Timestamp) -> Arc<Content> {
        let found = self
            .wanted
            .iter()
            .find(|(known, of, _)| known == wish && *of == version);
        if let Some((_, _, content)) = found {
            return Arc::clone(content);
        }
        let content = Arc::new(Content::wanted(wish, &self.tokens, version, now));
        self.wanted
            .push((wish.clone(), version, Arc::clone(&content)));
        content
    }

    /// Keeps a content in the database, unless that was done a moment ago.
    fn keep(&mut self, content: &Content, now: Timestamp) -> Result<(), Unavailable> {
        let kept = self.kept.get(&content.digest);
        if kept.is_none_or(|at| at.plus_millis(CONTENT_KEPT_MS / 2) <= now) {
            self.deps.lists.keep_content(content, now)?;
            self.kept.insert(content.digest.clone(), now);
        }
        Ok(())
    }
}

fn facts_of(detail: Option<&ChargerDetail>) -> ChargerFacts<'_> {
    let charger = detail.map(|detail| &detail.charger);
    let boot = charger.and_then(|charger| charger.boot.as_ref());
    ChargerFacts {
        version: charger
            .filter(|charger| charger.online)
            .and_then(|charger| charger.ocpp_version),
        firmware: boot.and_then(|boot| boot.firmware.as_deref()),
        booted_at: charger.and_then(|charger| charger.booted_at),
    }
}

fn available<T>(answer: Result<T, QueryError>) -> Result<T, Unavailable> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(QueryError::Unavailable(error)) => Err(error),
        // There is no cursor in these queries.
        Err(QueryError::BadCursor) => Err(Unavailable {
            component: "database",
            kind: central::ports::UnavailableKind::Unreachable,
            detail: "a list without a cursor was refused".to_owned(),
        }),
    }
}

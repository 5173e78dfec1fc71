//! Commands to the chargers that are connected here.
//!
//! The database's rows are the queue ([`central::ports::CommandQueue`]). One thread queries it, because its calls block: it
//! claims commands of chargers that are ready for one, passes each to its connection ([`Control`]), and releases what a
//! connection did not take. It is woken by hints (a cluster event, a charger that has connected, one that has become
//! ready) and queries the queue each second, so that a lost hint delays a command by a second at most. While the database does
//! not answer, only this thread waits.
//!
//! The same thread asks for connections that an operator wants closed ([`disconnects`]).
//!
//! After `kill -9`, or when it is not known whether a claim was committed, [`settle`] finds the outcome of each claim in the
//! journal.

mod disconnects;
mod settle;

use crate::clock::wall_clock;
use crate::commands::settle::Settler;
use crate::connection::control::Control;
use crate::connection::registry::Registry;
use crate::directory::Directory;
use central::model::{ChargerKey, Claim, Command, CommandId, Refusal};
use central::ports::{
    ClusterEvent, ClusterEvents, CommandQueue, Disconnects, PasswordRotations, Unavailable,
};
use central::secret::redacted;
use central::{Epoch, GatewayId, Seq, Timestamp};
use common::lock::{lock, wait_timeout};
use journal::Journal;
use metrics::{Counter, counter};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How often the queue is queried without a hint.
const POLL: Duration = Duration::from_secs(1);
/// How long to wait after the database has refused.
const RETRY: Duration = Duration::from_millis(500);
/// Chargers of which commands are claimed in one transaction.
const CLAIM_MAX: usize = 256;
/// Chargers of one query of the queue, and queries in a row.
const WAITING_MAX: usize = 1_000;
const WAITING_PAGES_MAX: usize = 20;
/// Commands that one sweep ends.
const EXPIRE_MAX: usize = 1_000;
/// Hints that are kept; more are dropped, and the next query finds their chargers.
const HINTS_MAX: usize = 10_000;
/// Commands whose end was recorded here and that are remembered, so that their claims are not settled again while their
/// records are on the way to the database.
const ENDED_MAX: usize = 20_000;
/// A stop waits this long for the last calls of the database.
const STOP_MAX: Duration = Duration::from_secs(2);

/// A command with the claim by which this gateway has it. Its `send_before` is by this machine's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimedCommand {
    pub(crate) claim: Claim,
    pub(crate) command: Command,
}

/// A claim that is to be changed in the database.
#[derive(Debug, Clone)]
enum Change {
    /// It was not sent; another gateway, or this one, may send it.
    GiveBack,
    /// It is never sent.
    Refuse(Refusal),
}

#[derive(Default)]
struct State {
    hints: BTreeSet<ChargerKey>,
    /// An operator may want a connection closed.
    has_disconnect: bool,
    /// In the order in which they came; bounded by the commands that are claimed, one per connection.
    changes: VecDeque<(Claim, CommandId, Change)>,
    /// Commands that a connection has, or whose change is not stored yet.
    active: HashSet<CommandId>,
    ended: VecDeque<CommandId>,
    ended_ids: HashSet<CommandId>,
    /// No more commands are claimed.
    is_stopping: bool,
    has_stopped: bool,
}

impl State {
    fn remember_ended(&mut self, id: CommandId) {
        if self.ended.len() >= ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.ended_ids.remove(&oldest);
        }
        if self.ended_ids.insert(id) {
            self.ended.push_back(id);
        }
    }
}

/// Passes commands from the queue to connections.
pub(crate) struct Commands {
    queue: Option<Arc<dyn CommandQueue>>,
    rotations: Option<Arc<dyn PasswordRotations>>,
    disconnects: Option<Arc<dyn Disconnects>>,
    directory: Arc<Directory>,
    gateway: GatewayId,
    /// The epoch at which this process started.
    started: Epoch,
    journal: Journal,
    registry: Arc<Registry>,
    state: Mutex<State>,
    changed: Condvar,
    claimed: Counter,
    released: Counter,
    refused: Counter,
    settled: Counter,
    failures: Counter,
}

impl Commands {
    /// Without a queue nothing is sent.
    pub(crate) fn new(
        queue: Option<Arc<dyn CommandQueue>>,
        rotations: Option<Arc<dyn PasswordRotations>>,
        disconnects: Option<Arc<dyn Disconnects>>,
        gateway: GatewayId,
        journal: Journal,
        registry: Arc<Registry>,
        directory: Arc<Directory>,
    ) -> Self {
        let now_ms = wall_clock().as_millis().unsigned_abs();
        Self {
            queue,
            rotations,
            disconnects,
            directory,
            gateway,
            started: registry.next_epoch(now_ms),
            journal,
            registry,
            state: Mutex::default(),
            changed: Condvar::new(),
            claimed: counter!("wattpost_gateway_commands_claimed_total"),
            released: counter!("wattpost_gateway_commands_released_total"),
            refused: counter!("wattpost_gateway_commands_refused_total"),
            settled: counter!("wattpost_gateway_commands_settled_total"),
            failures: counter!("wattpost_gateway_command_queue_failures_total"),
        }
    }

    /// Starts the thread, and receives hints as long as the gateway runs.
    ///
    /// # Errors
    /// When the operating system starts no thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        events: Option<&Arc<dyn ClusterEvents>>,
    ) -> std::io::Result<()> {
        let Some(queue) = self.queue.clone() else {
            return Ok(());
        };
        if let Some(events) = events {
            // The transport of the events may outlive this gateway.
            let commands = Arc::downgrade(self);
            events.subscribe(Box::new(move |event| {
                let Some(commands) = commands.upgrade() else {
                    return;
                };
                match event {
                    ClusterEvent::CommandsWaiting { charger_id } => {
                        commands.hint(ChargerKey::of(&charger_id));
                    }
                    ClusterEvent::DisconnectWaiting { gateway } if gateway == commands.gateway => {
                        lock(&commands.state).has_disconnect = true;
                        commands.changed.notify_all();
                    }
                    // For `ownership`, and for the API.
                    ClusterEvent::DisconnectWaiting { .. }
                    | ClusterEvent::Connected { .. }
                    | ClusterEvent::CommandChanged { .. }
                    | ClusterEvent::ProcessReported { .. } => {}
                }
            }));
        }
        let commands = Arc::clone(self);
        std::thread::Builder::new()
            .name("commands".to_owned())
            .spawn(move || {
                common::restart::until_it_returns(
                    || commands.run(&*queue),
                    || tracing::error!("the thread of commands panicked and is started again"),
                );
            })?;
        Ok(())
    }

    /// This charger may have a command, and is connected here.
    pub(crate) fn hint(&self, key: ChargerKey) {
        if self.queue.is_none() || self.registry.find(&key).is_none() {
            return;
        }
        let mut state = lock(&self.state);
        if state.hints.len() < HINTS_MAX && state.hints.insert(key) {
            self.changed.notify_all();
        }
    }

    /// A connection of another process has the command, and goes on here. Called before [`Commands::start`].
    pub(crate) fn adopt(&self, id: CommandId) {
        lock(&self.state).active.insert(id);
    }

    /// The connection did not send the command.
    pub(crate) fn give_back(&self, claimed: ClaimedCommand) {
        self.change(claimed.claim, claimed.command.id, Change::GiveBack);
    }

    /// The command is never sent.
    pub(crate) fn refuse(&self, claimed: ClaimedCommand, refusal: Refusal) {
        self.change(claimed.claim, claimed.command.id, Change::Refuse(refusal));
    }

    fn change(&self, claim: Claim, id: CommandId, change: Change) {
        lock(&self.state).changes.push_back((claim, id, change));
        self.changed.notify_all();
    }

    /// The reply to the command, or the end of waiting for it, is in the journal.
    pub(crate) fn ended(&self, id: CommandId) {
        let mut state = lock(&self.state);
        state.active.remove(&id);
        state.remember_ended(id);
    }

    /// The command was recorded, and its end could not be: the journal is read for it later.
    pub(crate) fn left_open(&self, id: CommandId) {
        lock(&self.state).active.remove(&id);
    }

    /// Claims no more commands.
    pub(crate) fn stop_claiming(&self) {
        lock(&self.state).is_stopping = true;
        self.changed.notify_all();
    }

    /// Waits a short time until what was given back is stored. What is not is settled at the next start. Blocks.
    pub(crate) fn wait_stopped(&self) {
        if self.queue.is_none() {
            return;
        }
        self.stop_claiming();
        let end = Instant::now() + STOP_MAX;
        let mut state = lock(&self.state);
        while !state.has_stopped {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = wait_timeout(&self.changed, state, left);
        }
    }

    fn run(&self, queue: &dyn CommandQueue) {
        let mut settler = Settler::new(Instant::now());
        let mut after: Option<ChargerKey> = None;
        let mut poll_at = Instant::now();
        loop {
            let is_stopping = self.wait_until(poll_at);
            let now = Instant::now();
            let is_poll = now >= poll_at;
            if is_poll {
                poll_at = now + POLL;
            }
            let done = self.round(queue, is_stopping, is_poll, &mut settler, &mut after);
            match done {
                Ok(()) if is_stopping => break,
                Ok(()) => {}
                Err(error) => {
                    self.failures.increment(1);
                    tracing::debug!(%error, "the queue of commands cannot be used now");
                    if is_stopping {
                        break;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
        lock(&self.state).has_stopped = true;
        self.changed.notify_all();
    }

    /// Waits for a hint, a change, the stop or the time; returns whether the gateway stops.
    fn wait_until(&self, at: Instant) -> bool {
        let mut state = lock(&self.state);
        loop {
            let left = at.saturating_duration_since(Instant::now());
            let has_work = !state.hints.is_empty()
                || !state.changes.is_empty()
                || state.has_disconnect
                || state.is_stopping;
            if has_work || left.is_zero() {
                return state.is_stopping;
            }
            state = wait_timeout(&self.changed, state, left);
        }
    }

    fn round(
        &self,
        queue: &dyn CommandQueue,
        is_stopping: bool,
        is_poll: bool,
        settler: &mut Settler,
        after: &mut Option<ChargerKey>,
    ) -> Result<(), Unavailable> {
        self.store_changes(queue)?;
        if is_stopping {
            return Ok(());
        }
        // Hints are taken before the database is asked: one that comes later is for the next round.
        if std::mem::take(&mut lock(&self.state).has_disconnect) || is_poll {
            self.close_by_operator()?;
        }
        let mut chargers = std::mem::take(&mut lock(&self.state).hints);
        chargers.retain(|key| self.ready(key).is_some());
        if is_poll {
            settler.run(self, queue)?;
            let now = queue.time()?;
            queue.expire(now, EXPIRE_MAX)?;
            queue.ask_again(now, EXPIRE_MAX)?;
            if let Some(rotations) = &self.rotations
                && rotations.settle_rotations(now, EXPIRE_MAX)? > 0
            {
                // The passwords that were refused are not accepted any more.
                self.directory.load_for_command();
            }
            self.look(queue, now, after, &mut chargers)?;
        }
        let chargers: Vec<ChargerKey> = chargers.into_iter().collect();
        for some in chargers.chunks(CLAIM_MAX) {
            self.claim(queue, some)?;
        }
        self.store_changes(queue)
    }

    /// Adds the chargers that have commands, are connected here and are ready.
    fn look(
        &self,
        queue: &dyn CommandQueue,
        now: Timestamp,
        after: &mut Option<ChargerKey>,
        chargers: &mut BTreeSet<ChargerKey>,
    ) -> Result<(), Unavailable> {
        for _ in 0..WAITING_PAGES_MAX {
            let page = queue.waiting(after.as_ref(), now, WAITING_MAX)?;
            let is_last = page.len() < WAITING_MAX;
            *after = page.last().filter(|_| !is_last).cloned();
            chargers.extend(page.into_iter().filter(|key| self.ready(key).is_some()));
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The connection of a charger that can take a command.
    fn ready(&self, key: &ChargerKey) -> Option<Arc<Control>> {
        self.registry
            .find(key)
            .filter(|control| control.wants_command())
    }

    fn claim(&self, queue: &dyn CommandQueue, chargers: &[ChargerKey]) -> Result<(), Unavailable> {
        // In this order: by this machine's clock a command then ends a little early, never late.
        let here = wall_clock();
        let now = queue.time()?;
        let claim = Claim {
            gateway: self.gateway,
            started: self.started,
            // No record of these commands has a lower number.
            next_seq: Seq(self.journal.durable_seq().saturating_add(1)),
            at: now,
        };
        let commands = queue.claim(claim, chargers)?;
        self.claimed.increment(commands.len() as u64);
        // A charger may use a new password at once, so it is sent only by a gateway that accepts it.
        let has_secret = |command: &Command| redacted(&command.payload).is_some();
        let knows_passwords = !commands.iter().any(has_secret) || self.directory.load_for_command();
        for command in commands {
            lock(&self.state).active.insert(command.id);
            let key = ChargerKey::of(&command.charger_id);
            let may_send = knows_passwords || !has_secret(&command);
            let command = command.by_clock_of(here, now);
            let claimed = ClaimedCommand { claim, command };
            let control = self.registry.find(&key).filter(|_| may_send);
            let left = match control {
                Some(control) => control.give_command(claimed),
                None => Some(claimed),
            };
            if let Some(claimed) = left {
                self.give_back(claimed);
            }
        }
        Ok(())
    }

    /// Stores what connections did not send. What cannot be stored now is tried again.
    fn store_changes(&self, queue: &dyn CommandQueue) -> Result<(), Unavailable> {
        loop {
            let Some((claim, id, change)) = lock(&self.state).changes.front().cloned() else {
                return Ok(());
            };
            match &change {
                Change::GiveBack => {
                    queue.release(claim, &[id])?;
                    self.released.increment(1);
                }
                Change::Refuse(refusal) => {
                    queue.refuse(claim, id, refusal, queue.time()?)?;
                    self.refused.increment(1);
                }
            }
            let mut state = lock(&self.state);
            // Only this thread removes from the front.
            state.changes.pop_front();
            state.active.remove(&id);
        }
    }

    /// Whether a connection of this process has the command, or it ended here.
    fn is_known(&self, id: CommandId) -> bool {
        let state = lock(&self.state);
        state.active.contains(&id) || state.ended_ids.contains(&id)
    }
}

//! The handle through which other tasks control a connection's task: they tell it to end, give it its turn, and pass it
//! a changed profile and the answers to its questions. It needs no channel: each is one flag or a short list, and the
//! task is woken.

use crate::admission::peer::Peer;
use crate::commands::ClaimedCommand;
use crate::directory::PasswordMark;
use central::Epoch;
use central::resend::ResendMemory;
use central::station::Fact;
use common::lock::lock;
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Why a connection is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stop {
    /// A newer connection replaced it.
    Replaced = 1,
    /// The gateway stops.
    Shutdown = 2,
    /// The journal accepts no records for now.
    NotDurable = 3,
    /// The journal has failed for good.
    Poisoned = 4,
    /// The operator removed the charger or changed its password.
    Refused = 5,
    /// A newer connection replaced it, at another gateway.
    ReplacedElsewhere = 6,
    /// It holds too many bytes of unfinished messages (see `unfinished`).
    Unfinished = 7,
    /// Another process takes over, and cannot go on with this connection.
    NotCarried = 8,
    /// The operator closed it; [`Control::ordered_close`] says how.
    ByOperator = 9,
}

/// How the operator closes a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderedClose {
    pub(crate) code: u16,
    /// Empty if none was given.
    pub(crate) reason: String,
}

/// How a command gets to the connection: one at a time.
#[derive(Default)]
enum CommandSlot {
    /// The connection has not begun, or has ended.
    #[default]
    Closed,
    /// The connection can take one.
    Free,
    /// One is there.
    Given(Box<ClaimedCommand>),
    /// The connection has taken one, and it is not finished.
    Taken,
}

/// The state of a connection in the queue for turns (see `flow::pace`).
const NO_TURN: u8 = 0;
const WAITS_FOR_TURN: u8 = 1;
const HAS_TURN: u8 = 2;

/// A connection that was replaced after less time counts as one of several replacements in a row.
pub(crate) const REPLACED_SOON: Duration = Duration::from_secs(600);

/// The handle through which other tasks control a connection's task.
pub(crate) struct Control {
    pub(crate) epoch: Epoch,
    /// Where the charger connects from.
    pub(crate) peer: Peer,
    pub(crate) began: Instant,
    /// The password that admitted it, if it gave one.
    pub(crate) admitted_by: Option<PasswordMark>,
    /// How many connections in a row were replaced soon, this one being the last.
    replacements: AtomicU32,
    stop: AtomicU8,
    /// Set before a stop by the operator.
    ordered_close: OnceLock<Box<OrderedClose>>,
    /// It shall be given to another process.
    is_frozen: AtomicBool,
    turn: AtomicU8,
    /// Whether the directory knows this charger.
    is_known: AtomicBool,
    waker: AtomicWaker,
    has_facts: AtomicBool,
    has_new_profile: AtomicBool,
    facts: Mutex<Vec<Fact>>,
    has_command: AtomicBool,
    command: Mutex<CommandSlot>,
    /// Where the connection hands over what it remembers, once a newer one has replaced it.
    pub(super) successor: Mutex<Option<oneshot::Sender<ResendMemory>>>,
}

impl Control {
    pub(crate) fn new(
        epoch: Epoch,
        peer: Peer,
        admitted_by: Option<PasswordMark>,
        now: Instant,
    ) -> Self {
        Self {
            epoch,
            peer,
            began: now,
            admitted_by,
            replacements: AtomicU32::new(0),
            stop: AtomicU8::new(0),
            ordered_close: OnceLock::new(),
            is_frozen: AtomicBool::new(false),
            turn: AtomicU8::new(NO_TURN),
            is_known: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            has_facts: AtomicBool::new(false),
            has_new_profile: AtomicBool::new(false),
            facts: Mutex::default(),
            has_command: AtomicBool::new(false),
            command: Mutex::default(),
            successor: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(epoch: Epoch) -> Self {
        let peer = Peer::of_socket(([192, 0, 2, 1], 5).into());
        Self::new(epoch, peer, None, Instant::now())
    }

    /// This connection replaces `older`.
    pub(super) fn replace(&self, older: &Self) {
        let lasted = self.began.saturating_duration_since(older.began);
        let count = match lasted < REPLACED_SOON {
            true => older.replacements().saturating_add(1),
            false => 1,
        };
        self.replacements.store(count, Ordering::Relaxed);
    }

    /// How many connections of this charger in a row replaced each other soon after they began.
    pub(crate) fn replacements(&self) -> u32 {
        self.replacements.load(Ordering::Relaxed)
    }

    /// Registers the task that is woken by the other methods.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// A connection that another process had since `began`, after this many replacements.
    pub(crate) fn carried(self, began: Instant, replacements: u32) -> Self {
        Self {
            began,
            replacements: AtomicU32::new(replacements),
            ..self
        }
    }

    /// Tells the connection to get ready for another process.
    pub(crate) fn freeze(&self) {
        self.is_frozen.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was told so.
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }

    /// Tells the connection to end. The first reason is kept.
    pub(crate) fn stop(&self, why: Stop) {
        let _ = self
            .stop
            .compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Tells the connection to end as the operator wants. The first order is kept.
    pub(crate) fn close_by_operator(&self, close: OrderedClose) {
        let _ = self.ordered_close.set(Box::new(close));
        self.stop(Stop::ByOperator);
    }

    /// How the operator closes it, if he does.
    pub(crate) fn ordered_close(&self) -> Option<&OrderedClose> {
        self.ordered_close.get().map(|close| &**close)
    }

    /// Why it was told to end, if it was.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stop::Replaced),
            2 => Some(Stop::Shutdown),
            3 => Some(Stop::NotDurable),
            5 => Some(Stop::Refused),
            6 => Some(Stop::ReplacedElsewhere),
            7 => Some(Stop::Unfinished),
            8 => Some(Stop::NotCarried),
            9 => Some(Stop::ByOperator),
            _ => Some(Stop::Poisoned),
        }
    }

    /// The connection has asked for a turn.
    pub(crate) fn wait_for_turn(&self) {
        self.turn.store(WAITS_FOR_TURN, Ordering::Release);
    }

    /// Gives the connection the turn that it waits for and wakes it. `false` if it no longer waits.
    pub(crate) fn give_turn(&self) -> bool {
        let given = self.turn.compare_exchange(
            WAITS_FOR_TURN,
            HAS_TURN,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if given.is_ok() {
            self.waker.wake();
        }
        given.is_ok()
    }

    /// Takes the turn, if it has come.
    pub(crate) fn take_turn(&self) -> bool {
        self.turn
            .compare_exchange(HAS_TURN, NO_TURN, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The connection no longer waits for a turn.
    pub(crate) fn leave_turns(&self) {
        self.turn.store(NO_TURN, Ordering::Release);
    }

    /// Sets whether the directory knows this charger. What is remembered of unknown chargers is forgotten first.
    pub(crate) fn set_known(&self, is_known: bool) {
        self.is_known.store(is_known, Ordering::Relaxed);
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// The charger's profile in the directory has changed.
    pub(crate) fn profile_changed(&self) {
        self.has_new_profile.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the profile has changed since the last call.
    pub(crate) fn take_new_profile(&self) -> bool {
        self.has_new_profile.load(Ordering::Relaxed)
            && self.has_new_profile.swap(false, Ordering::Acquire)
    }

    /// The answer to a question of the station.
    pub(crate) fn answer(&self, fact: Fact) {
        lock(&self.facts).push(fact);
        self.has_facts.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether a command may be given now.
    pub(crate) fn wants_command(&self) -> bool {
        matches!(*lock(&self.command), CommandSlot::Free)
    }

    /// The connection has begun, or has finished its command.
    pub(crate) fn open_for_command(&self) {
        *lock(&self.command) = CommandSlot::Free;
    }

    /// Gives the connection a command and wakes it. Returns the command if the connection has ended or has another one.
    pub(crate) fn give_command(&self, claimed: ClaimedCommand) -> Option<ClaimedCommand> {
        let mut slot = lock(&self.command);
        if !matches!(*slot, CommandSlot::Free) {
            return Some(claimed);
        }
        *slot = CommandSlot::Given(Box::new(claimed));
        self.has_command.store(true, Ordering::Release);
        drop(slot);
        self.waker.wake();
        None
    }

    /// The command that was given since the last call.
    pub(crate) fn take_command(&self) -> Option<ClaimedCommand> {
        if !self.has_command.load(Ordering::Acquire) {
            return None;
        }
        self.replace_command(CommandSlot::Taken)
    }

    /// Takes no more commands; returns the one that was given and not taken.
    pub(crate) fn close_for_commands(&self) -> Option<ClaimedCommand> {
        self.replace_command(CommandSlot::Closed)
    }

    fn replace_command(&self, next: CommandSlot) -> Option<ClaimedCommand> {
        let mut slot = lock(&self.command);
        self.has_command.store(false, Ordering::Relaxed);
        match std::mem::replace(&mut *slot, next) {
            CommandSlot::Given(claimed) => Some(*claimed),
            CommandSlot::Closed | CommandSlot::Free | CommandSlot::Taken => None,
        }
    }

    /// The answers since the last call.
    pub(crate) fn take_facts(&self) -> Vec<Fact> {
        if !self.has_facts.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut facts = lock(&self.facts);
        self.has_facts.store(false, Ordering::Relaxed);
        std::mem::take(&mut facts)
    }
}

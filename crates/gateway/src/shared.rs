//! What the gateway's tasks have in common, and the one place that says whether a charger may come
//! in now.

use crate::admission::auth::Passwords;
use crate::admission::handshake::{Refusal, Status};
use crate::admission::pending::{PeerAddress, PendingHandshakes};
use crate::admission::unknown::UnknownConnections;
use crate::clock::ClockCheck;
pub(crate) use crate::clock::wall_clock;
use crate::config::GatewayConfig;
use crate::connection::frames::{FrameOptions, Lingering};
use crate::connection::registry::Registry;
use crate::connection::unfinished::Budget;
use crate::delivery::Delivery;
use crate::delivery::ack_gate::Watermark;
use crate::delivery::verify::Verified;
use crate::directory::Directory;
use crate::flow::pace::Pace;
use crate::metrics::Figures;
use central::GatewayId;
use central::policy::Policy;
use central::ports::{Announcements, Sink};
use journal::Journal;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// Shared by all tasks of one gateway.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) journal: Journal,
    pub(crate) gateway_id: GatewayId,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) announcements: Option<Arc<dyn Announcements>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) passwords: Passwords,
    pub(crate) registry: Registry,
    pub(crate) pace: Pace,
    /// The pace of chargers that are not accepted; always set.
    pub(crate) unaccepted: Pace,
    /// What is held of messages that are not finished, or wait.
    pub(crate) budget: Arc<Budget>,
    pub(crate) delivery: Delivery,
    /// What reading the waiting records once found.
    pub(crate) verified: Verified,
    pub(crate) watermark: Watermark,
    pub(crate) figures: Figures,
    pub(crate) clock: ClockCheck,
    pub(crate) frame_options: FrameOptions,
    /// Sockets whose handshake is not finished.
    pub(crate) pending_handshakes: PendingHandshakes,
    /// Closed sockets that linger.
    pub(crate) lingering: Arc<Lingering>,
    /// Places for connections, as many as `connections_max`; each is taken before a handshake is answered
    /// and held until the socket is closed.
    pub(crate) places: Arc<Semaphore>,
    /// Of these places, those of chargers that nobody has added.
    pub(crate) unknown_connections: UnknownConnections,
    /// When the log last said that unknown chargers are refused.
    pub(crate) unknown_warning: WarningInterval,
    pub(crate) handshake_rate: RateBound,
    pub(crate) address_rates: AddressRates,
    /// Every connection's task, so that a stop can wait for all.
    pub(crate) connections: TaskTracker,
    /// The gateway stops.
    pub(crate) stopping: AtomicBool,
    /// The journal takes no more for now; all sockets are closed.
    pub(crate) not_durable: AtomicBool,
    /// What the journal was told of beginnings and ends.
    pub(crate) starts: Starts,
}

/// Whether every connection that has ended is known to have ended. A full journal refuses the record
/// of an end too; then a later record that the gateway started says it for all connections before.
#[derive(Default)]
pub(crate) struct Starts {
    /// Of the last such record that was taken.
    recorded: AtomicU64,
    /// The highest epoch of which an end, or a start, was refused.
    refused: AtomicU64,
}

impl Starts {
    /// The record of a start was taken: all connections up to `epoch` have ended.
    pub(crate) fn record(&self, epoch: u64) {
        self.recorded.fetch_max(epoch, Ordering::SeqCst);
    }

    /// The record that a connection of `epoch` ended, or that the gateway started, was refused.
    pub(crate) fn refuse(&self, epoch: u64) {
        self.refused.fetch_max(epoch, Ordering::SeqCst);
    }

    /// Whether a start must be recorded before anybody comes in.
    pub(crate) fn are_missing(&self) -> bool {
        self.refused.load(Ordering::SeqCst) > self.recorded.load(Ordering::SeqCst)
    }

    /// Whether a connection of `epoch` would be taken for one that has ended.
    pub(crate) fn have_ended(&self, epoch: u64) -> bool {
        epoch <= self.recorded.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Whether a charger may come in now.
    ///
    /// # Errors
    /// With the 503 to refuse it with, before the upgrade (rule Q-13, H-6).
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        self.is_open()?;
        if self.places.available_permits() == 0 {
            return unavailable(ALL_TAKEN);
        }
        Ok(())
    }

    /// A place among the connections, for one that was admitted.
    ///
    /// # Errors
    /// As above: others may have been quicker.
    pub(crate) fn take_place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Refusal::new(Status::Unavailable, ALL_TAKEN))
    }

    /// Whether one more connection may come in while messages are paced: few do.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn may_enter(&self) -> Result<(), Refusal> {
        let wait_max = Duration::from_millis(self.config.pace_wait_max_ms);
        if self.pace.may_enter(wait_max) {
            return Ok(());
        }
        unavailable(
            "More is said than can be stored just now; keep what you have and come back in a moment.",
        )
    }

    /// [`Shared::admit`] for a connection that has its place and its `epoch` already: a start may have
    /// been recorded since it got it.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn admit_as(&self, epoch: u64) -> Result<(), Refusal> {
        self.is_open()?;
        if self.starts.have_ended(epoch) {
            return unavailable("Wattpost is starting; come back in a moment.");
        }
        Ok(())
    }

    fn is_open(&self) -> Result<(), Refusal> {
        if self.stopping.load(Ordering::SeqCst) {
            return unavailable("Wattpost is stopping; come back in a moment.");
        }
        if self.not_durable.load(Ordering::SeqCst) || self.journal.full().is_some() {
            return unavailable(
                "What you say could not be stored just now; keep it and come back in a moment.",
            );
        }
        if self.clock.refusal().is_some() {
            return unavailable("The clock here is wrong; come back when it is set.");
        }
        if !self.directory.is_loaded() {
            return unavailable(
                "Who may come in is not known yet: the database was never reached; come back in a moment.",
            );
        }
        Ok(())
    }
}

const ALL_TAKEN: &str = "All places are taken; come back in a moment.";

fn unavailable(sentence: &str) -> Result<(), Refusal> {
    Err(Refusal::new(Status::Unavailable, sentence))
}

/// Lets a warning that anybody can cause be logged once per [`WARN_EVERY`].
#[derive(Default)]
pub(crate) struct WarningInterval(Mutex<Option<Instant>>);

/// Between two warnings of the same kind.
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(60);

impl WarningInterval {
    /// Whether the warning may be logged now; then the next one has to wait.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= WARN_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// Lets so many pass per second, with bursts of the same size. One atomic, no lock.
pub(crate) struct RateBound {
    origin: Instant,
    interval_ns: u64,
    /// When the bucket would be full again, in nanoseconds since `origin`.
    full_at_ns: AtomicU64,
}

impl RateBound {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            origin: Instant::now(),
            interval_ns: 1_000_000_000 / u64::from(per_second.max(1)),
            full_at_ns: AtomicU64::new(0),
        }
    }

    /// Whether one more may pass.
    pub(crate) fn pass(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.origin).as_nanos())
            .unwrap_or(u64::MAX);
        let burst = 1_000_000_000;
        self.full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now).saturating_add(self.interval_ns);
                (next <= now.saturating_add(burst)).then_some(next)
            })
            .is_ok()
    }
}

/// A [`RateBound`] for each peer address. The table does not grow: addresses are spread over its slots by
/// a hash that nobody outside can know, and those in one slot share its rate.
pub(crate) struct AddressRates {
    slots: Vec<RateBound>,
    hasher: RandomState,
}

impl AddressRates {
    const SLOTS: usize = 4_096;

    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            slots: std::iter::repeat_with(|| RateBound::new(per_second))
                .take(Self::SLOTS)
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// Whether one more of this address may pass.
    pub(crate) fn pass(&self, address: PeerAddress, now: Instant) -> bool {
        let slot = self.hasher.hash_one(address) as usize % self.slots.len();
        self.slots[slot].pass(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_start_speaks_for_all_ends_before_it_and_for_none_after() {
        let starts = Starts::default();
        assert!(!starts.are_missing());
        starts.record(5);
        assert!(starts.have_ended(5) && !starts.have_ended(6));
        starts.refuse(4);
        assert!(
            !starts.are_missing(),
            "a straggler that is known to have ended"
        );
        starts.refuse(7);
        assert!(starts.are_missing());
        starts.record(8);
        assert!(!starts.are_missing() && starts.have_ended(7));
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let bound = RateBound::new(10);
        let start = bound.origin + Duration::from_secs(5);
        let passed = (0..100).filter(|_| bound.pass(start)).count();
        assert_eq!(passed, 10);
        assert!(!bound.pass(start + Duration::from_millis(90)));
        assert!(bound.pass(start + Duration::from_millis(101)));
        assert!(!bound.pass(start + Duration::from_millis(102)));
    }

    #[test]
    fn one_address_uses_up_its_own_rate_and_not_that_of_others() {
        let rates = AddressRates::new(10);
        let now = Instant::now() + Duration::from_secs(5);
        let address = |last: u8| PeerAddress::of([192, 0, 2, last].into());
        let passed = (0..1_000).filter(|_| rates.pass(address(66), now)).count();
        assert_eq!(passed, 10);
        // Others may be in the same slot by bad luck, but not most of them.
        let passed = (67..=166).filter(|last| rates.pass(address(*last), now));
        assert!(passed.count() > 90);
    }
}

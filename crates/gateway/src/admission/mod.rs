//! From a TCP connection to an admitted charger: what bounds connections and handshakes, and the one place that
//! says whether a charger may connect now.

pub(crate) mod accept;
pub(crate) mod auth;
mod begin;
mod check;
pub(crate) mod handshake;
pub(crate) mod log;
pub(crate) mod peer;
pub(crate) mod pending;
mod proxy_header;
pub(crate) mod rate;
pub(crate) mod reason;
pub(crate) mod refused;
pub(crate) mod unknown;

use crate::admission::auth::Passwords;
use crate::admission::handshake::Refusal;
use crate::admission::log::ConnectionLog;
use crate::admission::pending::{Bounds, PendingHandshakes};
use crate::admission::rate::{AddressRates, RateBound, WarningInterval};
use crate::admission::reason::Reason;
use crate::admission::refused::RefusedHandshakes;
use crate::admission::unknown::UnknownConnections;
use crate::clock::ClockCheck;
use crate::config::GatewayConfig;
use crate::connection::frames::Lingering;
use crate::directory::Directory;
use central::Epoch;
use central::policy::Policy;
use journal::Journal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// What decides whether a charger may connect.
pub(crate) struct Admission {
    journal: Journal,
    directory: Arc<Directory>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) clock: Arc<ClockCheck>,
    pub(crate) passwords: Passwords,
    /// The log lines about chargers that connect, disconnect, or are refused.
    pub(crate) log: Arc<ConnectionLog>,
    /// Refused handshakes for the operator's list.
    pub(crate) refused: Arc<RefusedHandshakes>,
    /// Sockets whose handshake is not finished.
    pub(crate) pending_handshakes: PendingHandshakes,
    /// Closed sockets that linger.
    pub(crate) lingering: Arc<Lingering>,
    /// Permits for connections, `connections_max` of them; each is acquired before a handshake is answered and
    /// held until the socket is closed.
    pub(crate) permits: Arc<Semaphore>,
    /// Of these connections, those of chargers that nobody has added.
    pub(crate) unknown_connections: UnknownConnections,
    /// Limits the warning about unfinished handshakes.
    pub(crate) handshakes_warning: WarningInterval,
    /// Limits the warning that unknown chargers are refused.
    pub(crate) unknown_warning: WarningInterval,
    pub(crate) handshake_rate: RateBound,
    pub(crate) address_rates: AddressRates,
    /// Every connection's task, so that a stop can wait for all.
    pub(crate) connections: TaskTracker,
    /// The gateway stops.
    pub(crate) stopping: AtomicBool,
    /// The journal accepts no records for now; all sockets are closed.
    pub(crate) not_durable: AtomicBool,
    /// Which starts and ends of connections are recorded.
    pub(crate) starts: Starts,
}

impl Admission {
    pub(crate) fn new(
        config: &GatewayConfig,
        journal: Journal,
        directory: Arc<Directory>,
        policy: Arc<Policy>,
        clock: Arc<ClockCheck>,
        starts: Starts,
        refused: Arc<RefusedHandshakes>,
    ) -> Self {
        let max_permits = Semaphore::MAX_PERMITS;
        Self {
            journal,
            directory,
            policy,
            clock,
            passwords: Passwords::new(config.password_checks_max),
            log: Arc::default(),
            refused,
            pending_handshakes: PendingHandshakes::new(Bounds {
                total: config.handshakes_max,
                per_address: config.handshakes_per_address_max,
            }),
            lingering: Lingering::new(config.lingering_max().min(max_permits)),
            permits: Arc::new(Semaphore::new(config.connections_max.min(max_permits))),
            unknown_connections: UnknownConnections::new(
                config.unknown_max(),
                config.unknown_per_address_max,
            ),
            handshakes_warning: WarningInterval::default(),
            unknown_warning: WarningInterval::default(),
            handshake_rate: RateBound::new(config.handshakes_per_second),
            address_rates: AddressRates::new(config.handshakes_per_second_per_address),
            connections: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            not_durable: AtomicBool::new(starts.are_missing()),
            starts,
        }
    }

    /// Whether a charger may connect now.
    ///
    /// # Errors
    /// With the 503 to refuse it with, before the upgrade (rules Q-13, H-6).
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        self.is_open()?;
        if self.permits.available_permits() == 0 {
            return unavailable(ALL_USED);
        }
        Ok(())
    }

    /// A permit for one connection.
    ///
    /// # Errors
    /// With a 503 when all are in use: others may have been quicker since [`Admission::admit`].
    pub(crate) fn acquire(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.map_err(|_| Refusal::new(Reason::NotNow, ALL_USED))
    }

    /// [`Admission::admit`] for a connection that has its permit and its `epoch` already: a start of the gateway
    /// may have been recorded since it got them.
    ///
    /// # Errors
    /// With the 503 to refuse it with.
    pub(crate) fn admit_as(&self, epoch: Epoch) -> Result<(), Refusal> {
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
                "Messages cannot be stored just now; keep them and come back in a moment.",
            );
        }
        if self.clock.refusal().is_some() {
            return unavailable("The clock here is wrong; come back when it is set.");
        }
        if !self.directory.is_loaded() {
            return unavailable(
                "Which chargers are known is not known yet: the database was never reached; come back in a moment.",
            );
        }
        Ok(())
    }
}

const ALL_USED: &str = "All connections are in use; come back in a moment.";

/// A 503 with this sentence.
pub(crate) fn unavailable<T>(sentence: &str) -> Result<T, Refusal> {
    Err(Refusal::new(Reason::NotNow, sentence))
}

/// Whether the end of every connection that has ended is recorded. A full journal refuses the record of an end
/// too; then a later record that the gateway started ends all connections before it.
#[derive(Default)]
pub(crate) struct Starts {
    /// Epoch of the last start that was recorded.
    recorded: AtomicU64,
    /// The highest epoch of which an end, or a start, was refused.
    refused: AtomicU64,
}

impl Starts {
    /// As another process knew it, see [`Starts::numbers`].
    pub(crate) const fn of(recorded: u64, refused: u64) -> Self {
        Self {
            recorded: AtomicU64::new(recorded),
            refused: AtomicU64::new(refused),
        }
    }

    /// For another process: the epoch of the last recorded start, and the highest refused one.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        let [recorded, refused] = [&self.recorded, &self.refused];
        (
            recorded.load(Ordering::SeqCst),
            refused.load(Ordering::SeqCst),
        )
    }

    /// A start was recorded: all connections up to `epoch` have ended.
    pub(crate) fn record(&self, epoch: Epoch) {
        self.recorded.fetch_max(epoch.0, Ordering::SeqCst);
    }

    /// The record that a connection of `epoch` ended, or that the gateway started, was refused.
    pub(crate) fn refuse(&self, epoch: Epoch) {
        self.refused.fetch_max(epoch.0, Ordering::SeqCst);
    }

    /// Whether a start must be recorded before any charger may connect.
    pub(crate) fn are_missing(&self) -> bool {
        self.refused.load(Ordering::SeqCst) > self.recorded.load(Ordering::SeqCst)
    }

    /// Whether a connection of `epoch` would count as ended.
    pub(crate) fn have_ended(&self, epoch: Epoch) -> bool {
        epoch.0 <= self.recorded.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_start_ends_all_connections_before_it_and_none_after() {
        let starts = Starts::default();
        assert!(!starts.are_missing());
        starts.record(Epoch(5));
        assert!(starts.have_ended(Epoch(5)) && !starts.have_ended(Epoch(6)));
        starts.refuse(Epoch(4));
        assert!(!starts.are_missing(), "its end is known already");
        starts.refuse(Epoch(7));
        assert!(starts.are_missing());
        starts.record(Epoch(8));
        assert!(!starts.are_missing() && starts.have_ended(Epoch(7)));
    }
}

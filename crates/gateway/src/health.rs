//! The gateway's health, answered from what is known already, without waiting.

use crate::admission::Admission;
use crate::connection::registry::Registry;
use crate::delivery::Delivery;
use crate::delivery::status::JOURNAL;
use crate::directory::Directory;
use crate::flow::pace::STUCK;
use central::Seq;
use central::ports::{Health, HealthProbe};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct GatewayHealth {
    admission: Arc<Admission>,
    delivery: Arc<Delivery>,
    directory: Arc<Directory>,
    registry: Arc<Registry>,
}

impl GatewayHealth {
    pub(crate) const fn new(
        admission: Arc<Admission>,
        delivery: Arc<Delivery>,
        directory: Arc<Directory>,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            admission,
            delivery,
            directory,
            registry,
        }
    }

    fn gateway(&self) -> Health {
        let here = self.registry.connected();
        let (up, detail) = if self.admission.stopping.load(Ordering::SeqCst) {
            (false, "stopping".to_owned())
        } else if let Some(why) = self.admission.clock.refusal() {
            (false, format!("refuses chargers: {why}"))
        } else if let Err(refusal) = self.admission.admit() {
            (false, format!("refuses chargers: {}", refusal.sentence))
        } else {
            let note = self.admission.clock.note();
            let note = note.map_or_else(String::new, |note| format!("; {note}"));
            (true, format!("{here} chargers connected{note}"))
        };
        Health {
            part: "gateway",
            up,
            detail,
        }
    }

    fn journal(&self) -> Health {
        let status = self.delivery.journal.status();
        let (up, detail) = if let Some(why) = status.poisoned {
            (false, format!("stopped after a disk error: {why}"))
        } else if let Some(reason) = status.full {
            let detail = status
                .full_detail
                .map_or_else(String::new, |words| format!(" ({words})"));
            (false, format!("{reason}{detail}"))
        } else if self.admission.not_durable.load(Ordering::SeqCst) {
            (false, "its disk accepts no records now".to_owned())
        } else if let Some(why) = self.unreadable() {
            (false, why)
        } else {
            let used = status.used_bytes as f64 / status.bytes_max.max(1) as f64 * 100.0;
            (true, format!("{used:.0} % of its bound used"))
        };
        Health {
            part: "journal",
            up,
            detail,
        }
    }

    /// Why not all records of the journal can be delivered, if one cannot be read.
    fn unreadable(&self) -> Option<String> {
        let refusal = self
            .delivery
            .status
            .refusal()
            .filter(|unavailable| unavailable.component == JOURNAL);
        let damaged = self
            .delivery
            .verified
            .damaged(Seq(self.delivery.journal.cursor()));
        let more = damaged.positions.saturating_sub(1);
        let first = refusal
            .map(|unavailable| unavailable.detail)
            .or(damaged.first)?;
        Some(match more {
            0 => first,
            _ => format!("{first} (and {more} more damaged positions)"),
        })
    }

    fn forwarder(&self) -> Health {
        let delivery = &self.delivery.status;
        let waiting = self.delivery.backlog();
        let (up, detail) = match delivery.refusal() {
            // Chargers are answered nevertheless.
            Some(unavailable) => (
                unavailable.component != JOURNAL && self.delivery.ack_gate.fallback().is_some(),
                format!("{unavailable}; {waiting} records wait in the journal"),
            ),
            None if !delivery.healthy(STUCK) => (
                false,
                format!(
                    "a delivery has been in flight for long; {waiting} records wait in the journal"
                ),
            ),
            None => (true, format!("{waiting} records in flight")),
        };
        let detail = match self.delivery.ack_gate.fallback() {
            Some(why) => format!("{detail}; answers do not wait for a confirm: {why}"),
            None => detail,
        };
        Health {
            part: "forwarder",
            up,
            detail,
        }
    }

    fn directory(&self) -> Health {
        let (words, failure) = self.directory.health();
        let detail = match &failure {
            Some(unavailable) => format!("{words}, but not refreshed: {unavailable}"),
            None => words,
        };
        Health {
            part: "directory",
            up: failure.is_none(),
            detail,
        }
    }
}

impl HealthProbe for GatewayHealth {
    fn health(&self) -> Vec<Health> {
        vec![
            self.gateway(),
            self.journal(),
            self.forwarder(),
            self.directory(),
        ]
    }
}

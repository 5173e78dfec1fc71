//! The gateway's health, answered from what is known already, without waiting.

use crate::delivery::status::JOURNAL;
use crate::flow::pace::STUCK;
use crate::parts::Parts;
use central::Seq;
use central::ports::{Health, HealthProbe};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct GatewayHealth {
    parts: Arc<Parts>,
}

impl GatewayHealth {
    pub(crate) const fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    fn gateway(&self) -> Health {
        let parts = &self.parts;
        let here = parts.registry.connected();
        let (up, detail) = if parts.admission.stopping.load(Ordering::SeqCst) {
            (false, "stopping".to_owned())
        } else if let Some(why) = parts.admission.clock.refusal() {
            (false, format!("refuses chargers: {why}"))
        } else if let Err(refusal) = parts.admission.admit() {
            (false, format!("refuses chargers: {}", refusal.sentence))
        } else {
            let note = parts.admission.clock.note();
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
        let status = self.parts.delivery.journal.status();
        let (up, detail) = if let Some(why) = status.poisoned {
            (false, format!("stopped after a disk error: {why}"))
        } else if let Some(reason) = status.full {
            let detail = status
                .full_detail
                .map_or_else(String::new, |words| format!(" ({words})"));
            (false, format!("{reason}{detail}"))
        } else if self.parts.admission.not_durable.load(Ordering::SeqCst) {
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
        let parts = &self.parts;
        let refusal = parts
            .delivery
            .status
            .refusal()
            .filter(|unavailable| unavailable.component == JOURNAL);
        let damaged = parts
            .delivery
            .verified
            .damaged(Seq(parts.delivery.journal.cursor()));
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
        let delivery = &self.parts.delivery.status;
        let waiting = self.parts.delivery.backlog();
        let (up, detail) = match delivery.refusal() {
            // Chargers are answered nevertheless.
            Some(unavailable) => (
                unavailable.component != JOURNAL
                    && self.parts.delivery.ack_gate.fallback().is_some(),
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
        let detail = match self.parts.delivery.ack_gate.fallback() {
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
        let (words, failure) = self.parts.directory.health();
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

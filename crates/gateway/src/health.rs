//! The gateway's health, answered from what is known already, without waiting.

use crate::admission::Admission;
use crate::connection::registry::Registry;
use crate::delivery::Delivery;
use crate::delivery::status::JOURNAL;
use crate::directory::Directory;
use crate::flow::pace::STUCK;
use central::Seq;
use central::ports::{Figure, Health, HealthProbe};
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
        // It is down only while it refuses all chargers.
        Health::new("gateway", up, detail)
            .ready_if(up)
            .figure("connections", Figure::from(here as u64))
    }

    fn journal(&self) -> Health {
        let status = self.delivery.journal.status();
        let takes_records = status.poisoned.is_none()
            && status.full.is_none()
            && !self.admission.not_durable.load(Ordering::SeqCst);
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
        let undelivered = status.durable_seq.saturating_sub(status.cursor);
        let mut health = Health::new("journal", up, detail)
            .ready_if(takes_records)
            .figure("written_seq", Figure::from(status.written_seq))
            .figure("durable_seq", Figure::from(status.durable_seq))
            .figure("delivered_seq", Figure::from(status.cursor))
            .figure("undelivered_records", Figure::from(undelivered))
            .figure("undelivered_bytes", Figure::from(status.used_bytes))
            .figure("bytes_max", Figure::from(status.bytes_max))
            .figure("sync_mean_seconds", Figure::from(status.sync_mean))
            .figure("sync_last_seconds", Figure::from(status.sync_last))
            .figure("sync_max_seconds", Figure::from(status.sync_max));
        if let Some(age) = status.oldest_age {
            health = health.figure("oldest_undelivered_seconds", Figure::from(age));
        }
        health
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
        Health::new("forwarder", up, detail)
    }

    fn directory(&self) -> Health {
        let (words, failure) = self.directory.health();
        let detail = match &failure {
            Some(unavailable) => format!("{words}, but not refreshed: {unavailable}"),
            None => words,
        };
        let (chargers, tokens) = self.directory.known();
        Health::new("directory", failure.is_none(), detail)
            .ready_if(self.directory.is_loaded())
            .figure("chargers", Figure::from(chargers as u64))
            .figure("tokens", Figure::from(tokens as u64))
            .figure("age_seconds", self.directory.age().map(Figure::from))
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

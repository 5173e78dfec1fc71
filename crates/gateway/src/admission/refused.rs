//! Refused handshakes for the operator's list. They are counted in memory and written every few seconds, never within a
//! handshake, so that neither a flood nor a slow database costs a charger time.

use crate::admission::log::Attempt;
use crate::admission::peer::Peer;
use crate::admission::reason::Reason;
use central::model::{REFUSED_TEXT_BYTES_MAX, RefusedHandshake};
use central::ports::Handshakes;
use central::{GatewayId, Timestamp};
use common::lock::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often what was refused is written.
pub(crate) const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// Different refusals that wait to be written. Further ones are only logged.
const WAITING_MAX: usize = 256;
/// Of these, those of one address.
const WAITING_PER_ADDRESS_MAX: usize = 16;

/// The refusals that wait to be written.
pub(crate) struct RefusedHandshakes {
    gateway: GatewayId,
    port: Option<Arc<dyn Handshakes>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    by_key: HashMap<String, RefusedHandshake>,
    by_address: HashMap<String, usize>,
}

impl Waiting {
    fn add(&mut self, refused: RefusedHandshake) {
        let key = refused.key();
        if let Some(known) = self.by_key.get_mut(&key) {
            known.add(refused);
            return;
        }
        let of_address = self.by_address.get(&refused.address).copied();
        let of_address = of_address.unwrap_or_default();
        if self.by_key.len() >= WAITING_MAX || of_address >= WAITING_PER_ADDRESS_MAX {
            return;
        }
        self.by_address
            .insert(refused.address.clone(), of_address + 1);
        self.by_key.insert(key, refused);
    }
}

impl RefusedHandshakes {
    pub(crate) fn new(gateway: GatewayId, port: Option<Arc<dyn Handshakes>>) -> Self {
        Self {
            gateway,
            port,
            waiting: Mutex::default(),
        }
    }

    /// A handshake is refused. A charger that is refused only for now does nothing wrong, and is not counted.
    pub(crate) fn note(&self, peer: Peer, attempt: &Attempt, reason: Reason, now: Timestamp) {
        if reason == Reason::NotNow || self.port.is_none() {
            return;
        }
        let text = |text: &str| (!text.is_empty()).then(|| bounded(text));
        // The whole identity, because a charger is added with it; a longer one is refused anyway. Without one, the
        // attempt has the last part of the path.
        let identity = Some(attempt.identity())
            .filter(|_| reason != Reason::NoIdentity)
            .filter(|identity| !identity.is_empty() && identity.len() <= REFUSED_TEXT_BYTES_MAX);
        lock(&self.waiting).add(RefusedHandshake {
            charger_id: identity.map(str::to_owned),
            reason: reason.line().to_owned(),
            // Every status has three digits.
            status: reason.status().code().parse().unwrap_or_default(),
            cure: reason.cure().to_owned(),
            address: peer.address().to_string(),
            path: text(attempt.path()),
            offered: text(attempt.offered()),
            gateway: self.gateway,
            judged_by: attempt.judged_by(),
            first_at: now,
            last_at: now,
            count: 1,
        });
    }

    /// Writes what waits, again and again.
    pub(crate) async fn keep_written(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WRITE_INTERVAL).await;
            let this = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || this.write()).await;
            if let Err(panic) = written {
                tracing::error!(%panic, "writing refused handshakes panicked");
            }
        }
    }

    /// Writes what waits. What cannot be written waits for the next attempt.
    fn write(&self) {
        let Some(port) = &self.port else {
            return;
        };
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        if waiting.by_key.is_empty() {
            return;
        }
        let refused: Vec<RefusedHandshake> = waiting.by_key.into_values().collect();
        if let Err(error) = port.add_refused(&refused) {
            tracing::debug!(%error, "refused handshakes cannot be stored now");
            let mut waiting = lock(&self.waiting);
            for handshake in refused {
                waiting.add(handshake);
            }
        }
    }
}

/// The text, cut to [`REFUSED_TEXT_BYTES_MAX`] bytes; a cut ends with `…`, which is within them.
fn bounded(text: &str) -> String {
    const MARK: &str = "…";
    if text.len() <= REFUSED_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(REFUSED_TEXT_BYTES_MAX - MARK.len());
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(identity: &str, address: &str, at: i64) -> RefusedHandshake {
        RefusedHandshake {
            charger_id: (!identity.is_empty()).then(|| identity.to_owned()),
            reason: "unknown charger".to_owned(),
            status: 404,
            cure: "add it".to_owned(),
            address: address.to_owned(),
            path: None,
            offered: None,
            gateway: GatewayId(uuid::Uuid::nil()),
            judged_by: None,
            first_at: Timestamp(at),
            last_at: Timestamp(at),
            count: 1,
        }
    }

    #[test]
    fn a_text_has_at_most_255_bytes_and_is_never_cut_within_a_character() {
        assert_eq!(bounded(&"x".repeat(255)), "x".repeat(255));
        assert_eq!(bounded(&"x".repeat(256)), "x".repeat(252) + "…");
        assert_eq!(bounded(&"é".repeat(200)), "é".repeat(126) + "…");
    }

    #[test]
    fn refusals_of_one_identity_are_counted_together() {
        let mut waiting = Waiting::default();
        waiting.add(refused("CP-1", "192.0.2.1", 1));
        waiting.add(refused("cp-1", "192.0.2.2", 5));
        waiting.add(refused("CP-2", "192.0.2.1", 2));
        assert_eq!(waiting.by_key.len(), 2);
        let first = &waiting.by_key[&refused("CP-1", "", 0).key()];
        assert_eq!(
            (first.count, first.first_at, first.last_at),
            (2, Timestamp(1), Timestamp(5))
        );
        assert_eq!(first.address, "192.0.2.2");
    }

    #[test]
    fn one_address_and_all_together_are_bounded() {
        let mut waiting = Waiting::default();
        for number in 0..1_000 {
            waiting.add(refused(&format!("X-{number}"), "192.0.2.1", 1));
        }
        assert_eq!(waiting.by_key.len(), WAITING_PER_ADDRESS_MAX);
        for number in 0..1_000 {
            let address = format!("198.51.{}.{}", number / 250, number % 250);
            waiting.add(refused(&format!("Y-{number}"), &address, 1));
        }
        assert_eq!(waiting.by_key.len(), WAITING_MAX);
        assert!(waiting.by_address.len() <= WAITING_MAX);
    }
}

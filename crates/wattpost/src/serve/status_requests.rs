//! Asks chargers that do not report their connectors after a connect, see [`central::status_request`].

use super::events::Events;
use crate::database::Database;
use central::command_request::CommandRequest;
use central::model::{CommandId, CommandView};
use central::ports::{ClusterEvent, ClusterEvents, Created, Idempotency};
use central::query::{CommandFilter, PageRequest};
use central::status_request::{ACTION, EARLIER_MAX, REQUESTED_BY, StatusRequest, status_request};
use central::{Epoch, GatewayId};
use common::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Connections that wait for their turn at most; further ones are not asked.
const WAITING_MAX: usize = 100_000;
/// Chargers that are looked at per second: after a power cut all chargers of a network connect at once.
const PER_SECOND: u32 = 10;
/// How often a connection is looked at that the database does not show yet.
const LOOKS_MAX: u32 = 5;

/// A connection that is looked at later.
#[derive(Debug, Clone)]
struct Waiting {
    charger_id: String,
    epoch: Epoch,
    at: Instant,
    looks: u32,
}

/// Connections in the order in which they are looked at: each waits equally long.
type Queue = Arc<Mutex<VecDeque<Waiting>>>;

/// The task that asks.
pub(super) struct StatusRequests {
    queue: Queue,
    after: Duration,
    task: JoinHandle<()>,
}

impl StatusRequests {
    /// Connections of which the process before may have to ask yet are younger than this.
    pub(super) fn age_max(&self) -> Duration {
        self.after * LOOKS_MAX
    }

    /// Also asks the charger of a connection that began at the process before. A connection that was asked there is not
    /// asked again, because its commands are known.
    pub(super) fn take_over(&self, charger_id: String, epoch: Epoch) {
        if !self.after.is_zero() {
            push(&self.queue, charger_id, epoch, 0, self.after);
        }
    }

    pub(super) fn abort(&self) {
        self.task.abort();
    }
}

/// Asks chargers that connect to this gateway from now on, until it is aborted. With `after` zero it asks none.
pub(super) fn start(
    gateway: GatewayId,
    database: &Database,
    events: &Arc<Events>,
    after: Duration,
) -> StatusRequests {
    let queue = Queue::default();
    if !after.is_zero() {
        let queue = Arc::clone(&queue);
        events.subscribe(Box::new(move |event| {
            if let ClusterEvent::Connected {
                charger_id,
                gateway: connected_to,
                epoch,
            } = event
                && connected_to == gateway
            {
                push(&queue, charger_id, epoch, 0, after);
            }
        }));
    }
    let (database, events) = (database.clone(), Arc::clone(events));
    let looked_at = Arc::clone(&queue);
    let task = tokio::spawn(async move {
        let queue = looked_at;
        let mut interval = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let due = lock(&queue).pop_front_if(|waiting| waiting.at <= Instant::now());
            let Some(waiting) = due else { continue };
            let (database, events, turn) = (database.clone(), Arc::clone(&events), waiting.clone());
            let looking = tokio::task::spawn_blocking(move || look(&database, &events, &turn));
            let is_later = match looking.await {
                Ok(Ok(is_later)) => is_later,
                Ok(Err(error)) => {
                    tracing::debug!(%error, charger = waiting.charger_id, "cannot look whether a charger reports its connectors");
                    true
                }
                Err(_) => false,
            };
            if is_later && waiting.looks + 1 < LOOKS_MAX {
                push(
                    &queue,
                    waiting.charger_id,
                    waiting.epoch,
                    waiting.looks + 1,
                    after,
                );
            }
        }
    });
    StatusRequests { queue, after, task }
}

fn push(queue: &Queue, charger_id: String, epoch: Epoch, looks: u32, after: Duration) {
    let mut queue = lock(queue);
    if queue.len() < WAITING_MAX {
        queue.push_back(Waiting {
            charger_id,
            epoch,
            at: Instant::now() + after,
            looks,
        });
    }
}

/// Looks at a charger; returns whether it must be looked at again. Blocks.
fn look(database: &Database, events: &Events, waiting: &Waiting) -> anyhow::Result<bool> {
    let now = database.commands.time()?;
    let Some(charger) = database.queries.charger(&waiting.charger_id)? else {
        return Ok(true);
    };
    let filter = CommandFilter {
        charger: Some(waiting.charger_id.clone()),
        action: Some(ACTION.to_owned()),
        ..CommandFilter::default()
    };
    let page = PageRequest {
        after: None,
        limit: EARLIER_MAX,
    };
    let earlier: Vec<CommandView> = database.commands.commands(&filter, &page, now)?.items;
    let payloads = match status_request(&charger, waiting.epoch, &earlier, now) {
        StatusRequest::NotYet => return Ok(true),
        StatusRequest::Nothing => return Ok(false),
        StatusRequest::Ask(payloads) => payloads,
    };
    for (number, payload) in payloads.into_iter().enumerate() {
        // One command for a connection, also if its event comes twice.
        let idempotency = Idempotency {
            key: format!("status/{}/{number}/{}", waiting.epoch, waiting.charger_id),
            digest: [0; 32],
        };
        let request = CommandRequest {
            charger_id: waiting.charger_id.clone(),
            action: ACTION.to_owned(),
            payload,
            waits_when_offline: false,
            expires_at: None,
            answer_within_ms: None,
            skips_check: false,
        };
        let id = CommandId(common::id::new_v7());
        let version = charger.charger.ocpp_version;
        let new = request.accept(id, REQUESTED_BY, version, Some(idempotency), now)?;
        if matches!(database.commands.create(&new)?, Created::New(_)) {
            events.publish(ClusterEvent::CommandsWaiting {
                charger_id: waiting.charger_id.clone(),
            });
        }
    }
    Ok(false)
}

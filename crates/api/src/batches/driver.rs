//! Drives batches: starts the commands of chargers whose turn has come, and finds out what became of them.
//!
//! Each process with the API has a driver. A lease in the batch's row lets one of them drive a batch at a time; after the
//! end of a process another one, or the next process, goes on within [`LEASE_MS`]. The state of a batch is only in the
//! database, so a driver can be killed at any moment.

use crate::commands::{database_time, refuse_kept_list};
use crate::error::ApiError;
use crate::operations::Work;
use crate::page;
use crate::state::AppState;
use central::Timestamp;
use central::command_request::CommandRequest;
use central::model::{
    BatchId, BatchState, BatchView, ItemState, ItemView, WhenOffline, item_command, item_result,
};
use central::ports::{Batches, Commands, ItemEnd, NewCommand};
use central::query::{PageRequest, QueryStore};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};
use uuid::Uuid;

/// How long a lease lasts without being extended: 15 seconds.
const LEASE_MS: i64 = 15_000;
/// Between two turns while a batch is not finished.
const TURN: Duration = Duration::from_millis(500);
/// Between two turns otherwise; a request to this process is seen at once.
const IDLE: Duration = Duration::from_secs(2);
/// Commands that one database transaction creates.
const SLICE: usize = 25;
/// Chargers that one database transaction ends.
const ENDS_SLICE: usize = 1_000;

/// Runs until `stop`.
pub(crate) async fn drive(state: Arc<AppState>, stop: CancellationToken) {
    let mut driver = Driver {
        holder: common::id::new_v7(),
        rates: HashMap::new(),
    };
    loop {
        let turn = Arc::clone(&state);
        let ended = tokio::task::spawn_blocking(move || {
            let mut driver = driver;
            let result = driver.turn(&turn);
            (driver, result)
        });
        let Ok((kept, result)) = ended.await else {
            // A panic is a bug; without its state the next driver has another holder, and waits for the lease.
            error!("the driver of batches panicked");
            driver = Driver {
                holder: common::id::new_v7(),
                rates: HashMap::new(),
            };
            continue_after(&state, &stop, IDLE).await;
            continue;
        };
        driver = kept;
        let pause = match result {
            Ok(0) => IDLE,
            Ok(_) => TURN,
            Err(why) => {
                debug!(why = why.detail(), "batches wait");
                IDLE
            }
        };
        if stop.is_cancelled() {
            return;
        }
        continue_after(&state, &stop, pause).await;
        if stop.is_cancelled() {
            return;
        }
    }
}

async fn continue_after(state: &AppState, stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = state.driver_woken() => {}
        () = stop.cancelled() => {}
    }
}

/// How many commands a batch may start now.
struct Rate {
    at: Instant,
    commands: f64,
}

struct Driver {
    holder: Uuid,
    rates: HashMap<BatchId, Rate>,
}

/// The ports of a turn.
struct Ports<'a> {
    store: &'a dyn QueryStore,
    batches: &'a dyn Batches,
    commands: &'a dyn Commands,
    state: &'a AppState,
}

impl Ports<'_> {
    /// The database's time: the drivers of several machines share the leases, and gateways judge the commands.
    fn time(&self) -> Result<Timestamp, ApiError> {
        database_time(self.commands)
    }
}

impl Driver {
    /// Takes one step in each batch whose lease it has. Returns their number.
    fn turn(&mut self, state: &AppState) -> Result<usize, ApiError> {
        let (Some(store), Ok(batches), Ok(commands)) =
            (state.query_store(), state.batches(), state.commands())
        else {
            return Ok(0);
        };
        let ports = Ports {
            store: &*store,
            batches: &*batches,
            commands: &*commands,
            state,
        };
        let now = ports.time()?;
        let until = now.plus_millis(LEASE_MS);
        let leased = batches.lease_batches(self.holder, now, until);
        let leased = leased.map_err(|error| ApiError::unavailable(&error))?;
        self.rates
            .retain(|id, _| leased.iter().any(|batch| batch.id == *id));
        for batch in &leased {
            match self.step(&ports, batch) {
                // Such as an operation that only a newer version knows. Other batches go on.
                Err(error) if !error.is_retryable() => halt(&ports, batch, error.detail())?,
                ended => ended?,
            }
        }
        Ok(leased.len())
    }

    fn step(&mut self, ports: &Ports<'_>, batch: &BatchView) -> Result<(), ApiError> {
        let started = self.finish_started(ports, batch)?;
        let found = ports.batches.batch(batch.id);
        let found = found.map_err(|error| ApiError::unavailable(&error))?;
        let Some(batch) = found else {
            return Ok(());
        };
        let is_expired = ports.time()? >= batch.plan.expires_at;
        if batch.state == BatchState::Cancelled || is_expired {
            self.end_pending(ports, &batch)?;
        }
        if batch.state == BatchState::Cancelled {
            for item in started {
                if let Some(command) = item.command {
                    // What a gateway has cannot be cancelled, and ends by itself.
                    let cancelled = ports.commands.cancel(command.id, ports.time()?);
                    cancelled.map_err(|error| ApiError::unavailable(&error))?;
                }
            }
            return Ok(());
        }
        if batch.counts.pending == 0 || is_expired {
            if batch.counts.started == 0 {
                let open = [BatchState::Running, BatchState::Paused, BatchState::Halted];
                let detail = if is_expired { "it has expired" } else { "" };
                let ended =
                    ports
                        .batches
                        .set_batch_state(batch.id, &open, BatchState::Done, detail);
                ended.map_err(|error| ApiError::unavailable(&error))?;
            }
            return Ok(());
        }
        if batch.state != BatchState::Running {
            return Ok(());
        }
        if let Some(why) = batch.counts.halts(&batch.plan, batch.ignored) {
            return halt(ports, &batch, &why);
        }
        self.start_pending(ports, &batch)
    }

    /// Ends the started items whose command has an outcome. Returns the others.
    fn finish_started(
        &self,
        ports: &Ports<'_>,
        batch: &BatchView,
    ) -> Result<Vec<ItemView>, ApiError> {
        let started = page(ports, batch.id, ItemState::Started, usize::MAX)?;
        let (mut ends, mut open) = (Vec::new(), Vec::new());
        for item in started {
            match item.command.as_ref().map(item_result) {
                Some(None) => open.push(item),
                Some(Some((state, detail))) => ends.push(ItemEnd {
                    place: item.place,
                    state,
                    detail,
                }),
                // The retention has deleted it, so it was done.
                None => ends.push(ItemEnd {
                    place: item.place,
                    state: ItemState::Failed,
                    detail: "its command is no longer stored".to_owned(),
                }),
            }
        }
        self.end(ports, batch.id, &ends)?;
        Ok(open)
    }

    fn end_pending(&self, ports: &Ports<'_>, batch: &BatchView) -> Result<(), ApiError> {
        loop {
            let pending = page(ports, batch.id, ItemState::Pending, ENDS_SLICE)?;
            if pending.is_empty() {
                return Ok(());
            }
            let detail = match batch.state {
                BatchState::Cancelled => "the batch was cancelled",
                _ => "the batch expired",
            };
            let ends: Vec<ItemEnd> = pending
                .iter()
                .map(|item| ItemEnd {
                    place: item.place,
                    state: ItemState::NotStarted,
                    detail: detail.to_owned(),
                })
                .collect();
            let before = ends.len();
            self.end(ports, batch.id, &ends)?;
            if before < ENDS_SLICE {
                return Ok(());
            }
            // A driver that has lost its lease changes nothing, so it must not try for ever.
            let now = ports.time()?;
            let until = now.plus_millis(LEASE_MS);
            let leased = ports.batches.lease_batches(self.holder, now, until);
            let leased = leased.map_err(|error| ApiError::unavailable(&error))?;
            if !leased.iter().any(|one| one.id == batch.id) {
                return Ok(());
            }
        }
    }

    fn end(&self, ports: &Ports<'_>, id: BatchId, ends: &[ItemEnd]) -> Result<(), ApiError> {
        for slice in ends.chunks(ENDS_SLICE) {
            let now = ports.time()?;
            let ended = ports.batches.end_items(id, self.holder, slice, now);
            ended.map_err(|error| ApiError::unavailable(&error))?;
        }
        Ok(())
    }

    fn start_pending(&mut self, ports: &Ports<'_>, batch: &BatchView) -> Result<(), ApiError> {
        let most = f64::from(batch.plan.per_second);
        let rate = self.rates.entry(batch.id).or_insert(Rate {
            at: Instant::now(),
            commands: 1.0,
        });
        let grown = rate.commands + rate.at.elapsed().as_secs_f64() * most;
        rate.commands = grown.min(most);
        rate.at = Instant::now();
        let under_way = usize::try_from(batch.counts.started).unwrap_or(usize::MAX);
        let free = usize::try_from(batch.plan.at_once)
            .unwrap_or(usize::MAX)
            .saturating_sub(under_way);
        // At most the rate of one second, which is a small number.
        let permitted = free.min(rate.commands.floor() as usize);
        if permitted == 0 {
            return Ok(());
        }
        let pending = page(ports, batch.id, ItemState::Pending, permitted)?;
        rate.commands -= pending.len() as f64;
        let work = Work::of(&batch.plan)?;
        for slice in pending.chunks(SLICE) {
            let (mut commands, mut ends) = (Vec::new(), Vec::new());
            for item in slice {
                match command(ports, &work, batch, item) {
                    Ok(new) => commands.push((item.place, new)),
                    Err(error) if error.is_retryable() => return Err(error),
                    Err(error) => ends.push(ItemEnd {
                        place: item.place,
                        state: ItemState::Failed,
                        detail: error.detail().to_owned(),
                    }),
                }
            }
            self.end(ports, batch.id, &ends)?;
            let now = ports.time()?;
            let started = ports
                .batches
                .start_items(batch.id, self.holder, &commands, now);
            let started = started.map_err(|error| ApiError::unavailable(&error))?;
            for (place, new) in &commands {
                if started.contains(place) {
                    ports.state.commands_wait(&new.command.charger_id);
                }
            }
        }
        Ok(())
    }
}

/// Halts a running batch, for a person to decide.
fn halt(ports: &Ports<'_>, batch: &BatchView, why: &str) -> Result<(), ApiError> {
    let open = [BatchState::Running];
    let halted = ports
        .batches
        .set_batch_state(batch.id, &open, BatchState::Halted, why);
    halted.map_err(|error| ApiError::unavailable(&error))?;
    Ok(())
}

/// The first items in a state.
fn page(
    ports: &Ports<'_>,
    id: BatchId,
    state: ItemState,
    limit: usize,
) -> Result<Vec<ItemView>, ApiError> {
    let page = PageRequest {
        limit: limit.min(central::query::PAGE_MAX),
        ..PageRequest::default()
    };
    let now = ports.time()?;
    let found = ports.batches.batch_items(id, Some(state), &page, now);
    Ok(found
        .map_err(|error| page::query_error(error, &page))?
        .items)
}

/// The command of a charger whose turn has come.
fn command(
    ports: &Ports<'_>,
    work: &Work,
    batch: &BatchView,
    item: &ItemView,
) -> Result<NewCommand, ApiError> {
    let id = item_command(batch.id, item.place);
    let detail = crate::commands::ordered_charger(ports.store, &item.charger_id)?;
    let wanted = work.command(ports.store, &detail, id)?;
    let waits = batch.plan.when_offline == WhenOffline::Wait;
    let request = CommandRequest {
        waits_when_offline: waits,
        expires_at: waits.then_some(batch.plan.expires_at),
        answer_within_ms: Some(batch.plan.answer_within_ms),
        ..wanted.request
    };
    refuse_kept_list(ports.state.local_lists().ok().as_deref(), &request)?;
    let now = ports.time()?;
    let new = request.accept(id, &batch.by, wanted.version, None, now);
    let new = new.map_err(|error| ApiError::bad_command(&error))?;
    Ok(NewCommand {
        traceparent: batch.plan.traceparent.clone(),
        ..new
    })
}

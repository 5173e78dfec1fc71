//! `/api/v1/pipeline`: what is known of all processes, and where messages wait.
//!
//! An answer is made from memory, so it comes at once while the database hangs and while RabbitMQ is unavailable. Reports come
//! over RabbitMQ and from the database; each of the two may fail. A task reads the database every few seconds and counts
//! what it has of each gateway's records. It makes one call at a time, so one thread waits while the database hangs.

mod count;

use crate::error::ApiError;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use central::model::{PROCESS_REPORT_EVERY_MS, ProcessReport};
use central::pipeline::{
    Counted, DatabaseSeen, Observed, ProcessState, newest_queues, pipeline, unexplained,
};
use central::ports::{Figure, Health, KnownProcess, Processes, Unavailable};
use central::trace::{GatewaySeen, Positions};
use central::{GatewayId, RecordId, Timestamp};
use common::clock::now_ms;
use common::lock::lock;
use count::Counts;
use metrics::gauge;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What the pipeline is made of.
#[derive(Clone)]
pub struct PipelineDeps {
    /// The reports of processes in the database.
    pub processes: Arc<dyn Processes>,
    /// The report of this process. Must not block.
    pub own: Arc<dyn Fn() -> ProcessReport + Send + Sync>,
    /// Whether records go through RabbitMQ.
    pub has_broker: bool,
}

/// How often the database is read.
const READ_EVERY: Duration = Duration::from_millis(PROCESS_REPORT_EVERY_MS);
/// A database that has not answered for so long counts as unavailable.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Rates are those over the time between the newest report and the oldest kept one.
const KEPT_REPORTS: usize = 5;
/// Two reports nearer to each other give no useful rate.
const RATE_MS_MIN: i64 = 3_000;
/// Processes that are kept; when there are more, the one with the oldest report is dropped.
const PROCESSES_MAX: usize = 1_000;
/// A record for which nothing accounts is waited for by the alerts of chargers for so many milliseconds.
const MISSING_MS: i64 = 15 * 60_000;
/// Records that wait in RabbitMQ at most where one that is missing is waited for no longer.
const WAITING_MAX: u64 = 1_000;
/// Positions that are kept of each gateway: those of about half an hour.
const POSITIONS_MAX: usize = 360;

/// What is known of all processes and of the database.
pub(crate) struct Overview {
    deps: PipelineDeps,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    processes: HashMap<Uuid, Entry>,
    database: DatabaseSeen,
    /// Since when a call to the database has not returned.
    asking_since: Option<(Instant, Timestamp)>,
    /// The id of this process, whose report is of now.
    own: Option<Uuid>,
}

struct Entry {
    report: ProcessReport,
    heard: Instant,
    /// The same by the clock. It is one value for a report, however often the database is read.
    heard_at: Timestamp,
    /// Earlier reports of the same start, oldest first.
    earlier: VecDeque<ProcessReport>,
    is_retired: bool,
    counted: Result<Counted, String>,
    /// The positions of a gateway, oldest first, for traces.
    positions: VecDeque<Positions>,
}

impl Entry {
    fn observed(&self, at: Instant, own: Option<Uuid>) -> Observed {
        Observed {
            report: self.report.clone(),
            before: self.earlier.front().cloned(),
            age_ms: self.age_ms(at),
            heard_at: self.heard_at,
            is_own: own == Some(self.report.id),
            is_retired: self.is_retired,
            counted: self.counted.clone(),
        }
    }

    /// How old the report is.
    fn age_ms(&self, at: Instant) -> i64 {
        let age = at.saturating_duration_since(self.heard);
        i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
    }

    /// The positions that are known now; `None` without a gateway.
    fn positions_now(&self) -> Option<Positions> {
        let gateway = self.report.gateway.as_ref()?;
        let now = Timestamp(now_ms());
        Some(Positions {
            at: Timestamp(now.0.saturating_sub(self.age_ms(Instant::now()))),
            known_at: now,
            durable: gateway.durable,
            delivered: gateway.delivered,
            stored: self.counted.as_ref().ok().map(|counted| counted.all_stored),
        })
    }

    /// By how many milliseconds at most the database is behind the journal of this gateway; `None` if it is not known.
    fn lag_ms(&self) -> Option<i64> {
        let gateway = self.report.gateway.as_ref()?;
        let mut lag = self.undelivered_ms()?;
        let stored = self.counted.as_ref().ok()?.all_stored;
        if stored < gateway.delivered {
            // The first record that is missing became durable after the last report that does not have it.
            let mut reports = self.positions.iter().rev();
            let before = reports.find(|positions| positions.durable <= stored)?;
            lag = lag.max(now_ms().saturating_sub(before.at.0));
        }
        Some(lag)
    }

    /// For how many milliseconds at most a record has waited in the journal of this gateway; `None` if it is not known.
    fn undelivered_ms(&self) -> Option<i64> {
        let gateway = self.report.gateway.as_ref()?;
        if gateway.delivered >= gateway.durable {
            return Some(0);
        }
        let oldest = i64::try_from(gateway.oldest_age_ms?).ok()?;
        Some(oldest.saturating_add(self.age_ms(Instant::now())))
    }

    /// Whether records of this gateway are missing, or so many come after a missing one that they are not counted.
    fn misses(&self) -> bool {
        let counted = self.counted.as_ref();
        counted.map_or(true, |counted| {
            counted.missing.is_some_and(|missing| missing > 0)
        })
    }

    /// Keeps the positions that are known now.
    fn note_positions(&mut self) {
        let Some(new) = self.positions_now() else {
            return;
        };
        if self.positions.len() >= POSITIONS_MAX {
            self.positions.pop_front();
        }
        self.positions.push_back(new);
    }
}

/// By how many milliseconds at most the database is behind the journals of these processes; `None` if it is not known. What a
/// retired gateway has not delivered is not expected, so it counts no longer; the pipeline shows it.
fn lag_of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<i64> {
    let mut gateways = entries.filter(|entry| entry.report.gateway.is_some() && !entry.is_retired);
    let first = gateways.next()?.lag_ms()?;
    gateways.try_fold(first, |lag, entry| Some(lag.max(entry.lag_ms()?)))
}

impl Overview {
    pub(crate) fn new(deps: PipelineDeps) -> Self {
        Self {
            deps,
            known: Mutex::default(),
        }
    }

    /// A report that a process has just sent.
    pub(crate) fn hear(&self, report: ProcessReport) {
        lock(&self.known).hear(report, Instant::now(), false);
    }

    /// The report of this process now.
    fn hear_own(&self) {
        let report = (self.deps.own)();
        let mut known = lock(&self.known);
        known.own = Some(report.id);
        known.hear(report, Instant::now(), false);
    }

    /// Reads the database until `stop`.
    pub(crate) async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        let mut interval = tokio::time::interval(READ_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let counts = Arc::new(Mutex::new(Counts::default()));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => {}
            }
            let (overview, counts) = (Arc::clone(&self), Arc::clone(&counts));
            lock(&self.known).asking_since = Some((Instant::now(), Timestamp(now_ms())));
            let reading = tokio::task::spawn_blocking(move || overview.read(&mut lock(&counts)));
            tokio::select! {
                // The thread ends with its call.
                () = stop.cancelled() => return,
                read = reading => {
                    if let Err(panic) = read {
                        tracing::error!(%panic, "reading the state of the pipeline panicked");
                    }
                }
            }
            lock(&self.known).asking_since = None;
        }
    }

    /// The database as this process sees it. One that has not answered yet does not work.
    pub(crate) fn database_health(&self) -> Health {
        let seen = lock(&self.known).database_now(Timestamp(now_ms()));
        let detail = match (seen.up, &seen.last_error) {
            (Some(true), _) => "it answers".to_owned(),
            (Some(false), Some((_, error))) => error.clone(),
            (Some(false), None) => why_unknown(&seen),
            (None, _) => "the database has not answered yet".to_owned(),
        };
        let lag = lag_of(lock(&self.known).processes.values())
            .and_then(|lag| u64::try_from(lag).ok())
            .map(|lag| Figure::from(Duration::from_millis(lag)));
        // Before the first answer the keys are not known, so that nothing but health is served.
        Health::new("database", seen.up == Some(true), detail)
            .ready_if(seen.answered_at.is_some())
            .figure("lag_seconds", lag)
    }

    /// What alerts about the pipeline are made of: the processes, the database, and acknowledged records that nothing
    /// explains.
    pub(crate) fn for_pipeline(&self) -> (Vec<Observed>, DatabaseSeen, Option<u64>) {
        self.hear_own();
        let known = lock(&self.known);
        let database = known.database_now(Timestamp(now_ms()));
        let observed = known.observed(Instant::now());
        let missing = match database.up {
            Some(true) => unexplained(self.deps.has_broker, &observed),
            _ => None,
        };
        (observed, database, missing)
    }

    /// Of which chargers the database shows what is so now: of those whose gateway reports, while the database answers and
    /// is at most so many milliseconds behind the running gateways. A message that has been missing for [`MISSING_MS`], while
    /// none waits in RabbitMQ, is waited for no longer.
    pub(crate) fn for_chargers(&self, lag_ms_max: i64) -> central::alert::chargers::Known {
        self.hear_own();
        lock(&self.known).for_chargers(lag_ms_max, Timestamp(now_ms()))
    }

    /// Which process this is, and whether the reports of others can come to it over RabbitMQ now.
    pub(crate) fn own(&self) -> (Uuid, bool) {
        let own = (self.deps.own)();
        let connected = own.figure("broker_connected");
        let is_connected = connected.is_some_and(|connected| connected >= 0.5);
        (own.id, self.deps.has_broker && is_connected)
    }

    /// Makes all reports older by so much.
    #[cfg(test)]
    pub(crate) fn grow_old(&self, by: Duration) {
        for entry in lock(&self.known).processes.values_mut() {
            entry.heard = entry
                .heard
                .checked_sub(by)
                .expect("the machine runs for longer");
        }
    }

    /// Whether records go through RabbitMQ.
    pub(crate) const fn has_broker(&self) -> bool {
        self.deps.has_broker
    }

    /// What is known of this gateway; `None` if nothing.
    pub(crate) fn gateway(&self, id: GatewayId) -> Option<GatewaySeen> {
        self.hear_own();
        let known = lock(&self.known);
        let is_it = |entry: &&Entry| {
            let gateway = entry.report.gateway.as_ref();
            gateway.is_some_and(|gateway| gateway.id == id)
        };
        let entry = known.processes.values().find(is_it)?;
        let mut history: Vec<Positions> = entry.positions.iter().copied().collect();
        history.push(entry.positions_now()?);
        Some(GatewaySeen {
            state: entry.observed(Instant::now(), known.own).state(),
            history,
        })
    }

    /// Whether every record of its gateway up to this one is known to be stored.
    pub(crate) fn has_stored(&self, id: RecordId) -> bool {
        lock(&self.known).processes.values().any(|entry| {
            let gateway = entry.report.gateway.as_ref();
            let counted = entry.counted.as_ref();
            gateway.is_some_and(|gateway| gateway.id == id.gateway)
                && counted.is_ok_and(|counted| id.seq.0 <= counted.all_stored)
        })
    }

    /// By how many milliseconds at most the database is behind what chargers were answered for; `None` if it is not known.
    pub(crate) fn lag_ms(&self) -> Option<i64> {
        let known = lock(&self.known);
        lag_of(known.processes.values())
    }

    /// Reads the reports and counts records. Blocks.
    fn read(&self, counts: &mut Counts) {
        let now = Timestamp(now_ms());
        let result = self.read_all(counts);
        let mut known = lock(&self.known);
        known.database_answered(now, result.err());
        if known.database.up == Some(false) {
            let why = why_unknown(&known.database);
            for entry in known.processes.values_mut() {
                entry.counted = Err(why.clone());
            }
            known.database.dead_letters = Some(Err(why));
        }
        for entry in known.processes.values_mut() {
            entry.note_positions();
        }
        let observed = known.observed(Instant::now());
        let missing = unexplained(self.deps.has_broker, &observed);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; above 2^53 the last digits do not matter"
        )]
        gauge!("wattpost_pipeline_missing_records").set(missing.map_or(f64::NAN, |one| one as f64));
        known.database.unexplained_since = match missing {
            Some(0) => None,
            Some(_) => known.database.unexplained_since.or(Some(now)),
            None => known.database.unexplained_since,
        };
    }

    fn read_all(&self, counts: &mut Counts) -> Result<(), Unavailable> {
        let processes = &*self.deps.processes;
        let stored = processes.processes()?;
        let read_at = Instant::now();
        let mut gateways = Vec::new();
        {
            let mut known = lock(&self.known);
            known.take_in(stored, read_at);
            let own = (self.deps.own)();
            known.own = Some(own.id);
            known.hear(own, read_at, false);
            for entry in known.processes.values() {
                if let Some(gateway) = &entry.report.gateway {
                    let is_starting = entry.observed(read_at, known.own).is_starting();
                    gateways.push((entry.report.id, gateway.clone(), is_starting));
                }
            }
        }
        counts.keep_only(gateways.iter().map(|(_, gateway, _)| gateway.id));
        for (process, gateway, is_starting) in gateways {
            let mut counted = counts.count(processes, &gateway)?;
            if let Ok(counted) = &mut counted {
                counted.is_of_start = is_starting;
            }
            if let Some(entry) = lock(&self.known).processes.get_mut(&process) {
                entry.counted = counted;
            }
        }
        let dead = processes.count_dead_letters(count::DEAD_LETTERS_MAX + 1)?;
        lock(&self.known).database.dead_letters = Some(match dead {
            dead if dead <= count::DEAD_LETTERS_MAX => Ok(dead),
            _ => Err(format!("they are more than {}", count::DEAD_LETTERS_MAX)),
        });
        Ok(())
    }
}

impl Known {
    fn hear(&mut self, report: ProcessReport, heard: Instant, is_retired: bool) {
        let ago = Instant::now().saturating_duration_since(heard);
        let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(0);
        let heard_at = Timestamp(now_ms().saturating_sub(ago_ms));
        // Two reports of this process may be of one millisecond.
        let is_own = self.own == Some(report.id);
        let Some(entry) = self.processes.get_mut(&report.id) else {
            if self.processes.len() >= PROCESSES_MAX {
                let oldest = self.processes.iter().min_by_key(|(_, entry)| entry.heard);
                if let Some(oldest) = oldest.map(|(id, _)| *id) {
                    self.processes.remove(&oldest);
                }
            }
            let counted = Err("it is not counted yet".to_owned());
            let entry = Entry {
                earlier: VecDeque::new(),
                report,
                heard,
                heard_at,
                is_retired,
                counted,
                positions: VecDeque::new(),
            };
            self.processes.insert(entry.report.id, entry);
            return;
        };
        let is_same =
            !is_own && (report.started_at, report.at) == (entry.report.started_at, entry.report.at);
        if heard < entry.heard || is_same {
            // The database has an older report, or the same again, which says only whether the gateway was retired since.
            entry.is_retired |= is_retired;
            return;
        }
        (entry.heard, entry.heard_at, entry.is_retired) = (heard, heard_at, is_retired);
        if report.started_at != entry.report.started_at {
            entry.earlier.clear();
            if let Ok(counted) = &mut entry.counted {
                counted.is_of_start = true;
            }
        } else if report.at.0 - entry.report.at.0 >= RATE_MS_MIN || entry.earlier.is_empty() {
            entry.earlier.push_back(entry.report.clone());
            if entry.earlier.len() > KEPT_REPORTS {
                entry.earlier.pop_front();
            }
        }
        entry.report = report;
    }

    /// The reports in the database, read at `read_at`.
    fn take_in(&mut self, stored: Vec<KnownProcess>, read_at: Instant) {
        let ids: Vec<Uuid> = stored.iter().map(|one| one.report.id).collect();
        for one in stored {
            let age = Duration::from_millis(one.age_ms.unsigned_abs());
            let heard = read_at.checked_sub(age).unwrap_or(read_at);
            self.hear(one.report, heard, one.is_retired);
        }
        // What the database no longer shows, and no process has reported since.
        self.processes.retain(|id, entry| {
            ids.contains(id) || read_at.saturating_duration_since(entry.heard) < READ_EVERY * 4
        });
    }

    fn for_chargers(&self, lag_ms_max: i64, now: Timestamp) -> central::alert::chargers::Known {
        let database = self.database_now(now);
        let at = Instant::now();
        let is_missed = database
            .unexplained_since
            .is_some_and(|since| now.0.saturating_sub(since.0) >= MISSING_MS)
            && newest_queues(&self.observed(at)).is_none_or(|queues| queues.waiting <= WAITING_MAX);
        let mut found = central::alert::chargers::Known {
            is_current: database.up == Some(true),
            ..Default::default()
        };
        for entry in self.processes.values() {
            let Some(gateway) = &entry.report.gateway else {
                continue;
            };
            match entry.observed(at, self.own).state() {
                ProcessState::Running => {
                    let lag = match is_missed && entry.misses() {
                        true => entry.undelivered_ms(),
                        false => entry.lag_ms(),
                    };
                    if lag.is_some_and(|lag| lag <= lag_ms_max) {
                        continue;
                    }
                    found.is_current = false;
                    let behind = match lag {
                        Some(lag) => format!("by {} s", lag / 1_000),
                        None => "for a time that is not known".to_owned(),
                    };
                    let why = format!("the database is behind gateway {} {behind}", gateway.id.0);
                    found.why_not = Some(why).filter(|_| database.up == Some(true));
                }
                ProcessState::Gone => {
                    found.gone.insert(gateway.id);
                }
                ProcessState::Stopped | ProcessState::Retired => {}
            }
        }
        found
    }

    fn database_answered(&mut self, now: Timestamp, error: Option<Unavailable>) {
        let up = error.is_none();
        if self.database.up != Some(up) {
            (self.database.up, self.database.since) = (Some(up), Some(now));
        }
        match error {
            None => self.database.answered_at = Some(now),
            Some(error) => self.database.last_error = Some((now, error.to_string())),
        }
    }

    /// What is known of the database now: a call that does not return is no answer.
    fn database_now(&self, now: Timestamp) -> DatabaseSeen {
        let mut seen = self.database.clone();
        if let Some((asking, since)) = self.asking_since
            && asking.elapsed() >= ANSWER_WITHIN
            && seen.up != Some(false)
        {
            (seen.up, seen.since) = (Some(false), Some(since));
            let words = format!("database does not answer: a query has waited since {since}");
            seen.last_error = Some((now, words));
            seen.dead_letters = Some(Err(why_unknown(&seen)));
        }
        seen
    }

    /// All processes, by role and id.
    fn observed(&self, at: Instant) -> Vec<Observed> {
        let mut observed: Vec<Observed> = self
            .processes
            .values()
            .map(|entry| entry.observed(at, self.own))
            .collect();
        observed.sort_by_key(|one| (one.report.role, one.report.id));
        observed
    }
}

fn why_unknown(database: &DatabaseSeen) -> String {
    let since = database.since;
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    format!("the database does not answer{since}")
}

/// `GET /api/v1/pipeline`
#[utoipa::path(
    get,
    path = "/api/v1/pipeline",
    responses((status = 200, description = "The pipeline, from what is known: no database is asked", body = schema::Pipeline))
)]
pub(crate) async fn overview(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    // A process without a store has no such route.
    let overview = state.pipeline.as_ref().ok_or_else(ApiError::internal)?;
    Ok(Json(answer(overview)).into_response())
}

/// What `GET /api/v1/pipeline` answers.
pub(crate) fn answer(overview: &Overview) -> impl Serialize + use<> {
    let now = Timestamp(now_ms());
    // This process is shown as it is now.
    overview.hear_own();
    let (observed, database) = {
        let known = lock(&overview.known);
        let mut database = known.database_now(now);
        database.lag_ms = lag_of(known.processes.values());
        let mut observed = known.observed(Instant::now());
        if database.up == Some(false) {
            // Counts of an earlier time do not fit the positions of now.
            for one in &mut observed {
                one.counted = Err(why_unknown(&database));
            }
        }
        (observed, database)
    };
    pipeline(now, overview.deps.has_broker, &observed, &database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::model::{GatewayReport, ProcessRole};

    /// What is known of a gateway with these positions, of which nothing was heard before.
    fn entry(durable: u64, delivered: u64, oldest_age_ms: Option<u64>, stored: u64) -> Entry {
        let gateway = GatewayReport {
            id: GatewayId(Uuid::from_u128(1)),
            connected: 0,
            written: durable,
            durable,
            delivered,
            undelivered_bytes: 0,
            bytes_max: 1,
            oldest_age_ms,
            route: None,
            listeners: Vec::new(),
        };
        Entry {
            report: ProcessReport {
                id: Uuid::from_u128(1),
                role: ProcessRole::Gateway,
                host: "host".to_owned(),
                version: "1".to_owned(),
                started_at: Timestamp(1),
                at: Timestamp(1),
                has_stopped: false,
                parts: Vec::new(),
                gateway: Some(gateway),
                consumed_records: None,
                queues: None,
                figures_milli: std::collections::BTreeMap::new(),
                restarts: Vec::new(),
            },
            heard: Instant::now(),
            heard_at: Timestamp(now_ms()),
            earlier: VecDeque::new(),
            is_retired: false,
            counted: Ok(Counted {
                durable,
                delivered,
                stored,
                all_stored: stored,
                missing: Some(0),
                is_of_start: false,
            }),
            positions: VecDeque::new(),
        }
    }

    /// That a gateway had reported so many records, some time ago.
    fn reported(ago_ms: i64, durable: u64, delivered: u64) -> Positions {
        let at = Timestamp(now_ms() - ago_ms);
        Positions {
            at,
            known_at: at,
            durable,
            delivered,
            stored: None,
        }
    }

    #[test]
    fn the_lag_is_at_least_the_age_of_the_oldest_record_that_is_not_stored() {
        assert_eq!(entry(10, 10, None, 10).lag_ms(), Some(0));
        let undelivered = entry(10, 8, Some(7_000), 8).lag_ms();
        assert!(
            undelivered.is_some_and(|lag| lag >= 7_000),
            "{undelivered:?}"
        );
        // Record 9 was in the journal for long before it was delivered.
        let mut late = entry(10, 10, None, 8);
        assert_eq!(late.lag_ms(), None, "no report tells it");
        late.positions = [
            reported(60_000, 8, 8),
            reported(50_000, 9, 8),
            reported(5_000, 10, 9),
        ]
        .into();
        let lag = late.lag_ms();
        assert!(
            lag.is_some_and(|lag| (60_000..90_000).contains(&lag)),
            "{lag:?}"
        );
    }

    /// A report as the database has it, which stored it so long ago.
    fn stored(report: &ProcessReport, age_ms: i64, is_retired: bool) -> Vec<KnownProcess> {
        vec![KnownProcess {
            report: report.clone(),
            age_ms,
            all_stored: central::Seq(0),
            is_retired,
        }]
    }

    #[test]
    fn when_a_process_reported_last_is_one_value_however_often_the_database_is_read() {
        let mut report = entry(10, 10, None, 10).report;
        let mut known = Known::default();
        known.hear(report.clone(), Instant::now(), false);
        let shown = |known: &Known| {
            let one = known.observed(Instant::now()).remove(0);
            (one.heard_at, one.is_retired)
        };
        let (heard_at, _) = shown(&known);
        // The database says how old the same report is in whole milliseconds, and stored it a little later.
        for age_ms in [0, 1, 2] {
            let ahead = Instant::now() + Duration::from_secs(5);
            known.take_in(stored(&report, age_ms, age_ms > 1), ahead);
            assert_eq!(shown(&known), (heard_at, age_ms > 1));
        }
        // A new report has a new time.
        report.at = Timestamp(5_001);
        known.take_in(stored(&report, 0, false), Instant::now());
        let (later, is_retired) = shown(&known);
        assert!(later >= heard_at && !is_retired);
    }

    #[test]
    fn what_was_counted_before_a_gateway_started_again_is_known_to_be_of_then() {
        let mut known = Known::default();
        let counted = entry(10, 10, None, 10);
        let mut report = counted.report.clone();
        known.processes.insert(report.id, counted);
        let is_of_start = |known: &Known| {
            let one = known.observed(Instant::now()).remove(0);
            one.counted.expect("it was counted").is_of_start
        };
        report.at = Timestamp(5_001);
        known.hear(report.clone(), Instant::now(), false);
        assert!(!is_of_start(&known));
        (report.started_at, report.at) = (Timestamp(6_000), Timestamp(11_000));
        known.hear(report, Instant::now(), false);
        assert!(is_of_start(&known));
    }

    #[test]
    fn since_when_a_query_waits_is_one_value_while_it_does() {
        let Some(began) = Instant::now().checked_sub(ANSWER_WITHIN * 2) else {
            return;
        };
        let known = Known {
            asking_since: Some((began, Timestamp(7_000))),
            ..Known::default()
        };
        for now in [13_000, 13_999, 14_001] {
            let seen = known.database_now(Timestamp(now));
            assert_eq!((seen.up, seen.since), (Some(false), Some(Timestamp(7_000))));
            let words = seen.last_error.map(|(_, words)| words);
            let expected =
                "database does not answer: a query has waited since 1970-01-01T00:00:07.000Z";
            assert_eq!(words.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_retired_gateway_with_undelivered_records_does_not_make_the_lag_unknown() {
        let runs = entry(10, 10, None, 10);
        let mut gone = entry(10, 10, None, 8);
        assert_eq!(lag_of([&runs, &gone].into_iter()), None);
        gone.is_retired = true;
        assert_eq!(lag_of([&runs, &gone].into_iter()), Some(0));
        assert_eq!(lag_of([&gone].into_iter()), None, "no gateway is left");
    }

    #[test]
    fn a_record_that_is_missing_for_good_stops_the_alerts_of_chargers_for_a_while_and_they_say_so()
    {
        let mut gone_for_good = entry(10, 10, None, 8);
        gone_for_good.counted = Ok(Counted {
            stored: 9,
            missing: Some(1),
            is_of_start: false,
            ..gone_for_good.counted.expect("it is counted")
        });
        let now = Timestamp(now_ms());
        let mut known = Known::default();
        known.database.up = Some(true);
        known
            .processes
            .insert(gone_for_good.report.id, gone_for_good);
        known.database.unexplained_since = Some(now.plus_millis(1_000 - MISSING_MS));
        let found = known.for_chargers(30_000, now);
        assert!(!found.is_current);
        let why = found.why_not.expect("it says why");
        assert!(why.contains("for a time that is not known"), "{why}");
        let later = now.plus_millis(1_000);
        let found = known.for_chargers(30_000, later);
        assert!(found.is_current && found.why_not.is_none());
        // A count that ends at its bound.
        let id = Uuid::from_u128(1);
        let entry = known.processes.get_mut(&id).expect("it is known");
        entry.counted = Err("more than can be counted".to_owned());
        assert!(known.for_chargers(30_000, later).is_current);
        // What waits in the journal is not missing.
        let entry = known.processes.get_mut(&id).expect("it is known");
        let gateway = entry.report.gateway.as_mut().expect("a gateway");
        (gateway.durable, gateway.oldest_age_ms) = (11, Some(40_000));
        let why = known.for_chargers(30_000, later).why_not;
        assert!(why.is_some_and(|why| why.contains("by 40 s")));
    }

    #[test]
    fn positions_are_those_of_the_time_of_their_report() {
        let mut entry = entry(10, 8, Some(7_000), 8);
        let Some(heard) = Instant::now().checked_sub(Duration::from_secs(4)) else {
            panic!("the machine has just started");
        };
        entry.heard = heard;
        entry.note_positions();
        let noted = entry.positions[0];
        assert!(noted.known_at.0 - noted.at.0 >= 4_000, "{noted:?}");
    }
}

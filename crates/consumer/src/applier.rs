//! The applier: a thread that writes to the database, and the sink that passes batches to it.

use crate::Config;
use crate::batch;
use crate::database_health::DatabaseHealth;
use central::ports::{
    Batch, BoxFuture, Figure, Health, HealthProbe, Sink, Store, Unavailable, UnavailableKind,
};
use common::clock;
use common::lock::lock;
use metrics::{counter, gauge, histogram};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Applies batches to a store on its own thread.
///
/// [`Applier::start`] creates it; batches are delivered through [`Sink`], and its health is reported through
/// [`HealthProbe`]. [`Applier::close`] (or dropping it) finishes the accepted batches and ends the thread. A
/// batch whose delivery was cancelled may still be applied. That is harmless: applying it twice equals applying
/// it once.
#[derive(Debug)]
pub struct Applier {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    database_health: Arc<DatabaseHealth>,
    applied: Arc<AtomicU64>,
}

struct Job {
    batch: Arc<Batch>,
    done: oneshot::Sender<Result<(), Unavailable>>,
}

impl Applier {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system cannot create the thread.
    pub fn start(store: Arc<dyn Store>, config: Config) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(config.queue_batches_max.max(1));
        let database_health = Arc::new(DatabaseHealth::default());
        let reported = Arc::clone(&database_health);
        let applied = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&applied);
        let thread = std::thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || {
                lower_priority(config.niceness);
                run(&*store, inbox, &reported, &counted);
            })?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            database_health,
            applied,
        })
    }

    /// Records in all batches that were applied since the start; one that was applied twice is counted twice.
    #[must_use]
    pub fn applied_records(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Reports that the database answered a ping. [`HealthProbe`] no longer reports its last refusal of a batch as
    /// unhealthy, until it refuses again.
    pub fn database_answers(&self) {
        self.database_health.answers();
        gauge!("wattpost_consumer_database_up").set(1.0);
    }

    /// Accepts no more batches, finishes the accepted ones and ends the thread. Blocks until that is done;
    /// later deliveries are refused.
    pub fn close(&self) {
        drop(lock(&self.jobs).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the applier panicked; its batches are delivered again");
        }
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.close();
    }
}

impl Sink for Applier {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>> {
        let jobs = lock(&self.jobs).clone();
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            let jobs = jobs.ok_or_else(stopped)?;
            let job = Job { batch, done };
            jobs.send(job).await.map_err(|_| stopped())?;
            // Not kept while waiting: `close` ends the thread by dropping the last sender.
            drop(jobs);
            answer.await.unwrap_or_else(|_| Err(stopped()))
        })
    }
}

impl HealthProbe for Applier {
    fn health(&self) -> Vec<Health> {
        let stored = Figure::from(self.applied_records());
        vec![
            self.database_health
                .health()
                .figure("stored_records", stored),
        ]
    }
}

fn stopped() -> Unavailable {
    unreachable_database("the applier has stopped")
}

fn unreachable_database(detail: &str) -> Unavailable {
    Unavailable {
        component: "database",
        kind: UnavailableKind::Unreachable,
        detail: detail.to_owned(),
    }
}

fn run(
    store: &dyn Store,
    mut inbox: mpsc::Receiver<Job>,
    database_health: &DatabaseHealth,
    applied: &AtomicU64,
) {
    while let Some(job) = inbox.blocking_recv() {
        let result = deliver(store, &job.batch);
        if result.is_ok() {
            applied.fetch_add(job.batch.len() as u64, Ordering::Relaxed);
        }
        database_health.record(result.as_ref().err(), clock::now_ms());
        // The receiver is gone when the delivery was cancelled; the batch is then delivered again.
        let _ = job.done.send(result);
    }
}

fn deliver(store: &dyn Store, batch: &Batch) -> Result<(), Unavailable> {
    let began = Instant::now();
    // A panic in the store must not end the thread: the batch is delivered again, and the error is reported.
    let result = catch_unwind(AssertUnwindSafe(|| batch::apply(store, batch)))
        .unwrap_or_else(|_| Err(unreachable_database("applying a batch panicked")));
    match &result {
        Ok(applied) => {
            counter!("wattpost_consumer_records_applied_total").increment(applied.new);
            counter!("wattpost_consumer_records_known_total").increment(applied.known);
            histogram!("wattpost_consumer_batch_records").record(to_f64(batch.len()));
            histogram!("wattpost_consumer_apply_seconds").record(began.elapsed().as_secs_f64());
            gauge!("wattpost_consumer_database_up").set(1.0);
        }
        Err(error) => {
            counter!("wattpost_consumer_refused_batches_total", "reason" => reason(error.kind))
                .increment(1);
            gauge!("wattpost_consumer_database_up").set(0.0);
        }
    }
    result.map(|_| ())
}

const fn reason(kind: UnavailableKind) -> &'static str {
    match kind {
        UnavailableKind::Locked => "locked",
        UnavailableKind::Full => "full",
        UnavailableKind::Corrupt => "corrupt",
        UnavailableKind::ReadOnly => "read_only",
        UnavailableKind::Unreachable => "unreachable",
    }
}

/// Exact: no batch has 2^53 records.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for every batch that fits in memory"
)]
const fn to_f64(records: usize) -> f64 {
    records as f64
}

/// Lowers the priority of the calling thread. Niceness is per thread on Linux only; elsewhere it would apply to
/// the whole process.
fn lower_priority(niceness: u8) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(i32::from(niceness.min(19))) {
        tracing::debug!(%error, "the applier keeps the normal priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

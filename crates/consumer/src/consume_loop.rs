//! The loop of the consumer; [`crate::Consumer`] states what it promises.

use crate::consumer::Ping;
use crate::state::{ConsumerState, SharedState};
use crate::{Applier, Config};
use central::ports::{Collected, Sink, Source, Subscription, Unavailable, UnavailableKind};
use common::backoff::delay;
use common::batch_rate::BatchRate;
use metrics::{Counter, counter};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Maximum delay when the database answers pings but refuses batches (for example because its disk is full):
/// each retry costs every prefetched record one of its `broker.delivery_limit` deliveries.
const REFUSED_DELAY_MAX: Duration = Duration::from_secs(60);

pub(crate) struct ConsumeLoop {
    source: Arc<dyn Source>,
    applier: Arc<Applier>,
    database_ping: Ping,
    config: Config,
    stop: CancellationToken,
    state: Arc<SharedState>,
    acknowledged: Counter,
}

/// Why consuming ended. Applied records were acknowledged as far as possible.
enum Ended {
    Stopped,
    Source(Unavailable),
    Database(Unavailable),
}

/// A batch that is being applied.
struct ApplyingBatch {
    upto: u64,
    records: u64,
    /// The batch reached its limits, so more records are probably waiting.
    is_full: bool,
    applying: JoinHandle<Result<(), Unavailable>>,
}

/// Consecutive failures of each side.
#[derive(Default)]
struct Failures {
    source: u32,
    database: u32,
}

impl ConsumeLoop {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        applier: Arc<Applier>,
        database_ping: Ping,
        config: Config,
        stop: CancellationToken,
        state: Arc<SharedState>,
    ) -> Self {
        Self {
            source,
            applier,
            database_ping,
            config,
            stop,
            state,
            acknowledged: counter!("wattpost_consumer_records_acknowledged_total"),
        }
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(&self) {
        let mut failures = Failures::default();
        loop {
            let mut subscription = match self.or_stop(self.source.subscribe()).await {
                None => return,
                Some(Ok(subscription)) => subscription,
                Some(Err(error)) => {
                    self.wait_for_source(error, &mut failures).await;
                    continue;
                }
            };
            self.state.set(ConsumerState::Consuming);
            let ended = self.consume(&mut *subscription, &mut failures).await;
            subscription.cancel().await;
            match ended {
                Ended::Stopped => return,
                Ended::Source(error) => self.wait_for_source(error, &mut failures).await,
                Ended::Database(error) => self.wait_for_database(error, &mut failures).await,
            }
        }
    }

    async fn consume(&self, subscription: &mut dyn Subscription, failures: &mut Failures) -> Ended {
        let mut current: Option<ApplyingBatch> = None;
        let age = Duration::from_millis(self.config.batch_age_ms);
        let mut rate = BatchRate::new(age, Instant::now());
        loop {
            let Some(batch) = current.take() else {
                let bounds = self.config.bounds(rate.next_at());
                match self.or_stop(subscription.collect(bounds)).await {
                    None => return Ended::Stopped,
                    Some(Err(error)) => return Ended::Source(error),
                    Some(Ok(collected)) => current = Some(self.apply(collected, &mut rate)),
                }
                continue;
            };
            let (upto, records) = (batch.upto, batch.records);
            let collects_ahead = batch.is_full && !self.stop.is_cancelled();
            let (applied, ahead) = if collects_ahead {
                self.apply_and_collect(batch, subscription, &mut rate).await
            } else {
                (joined(batch.applying).await, Ahead::Nothing)
            };
            if let Err(error) = applied {
                return Ended::Database(error);
            }
            failures.database = 0;
            if let Err(error) = subscription.acknowledge(upto).await {
                return Ended::Source(error);
            }
            failures.source = 0;
            self.acknowledged.increment(records);
            match ahead {
                Ahead::Nothing => {}
                Ahead::Next(next) => current = Some(next),
                Ahead::Broken(error) => return Ended::Source(error),
            }
        }
    }

    /// Waits until the batch is applied, and collects the next one meanwhile.
    async fn apply_and_collect(
        &self,
        batch: ApplyingBatch,
        subscription: &mut dyn Subscription,
        rate: &mut BatchRate,
    ) -> (Result<(), Unavailable>, Ahead) {
        let bounds = self.config.bounds(rate.next_at());
        let mut collecting = pin!(subscription.collect(bounds));
        let mut applying = pin!(joined(batch.applying));
        let mut take = |collected: Result<Collected, Unavailable>| match collected {
            // Queued at once, so that the applier continues without a pause.
            Ok(collected) => Ahead::Next(self.apply(collected, rate)),
            Err(error) => Ahead::Broken(error),
        };
        tokio::select! {
            biased;
            collected = &mut collecting => {
                let next = take(collected);
                (applying.await, next)
            }
            // With a small prefetch RabbitMQ sends more only after this acknowledgement.
            applied = &mut applying => (applied, Ahead::Nothing),
        }
    }

    fn apply(&self, collected: Collected, rate: &mut BatchRate) -> ApplyingBatch {
        rate.count(Instant::now());
        let Collected { batch, upto } = collected;
        let is_full = batch.len() >= self.config.batch_records_max
            || batch.size_bytes() >= self.config.batch_bytes_max / 2;
        let records = batch.len() as u64;
        let applier = Arc::clone(&self.applier);
        let applying = tokio::spawn(async move {
            match batch.is_empty() {
                true => Ok(()),
                false => applier.deliver(Arc::new(batch)).await,
            }
        });
        ApplyingBatch {
            upto,
            records,
            is_full,
            applying,
        }
    }

    async fn wait_for_source(&self, error: Unavailable, failures: &mut Failures) {
        self.state.set(ConsumerState::SourceUnavailable(error));
        failures.source = failures.source.saturating_add(1);
        let max_delay = Duration::from_millis(self.config.retry_ms_max);
        let _ = self
            .or_stop(tokio::time::sleep(self.backoff(failures.source, max_delay)))
            .await;
    }

    /// Waits until the database answers, whatever its error: a full or damaged database gets repaired, but a
    /// dropped record would be lost.
    async fn wait_for_database(&self, error: Unavailable, failures: &mut Failures) {
        self.state.set(ConsumerState::DatabaseUnavailable(error));
        // It may answer pings and still refuse batches; then the delay grows with each round.
        failures.database = failures.database.saturating_add(1);
        let pause = self.backoff(failures.database, REFUSED_DELAY_MAX);
        if self.or_stop(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        let max_delay = Duration::from_millis(self.config.retry_ms_max);
        for attempt in 1.. {
            let ping = Arc::clone(&self.database_ping);
            let answer = tokio::task::spawn_blocking(move || ping());
            match self.or_stop(answer).await {
                None => return,
                Some(Ok(Ok(()))) => return self.applier.database_answers(),
                Some(Ok(Err(error))) => self.state.set(ConsumerState::DatabaseUnavailable(error)),
                Some(Err(_)) => tracing::error!("pinging the database panicked; it is retried"),
            }
            if self
                .or_stop(tokio::time::sleep(self.backoff(attempt, max_delay)))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// The delay after `failures` failures, at most `max`.
    fn backoff(&self, failures: u32, max: Duration) -> Duration {
        let min = Duration::from_millis(self.config.retry_ms_min);
        delay(min, max, failures.saturating_sub(1))
    }

    /// The output of `work`, or `None` if `stop` was cancelled first.
    async fn or_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            done = work => Some(done),
        }
    }
}

/// The result of collecting ahead.
enum Ahead {
    Nothing,
    Next(ApplyingBatch),
    Broken(Unavailable),
}

async fn joined(applying: JoinHandle<Result<(), Unavailable>>) -> Result<(), Unavailable> {
    applying.await.unwrap_or_else(|error| {
        Err(Unavailable {
            component: "database",
            kind: UnavailableKind::Unreachable,
            detail: format!("applying a batch ended without a result: {error}"),
        })
    })
}

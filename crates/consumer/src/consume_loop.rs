//! The consumer's loop; see [`crate::Consumer`] for what it promises.

use crate::consumer::Ping;
use crate::state::{ConsumerState, SharedState};
use crate::{Applier, Config};
use central::ports::{Collected, Sink, Source, Subscription, Unavailable, UnavailableKind};
use metrics::{Counter, counter};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest pause when the database answers and yet takes no batch (its disk is full, say): each try counts as
/// a delivery of all that was sent ahead, and RabbitMQ gives up after some thousands.
const REFUSED_MAX: Duration = Duration::from_secs(60);

pub(crate) struct ConsumeLoop {
    source: Arc<dyn Source>,
    applier: Arc<Applier>,
    database_ping: Ping,
    config: Config,
    stop: CancellationToken,
    state: Arc<SharedState>,
    acknowledged: Counter,
}

/// Why consuming ended. Nothing is unacknowledged of what was applied, as far as that could be.
enum Ended {
    Stopped,
    Source(Unavailable),
    Database(Unavailable),
}

/// A batch that is being applied.
struct InHand {
    upto: u64,
    records: u64,
    /// The batch reached its limits, so more records are probably waiting.
    is_full: bool,
    applying: JoinHandle<Result<(), Unavailable>>,
}

/// Consecutive failures of each side.
#[derive(Default)]
struct Retries {
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
        let mut retries = Retries::default();
        loop {
            let mut subscription = match self.or_stop(self.source.subscribe()).await {
                None => return,
                Some(Ok(subscription)) => subscription,
                Some(Err(away)) => {
                    self.wait_for_source(away, &mut retries).await;
                    continue;
                }
            };
            self.state.set(ConsumerState::Consuming);
            let ended = self.consume(&mut *subscription, &mut retries).await;
            subscription.cancel().await;
            match ended {
                Ended::Stopped => return,
                Ended::Source(away) => self.wait_for_source(away, &mut retries).await,
                Ended::Database(away) => self.wait_for_database(away, &mut retries).await,
            }
        }
    }

    async fn consume(&self, subscription: &mut dyn Subscription, retries: &mut Retries) -> Ended {
        let mut in_hand: Option<InHand> = None;
        loop {
            let Some(batch) = in_hand.take() else {
                match self
                    .or_stop(subscription.collect(self.config.bounds()))
                    .await
                {
                    None => return Ended::Stopped,
                    Some(Err(away)) => return Ended::Source(away),
                    Some(Ok(collected)) => in_hand = Some(self.apply(collected)),
                }
                continue;
            };
            let (upto, records) = (batch.upto, batch.records);
            let goes_ahead = batch.is_full && !self.stop.is_cancelled();
            let (applied, ahead) = if goes_ahead {
                self.apply_and_collect(batch, subscription).await
            } else {
                (joined(batch.applying).await, Ahead::Nothing)
            };
            if let Err(away) = applied {
                return Ended::Database(away);
            }
            retries.database = 0;
            if let Err(away) = subscription.acknowledge(upto).await {
                return Ended::Source(away);
            }
            retries.source = 0;
            self.acknowledged.increment(records);
            match ahead {
                Ahead::Nothing => {}
                Ahead::Next(next) => in_hand = Some(next),
                Ahead::Broken(away) => return Ended::Source(away),
            }
        }
    }

    /// Waits for the batch in hand to be applied and collects the next one meanwhile.
    async fn apply_and_collect(
        &self,
        batch: InHand,
        subscription: &mut dyn Subscription,
    ) -> (Result<(), Unavailable>, Ahead) {
        let bounds = self.config.bounds();
        let mut collecting = pin!(subscription.collect(bounds));
        let mut applying = pin!(joined(batch.applying));
        let take = |collected: Result<Collected, Unavailable>| match collected {
            // Queue it at once; the applier starts it after the batch before.
            Ok(collected) => Ahead::Next(self.apply(collected)),
            Err(away) => Ahead::Broken(away),
        };
        tokio::select! {
            biased;
            collected = &mut collecting => {
                let next = take(collected);
                (applying.await, next)
            }
            // It must be acknowledged before anything else may come, where little is sent ahead.
            applied = &mut applying => (applied, Ahead::Nothing),
        }
    }

    fn apply(&self, collected: Collected) -> InHand {
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
        InHand {
            upto,
            records,
            is_full,
            applying,
        }
    }

    async fn wait_for_source(&self, away: Unavailable, retries: &mut Retries) {
        self.state.set(ConsumerState::SourceUnavailable(away));
        retries.source = retries.source.saturating_add(1);
        let longest = Duration::from_millis(self.config.retry_max_ms);
        let _ = self
            .or_stop(tokio::time::sleep(self.backoff(retries.source, longest)))
            .await;
    }

    /// Until the database answers. Whatever sort of trouble it has: a record that is dropped does not come
    /// back, a database that is repaired does.
    async fn wait_for_database(&self, away: Unavailable, retries: &mut Retries) {
        self.state.set(ConsumerState::DatabaseUnavailable(away));
        // It may answer and refuse all the same; then these grow over the rounds.
        retries.database = retries.database.saturating_add(1);
        let pause = self.backoff(retries.database, REFUSED_MAX);
        if self.or_stop(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        let longest = Duration::from_millis(self.config.retry_max_ms);
        for tries in 1.. {
            let ping = Arc::clone(&self.database_ping);
            let asked = tokio::task::spawn_blocking(move || ping());
            match self.or_stop(asked).await {
                None => return,
                Some(Ok(Ok(()))) => return self.applier.database_answers(),
                Some(Ok(Err(away))) => self.state.set(ConsumerState::DatabaseUnavailable(away)),
                Some(Err(_)) => tracing::error!("asking the database panicked; it is asked again"),
            }
            if self
                .or_stop(tokio::time::sleep(self.backoff(tries, longest)))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Exponential from `retry_min_ms` to `longest`, between half and all of it.
    fn backoff(&self, retries: u32, longest: Duration) -> Duration {
        let exponent = retries.saturating_sub(1).min(20);
        let full = Duration::from_millis(self.config.retry_min_ms.saturating_mul(1 << exponent));
        full.min(longest).mul_f64(fastrand::f64().mul_add(0.5, 0.5))
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
    Next(InHand),
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

//! What all handlers share, and the one way to ask the ledger: on a blocking thread, few at once, with
//! a deadline. However slow the database is and however many ask, the process keeps its threads for
//! the chargers.

use crate::ApiDeps;
use crate::config::ApiConfig;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use central::ports::HealthProbe;
use central::query::QueryStore;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::error;

pub(crate) struct Desk {
    ledger: Option<Arc<dyn QueryStore>>,
    pub(crate) probes: Vec<Arc<dyn HealthProbe>>,
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) version: &'static str,
    calls: Arc<Semaphore>,
    timeout: Duration,
}

impl Desk {
    pub(crate) fn new(config: &ApiConfig, deps: ApiDeps) -> Self {
        Self {
            ledger: deps.ledger,
            probes: deps.probes,
            metrics: deps.metrics,
            version: deps.version,
            calls: Arc::new(Semaphore::new(config.ledger_calls_max)),
            timeout: config.request_timeout(),
        }
    }

    /// Asks the ledger and writes what it says as JSON, both on a blocking thread: a large page is as
    /// much work to write as to read.
    pub(crate) async fn answer<T, F>(&self, question: F) -> Result<Response, ApiError>
    where
        T: Serialize,
        F: FnOnce(&dyn QueryStore) -> Result<T, ApiError> + Send + 'static,
    {
        self.answer_json(move |ledger| question(ledger).and_then(|answer| written(&answer)))
            .await
    }

    /// Asks the ledger a question whose answer comes written as JSON.
    ///
    /// A call that is given up at the deadline keeps its place until it really ends, because its
    /// thread does too.
    pub(crate) async fn answer_json<F>(&self, question: F) -> Result<Response, ApiError>
    where
        F: FnOnce(&dyn QueryStore) -> Result<Vec<u8>, ApiError> + Send + 'static,
    {
        let deadline = Instant::now() + self.timeout;
        let place = timeout_at(deadline, Arc::clone(&self.calls).acquire_owned());
        let Ok(place) = place.await else {
            metrics::counter!("wattpost_api_ledger_busy_total").increment(1);
            return Err(ApiError::busy(self.timeout));
        };
        let place = place.map_err(|_| ApiError::internal())?;
        // Without a ledger there is no route that leads here.
        let ledger = self.ledger.clone().ok_or_else(ApiError::internal)?;
        let call = tokio::task::spawn_blocking(move || {
            let answer = question(&*ledger);
            drop(place);
            answer
        });
        let Ok(ended) = timeout_at(deadline, call).await else {
            metrics::counter!("wattpost_api_ledger_timeouts_total").increment(1);
            return Err(ApiError::slow(self.timeout));
        };
        let json = ended.map_err(|panic| {
            error!(%panic, "failed to ask the ledger");
            ApiError::internal()
        })??;
        let mut response = Response::new(Body::from(json));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

fn written<T: Serialize>(answer: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|error| {
        error!(%error, "failed to write an answer as JSON");
        ApiError::internal()
    })
}

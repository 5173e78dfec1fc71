//! The state shared by all handlers. It runs queries on blocking threads, with a maximum number and a timeout, so that
//! neither a slow database nor many requests use up the threads of the process.

use crate::ApiDeps;
use crate::auth::Keys;
use crate::config::ApiConfig;
use crate::error::ApiError;
use crate::wrong_port::WrongPort;
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

pub(crate) struct AppState {
    store: Option<Arc<dyn QueryStore>>,
    /// `None` if no request needs a key.
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) probes: Vec<Arc<dyn HealthProbe>>,
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) version: &'static str,
    pub(crate) wrong_port: Arc<WrongPort>,
    calls: Arc<Semaphore>,
    timeout: Duration,
}

impl AppState {
    pub(crate) fn new(config: &ApiConfig, deps: ApiDeps, keys: Option<Arc<Keys>>) -> Self {
        Self {
            store: deps.store,
            keys,
            probes: deps.probes,
            metrics: deps.metrics,
            version: deps.version,
            wrong_port: Arc::default(),
            calls: Arc::new(Semaphore::new(config.database_calls_max)),
            timeout: config.request_timeout(),
        }
    }

    /// Runs a query and serializes its result as JSON, both on a blocking thread: serializing a large page takes
    /// as long as reading it.
    pub(crate) async fn answer<T, F>(&self, query: F) -> Result<Response, ApiError>
    where
        T: Serialize,
        F: FnOnce(&dyn QueryStore) -> Result<T, ApiError> + Send + 'static,
    {
        self.answer_json(move |store| query(store).and_then(|answer| to_json(&answer)))
            .await
    }

    /// Runs a query whose result is JSON already.
    ///
    /// A query that exceeds the timeout keeps its permit until it ends, because its thread is still in use.
    pub(crate) async fn answer_json<F>(&self, query: F) -> Result<Response, ApiError>
    where
        F: FnOnce(&dyn QueryStore) -> Result<Vec<u8>, ApiError> + Send + 'static,
    {
        let deadline = Instant::now() + self.timeout;
        let permit = timeout_at(deadline, Arc::clone(&self.calls).acquire_owned());
        let Ok(permit) = permit.await else {
            metrics::counter!("wattpost_api_database_busy_total").increment(1);
            return Err(ApiError::busy(self.timeout));
        };
        let permit = permit.map_err(|_| ApiError::internal())?;
        // A process without a store has no route that queries one.
        let store = self.store.clone().ok_or_else(ApiError::internal)?;
        let call = tokio::task::spawn_blocking(move || {
            let answer = query(&*store);
            drop(permit);
            answer
        });
        let Ok(ended) = timeout_at(deadline, call).await else {
            metrics::counter!("wattpost_api_database_timeouts_total").increment(1);
            return Err(ApiError::timeout(self.timeout));
        };
        let json = ended.map_err(|panic| {
            error!(%panic, "an API query panicked");
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

fn to_json<T: Serialize>(answer: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|error| {
        error!(%error, "failed to serialize an answer as JSON");
        ApiError::internal()
    })
}

//! What the tests share: an HTTP client that works on bytes, and a store in memory.

mod client;
mod events;
mod keys;
mod openapi;
mod processes;
mod store;

pub(crate) use central::memory::sample::{
    START, charger, connector, dead_letter, message, transaction,
};
pub(crate) use central::memory::{MemoryRows, MemoryStore};
pub(crate) use client::{Answer, Client, TIMEOUT, get, get_with, request, send};
pub(crate) use events::MemoryEvents;
pub(crate) use keys::MemoryKeys;
pub(crate) use openapi::check_value;
pub(crate) use processes::{Database, FakeProcesses, process_report};
pub(crate) use store::{Behaviour, switched};

use api::{Api, ApiConfig, ApiDeps, PipelineDeps};
use central::ports::{Health, HealthProbe};
use consumer::LetterRetry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;

/// Settings for tests: any free port of this machine.
pub(crate) fn config() -> ApiConfig {
    ApiConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..ApiConfig::default()
    }
}

/// An API over `store`, always healthy.
pub(crate) async fn start(config: ApiConfig, store: &Arc<MemoryRows>) -> Api {
    start_with(config, store, Vec::new()).await
}

/// An API over `store` with probes.
pub(crate) async fn start_with(
    config: ApiConfig,
    store: &Arc<MemoryRows>,
    probes: Vec<Arc<dyn HealthProbe>>,
) -> Api {
    let deps = ApiDeps {
        probes,
        ..deps(store)
    };
    let api = Api::start(config, deps).await.expect("the API starts");
    // The database is asked for the first time after the start; until it has answered, the API is not ready.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
    while get(api.local_addr(), "/health/ready").await.status == 503
        && tokio::time::Instant::now() < deadline
    {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    api
}

/// What an API over `store` needs; without keys, always healthy.
pub(crate) fn deps(store: &Arc<MemoryRows>) -> ApiDeps {
    let memory = Arc::new(MemoryStore::default());
    ApiDeps {
        batches: Some(Arc::clone(&memory) as _),
        store: Some(Arc::clone(store) as _),
        chargers: Some(Arc::clone(&store.directory) as _),
        handshakes: Some(Arc::clone(&store.directory) as _),
        tokens: Some(Arc::new(MemoryStore::default())),
        local_lists: Some(Arc::new(MemoryStore::default())),
        closings: Some(Arc::clone(store) as _),
        dead_letters: Some(Arc::clone(&memory) as _),
        letter_retries: Some(Arc::new(LetterRetry {
            store: Arc::clone(&memory) as _,
            letters: Arc::clone(&memory) as _,
        })),
        commands: Some(memory),
        event_log: Some(Arc::new(MemoryEvents::default())),
        events: None,
        keys: None,
        probes: Vec::new(),
        pipeline: Some(PipelineDeps {
            processes: FakeProcesses::new(Database::Answers),
            own: Arc::new(|| process_report(1, central::model::ProcessRole::Api)),
            has_broker: true,
        }),
        metrics: Arc::new(|| "# TYPE wattpost_test gauge\nwattpost_test 1\n".to_owned()),
        version: "1.2.3",
    }
}

/// A probe whose result can be changed.
pub(crate) struct FakeProbe(pub(crate) Mutex<Vec<Health>>);

impl HealthProbe for FakeProbe {
    fn health(&self) -> Vec<Health> {
        self.0.lock().expect("not poisoned").clone()
    }
}

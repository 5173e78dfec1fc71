//! What the tests share: an HTTP client that works on bytes, and a store in memory.

mod client;
mod events;
mod keys;
mod openapi;
mod processes;
mod store;
mod users;

pub(crate) use central::memory::sample::{
    START, charger, connector, dead_letter, message, transaction,
};
pub(crate) use central::memory::{MemoryDisconnects, MemoryRows, MemoryStore};
pub(crate) use client::{Answer, Client, TIMEOUT, get, get_with, request, send};
pub(crate) use events::MemoryEvents;
pub(crate) use keys::MemoryKeys;
pub(crate) use openapi::check_value;
pub(crate) use processes::{Database, FakeProcesses, process_report};
pub(crate) use store::{Behaviour, switched};
pub(crate) use users::MemoryUsers;

use api::{Api, ApiConfig, ApiDeps, PipelineDeps};
use central::ports::{Health, HealthProbe};
use consumer::LetterRetry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

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
    until_heard(&api).await;
    api
}

/// Waits until the condition holds, at most 20 s.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "timeout while waiting for {what}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the API has asked its database for the first time, whatever it was answered: before, it is not ready.
pub(crate) async fn until_heard(api: &Api) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let ready = get(api.local_addr(), "/health/ready").await;
        if !ready.body.contains("has not answered yet") {
            return;
        }
        assert!(Instant::now() < deadline, "{}", ready.body);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
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
        rotations: Some(Arc::clone(&store.directory) as _),
        closings: Some(Arc::clone(store) as _),
        disconnects: Some(Arc::new(MemoryDisconnects::default())),
        dead_letters: Some(Arc::clone(&memory) as _),
        letter_retries: Some(Arc::new(LetterRetry {
            store: Arc::clone(&memory) as _,
            letters: Arc::clone(&memory) as _,
        })),
        commands: Some(memory),
        event_log: Some(Arc::new(MemoryEvents::default())),
        events: None,
        webhooks: None,
        alerts: None,
        keys: None,
        users: None,
        probes: Vec::new(),
        process: None,
        pipeline: Some(PipelineDeps {
            processes: FakeProcesses::new(Database::Answers),
            own: Arc::new(|| process_report(1, central::model::ProcessRole::Api)),
            has_broker: true,
        }),
        metrics: Arc::new(|| "# TYPE wattpost_test gauge\nwattpost_test 1\n".to_owned()),
        version: "1.2.3",
        build: api::Build::default(),
        support: None,
    }
}

/// A probe whose result can be changed.
pub(crate) struct FakeProbe(pub(crate) Mutex<Vec<Health>>);

impl HealthProbe for FakeProbe {
    fn health(&self) -> Vec<Health> {
        self.0.lock().expect("not poisoned").clone()
    }
}

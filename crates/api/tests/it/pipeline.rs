//! `/api/v1/pipeline`: it is answered from memory, whatever the database does.

use crate::support::*;
use api::{Api, ApiDeps, PipelineDeps};
use central::model::{ProcessReport, ProcessRole};
use central::ports::{KnownProcess, Processes, Unavailable, UnavailableKind};
use central::{GatewayId, Seq, Timestamp};
use common::clock::now_ms;
use serde_json::Value;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

#[derive(Clone, Copy, PartialEq)]
enum Database {
    Answers,
    Refuses,
    Hangs,
}

/// Reports in memory.
struct FakeProcesses {
    database: Mutex<Database>,
    changed: Condvar,
}

impl FakeProcesses {
    fn new(database: Database) -> Arc<Self> {
        Arc::new(Self {
            database: Mutex::new(database),
            changed: Condvar::new(),
        })
    }

    fn set(&self, database: Database) {
        *self.database.lock().expect("not poisoned") = database;
        self.changed.notify_all();
    }

    fn ask(&self) -> Result<(), Unavailable> {
        let database = self.database.lock().expect("not poisoned");
        let database = self
            .changed
            .wait_while(database, |now| *now == Database::Hangs)
            .expect("not poisoned");
        match *database {
            Database::Answers | Database::Hangs => Ok(()),
            Database::Refuses => Err(Unavailable {
                component: "database",
                kind: UnavailableKind::Unreachable,
                detail: "connection refused".to_owned(),
            }),
        }
    }
}

impl Processes for FakeProcesses {
    fn report_process(&self, _: &ProcessReport) -> Result<(), Unavailable> {
        self.ask()
    }

    fn processes(&self) -> Result<Vec<KnownProcess>, Unavailable> {
        self.ask()?;
        Ok(vec![KnownProcess {
            report: report(7, ProcessRole::Consumer),
            age_ms: 21_000,
            all_stored: Seq(0),
            is_retired: false,
        }])
    }

    fn set_all_stored(&self, _: GatewayId, _: Seq) -> Result<(), Unavailable> {
        self.ask()
    }

    fn retire_process(&self, _: GatewayId) -> Result<(), Unavailable> {
        self.ask()
    }

    fn count_stored(&self, _: GatewayId, _: Seq, _: Seq) -> Result<u64, Unavailable> {
        self.ask().map(|()| 0)
    }

    fn count_dead_letters(&self, _: u64) -> Result<u64, Unavailable> {
        self.ask().map(|()| 0)
    }
}

fn report(id: u128, role: ProcessRole) -> ProcessReport {
    ProcessReport {
        id: Uuid::from_u128(id),
        role,
        host: "host".to_owned(),
        version: "1.2.3".to_owned(),
        started_at: Timestamp(1),
        at: Timestamp(now_ms()),
        has_stopped: false,
        parts: Vec::new(),
        gateway: None,
        consumed_records: (role == ProcessRole::Consumer).then_some(1),
        queues: None,
    }
}

async fn start_over(processes: &Arc<FakeProcesses>) -> Api {
    let deps = ApiDeps {
        pipeline: Some(PipelineDeps {
            processes: Arc::clone(processes) as _,
            own: Arc::new(|| report(1, ProcessRole::Api)),
            has_broker: true,
        }),
        ..deps(&Arc::new(MemoryRows::default()))
    };
    Api::start(config(), deps).await.expect("it starts")
}

/// The part in the answer, once `is_so`; each answer comes within a second.
async fn part_when(api: &Api, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = get(api.local_addr(), "/api/v1/pipeline").await;
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        let pipeline = answer.json();
        let parts = pipeline["parts"].as_array().expect("parts");
        let part = parts.iter().find(|part| part["part"] == name);
        let part = part.expect("a part of this name");
        if is_so(part) {
            return part.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{pipeline:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_pipeline_is_answered_at_once_while_the_database_hangs() {
    let processes = FakeProcesses::new(Database::Hangs);
    let api = start_over(&processes).await;
    let part = part_when(&api, "database", |part| part["state"] == "down").await;
    let detail = part["detail"].as_str().expect("words");
    assert!(detail.contains("does not answer"), "{detail}");
    assert!(part["since"].is_string(), "{part}");
    processes.set(Database::Answers);
    part_when(&api, "database", |part| part["state"] == "works").await;
}

#[tokio::test]
async fn a_process_that_only_the_database_knows_is_shown_as_gone() {
    let processes = FakeProcesses::new(Database::Answers);
    let api = start_over(&processes).await;
    let part = part_when(&api, "consumers", |part| part["state"] == "down").await;
    let detail = part["detail"].as_str().expect("words");
    assert!(detail.contains("has not reported"), "{detail}");
    let pipeline = get(api.local_addr(), "/api/v1/pipeline").await.json();
    let roles = pipeline["processes"].as_array().expect("processes").iter();
    let states: Vec<(&Value, &Value)> = roles.map(|one| (&one["role"], &one["state"])).collect();
    assert_eq!(states.len(), 2, "{pipeline:#}");
    assert!(
        states
            .iter()
            .any(|one| *one.0 == "consumer" && *one.1 == "gone")
    );
    assert!(
        states
            .iter()
            .any(|one| *one.0 == "api" && *one.1 == "running")
    );

    let refusing = FakeProcesses::new(Database::Refuses);
    let api = start_over(&refusing).await;
    let part = part_when(&api, "database", |part| part["state"] == "down").await;
    assert!(
        part["detail"]
            .as_str()
            .is_some_and(|words| words.contains("connection refused"))
    );
}

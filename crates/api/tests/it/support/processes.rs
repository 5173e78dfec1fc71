//! Reports of processes in memory, from a database that answers, refuses or hangs.

use central::model::{Origin, ProcessReport, ProcessRole};
use central::ports::{KnownProcess, Processes, Unavailable, UnavailableKind};
use central::{GatewayId, Seq, Timestamp};
use common::clock::now_ms;
use std::sync::{Arc, Condvar, Mutex};
use uuid::Uuid;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Database {
    Answers,
    Refuses,
    Hangs,
}

/// Reports in memory.
pub(crate) struct FakeProcesses {
    database: Mutex<Database>,
    changed: Condvar,
}

impl FakeProcesses {
    pub(crate) fn new(database: Database) -> Arc<Self> {
        Arc::new(Self {
            database: Mutex::new(database),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn set(&self, database: Database) {
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
            report: process_report(7, ProcessRole::Consumer),
            age_ms: 21_000,
            all_stored: Seq(0),
            is_retired: false,
        }])
    }

    fn set_all_stored(&self, _: GatewayId, _: Seq) -> Result<(), Unavailable> {
        self.ask()
    }

    fn retire_process(&self, _: GatewayId, _: u64, _: &Origin) -> Result<(), Unavailable> {
        self.ask()
    }

    fn count_stored(&self, _: GatewayId, _: Seq, _: Seq) -> Result<u64, Unavailable> {
        self.ask().map(|()| 0)
    }

    fn count_dead_letters(&self, _: u64) -> Result<u64, Unavailable> {
        self.ask().map(|()| 0)
    }
}

pub(crate) fn process_report(id: u128, role: ProcessRole) -> ProcessReport {
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
        figures_milli: std::collections::BTreeMap::new(),
        restarts: Vec::new(),
    }
}

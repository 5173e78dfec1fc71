//! Records per second that the applier stores: decoding, projecting and one durable transaction per batch, with nothing
//! else running.
//!
//! ```text
//! cargo bench -p store --bench apply                      # the default table
//! cargo bench -p store --bench apply -- 500000 500 fast 1000
//! ```
//! PostgreSQL is measured on a private server, beside a raw COPY of the same rows into the same tables. The arguments
//! are: records; chargers; `minute` when a charger's times are a minute apart, `fast` when they are 60 ms apart;
//! records per batch.

use central::ports::{Batch, Sink, Store};
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, Record, RecordKind, Seq, Timestamp};
use consumer::{Applier, Config};
use ocpp::Version;
use std::sync::Arc;
use std::time::Instant;
use store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use testbed::Postgres;
use uuid::Uuid;

const BEGIN_MILLIS: i64 = 1_767_225_600_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let number = |at: usize, default: u64| -> Result<u64, std::num::ParseIntError> {
        args.get(at).map_or(Ok(default), |text| text.parse())
    };
    let records = number(0, 200_000)?;
    let chargers = number(1, 500)?;
    let step_millis = if args.get(2).is_some_and(|word| word == "fast") {
        60_000 / 1_000
    } else {
        60_000
    };
    let sizes = match number(3, 0)? {
        0 => vec![250, 1_000, 2_000, 4_000],
        size => vec![size],
    };
    println!("SQLite\n");
    println!("| batch | records/s | again, records/s | ms a batch | database MiB | log MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let fleet = Fleet {
        chargers,
        step_millis,
    };
    for batch in &sizes {
        run(&fleet, records, *batch)?;
    }
    println!("\nPostgreSQL\n");
    println!(
        "| batch | records/s | again, records/s | ms a batch | raw COPY, records/s | **share** | server's CPU us a record: applying / COPY |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let directory = tempfile::tempdir()?;
    let server = Postgres::start(directory.path())?;
    for batch in &sizes {
        run_postgres(&server, &fleet, records, *batch)?;
    }
    Ok(())
}

/// Delivers all batches through an applier; returns the seconds it took.
fn deliver(
    store: &Arc<dyn Store>,
    batches: &[Arc<Batch>],
) -> Result<f64, Box<dyn std::error::Error>> {
    let applier = Applier::start(Arc::clone(store), Config::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let began = Instant::now();
    for batch in batches {
        runtime.block_on(applier.deliver(Arc::clone(batch)))?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn run_postgres(
    server: &Postgres,
    fleet: &Fleet,
    records: u64,
    size: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let fresh = |name: &str| -> Result<String, Box<dyn std::error::Error>> {
        server.superuser_psql(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        server.superuser_psql(&format!("CREATE DATABASE {name} OWNER wattpost"))?;
        let url = server.url_as("wattpost", "wattpost", name);
        PostgresStore::migrate(&url)?;
        PostgresStore::open(&url, PostgresOptions::default())?
            .maintenance_round(Timestamp(BEGIN_MILLIS))?;
        Ok(url)
    };
    let (full, empty) = (fresh("applied")?, fresh("copied")?);
    let batches = fleet.batches(records, size);
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&full, PostgresOptions::default())?);
    let before = server.cpu_seconds();
    let seconds = deliver(&store, &batches)?;
    let applying = server.cpu_seconds() - before;
    let again = deliver(&store, &batches)?;
    let psql = |url: &str, sql: &str| -> Result<(), Box<dyn std::error::Error>> {
        let status = std::process::Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--command", sql, url])
            .stdout(std::process::Stdio::null())
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(sql.into())
        }
    };
    let directory = tempfile::tempdir()?;
    let (mut copying, mut copying_cpu) = (0.0, 0.0);
    for table in ["messages", "meter_values"] {
        let file = directory.path().join(table);
        psql(
            &full,
            &format!(
                "\\copy (SELECT * FROM {table}) TO '{}' (FORMAT binary)",
                file.display()
            ),
        )?;
        let (began, before) = (Instant::now(), server.cpu_seconds());
        psql(
            &empty,
            &format!("\\copy {table} FROM '{}' (FORMAT binary)", file.display()),
        )?;
        copying += began.elapsed().as_secs_f64();
        copying_cpu += server.cpu_seconds() - before;
    }
    let count = records as f64;
    println!(
        "| {size} | {:.0} | {:.0} | {:.1} | {:.0} | **{:.2}** | {:.1} / {:.1} |",
        count / seconds,
        count / again,
        seconds * 1_000.0 / batches.len() as f64,
        count / copying,
        copying / seconds,
        applying * 1e6 / count,
        copying_cpu * 1e6 / count,
    );
    Ok(())
}

fn run(fleet: &Fleet, records: u64, size: u64) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("wattpost.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, SqliteOptions::default())?);
    let batches = fleet.batches(records, size);
    let count = batches.iter().map(|batch| batch.len()).sum::<usize>();
    let seconds = deliver(&store, &batches)?;
    let again = deliver(&store, &batches)?;
    let mib = |name: &str| -> Result<u64, std::io::Error> {
        Ok(std::fs::metadata(directory.path().join(name))?.len() >> 20)
    };
    println!(
        "| {size} | {:.0} | {:.0} | {:.1} | {} | {} |",
        count as f64 / seconds,
        count as f64 / again,
        seconds * 1_000.0 / batches.len() as f64,
        mib("wattpost.db")?,
        mib("wattpost.db-wal")?,
    );
    Ok(())
}

/// Chargers with one open transaction each that send meter values in turn.
struct Fleet {
    chargers: u64,
    step_millis: i64,
}

impl Fleet {
    fn batches(&self, records: u64, size: u64) -> Vec<Arc<Batch>> {
        let gateway = GatewayId(Uuid::from_u128(1));
        let mut batches = Vec::new();
        let mut batch = Batch::new(gateway);
        for seq in 1..=records {
            batch.push(Seq(seq), &self.record(seq - 1));
            if batch.len() as u64 == size || seq == records {
                batches.push(Arc::new(std::mem::replace(&mut batch, Batch::new(gateway))));
            }
        }
        batches
    }

    fn record(&self, n: u64) -> Vec<u8> {
        let charger = n % self.chargers;
        let round = (n / self.chargers) as i64;
        let at = Timestamp(BEGIN_MILLIS + round * self.step_millis + charger as i64);
        let charger_id = format!("CP-{charger:05}");
        let transaction = 1_000_000 + charger;
        let (action, payload, answer) = match round {
            0 => (
                "BootNotification",
                r#"{"chargePointVendor":"Example","chargePointModel":"Model 22","chargePointSerialNumber":"EX-000123","firmwareVersion":"1.4.2"}"#.to_owned(),
                format!(r#"{{"status":"Accepted","currentTime":"{at}","interval":300}}"#),
            ),
            1 => (
                "StartTransaction",
                format!(r#"{{"connectorId":1,"idTag":"04A2B3C4D5E680","meterStart":1000,"timestamp":"{at}"}}"#),
                format!(r#"{{"idTagInfo":{{"status":"Accepted"}},"transactionId":{transaction}}}"#),
            ),
            _ => (
                "MeterValues",
                format!(
                    r#"{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":"{}","measurand":"Energy.Active.Import.Register","unit":"Wh"}},{{"value":"11040.5","measurand":"Power.Active.Import","unit":"W"}},{{"value":"16.02","measurand":"Current.Import","phase":"L1","unit":"A"}}]}}]}}"#,
                    1_000 + round * 184
                ),
                "{}".to_owned(),
            ),
        };
        Record {
            kind: RecordKind::Call,
            charger_id: &charger_id,
            ocpp_version: Version::V16,
            message_id: &Uuid::from_u128(u128::from(n)).to_string(),
            action,
            payload: &payload,
            answer_kind: AnswerKind::Result,
            answer: &answer,
            received_at: at.plus_millis(40),
            epoch: Epoch(BEGIN_MILLIS as u64),
            notes: Notes::default(),
            reason: "",
        }
        .encode()
    }
}

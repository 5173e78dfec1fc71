//! Measures how many records per second are stored if every session is stopped with transactionId -1, and checks that
//! every session is listed, is ended and has its energy. A second database stores the same sessions with stops that
//! name their transaction, in alternating batches. Both databases slow down as they grow; the difference between them
//! is the cost of the stops without an id.
//!
//! ```text
//! cargo bench -p store --bench unnamed_stops                  # 300 chargers, 300 sessions each
//! cargo bench -p store --bench unnamed_stops -- 100 50        # chargers, sessions
//! cargo bench -p store --bench unnamed_stops -- flood 20000   # one charger: a stop with -1, then so many starts
//! ```
//! PostgreSQL is behind a proxy that adds 0.4 ms to each round trip.

use central::ports::Store;
use central::project::Changes;
use central::query::{QueryStore, TransactionFilter, all_transactions};
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, Record, RecordId, RecordKind, Seq, Timestamp};
use ocpp::Version;
use std::time::{Duration, Instant};
use store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use testbed::{Postgres, Proxy};
use uuid::Uuid;

const BEGIN_MILLIS: i64 = 1_767_225_600_000;
const BATCH: usize = 4_000;
/// Parts of the run; the rates of the first and the last are compared.
const PARTS: usize = 10;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let number = |at: usize, default: usize| -> Result<usize, std::num::ParseIntError> {
        args.get(at).map_or(Ok(default), |text| text.parse())
    };
    let directory = tempfile::tempdir()?;
    let server = Postgres::start(directory.path())?;
    let proxy = Proxy::start(std::net::SocketAddr::from(([127, 0, 0, 1], server.port())))?;
    proxy.delay(Duration::from_micros(400), Duration::from_micros(400));
    let postgres = |name: &str| -> Fallible<PostgresStore> {
        server.superuser_psql(&format!("CREATE DATABASE {name} OWNER wattpost"))?;
        PostgresStore::migrate(&server.url_as("wattpost", "wattpost", name))?;
        let delayed = format!("postgres://wattpost:wattpost@{}/{name}", proxy.addr());
        let store = PostgresStore::open(&delayed, PostgresOptions::default())?;
        store.maintenance_round(Timestamp(BEGIN_MILLIS))?;
        Ok(store)
    };
    let sqlite = |name: &str| {
        let path = directory.path().join(name);
        SqliteStore::open(path, SqliteOptions::default())
    };
    if args.first().is_some_and(|word| word == "flood") {
        let starts = number(1, 20_000)?;
        flood("SQLite", &sqlite("unnamed.db")?, starts)?;
        return flood("PostgreSQL", &postgres("unnamed")?, starts);
    }
    let (chargers, sessions) = (number(0, 300)?, number(1, 300)?);
    let pair = [sqlite("unnamed.db")?, sqlite("named.db")?];
    fleet("SQLite", &pair, chargers, sessions)?;
    let pair = [postgres("unnamed")?, postgres("named")?];
    fleet("PostgreSQL", &pair, chargers, sessions)
}

/// Sessions of all chargers in turn, with and without ids in the stops.
fn fleet<S: Store + QueryStore>(
    name: &str,
    stores: &[S; 2],
    chargers: usize,
    sessions: usize,
) -> Fallible<()> {
    let sets = [true, false].map(|unnamed| {
        let mut made = Made::default();
        let mut records = Vec::with_capacity(chargers * sessions * 2);
        for session in 0..sessions {
            for charger in 0..chargers {
                records.push(made.start(charger, session));
            }
            for charger in 0..chargers {
                records.push(made.stop(charger, session, unnamed));
            }
        }
        records
    });
    println!("{name}: {chargers} chargers, {sessions} sessions each, all stopped with -1");
    let mut rates = [const { Vec::new() }; 2];
    let all = sets[0].len();
    let part = all.div_ceil(PARTS).max(1);
    for from in (0..all).step_by(part) {
        let to = (from + part).min(all);
        let mut took = [Duration::ZERO; 2];
        for at in (from..to).step_by(BATCH) {
            for ((store, records), took) in stores.iter().zip(&sets).zip(&mut took) {
                let begun = Instant::now();
                apply(store, &records[at..(at + BATCH).min(to)])?;
                *took += begun.elapsed();
            }
        }
        for (rates, took) in rates.iter_mut().zip(took) {
            rates.push(per_second(to - from, took));
        }
    }
    for (what, rates) in ["stops with -1", "stops with the id"].iter().zip(&rates) {
        let shown: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        let change = rates[rates.len() - 1] / rates[0];
        println!(
            "  {what}: records/s by tenth {}; last / first {change:.2}",
            shown.join(" ")
        );
    }
    for store in stores {
        let (mut listed, mut whole) = (0, 0);
        for view in all_transactions(store, &TransactionFilter::default()) {
            let view = view?;
            listed += 1;
            whole += usize::from(!view.open && view.energy_wh == Some(1_000.0));
        }
        let expected = chargers * sessions;
        println!("  listed {listed} of {expected}, ended with their energy {whole}");
        if (listed, whole) != (expected, expected) {
            return Err("sessions are missing from the list".into());
        }
    }
    Ok(())
}

/// One charger sends starts after a stop without an id; the longest batch shows the delay for the other chargers.
fn flood(name: &str, store: &(impl Store + QueryStore), starts: usize) -> Fallible<()> {
    let mut made = Made::default();
    let mut records = vec![made.stop(0, 0, true)];
    records.extend((1..=starts).map(|session| made.start(0, session)));
    let mut longest = Duration::ZERO;
    let begun = Instant::now();
    for batch in records.chunks(BATCH) {
        let begun = Instant::now();
        apply(store, batch)?;
        longest = longest.max(begun.elapsed());
    }
    println!(
        "{name}: {starts} starts of one charger after a stop with -1: {:.0} records/s, longest batch {} ms",
        per_second(records.len(), begun.elapsed()),
        longest.as_millis()
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate to print")]
fn per_second(records: usize, took: Duration) -> f64 {
    records as f64 / took.as_secs_f64()
}

fn apply(store: &impl Store, batch: &[(RecordId, Vec<u8>)]) -> Fallible<()> {
    let mut records = Vec::with_capacity(batch.len());
    for (id, bytes) in batch {
        records.push((*id, Record::decode(bytes)?));
    }
    let (changes, _) = Changes::of(&records);
    store.apply(&records, &changes, &[])?;
    Ok(())
}

#[derive(Default)]
struct Made {
    seq: u64,
}

impl Made {
    fn start(&mut self, charger: usize, session: usize) -> (RecordId, Vec<u8>) {
        let (at, meter) = (at(session, 0), session * 1_000);
        let payload = format!(
            r#"{{"connectorId":1,"idTag":"TAG-{charger}","meterStart":{meter},"timestamp":"{at}"}}"#
        );
        let answer = format!(
            r#"{{"idTagInfo":{{"status":"Accepted"}},"transactionId":{}}}"#,
            transaction_id(charger, session)
        );
        self.record(charger, at, "StartTransaction", &payload, &answer)
    }

    fn stop(&mut self, charger: usize, session: usize, unnamed: bool) -> (RecordId, Vec<u8>) {
        let (at, meter) = (at(session, 30), (session + 1) * 1_000);
        let id = match unnamed {
            true => "-1".to_owned(),
            false => transaction_id(charger, session).to_string(),
        };
        let payload = format!(
            r#"{{"transactionId":{id},"idTag":"TAG-{charger}","meterStop":{meter},"timestamp":"{at}"}}"#
        );
        self.record(charger, at, "StopTransaction", &payload, "{}")
    }

    fn record(
        &mut self,
        charger: usize,
        at: Timestamp,
        action: &str,
        payload: &str,
        answer: &str,
    ) -> (RecordId, Vec<u8>) {
        self.seq += 1;
        let charger_id = format!("CP-{charger}");
        let record = Record {
            kind: RecordKind::Call,
            charger_id: &charger_id,
            ocpp_version: Version::V16,
            message_id: "m",
            action,
            payload,
            answer_kind: AnswerKind::Result,
            answer,
            received_at: at,
            epoch: Epoch(1),
            notes: Notes::default(),
            reason: "",
        };
        let id = RecordId {
            gateway: GatewayId(Uuid::from_u128(1)),
            seq: Seq(self.seq),
        };
        (id, record.encode())
    }
}

const fn transaction_id(charger: usize, session: usize) -> usize {
    charger * 1_000_000 + session + 1
}

/// A session every 20 s, so that all fit the partitions of a week.
fn at(session: usize, second: i64) -> Timestamp {
    let session = i64::try_from(session).unwrap_or(i64::MAX);
    Timestamp(BEGIN_MILLIS + session * 20_000 + second * 500)
}

//! Whether the storing rate holds for a fleet whose every session is stopped under transactionId -1, from each
//! charger's first session to its last, and whether every session is listed, ended and with its energy.
//!
//! ```text
//! cargo bench -p store --bench unnamed_stops                  # 300 chargers, 300 sessions each
//! cargo bench -p store --bench unnamed_stops -- 100 50        # chargers, sessions
//! cargo bench -p store --bench unnamed_stops -- flood 20000   # one charger: a stop under -1, then so many starts
//! ```
//! PostgreSQL is behind a proxy, so that a round trip takes 0.4 ms longer
//! than on the loopback.

use central::ports::Store;
use central::project::Changes;
use central::query::{QueryStore, TransactionFilter, all_transactions};
use central::record::Notes;
use central::{AnswerKind, GatewayId, Record, RecordId, RecordKind, Timestamp};
use ocpp::Version;
use std::time::{Duration, Instant};
use store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use testbed::{Postgres, Proxy};
use uuid::Uuid;

const BEGIN_MILLIS: i64 = 1_767_225_600_000;
const BATCH: usize = 4_000;
/// Parts of the run whose rates are compared.
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
    server.superuser_psql("CREATE DATABASE unnamed OWNER wattpost")?;
    let url = server.url_as("wattpost", "wattpost", "unnamed");
    PostgresStore::migrate(&url)?;
    let delayed = format!("postgres://wattpost:wattpost@{}/unnamed", proxy.addr());
    let postgres = PostgresStore::open(&delayed, PostgresOptions::default())?;
    postgres.maintain(Timestamp(BEGIN_MILLIS))?;
    let sqlite = SqliteStore::open(
        directory.path().join("unnamed.db"),
        SqliteOptions::default(),
    )?;
    if args.first().is_some_and(|word| word == "flood") {
        let starts = number(1, 20_000)?;
        flood("SQLite", &sqlite, starts)?;
        return flood("PostgreSQL", &postgres, starts);
    }
    let (chargers, sessions) = (number(0, 300)?, number(1, 300)?);
    fleet("SQLite", &sqlite, chargers, sessions)?;
    fleet("PostgreSQL", &postgres, chargers, sessions)
}

/// Every charger's sessions, one after the other, all chargers at once.
fn fleet(
    name: &str,
    store: &(impl Store + QueryStore),
    chargers: usize,
    sessions: usize,
) -> Fallible<()> {
    let mut made = Made::default();
    let mut records = Vec::with_capacity(chargers * sessions * 2);
    for session in 0..sessions {
        for charger in 0..chargers {
            records.push(made.start(charger, session));
        }
        for charger in 0..chargers {
            records.push(made.stop(charger, session));
        }
    }
    println!("{name}: {chargers} chargers, {sessions} sessions each, all stopped under -1");
    let mut rates = Vec::with_capacity(PARTS);
    for part in records.chunks(records.len().div_ceil(PARTS)) {
        let begun = Instant::now();
        for batch in part.chunks(BATCH) {
            apply(store, batch)?;
        }
        rates.push(per_second(part.len(), begun.elapsed()));
    }
    let shown: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("  records/s by tenth: {}", shown.join(" "));
    println!("  last / first: {:.2}", rates[rates.len() - 1] / rates[0]);
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
    Ok(())
}

/// One charger sends starts after a stop without an id; how long each batch takes everybody.
fn flood(name: &str, store: &(impl Store + QueryStore), starts: usize) -> Fallible<()> {
    let mut made = Made::default();
    let mut records = vec![made.stop(0, 0)];
    records.extend((1..=starts).map(|session| made.start(0, session)));
    let mut longest = Duration::ZERO;
    let begun = Instant::now();
    for batch in records.chunks(BATCH) {
        let begun = Instant::now();
        apply(store, batch)?;
        longest = longest.max(begun.elapsed());
    }
    println!(
        "{name}: {starts} starts of one charger after a stop under -1: {:.0} records/s, longest batch {} ms",
        per_second(records.len(), begun.elapsed()),
        longest.as_millis()
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
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
            charger * 1_000_000 + session + 1
        );
        self.record(charger, at, "StartTransaction", &payload, &answer)
    }

    fn stop(&mut self, charger: usize, session: usize) -> (RecordId, Vec<u8>) {
        let (at, meter) = (at(session, 30), (session + 1) * 1_000);
        let payload = format!(
            r#"{{"transactionId":-1,"idTag":"TAG-{charger}","meterStop":{meter},"timestamp":"{at}"}}"#
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
            epoch: 1,
            notes: Notes::default(),
            reason: "",
        };
        let id = RecordId {
            gateway: GatewayId(Uuid::from_u128(1)),
            seq: self.seq,
        };
        (id, record.encode())
    }
}

/// A session a minute, so that all fit the partitions of a week.
fn at(session: usize, second: i64) -> Timestamp {
    let minute = i64::try_from(session).unwrap_or(i64::MAX);
    Timestamp(BEGIN_MILLIS + minute * 20_000 + second * 500)
}

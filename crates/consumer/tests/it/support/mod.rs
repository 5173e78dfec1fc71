//! A model of RabbitMQ and a store whose failures the test controls.

pub(crate) mod rabbit;
pub(crate) mod store;

use central::memory::{Contents, MemoryStore};
use central::ports::Store;
use central::project::Changes;
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, Record, RecordId, RecordKind, Seq, Timestamp};
use consumer::{Applier, Config, Consumer, ConsumerDeps};
use rabbit::{Broker, Rabbit};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::TestStore;
use uuid::Uuid;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn id(gateway: u128, seq: u64) -> RecordId {
    RecordId {
        gateway: GatewayId(Uuid::from_u128(gateway)),
        seq: Seq(seq),
    }
}

/// The record of the `n`th message; the messages of ten chargers take turns.
pub(crate) fn record(n: u64) -> Vec<u8> {
    let charger_id = format!("CP-{}", n % 10);
    let message_id = format!("m{n}");
    let at = Timestamp(1_767_225_600_000 + i64::try_from(n).unwrap() * 1_000);
    let start = format!(
        r#"{{"connectorId":1,"idTag":"TAG","meterStart":{n},"timestamp":"2026-01-01T00:00:00Z"}}"#
    );
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Charging"}"#;
    let (action, payload, answer) = match n / 10 % 3 {
        0 => ("Heartbeat", "{}", "{}"),
        1 => ("StatusNotification", status, "{}"),
        _ => (
            "StartTransaction",
            start.as_str(),
            r#"{"idTagInfo":{"status":"Accepted"},"transactionId":7}"#,
        ),
    };
    Record {
        kind: RecordKind::Call,
        charger_id: &charger_id,
        ocpp_version: ocpp::Version::V16,
        message_id: &message_id,
        action,
        payload,
        answer_kind: AnswerKind::Result,
        answer,
        received_at: at,
        epoch: Epoch(1),
        notes: Notes::default(),
        reason: "",
    }
    .encode()
}

/// The content of a store to which each of these records was applied once, in this order.
pub(crate) fn oracle<'a>(records: impl IntoIterator<Item = (RecordId, &'a [u8])>) -> Contents {
    let store = MemoryStore::default();
    let records: Vec<_> = records
        .into_iter()
        .map(|(id, bytes)| (id, Record::decode(bytes).unwrap()))
        .collect();
    let (changes, panicked) = Changes::of(&records);
    assert!(panicked.is_empty());
    store.apply(&records, &changes, &[]).unwrap();
    store.contents()
}

/// Small batches and short delays.
pub(crate) fn config() -> Config {
    Config {
        batch_records_max: 20,
        batch_age_ms: 1,
        retry_ms_min: 1,
        retry_ms_max: 20,
        ..Config::default()
    }
}

/// A consumer and its applier.
pub(crate) struct Process {
    pub(crate) consumer: Consumer,
    pub(crate) applier: Arc<Applier>,
}

pub(crate) fn start(rabbit: &Arc<Rabbit>, store: &Arc<TestStore>, config: Config) -> Process {
    let applier = Applier::start(Arc::clone(store) as _, config.clone()).unwrap();
    let applier = Arc::new(applier);
    let ping = Arc::clone(store);
    let deps = ConsumerDeps {
        source: Arc::new(Broker(Arc::clone(rabbit))),
        applier: Arc::clone(&applier),
        database_ping: Arc::new(move || ping.ping()),
    };
    let consumer = Consumer::start(deps, config);
    Process { consumer, applier }
}

/// Waits until `condition` is true, with a deadline.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timeout: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

//! Records to send, and a check of what consumers received.

#![allow(dead_code, reason = "every test program takes what it needs")]

use broker::{Broker, Config};
use central::ports::{Batch, CollectBounds, Collected, Sink, Source, Subscription};
use central::record::{AnswerKind, GatewayId, Notes, RecordKind};
use central::{Epoch, Record, RecordId, Seq, Timestamp};
use ocpp::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testbed::RabbitMq;
use uuid::Uuid;

/// Longer than any step takes, also beside other tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The bounds of a batch that is complete in 20 ms.
pub(crate) fn bounds() -> CollectBounds {
    CollectBounds {
        records_max: 500,
        bytes_max: 1 << 20,
        not_before: Instant::now() + Duration::from_millis(20),
    }
}

/// A gateway whose records are numbered from 1.
pub(crate) struct Gateway {
    pub(crate) id: GatewayId,
    pub(crate) seq: u64,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        Self {
            id: GatewayId(Uuid::new_v4()),
            seq: 0,
        }
    }

    /// The next `records` records, of `chargers` chargers in turn.
    pub(crate) fn batch(&mut self, records: u64, chargers: u64) -> Arc<Batch> {
        let mut batch = Batch::new(self.id);
        for _ in 0..records {
            self.seq += 1;
            let bytes = record(&format!("CP-{}", self.seq % chargers), self.seq);
            batch.push(Seq(self.seq), &bytes);
        }
        Arc::new(batch)
    }
}

pub(crate) fn record(charger: &str, n: u64) -> Vec<u8> {
    let payload = format!(
        r#"{{"connectorId":1,"transactionId":{n},"meterValue":[{{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{{"value":"{n}"}}]}}]}}"#
    );
    let record = Record {
        kind: RecordKind::Call,
        charger_id: charger,
        ocpp_version: Version::V16,
        message_id: "m-1",
        action: "MeterValues",
        payload: &payload,
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at: Timestamp(1_767_225_600_000),
        epoch: Epoch(7),
        notes: Notes::default(),
        reason: "",
    };
    record.encode()
}

/// Settings for tests: few partitions and short retry delays.
pub(crate) fn config(url: String) -> Config {
    Config {
        url,
        partitions: 3,
        retry_ms_min: 50,
        retry_ms_max: 500,
        ..Config::default()
    }
}

/// Delivers like a forwarder: the same batch until it is accepted.
pub(crate) async fn deliver_until_accepted(broker: &Broker, batch: Arc<Batch>) {
    let deadline = Instant::now() + SOON;
    while let Err(error) = broker.deliver(batch.clone()).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Subscribes like a consumer: retries until it succeeds.
pub(crate) async fn subscribe_until_accepted(broker: &Broker) -> Box<dyn Subscription> {
    let deadline = Instant::now() + SOON;
    loop {
        match broker.subscribe().await {
            Ok(subscription) => return subscription,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The records that a consumer has received.
#[derive(Default)]
pub(crate) struct Received {
    /// Sequence numbers by gateway.
    pub(crate) records: BTreeMap<GatewayId, BTreeSet<u64>>,
    /// Sequence numbers by charger without repetitions, in the order of arrival.
    pub(crate) by_charger: BTreeMap<String, Vec<u64>>,
    pub(crate) repeats: u64,
}

impl Received {
    pub(crate) fn take(&mut self, collected: &Collected) {
        for (id, bytes) in collected.batch.iter() {
            let record = Record::decode(bytes).expect("a record");
            assert_eq!(bytes, super::common::record(record.charger_id, id.seq.0));
            if self.records.entry(id.gateway).or_default().insert(id.seq.0) {
                let charger = self.by_charger.entry(record.charger_id.into()).or_default();
                charger.push(id.seq.0);
            } else {
                self.repeats += 1;
            }
        }
    }

    pub(crate) fn count(&self, gateway: &Gateway) -> u64 {
        self.records
            .get(&gateway.id)
            .map_or(0, |seqs| seqs.len() as u64)
    }

    pub(crate) fn assert_order(&self) {
        for (charger, seqs) in &self.by_charger {
            assert!(seqs.is_sorted(), "{charger}: {seqs:?}");
        }
    }

    /// Consumes and acknowledges until all records of the gateway were received.
    pub(crate) async fn all_of(&mut self, broker: &Broker, gateway: &Gateway) {
        tokio::time::timeout(SOON, async {
            while self.count(gateway) < gateway.seq {
                let mut subscription = subscribe_until_accepted(broker).await;
                while self.count(gateway) < gateway.seq {
                    let Ok(collected) = subscription.collect(bounds()).await else {
                        break;
                    };
                    self.take(&collected);
                    if subscription.acknowledge(collected.upto).await.is_err() {
                        break;
                    }
                }
                subscription.cancel().await;
            }
        })
        .await
        .unwrap_or_else(|_| {
            panic!("lost: {} of {} arrived", self.count(gateway), gateway.seq);
        });
    }
}

/// Collects a batch, with a deadline.
pub(crate) async fn collect(subscription: &mut Box<dyn Subscription>) -> Collected {
    tokio::time::timeout(SOON, subscription.collect(bounds()))
        .await
        .expect("something to collect")
        .expect("connected")
}

/// Waits until `holds` is true, with a deadline.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks during `span` that `holds` is true all the time.
#[allow(dead_code, reason = "not every test binary watches")]
pub(crate) async fn all_the_time(what: &str, span: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(holds().await, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The connection of an external program.
pub(crate) async fn external_connection(url: &str) -> (lapin::Connection, lapin::Channel) {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default())
        .await
        .expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

pub(crate) fn id(gateway: &Gateway, seq: u64) -> RecordId {
    RecordId {
        gateway: gateway.id,
        seq: Seq(seq),
    }
}

/// A directory for this process in the build's directory; removes those of processes that have ended.
pub(crate) fn dir(name: &str) -> PathBuf {
    let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let prefix = format!("broker-{name}-");
    for entry in std::fs::read_dir(&base).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let pid = file_name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix));
        if pid.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    base.join(format!("{prefix}{}", std::process::id()))
}

/// Creates the virtual hosts `v0`, `v1`, … with all permissions for the tests' user, in one call of
/// `rabbitmqctl`.
pub(crate) fn make_virtual_hosts(node: &RabbitMq, count: usize) {
    let program = format!(
        "[begin V = list_to_binary(\"v\" ++ integer_to_list(N)), \
         rabbit_vhost:add(V, <<\"test\">>), \
         rabbit_auth_backend_internal:set_permissions(<<\"wattpost\">>, V, <<\".*\">>, <<\".*\">>, \
         <<\".*\">>, <<\"test\">>) end || N <- lists:seq(0, {})].",
        count - 1
    );
    node.ctl(&["eval", &program]).expect("virtual hosts");
}

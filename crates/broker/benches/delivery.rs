//! Measures publishing, consuming, and encoding and decoding messages: `cargo bench -p broker`. It starts a
//! private RabbitMQ on the same cores. `cargo bench -p broker -- 2` uses two partitions.

#![allow(
    clippy::expect_used,
    reason = "a benchmark stops at an unexpected result"
)]

use broker::{Broker, Config, decode_message, encode_message, routing};
use central::ports::{Batch, CollectBounds, Sink, Source};
use central::record::{AnswerKind, GatewayId, Notes, RecordKind};
use central::{Epoch, Record, RecordId, Seq, Timestamp};
use ocpp::Version;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testbed::RabbitMq;
use uuid::Uuid;

const GATEWAY: GatewayId = GatewayId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
const PAYLOAD: &str = r#"{"connectorId":1,"transactionId":170031,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{"value":"123456","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},{"value":"10980.5","context":"Sample.Periodic","measurand":"Power.Active.Import","unit":"W"}]}]}"#;

fn main() {
    codec();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let partitions = std::env::args().find_map(|argument| argument.parse().ok());
    let partitions = partitions.unwrap_or(Config::default().partitions);
    let dir = tempfile::tempdir().expect("a directory");
    let node = RabbitMq::start(dir.path()).expect("RabbitMQ");
    println!("{partitions} partitions");
    runtime.block_on(delivery(&node, partitions));
}

fn record(charger_id: &str) -> Record<'_> {
    Record {
        kind: RecordKind::Call,
        charger_id,
        ocpp_version: Version::V16,
        message_id: "19223201",
        action: "MeterValues",
        payload: PAYLOAD,
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at: Timestamp(1_767_225_600_123),
        epoch: Epoch(1_767_225_000_000),
        notes: Notes::default(),
        reason: "",
    }
}

fn id(seq: u64) -> RecordId {
    RecordId {
        gateway: GATEWAY,
        seq: Seq(seq),
    }
}

fn codec() {
    let record = record("DE*ABC*E1234567");
    let bytes = record.encode();
    let message = encode_message(id(123_456), &record);
    println!(
        "record {} bytes, message {} bytes",
        bytes.len(),
        message.len()
    );
    time("record -> message", || {
        let record = Record::decode(black_box(&bytes)).expect("a record");
        black_box(encode_message(id(123_456), &record));
    });
    time("routing key", || {
        black_box(routing::key(black_box(&record), 8));
    });
    let mut batch = Batch::new(GATEWAY);
    time("message -> record in a batch", || {
        if batch.len() == 1_000 {
            batch = Batch::new(GATEWAY);
        }
        decode_message(black_box(&message), &mut batch);
    });
}

fn time(what: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 200_000;
    for _ in 0..ROUNDS / 10 {
        work();
    }
    let since = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    let each = since.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{what:32} {each:>6} ns");
}

async fn delivery(node: &RabbitMq, partitions: u16) {
    let broker = Broker::start(
        Config {
            url: node.url(),
            partitions,
            ..Config::default()
        },
        "bench",
    );
    broker.up().await;
    let mut seq = 0;
    println!(
        "{:>8} {:>10} {:>9} {:>9} {:>10} {:>10}",
        "batch", "confirmed", "p50 us", "p99 us", "our us", "broker us"
    );
    for (records, at_once) in [(1, 1), (16, 1), (64, 1), (256, 2), (1_024, 2), (4_096, 2)] {
        publish(&broker, node, &mut seq, records, at_once).await;
    }
    consume(&broker, node, seq).await;
    broker.close().await;
}

fn batch(seq: &mut u64, records: u64) -> Arc<Batch> {
    let mut batch = Batch::new(GATEWAY);
    for _ in 0..records {
        *seq += 1;
        let charger = format!("DE*ABC*E{:07}", *seq % 500);
        batch.push(Seq(*seq), &record(&charger).encode());
    }
    Arc::new(batch)
}

async fn publish(broker: &Broker, node: &RabbitMq, seq: &mut u64, records: u64, at_once: usize) {
    let batches: Vec<_> = (0..(20_000 / records).clamp(20, 3_000))
        .map(|_| batch(seq, records))
        .collect();
    let total = batches.len() as u64 * records;
    let (before, ours) = (node.cpu_seconds(), own_cpu_seconds());
    let since = Instant::now();
    let mut times = Vec::with_capacity(batches.len());
    let mut in_flight = std::collections::VecDeque::new();
    for batch in batches {
        if in_flight.len() == at_once {
            await_oldest(&mut in_flight, &mut times).await;
        }
        in_flight.push_back((Instant::now(), broker.deliver(batch)));
    }
    while !in_flight.is_empty() {
        await_oldest(&mut in_flight, &mut times).await;
    }
    let took = since.elapsed();
    times.sort();
    let each = |seconds: f64| seconds * 1e6 / total as f64;
    println!(
        "{records:>8} {:>8.0}/s {:>9} {:>9} {:>10.1} {:>10.1}",
        total as f64 / took.as_secs_f64(),
        times[times.len() / 2].as_micros(),
        times[times.len() * 99 / 100].as_micros(),
        each(own_cpu_seconds() - ours),
        each(node.cpu_seconds() - before),
    );
}

type InFlight<'a> = (
    Instant,
    central::ports::BoxFuture<'a, Result<(), central::ports::Unavailable>>,
);

async fn await_oldest(
    in_flight: &mut std::collections::VecDeque<InFlight<'_>>,
    times: &mut Vec<Duration>,
) {
    if let Some((since, answer)) = in_flight.pop_front() {
        answer.await.expect("taken");
        times.push(since.elapsed());
    }
}

async fn consume(broker: &Broker, node: &RabbitMq, total: u64) {
    let bounds = || CollectBounds {
        records_max: 1_000,
        bytes_max: 4 << 20,
        not_before: Instant::now() + Duration::from_millis(20),
    };
    let (before, ours) = (node.cpu_seconds(), own_cpu_seconds());
    let since = Instant::now();
    let mut subscription = broker.subscribe().await.expect("connected");
    let (mut records, mut batches) = (0, 0);
    while records < total {
        let collected = subscription.collect(bounds()).await.expect("connected");
        records += collected.batch.len() as u64;
        batches += 1;
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    let took = since.elapsed();
    subscription.cancel().await;
    let each = |seconds: f64| seconds * 1e6 / total as f64;
    println!(
        "consumed {:.0}/s in {batches} batches; ours {:.1} us, broker's {:.1} us a record",
        total as f64 / took.as_secs_f64(),
        each(own_cpu_seconds() - ours),
        each(node.cpu_seconds() - before),
    );
}

/// User and system time of this process, in seconds.
fn own_cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}

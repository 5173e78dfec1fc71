//! The cost of one message in a `Station` (read, check, recognise, decide, record and answer, without disk and socket) and
//! of projecting its record. Prints nanoseconds per message.
//!
//! `cargo bench -p central`

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(
    clippy::expect_used,
    reason = "a benchmark stops at what it did not expect"
)]

use central::policy::Policy;
use central::project::Changes;
use central::resend::ResendMemory;
use central::station::{Fact, Output, Question, Station, StationConfig, TokenAnswer};
use central::{Epoch, GatewayId, Record, RecordId, Seq, Timestamp};
use ocpp::Version;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_767_225_600_000);
/// Many short rounds: on a busy machine some of them run undisturbed.
const MESSAGES: usize = 2_000;
const ROUNDS: usize = 200;

fn station(version: Version) -> Station {
    let config = StationConfig {
        charger_id: "CP-17".into(),
        version,
        is_version_assumed: false,
        is_handshake_repaired: false,
        profile: None,
        policy: Arc::new(Policy::default()),
        epoch: Epoch(1),
        seed: 42,
        remote: "127.0.0.1:50000".to_owned(),
    };
    Station::new(config, ResendMemory::default(), NOW)
}

/// Handles all outputs at once; collects records.
fn drain(station: &mut Station, records: &mut Vec<Vec<u8>>, answered: &mut usize) {
    while let Some(output) = station.poll_output() {
        match output {
            Output::Append {
                ticket,
                record: bytes,
                ..
            } => {
                records.push(bytes);
                station.handle_durable(ticket, NOW);
            }
            Output::Send(text) => {
                black_box(text);
                *answered += 1;
            }
            Output::Ask(Question::Token { question_id, .. }) => {
                let answer = TokenAnswer::Unknown;
                let fact = Fact::Token {
                    question_id,
                    answer,
                };
                station.handle_fact(fact, NOW);
            }
            Output::Session(_) => {}
            Output::Close(why) => panic!("{why:?}"),
        }
    }
}

/// Nanoseconds of the fastest round.
fn best(mut round: impl FnMut() -> usize) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let count = round();
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let each = start.elapsed().as_nanos() as f64 / count as f64;
        best = best.min(each);
    }
    best
}

fn bench(name: &str, version: Version, message: impl Fn(usize) -> String) {
    let texts: Vec<String> = (0..MESSAGES).map(message).collect();
    let bytes = texts[0].len();
    let mut records = Vec::new();
    let handled = best(|| {
        let mut station = station(version);
        records = Vec::with_capacity(MESSAGES + 1);
        let mut answered = 0;
        for text in &texts {
            station.handle_text(black_box(text), NOW);
            drain(&mut station, &mut records, &mut answered);
        }
        assert_eq!(answered, MESSAGES);
        MESSAGES
    });
    let gateway = GatewayId(Uuid::nil());
    let projected = best(|| {
        // Batches of the applier's size.
        for (n, batch) in records.chunks(512).enumerate() {
            let mut changes = Changes::default();
            for (seq, bytes) in (n as u64 * 512..).zip(batch) {
                let record = Record::decode(bytes).expect("a record");
                changes.absorb(
                    RecordId {
                        gateway,
                        seq: Seq(seq),
                    },
                    &record,
                );
            }
            black_box(changes);
        }
        records.len()
    });
    println!("{name:<42} {bytes:>5} B {handled:>8.0} ns {projected:>10.0} ns");
}

fn main() {
    println!(
        "{:<42} {:>7} {:>11} {:>13}",
        "message", "size", "answered", "projected"
    );
    bench("1.6 Heartbeat", Version::V16, |n| {
        format!(r#"[2,"{n}","Heartbeat",{{}}]"#)
    });
    bench("1.6 StatusNotification", Version::V16, |n| {
        format!(
            r#"[2,"{n}","StatusNotification",{{"connectorId":1,"errorCode":"NoError","status":"Charging","timestamp":"2025-12-31T23:00:00Z"}}]"#
        )
    });
    bench("1.6 MeterValues", Version::V16, |n| {
        format!(
            r#"[2,"{n:08}","MeterValues",{{"connectorId":1,"transactionId":7,"meterValue":[{{"timestamp":"2025-12-31T23:00:00Z","sampledValue":[{{"value":"{n}","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"}},{{"value":"16","phase":"L1","measurand":"Current.Import","unit":"A"}}]}}]}}]"#
        )
    });
    bench("1.6 MeterValues, a resend", Version::V16, |n| {
        format!(
            r#"[2,"{n:08}","MeterValues",{{"connectorId":1,"transactionId":7,"meterValue":[{{"timestamp":"2025-12-31T23:00:00Z","sampledValue":[{{"value":"1","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"}},{{"value":"16","phase":"L1","measurand":"Current.Import","unit":"A"}}]}}]}}]"#
        )
    });
    bench("1.6 StartTransaction, token asked", Version::V16, |n| {
        format!(
            r#"[2,"{n}","StartTransaction",{{"connectorId":1,"idTag":"04A1B2C3","timestamp":"2025-12-31T23:00:00Z","meterStart":{n}}}]"#
        )
    });
    bench("2.0.1 TransactionEvent Updated", Version::V201, |n| {
        format!(
            r#"[2,"{n}","TransactionEvent",{{"eventType":"Updated","timestamp":"2025-12-31T23:00:00Z","triggerReason":"MeterValuePeriodic","seqNo":{n},"transactionInfo":{{"transactionId":"3f0c9a4e-7b1d-4a7f-9f53-5e2c6d1b8a90","chargingState":"Charging"}},"meterValue":[{{"timestamp":"2025-12-31T23:00:00Z","sampledValue":[{{"value":{n}}}]}}]}}]"#
        )
    });
    println!(
        "\nA station takes {} bytes, and {} more on the heap after a hundred transactions.",
        size_of::<Station>(),
        memory_after_use()
    );
}

fn memory_after_use() -> usize {
    let mut station = station(Version::V16);
    for n in 0..100 {
        let text = format!(
            r#"[2,"{n}","StartTransaction",{{"connectorId":1,"idTag":"04A1B2C3","timestamp":"2025-12-31T23:00:00Z","meterStart":{n}}}]"#
        );
        station.handle_text(&text, NOW);
        drain(&mut station, &mut Vec::new(), &mut 0);
    }
    station.into_memory().heap_bytes()
}

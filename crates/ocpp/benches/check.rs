//! The cost of a check in nanoseconds per payload, compared with reading the same JSON only.

use ocpp::{Version, check};
use serde::de::IgnoredAny;
use std::hint::black_box;
use std::time::{Duration, Instant};

const METER_VALUES_16: &str = r#"{"connectorId":1,"transactionId":7,"meterValue":[{"timestamp":"2026-11-23T16:50:00Z","sampledValue":[{"value":"1234.5","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},{"value":"16","context":"Sample.Periodic","phase":"L1","measurand":"Current.Import","unit":"A"}]}]}"#;
const TOLERATED_16: &str = r#"{"connectorId":"1","errorCode":"Error","status":"Available","timestamp":"2026-11-23 16:50:00","vendor":{"x":[1,2,3]}}"#;
const TRANSACTION_EVENT_201: &str = r#"{"eventType":"Updated","timestamp":"2026-11-23T16:50:00Z","triggerReason":"MeterValuePeriodic","seqNo":12,"transactionInfo":{"transactionId":"6cdb3c6a-8e1f-4b5e","chargingState":"Charging"},"evse":{"id":1,"connectorId":1},"meterValue":[{"timestamp":"2026-11-23T16:50:00Z","sampledValue":[{"value":1234.5,"context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unitOfMeasure":{"unit":"Wh"}}]}]}"#;

fn main() {
    println!(
        "{:<32} {:>6} {:>10} {:>10}",
        "payload", "bytes", "check", "read only"
    );
    for (name, version, action, payload) in [
        ("1.6 Heartbeat", Version::V16, "Heartbeat", "{}"),
        (
            "1.6 MeterValues",
            Version::V16,
            "MeterValues",
            METER_VALUES_16,
        ),
        (
            "1.6 StatusNotification, tolerated",
            Version::V16,
            "StatusNotification",
            TOLERATED_16,
        ),
        (
            "2.0.1 TransactionEvent",
            Version::V201,
            "TransactionEvent",
            TRANSACTION_EVENT_201,
        ),
        (
            "2.1 TransactionEvent",
            Version::V21,
            "TransactionEvent",
            TRANSACTION_EVENT_201,
        ),
    ] {
        let check = nanoseconds(|| {
            black_box(check::request(
                version,
                black_box(action),
                black_box(payload),
            ));
        });
        let read = nanoseconds(|| {
            let _ = black_box(serde_json::from_str::<IgnoredAny>(black_box(payload)));
        });
        println!(
            "{name:<32} {:>6} {check:>7.0} ns {read:>7.0} ns",
            payload.len()
        );
    }
}

/// Nanoseconds per run in the best of several rounds, to exclude disturbances by other processes.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn nanoseconds(mut run: impl FnMut()) -> f64 {
    const ROUNDS: u32 = 20;
    const RUNS: u32 = 20_000;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..RUNS {
            run();
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(RUNS)
}

//! The cost of reading a frame: a MeterValues call of about 300 bytes, as chargers send it every few seconds. Run with
//! `cargo bench -p ocpp`.

use ocpp::frame::{self, Frame};
use ocpp::{Version, check, v16};
use std::hint::black_box;
use std::time::Instant;

const TEXT: &str = r#"[2,"0b1f6f3a-52d5-4f0e-9d8e-1b7f0d6c2a11","MeterValues",{"connectorId":1,"transactionId":1409286432,"meterValue":[{"timestamp":"2026-03-01T12:00:00.000Z","sampledValue":[{"value":"1234567","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},{"value":"16.1","measurand":"Current.Import"}]}]}]"#;

/// Each figure is the best of this many rounds, to exclude disturbances by other processes.
const ROUNDS: u32 = 500;
const RUNS_PER_ROUND: u32 = 500;

fn main() {
    println!(
        "MeterValues call of {} bytes, best of {ROUNDS} rounds",
        TEXT.len()
    );
    let Ok(Frame::Call(call)) = frame::parse(TEXT, Version::V16) else {
        println!("the text could not be read as a call");
        std::process::exit(1);
    };
    let payload = call.payload;
    measure("frame::parse", || {
        black_box(frame::parse(black_box(TEXT), Version::V16)).is_ok()
    });
    measure("check::request", || {
        check::request(Version::V16, "MeterValues", black_box(payload)).is_empty()
    });
    measure("v16::MeterValues::read", || {
        black_box(v16::MeterValues::read(black_box(payload))).is_ok()
    });
    measure("serde_json::Value, for comparison", || {
        black_box(serde_json::from_str::<serde_json::Value>(black_box(TEXT))).is_ok()
    });
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn measure(what: &str, mut run: impl FnMut() -> bool) {
    let mut best_ns = f64::INFINITY;
    let mut all_ok = true;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..RUNS_PER_ROUND {
            all_ok &= run();
        }
        let ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS_PER_ROUND);
        best_ns = best_ns.min(ns);
    }
    let verdict = if all_ok { "" } else { "  (some runs failed)" };
    println!("{what:<36} {best_ns:>8.1} ns{verdict}");
}

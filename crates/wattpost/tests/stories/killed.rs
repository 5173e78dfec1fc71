//! `kill -9` at random moments under load.

use crate::charger::Charger;
use crate::deployment::Deployment;
use crate::full_length;
use std::time::{Duration, Instant};

/// The limit for the first answer after a restart, at full length, where no other test uses the machine.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(2);

/// No acknowledged message is missing or duplicated, and each charger's order is kept. A charger that connects as soon as
/// the process prints its addresses is accepted and answered at the first attempt.
#[test]
fn nothing_acknowledged_is_lost_when_serve_is_killed_repeatedly() {
    let rounds = if full_length() { 100 } else { 12 };
    let mut rng = Rng::seeded();
    let mut deployment = Deployment::start("");
    let ledger = deployment.path("ledger.ndjson");
    let fleet = deployment.meter_flood(
        &ledger,
        50,
        &[
            "--rate",
            "40",
            "--values-per-transaction",
            "25",
            "--ramp",
            "500",
            "--reconnect",
            "0.05",
            "--attempts",
            "1000",
        ],
    );

    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        deployment.wait_for_answers(200.0);
        std::thread::park_timeout(Duration::from_millis(rng.below(700)));
        deployment.kill();
        let begun = Instant::now();
        deployment.restart();
        let mut first = Charger::connect(deployment.ocpp, "FIRST", "ocpp1.6");
        let answer = first.call(&format!("round-{round}"), "Heartbeat", "{}");
        assert_eq!(answer[0], 3, "round {round}: {answer}");
        let took = begun.elapsed();
        slowest = slowest.max(took);
        assert!(
            !full_length() || took < FIRST_ANSWER_MAX,
            "round {round}: the first answer came {took:?} after the kill"
        );
    }

    let report = fleet.end();
    deployment.stop_when_stored();
    let audit = deployment.audit(&ledger);
    println!("{rounds} rounds of kill -9, slowest first answer {slowest:?}\n{report}\n{audit}");
}

/// Random numbers. The seed is printed; `WATTPOST_SEED` sets it.
struct Rng(u64);

impl Rng {
    fn seeded() -> Self {
        let seed = std::env::var("WATTPOST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
        println!("WATTPOST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

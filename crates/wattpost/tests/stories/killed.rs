//! `kill -9` at random moments under load.

use crate::deployment::{Deployment, Fleet, until};
use crate::full_length;
use std::time::{Duration, Instant};

/// Nothing acknowledged is missing, nothing is doubled in effect, each charger's order is kept, and
/// the first answer after a restart comes within two seconds, or ten where other tests share the machine.
#[test]
fn nothing_acknowledged_is_lost_when_serve_is_killed_again_and_again() {
    let (rounds, limit) = match full_length() {
        true => (100, Duration::from_secs(2)),
        false => (12, Duration::from_secs(10)),
    };
    let mut rng = Rng::seeded();
    let mut deployment = Deployment::start("");
    let ledger = deployment.path("ledger.ndjson");
    let mut command = deployment.simulate();
    command
        .args([
            "--chargers",
            "50",
            "--scenario",
            "meter-flood",
            "--rate",
            "40",
        ])
        .args(["--values-per-transaction", "25", "--ramp", "500"])
        // Chargers in a hurry: back after tens of milliseconds, resends after a second.
        .args([
            "--reconnect",
            "0.05",
            "--retry-interval",
            "1",
            "--attempts",
            "1000",
        ])
        .args(["--drain", "60", "--quiet", "--ledger"])
        .arg(&ledger);
    let fleet = Fleet::start(&command, deployment.path("fleet.log"));

    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        wait_for_answers(&deployment, 200.0);
        std::thread::park_timeout(Duration::from_millis(rng.below(700)));
        deployment.kill();
        let begun = Instant::now();
        deployment.restart();
        wait_for_answers(&deployment, 1.0);
        let away = begun.elapsed();
        slowest = slowest.max(away);
        assert!(
            away < limit,
            "round {round}: the first answer came {away:?} after the restart"
        );
    }

    let said = fleet.end(Duration::from_secs(90));
    deployment.stop_when_stored();

    let report = deployment.audit(&ledger);
    println!("{rounds} rounds of kill -9, slowest first answer {slowest:?}\n{said}\n{report}");
}

/// Answers since this start of the process.
fn wait_for_answers(deployment: &Deployment, at_least: f64) {
    let enough = until(Duration::from_secs(20), || {
        deployment.metric("wattpost_gateway_answer_seconds_count") >= at_least
    });
    assert!(
        enough,
        "chargers get no answers; log:\n{}",
        deployment.log_tail()
    );
}

/// Random moments that can be repeated: the seed is printed, and `WATTPOST_SEED` sets it.
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
        // xorshift64*: plenty for picking a moment.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

//! The counters of a running fleet, and its report at the end.

use crate::latency::Latency;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counters of one action, or of all. A *message* counts once, however often it is transmitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Messages transmitted at least once.
    pub sent: u64,
    /// Messages answered with a CALLRESULT.
    pub acknowledged: u64,
    /// Transmissions beyond a message's first.
    pub resent: u64,
    /// Messages that were transmitted and got no CALLRESULT: of class N, and of class T those that were still in the
    /// queue at the end of the run.
    pub unanswered: u64,
    /// Transaction messages discarded after all attempts (rule Q-6).
    pub discarded: u64,
    /// Transmissions answered with a CALLERROR.
    pub errors: u64,
}

impl Counts {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.resent += other.resent;
        self.unanswered += other.unanswered;
        self.discarded += other.discarded;
        self.errors += other.errors;
    }
}

/// The counters and gauges of a fleet at one time. Displays as one line with the mean rates since the start;
/// [`FleetStats::line_since`] gives the rates of an interval.
#[derive(Debug, Clone, Default)]
pub struct FleetStats {
    /// Since the fleet's start.
    pub elapsed: Duration,
    /// Chargers of the fleet.
    pub chargers: u64,
    /// Chargers with an open connection.
    pub online: u64,
    /// Running transactions.
    pub charging: u64,
    /// Transaction messages in the chargers' queues, including unanswered ones.
    pub queued: u64,
    /// Chargers that have sent all their meter values (`meter-flood`).
    pub finished: u64,
    /// By action.
    pub actions: BTreeMap<&'static str, Counts>,
    /// Time from transmission to CALLRESULT.
    pub latency: Latency,
    /// Connections opened.
    pub connections: u64,
    /// Answers that arrived after their timeout, or to no call.
    pub late: u64,
    /// Texts that are not a frame, or not one for a charger.
    pub unexpected: u64,
    /// Calls of the central system that were answered.
    pub calls_answered: u64,
    /// SENDs of 2.1, which have no answer.
    pub sent_unconfirmed: u64,
    /// Failures of connections and files by kind: `HTTP 503`, `unreachable`, `connection lost`, `queue file`, …
    pub failures: BTreeMap<String, u64>,
}

impl FleetStats {
    /// All actions together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.actions.values() {
            total.add(counts);
        }
        total
    }

    /// One line for a terminal: the gauges of now, and the rates and latencies since `earlier`.
    #[must_use]
    pub fn line_since(&self, earlier: &Self) -> String {
        let (now, then) = (self.total(), earlier.total());
        let seconds = self
            .elapsed
            .saturating_sub(earlier.elapsed)
            .as_secs_f64()
            .max(1e-3);
        let latency = self.latency.since(&earlier.latency);
        let mut line = format!(
            "{:>5.0}s  online {}/{}  charging {}  sent/s {:.1}  acknowledged/s {:.1}  p50 {}  p99 {}  resent {}  queued {}",
            self.elapsed.as_secs_f64(),
            self.online,
            self.chargers,
            self.charging,
            (now.sent + now.resent - then.sent - then.resent) as f64 / seconds,
            (now.acknowledged - then.acknowledged) as f64 / seconds,
            Short(latency.percentile(50.0)),
            Short(latency.percentile(99.0)),
            now.resent,
            self.queued,
        );
        if now.discarded > 0 {
            line.push_str(&format!("  DISCARDED {}", now.discarded));
        }
        for (failure, count) in &self.failures {
            let new = count - earlier.failures.get(failure).unwrap_or(&0);
            if new > 0 {
                line.push_str(&format!("  {failure}: {new}"));
            }
        }
        line
    }
}

impl fmt::Display for FleetStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line_since(&Self::default()))
    }
}

/// The report of a stopped fleet. Displays as a table.
#[derive(Debug, Clone)]
pub struct FleetReport {
    /// The state at the end.
    pub stats: FleetStats,
    /// Whether every queue was empty at the end, so that an audit of the ledger is exact.
    pub drained: bool,
}

impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, c: &Counts| {
            writeln!(
                f,
                "{name:<28} {:>10} {:>12} {:>8} {:>10} {:>9} {:>8}",
                c.sent, c.acknowledged, c.resent, c.unanswered, c.discarded, c.errors
            )
        };
        writeln!(
            f,
            "{:<28} {:>10} {:>12} {:>8} {:>10} {:>9} {:>8}",
            "action", "sent", "acknowledged", "resent", "unanswered", "discarded", "errors"
        )?;
        for (action, counts) in &self.stats.actions {
            row(f, action, counts)?;
        }
        row(f, "all", &self.stats.total())?;
        let latency = &self.stats.latency;
        let seconds = self.stats.elapsed.as_secs_f64().max(1e-3);
        writeln!(
            f,
            "{} chargers, {} connections, {:.1} s; {:.1} acknowledged/s; answers p50 {} p99 {} max {}",
            self.stats.chargers,
            self.stats.connections,
            seconds,
            self.stats.total().acknowledged as f64 / seconds,
            Short(latency.percentile(50.0)),
            Short(latency.percentile(99.0)),
            Short(latency.max()),
        )?;
        for (failure, count) in &self.stats.failures {
            writeln!(f, "{failure}: {count}")?;
        }
        if self.drained {
            write!(f, "all queues are empty")
        } else {
            write!(f, "{} messages are still queued", self.stats.queued)
        }
    }
}

/// Displays a duration with about three digits.
pub(crate) struct Short(pub(crate) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        match us {
            0..1_000 => write!(f, "{us}us"),
            1_000..1_000_000 => write!(f, "{:.1}ms", us as f64 / 1e3),
            _ => write!(f, "{:.2}s", us as f64 / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_rates_since_an_earlier_state() {
        let mut then = FleetStats {
            elapsed: Duration::from_secs(10),
            chargers: 2,
            ..FleetStats::default()
        };
        let counts = Counts {
            sent: 5,
            acknowledged: 5,
            ..Counts::default()
        };
        then.actions.insert("MeterValues", counts);
        let mut now = then.clone();
        now.elapsed = Duration::from_secs(12);
        now.online = 2;
        now.actions.insert(
            "MeterValues",
            Counts {
                sent: 25,
                acknowledged: 15,
                ..counts
            },
        );
        now.latency.record(Duration::from_micros(1500));
        now.failures.insert("503".into(), 3);
        let line = now.line_since(&then);
        for part in [
            "online 2/2",
            "sent/s 10.0",
            "acknowledged/s 5.0",
            "p99 1.5ms",
            "503: 3",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let report = FleetReport {
            stats: now,
            drained: true,
        }
        .to_string();
        assert!(report.contains("MeterValues") && report.ends_with("all queues are empty"));
    }
}

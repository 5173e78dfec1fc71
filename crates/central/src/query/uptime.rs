//! For how much of a time a charger was connected, from its connections and from the times at which their gateways ran.
//!
//! Time is counted as up or down only where the records show it. What the central system cannot know, above all its own
//! outages, is told apart and never counted against the charger: an agreement about availability may depend on the number.

use crate::query::{ConnectionEnd, ConnectionView};
use crate::record::GatewayId;
use crate::station::CloseReason;
use crate::time::Timestamp;
use serde::Serialize;

/// Days of the range at most.
pub const UPTIME_DAYS_MAX: i64 = 366;
/// Connections of the range at most.
pub const UPTIME_CONNECTIONS_MAX: usize = 10_000;
/// Starts of gateways in the range at most.
pub const UPTIME_STARTS_MAX: usize = 2_000;
/// Excluded times at most.
pub const UPTIME_EXCLUDED_MAX: usize = 100;
/// Gaps that are listed at most, the newest.
pub const UPTIME_GAPS_MAX: usize = 1_000;
/// How long a charger may take to connect again after the central system has ended its connection, in milliseconds. Chargers
/// increase their pauses between two attempts up to some minutes.
pub const RECONNECT_MS: i64 = 600_000;

/// What is computed, in one sentence.
pub const UPTIME_FORMULA: &str = "uptime_percent = 100 * up_ms / (up_ms + down_ms). up: the charger was connected. down: it was \
     not, while a gateway of its connections ran. unknown (not counted): that gateway did not run, the end of a connection was \
     not recorded, or the charger had less than 10 minutes to connect again after the central system closed its connection. \
     excluded (not counted): the times of the parameter exclude.";

/// A time in which a gateway ran, as its records show it: it begins with its start or its first record that is kept, and ends
/// with its last sign of life before its next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayRun {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its first sign of life.
    pub from: Timestamp,
    /// Its last one.
    pub to: Timestamp,
}

/// The time of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UptimeRange {
    /// The first millisecond.
    pub from: Timestamp,
    /// The millisecond after the last; not in the future.
    pub to: Timestamp,
    /// Times that do not count, as the first and the one after the last millisecond; in any order, and they may overlap.
    pub excluded: Vec<(Timestamp, Timestamp)>,
}

/// What a gap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// The charger was not connected, and could have been.
    Down,
    /// It is not known, or the central system was the cause.
    Unknown,
}

/// A time in which the charger is not known to have been connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What it is.
    pub kind: GapKind,
    /// Its first millisecond.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub from: Timestamp,
    /// The millisecond after its last.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub to: Timestamp,
    /// Its length in milliseconds.
    pub duration_ms: i64,
}

/// For how much of a time a charger was connected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Uptime {
    /// The begin of the range.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub from: Timestamp,
    /// Its end.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub to: Timestamp,
    /// Of the time that is known and not excluded, the part in which it was connected; `None` if nothing is known.
    pub uptime_percent: Option<f64>,
    /// Milliseconds in which it was connected.
    pub up_ms: i64,
    /// Milliseconds in which it was not connected, and could have been.
    pub down_ms: i64,
    /// Milliseconds of which it is not known, or in which the central system was the cause.
    pub unknown_ms: i64,
    /// Milliseconds that were excluded. The four add up to the range.
    pub excluded_ms: i64,
    /// Connections in the range.
    pub connections: usize,
    /// The newest gaps, the newest first.
    pub gaps: Vec<Gap>,
    /// Earlier gaps that are not listed.
    pub gaps_omitted: usize,
    /// [`UPTIME_FORMULA`].
    pub formula: &'static str,
}

/// The result for one charger. `connections` are those that overlap the range, and the one before; `runs` are those of their
/// gateways.
#[must_use]
pub fn uptime(
    connections: &[ConnectionView],
    runs: &[GatewayRun],
    range: &UptimeRange,
    now: Timestamp,
) -> Uptime {
    let whole = Times::of([(range.from.0, range.to.0)]);
    let excluded = Times::of(range.excluded.iter().map(|(from, to)| (from.0, to.0))).and(&whole);
    let counted = whole.without(&excluded);
    let up = Times::of(connections.iter().map(|one| known_open(one, now))).and(&counted);
    let not_up = counted.without(&up);
    let ran = Times::of(runs.iter().map(|run| (run.from.0, run.to.0)));
    let ours = Times::of(
        connections
            .iter()
            .flat_map(|one| not_of_charger(one, runs, now)),
    );
    let down = not_up.and(&ran).without(&ours);
    let unknown = not_up.without(&down);
    let of = |kind: GapKind, times: &Times| {
        let gap = move |&(from, to): &(i64, i64)| Gap {
            kind,
            from: Timestamp(from),
            to: Timestamp(to),
            duration_ms: to - from,
        };
        times.0.iter().map(gap).collect::<Vec<_>>()
    };
    let mut gaps = of(GapKind::Down, &down);
    gaps.extend(of(GapKind::Unknown, &unknown));
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.from));
    let gaps_omitted = gaps.len().saturating_sub(UPTIME_GAPS_MAX);
    gaps.truncate(UPTIME_GAPS_MAX);
    let (up_ms, down_ms) = (up.total(), down.total());
    let known_ms = up_ms.saturating_add(down_ms);
    let overlaps = |one: &&ConnectionView| {
        let (from, to) = known_open(one, now);
        from < range.to.0 && to.max(from.saturating_add(1)) > range.from.0
    };
    Uptime {
        from: range.from,
        to: range.to,
        uptime_percent: (known_ms > 0).then(|| percent(up_ms, known_ms)),
        up_ms,
        down_ms,
        unknown_ms: unknown.total(),
        excluded_ms: excluded.total(),
        connections: connections.iter().filter(overlaps).count(),
        gaps,
        gaps_omitted,
        formula: UPTIME_FORMULA,
    }
}

/// Rounded to 4 digits after the point.
#[expect(
    clippy::cast_precision_loss,
    reason = "a year in milliseconds is exact in f64"
)]
fn percent(part: i64, of: i64) -> f64 {
    (part as f64 / of as f64 * 1e6).round() / 1e4
}

/// The time in which the connection is known to have been open.
fn known_open(one: &ConnectionView, now: Timestamp) -> (i64, i64) {
    let from = one.connected_at.0;
    let to = match one.end {
        ConnectionEnd::Open => Some(now),
        ConnectionEnd::Closed => one.disconnected_at,
        ConnectionEnd::NotRecorded | ConnectionEnd::Unknown => one.last_record_at,
    };
    (from, to.map_or(from, |to| to.0.max(from)))
}

/// The times after which a missing connection is not the charger's doing: while the end is not known, and until it has had
/// time to connect again.
fn not_of_charger(one: &ConnectionView, runs: &[GatewayRun], now: Timestamp) -> Option<(i64, i64)> {
    let (_, open_until) = known_open(one, now);
    match one.end {
        ConnectionEnd::Open => None,
        ConnectionEnd::Unknown => Some((open_until, now.0)),
        ConnectionEnd::NotRecorded => {
            let ended = one.ended_before.map_or(now.0, |at| at.0);
            Some((open_until, ended.saturating_add(RECONNECT_MS)))
        }
        ConnectionEnd::Closed => {
            let reason = one.reason.as_deref().unwrap_or_default();
            if !CloseReason::is_of_central_system(reason) {
                return None;
            }
            // Its gateway may start again only later.
            let starts = runs.iter().filter(|run| run.gateway == one.gateway_id);
            let starts = starts.map(|run| run.from.0).filter(|at| *at >= open_until);
            let runs_at_end = runs.iter().any(|run| {
                run.gateway == one.gateway_id && run.from.0 <= open_until && run.to.0 > open_until
            });
            let from = match runs_at_end {
                true => open_until,
                false => starts.min().unwrap_or(open_until),
            };
            Some((open_until, from.saturating_add(RECONNECT_MS)))
        }
    }
}

/// Times without overlaps, in order; each has its first millisecond and the one after its last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times(Vec<(i64, i64)>);

impl Times {
    fn of(times: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut all: Vec<_> = times.into_iter().filter(|(from, to)| from < to).collect();
        all.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        Self(joined)
    }

    fn and(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let (from, to) = (x.0.max(y.0), x.1.min(y.1));
            if from < to {
                both.push((from, to));
            }
            if x.1 < y.1 {
                a.next();
            } else {
                b.next();
            }
        }
        Self(both)
    }

    fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for &(mut from, to) in &self.0 {
            while let Some(&&(begin, end)) = others.peek() {
                if end <= from {
                    others.next();
                    continue;
                }
                if begin >= to {
                    break;
                }
                if from < begin {
                    left.push((from, begin));
                }
                from = end.min(to);
                if end > to {
                    break;
                }
                others.next();
            }
            if from < to {
                left.push((from, to));
            }
        }
        Self(left)
    }

    fn total(&self) -> i64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Epoch;
    use ocpp::Version;
    use uuid::Uuid;

    const MINUTE: i64 = 60_000;

    fn gateway(number: u128) -> GatewayId {
        GatewayId(Uuid::from_u128(number))
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp(minute * MINUTE)
    }

    fn connection(from: i64, end: ConnectionEnd) -> ConnectionView {
        ConnectionView {
            gateway_id: gateway(1),
            epoch: Epoch(at(from).0.unsigned_abs()),
            ocpp_version: Version::V16,
            remote: None,
            connected_at: at(from),
            end,
            disconnected_at: None,
            reason: None,
            last_record_at: None,
            ended_before: None,
            duration_ms: None,
        }
    }

    fn closed(from: i64, to: i64, reason: &str) -> ConnectionView {
        ConnectionView {
            disconnected_at: Some(at(to)),
            reason: Some(reason.to_owned()),
            ..connection(from, ConnectionEnd::Closed)
        }
    }

    fn run(from: i64, to: i64) -> GatewayRun {
        GatewayRun {
            gateway: gateway(1),
            from: at(from),
            to: at(to),
        }
    }

    /// Minutes of up, down, unknown and excluded in the first 100 minutes.
    fn minutes(
        connections: &[ConnectionView],
        runs: &[GatewayRun],
        excluded: &[(i64, i64)],
    ) -> [i64; 4] {
        let excluded = excluded.iter().map(|(from, to)| (at(*from), at(*to)));
        let range = UptimeRange {
            from: at(0),
            to: at(100),
            excluded: excluded.collect(),
        };
        let found = uptime(connections, runs, &range, at(100));
        let all = [
            found.up_ms,
            found.down_ms,
            found.unknown_ms,
            found.excluded_ms,
        ];
        assert_eq!(all.iter().sum::<i64>(), 100 * MINUTE, "{found:?}");
        let gaps: i64 = found.gaps.iter().map(|gap| gap.duration_ms).sum();
        assert_eq!(gaps, found.down_ms + found.unknown_ms);
        all.map(|ms| ms / MINUTE)
    }

    #[test]
    fn a_charger_that_goes_away_is_down_until_it_comes_back() {
        let connections = [
            connection(60, ConnectionEnd::Open),
            closed(-10, 40, "no pong in time"),
        ];
        assert_eq!(minutes(&connections, &[run(-50, 100)], &[]), [80, 20, 0, 0]);
        let range = UptimeRange {
            from: at(0),
            to: at(100),
            excluded: Vec::new(),
        };
        let found = uptime(&connections, &[run(-50, 100)], &range, at(100));
        assert_eq!(found.uptime_percent, Some(80.0));
        assert_eq!(found.connections, 2);
        assert_eq!(
            found.gaps,
            [Gap {
                kind: GapKind::Down,
                from: at(40),
                to: at(60),
                duration_ms: 20 * MINUTE
            }]
        );
    }

    #[test]
    fn an_outage_of_the_gateway_is_never_downtime_of_the_charger() {
        // Killed at about 30, started at 50; the charger is back at 55, within its time to connect again.
        let mut killed = connection(0, ConnectionEnd::NotRecorded);
        killed.last_record_at = Some(at(30));
        killed.ended_before = Some(at(50));
        let back = connection(55, ConnectionEnd::Open);
        let runs = [run(0, 30), run(50, 100)];
        assert_eq!(minutes(&[back, killed.clone()], &runs, &[]), [75, 0, 25, 0]);
        // It needs longer than that: the rest is its own.
        let late = connection(80, ConnectionEnd::Open);
        assert_eq!(minutes(&[late, killed], &runs, &[]), [50, 20, 30, 0]);
    }

    #[test]
    fn a_clean_stop_of_the_gateway_is_no_downtime_until_it_runs_again() {
        let stopped = closed(0, 30, CloseReason::Shutdown.as_text().as_ref());
        let runs = [run(0, 30), run(50, 100)];
        let back = connection(80, ConnectionEnd::Open);
        assert_eq!(minutes(&[back, stopped], &runs, &[]), [50, 20, 30, 0]);
        // The same with a charger that went away by itself shortly before.
        let away = closed(0, 20, "closed by the charger");
        let back = connection(80, ConnectionEnd::Open);
        assert_eq!(minutes(&[back, away], &runs, &[]), [40, 40, 20, 0]);
    }

    #[test]
    fn an_end_that_the_operator_caused_leaves_time_to_connect_again() {
        let operator = CloseReason::ByOperator {
            code: 1001,
            reason: "test".to_owned(),
        };
        let ended = closed(0, 40, operator.as_text().as_ref());
        let back = connection(45, ConnectionEnd::Open);
        let runs = [run(0, 100)];
        assert_eq!(minutes(&[back, ended.clone()], &runs, &[]), [95, 0, 5, 0]);
        let late = connection(60, ConnectionEnd::Open);
        assert_eq!(minutes(&[late, ended], &runs, &[]), [80, 10, 10, 0]);
    }

    #[test]
    fn excluded_times_count_neither_way() {
        let connections = [
            connection(60, ConnectionEnd::Open),
            closed(0, 40, "no pong in time"),
        ];
        let excluded = [(50, 70), (30, 45), (40, 55), (90, 300)];
        assert_eq!(
            minutes(&connections, &[run(0, 100)], &excluded),
            [50, 0, 0, 50]
        );
    }

    #[test]
    fn nothing_is_known_without_records() {
        assert_eq!(minutes(&[], &[], &[]), [0, 0, 100, 0]);
        let range = UptimeRange {
            from: at(0),
            to: at(100),
            excluded: Vec::new(),
        };
        assert_eq!(uptime(&[], &[], &range, at(100)).uptime_percent, None);
        // A gateway that does not report: the connection may be open or not.
        let mut unknown = connection(0, ConnectionEnd::Unknown);
        unknown.last_record_at = Some(at(70));
        assert_eq!(minutes(&[unknown], &[run(0, 70)], &[]), [70, 0, 30, 0]);
    }

    #[test]
    fn times_are_joined_cut_and_subtracted() {
        let times = Times::of([(5, 9), (1, 3), (3, 4), (7, 12), (20, 20)]);
        assert_eq!(times, Times(vec![(1, 4), (5, 12)]));
        let other = Times::of([(0, 2), (3, 6), (8, 9), (11, 30)]);
        assert_eq!(
            times.and(&other).0,
            [(1, 2), (3, 4), (5, 6), (8, 9), (11, 12)]
        );
        assert_eq!(times.without(&other).0, [(2, 3), (6, 8), (9, 11)]);
        assert_eq!(other.without(&times).0, [(0, 1), (4, 5), (12, 30)]);
    }
}

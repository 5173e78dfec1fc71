//! Keeps in the list of transactions what follows from the order of the sessions of one connector: which session supersedes
//! which, and which readings without a transaction belong to which.
//!
//! The rules are [`central::model::successor`] and [`central::model::reading_times`]. Both read at most [`SUCCESSORS_MAX`]
//! sessions after one, in the order of their starts; where a clock is ahead, the second reads up to [`READERS_MAX`]. So after
//! a change, as many sessions before the changed position are decided again, from a window of rows around it. This module
//! chooses the positions and decides ([`Round`]); the databases read and write rows. The cost of a change does not depend on
//! the number of a connector's sessions. Where the times of a session change so that values are missing or too many, all
//! values of its times are read again ([`Scan`]): up to 31 days, without a bound on their number
//! (docs/adr/0012-sessions-of-one-connector.md, *Cost*).

use central::Timestamp;
use central::model::{
    Merge, MeterValueRow, PlaceSession, READERS_MAX, Readings, SUCCESSORS_MAX, TransactionState,
    ends_readings, reading_times, successor,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use uuid::Uuid;

/// Rows to read on either side of a position.
pub(crate) const WINDOW: usize = SUCCESSORS_MAX;
/// The same where clocks that are ahead make the order of the starts unlike that of their written times.
const WIDE_WINDOW: usize = READERS_MAX + 1;

/// A position among the sessions of one connector: as [`PlaceSession::order`].
pub(crate) type Order = (i64, i64, Uuid);

/// A connector of a charger; `C` is the type of a charger's number.
pub(crate) type PlaceOf<C> = (C, i64);

/// The position of a session.
pub(crate) const fn order_of(session: &PlaceSession) -> Order {
    let (start_at, received_at, key) = session.order();
    (start_at.as_millis(), received_at.as_millis(), key)
}

/// The position after all sessions that started at this time or before.
pub(crate) const fn behind(at: Timestamp) -> Order {
    (at.as_millis(), i64::MAX, Uuid::max())
}

/// The session that supersedes another, as it is stored with that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) key: Uuid,
    pub(crate) at: i64,
    pub(crate) received_at: i64,
}

/// Readings that name no transaction and are of a session's time, as they are stored with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionReadings {
    /// The times that they were collected from, both included; empty if `from` is later.
    from: i64,
    until: i64,
    pub(crate) readings: Readings,
}

/// A session's row in the list, with what its place decides.
#[derive(Debug, Clone)]
pub(crate) struct PlaceRow {
    pub(crate) began_at: i64,
    pub(crate) transaction_no: i64,
    /// Its stop is the partner's where pairing has found one. `heard_at` may be outdated where there is no successor.
    pub(crate) session: PlaceSession,
    pub(crate) successor: Option<Successor>,
    pub(crate) readings: Option<String>,
}

/// The rows around a position.
#[derive(Debug)]
pub(crate) struct Window<C> {
    pub(crate) place: PlaceOf<C>,
    pub(crate) position: Order,
    /// How many rows were read on either side.
    pub(crate) limit: usize,
    /// Up to `limit` rows before the position, the row at it, and up to `limit` after it.
    pub(crate) rows: Vec<PlaceRow>,
    /// Whether readings without a transaction were ever received there.
    pub(crate) is_unnamed: bool,
}

/// New contents of a row.
#[derive(Debug, Clone)]
pub(crate) struct PlaceChange {
    pub(crate) began_at: i64,
    pub(crate) key: Uuid,
    pub(crate) heard_at: i64,
    pub(crate) successor: Option<Successor>,
    pub(crate) readings: Option<String>,
}

/// Meter values to read again, for the row `key`: those without a transaction at `place`, `from` to `until`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<C> {
    pub(crate) key: Uuid,
    pub(crate) place: PlaceOf<C>,
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// A row that is decided again.
#[derive(Debug)]
struct Decided {
    row: PlaceRow,
    /// The sessions after it.
    later: Vec<PlaceSession>,
    readings: Option<SessionReadings>,
}

/// One batch: the positions whose surroundings must be decided again, and what was decided.
#[derive(Debug)]
pub(crate) struct Round<'a, C> {
    positions: BTreeSet<(PlaceOf<C>, Order)>,
    /// Those for which [`WINDOW`] rows are not enough.
    wide: BTreeSet<(PlaceOf<C>, Order)>,
    /// Values without a transaction that the batch brought, by place, and sorted by time.
    unnamed: BTreeMap<PlaceOf<C>, Vec<&'a MeterValueRow>>,
    decided: BTreeMap<Uuid, Decided>,
    scans: BTreeMap<Uuid, (Scan<C>, Readings)>,
}

impl<'a, C: Copy + Ord + Hash> Round<'a, C> {
    pub(crate) fn new(
        changed: impl IntoIterator<Item = (PlaceOf<C>, Order)>,
        unnamed: impl IntoIterator<Item = (PlaceOf<C>, &'a MeterValueRow)>,
    ) -> Self {
        let mut by_place: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (place, row) in unnamed {
            by_place.entry(place).or_default().push(row);
        }
        for rows in by_place.values_mut() {
            rows.sort_unstable_by_key(|row| row.at);
        }
        let mut positions: BTreeSet<_> = changed.into_iter().collect();
        let last = |(place, rows): (&PlaceOf<C>, &Vec<&MeterValueRow>)| {
            rows.last().map(|row| (*place, behind(row.at)))
        };
        positions.extend(by_place.iter().filter_map(last));
        Self {
            positions,
            wide: BTreeSet::new(),
            unnamed: by_place,
            decided: BTreeMap::new(),
            scans: BTreeMap::new(),
        }
    }

    /// The places that values without a transaction came from.
    pub(crate) fn unnamed_places(&self) -> impl Iterator<Item = PlaceOf<C>> {
        self.unnamed.keys().copied()
    }

    /// The positions around which rows must be read now, and how many on either side; none when all are done.
    pub(crate) fn take_positions(&mut self) -> (usize, Vec<(PlaceOf<C>, Order)>) {
        let (limit, positions) = if self.positions.is_empty() {
            (WIDE_WINDOW, &mut self.wide)
        } else {
            (WINDOW, &mut self.positions)
        };
        (limit, std::mem::take(positions).into_iter().collect())
    }

    /// Whether the window has all rows that the readings of its sessions, up to its position, depend on, and all sessions
    /// whose readings depend on the position.
    fn is_enough(&self, window: &Window<C>, sessions: &[PlaceSession], behind_it: usize) -> bool {
        if !window.is_unnamed || window.limit >= WIDE_WINDOW {
            return true;
        }
        let at = sessions.partition_point(|session| order_of(session) < window.position);
        let is_cut_behind = sessions.len() - at > window.limit;
        if is_cut_behind && behind_it > 0 && !ends_readings(sessions, behind_it - 1) {
            return false;
        }
        if at < window.limit {
            return true;
        }
        // The earliest time for which sessions are sought here.
        let mut low = window.position.0;
        let values = self.unnamed.get(&window.place);
        if let Some((values, first)) = values.zip(sessions.first())
            && values
                .last()
                .is_some_and(|last| behind(last.at) == window.position)
        {
            let first = values.partition_point(|value| value.at < first.start_at);
            low = values.get(first).map_or(low, |value| value.at.as_millis());
        }
        // No session before one that has started by its own clock has a reading of that time.
        let starts = sessions[..at].iter();
        starts
            .filter_map(|session| session.written_start_at)
            .any(|start| start.as_millis() <= low)
    }

    /// Takes the rows around a position.
    pub(crate) fn add(&mut self, mut window: Window<C>) {
        window
            .rows
            .sort_unstable_by_key(|row| order_of(&row.session));
        let rows = &window.rows;
        let sessions: Vec<PlaceSession> = rows.iter().map(|row| row.session).collect();
        let behind_it = rows.partition_point(|row| order_of(&row.session) <= window.position);
        if !self.is_enough(&window, &sessions, behind_it) {
            self.wide.insert((window.place, window.position));
            return;
        }
        // The values are for the window that was read for the last of them.
        let mut unnamed = match self.unnamed.get(&window.place).and_then(|rows| rows.last()) {
            Some(last) if behind(last.at) == window.position => {
                self.unnamed.remove(&window.place).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        for (of, row) in rows.iter().enumerate().take(behind_it) {
            let key = row.session.key;
            let decided = self.decided.entry(key).or_insert_with(|| Decided {
                later: sessions[of..].to_vec(),
                readings: row.readings.as_deref().and_then(read_readings),
                row: row.clone(),
            });
            if !window.is_unnamed {
                continue;
            }
            let times = reading_times(&sessions, of);
            let (from, until) = match &times {
                Some(times) => (times.start().as_millis(), times.end().as_millis()),
                // No time at all.
                None => (0, -1),
            };
            let is_covered = decided.readings.as_ref().is_some_and(|held| {
                held.from <= from
                    && until <= held.until
                    && held.readings.times().is_none_or(|(first, last)| {
                        from <= first.as_millis() && last.as_millis() <= until
                    })
            });
            match &mut decided.readings {
                Some(held) if is_covered => {
                    (held.from, held.until) = (from, until);
                    for value in &unnamed {
                        if (from..=until).contains(&value.at.as_millis()) {
                            held.readings.merge(value.readings());
                        }
                    }
                }
                _ if self.scans.contains_key(&key) => {}
                held => {
                    *held = Some(SessionReadings {
                        from,
                        until,
                        readings: Readings::default(),
                    });
                    if from <= until {
                        let place = window.place;
                        let scan = Scan {
                            key,
                            place,
                            from,
                            until,
                        };
                        self.scans.insert(key, (scan, Readings::default()));
                    }
                }
            }
        }
        // Of the values before all these sessions, the last one is the next position.
        let is_cut =
            rows.partition_point(|row| order_of(&row.session) < window.position) >= window.limit;
        let first = rows.first().map(|row| row.session.start_at);
        if let Some(first) = first.filter(|_| is_cut) {
            unnamed.truncate(unnamed.partition_point(|value| value.at < first));
            if let Some(last) = unnamed.last() {
                self.positions.insert((window.place, behind(last.at)));
                self.unnamed.insert(window.place, unnamed);
            }
        }
    }

    /// The states that must be read for the time of a session's latest report: its row may be outdated.
    pub(crate) fn states_to_read(&self) -> Vec<i64> {
        let outdated = self.decided.values().filter(|decided| {
            let found = successor(&decided.later, 0);
            found.is_some_and(|found| {
                decided
                    .row
                    .successor
                    .is_none_or(|held| held.key != found.key)
            })
        });
        let mut numbers: Vec<i64> = outdated.map(|decided| decided.row.transaction_no).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Takes a state of [`Round::states_to_read`]; `charger` is the charger's key.
    pub(crate) fn add_state(&mut self, charger: &str, wire_id: &str, state: &TransactionState) {
        for view in state.views(charger, wire_id) {
            let fresh = view.place_session();
            if let Some((decided, fresh)) = self.decided.get_mut(&view.key).zip(fresh) {
                decided.row.session.heard_at = fresh.heard_at;
                if let Some(own) = decided.later.first_mut() {
                    own.heard_at = fresh.heard_at;
                }
            }
        }
    }

    /// The meter values to read again.
    pub(crate) fn scans(&self) -> Vec<Scan<C>> {
        self.scans.values().map(|(scan, _)| *scan).collect()
    }

    /// Takes a meter value of a scan.
    pub(crate) fn add_scanned(&mut self, key: Uuid, readings: Readings) {
        if let Some((_, all)) = self.scans.get_mut(&key) {
            all.merge(readings);
        }
    }

    /// The rows that must be written.
    pub(crate) fn changes(mut self) -> Vec<PlaceChange> {
        for (key, (_, scanned)) in self.scans {
            let decided = self.decided.get_mut(&key);
            if let Some(held) = decided.and_then(|decided| decided.readings.as_mut()) {
                held.readings = scanned;
            }
        }
        let changes = self.decided.into_values().filter_map(|decided| {
            let Decided {
                row,
                later,
                readings,
            } = decided;
            let found = successor(&later, 0).map(|found| Successor {
                key: found.key,
                at: found.start_at.as_millis(),
                received_at: found.start_received_at.as_millis(),
            });
            let before = row.readings.as_deref().and_then(read_readings);
            (found != row.successor || readings != before).then(|| PlaceChange {
                began_at: row.began_at,
                key: row.session.key,
                heard_at: row.session.heard_at.as_millis(),
                successor: found,
                readings: readings.and_then(|readings| serde_json::to_string(&readings).ok()),
            })
        });
        changes.collect()
    }
}

/// Stored readings; `None` where they cannot be read, so that they are collected again.
pub(crate) fn read_readings(json: &str) -> Option<SessionReadings> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: PlaceOf<i64> = (1, 1);

    fn row(start: i64, readings: Option<(i64, i64, &[i64])>) -> PlaceRow {
        let key = Uuid::from_u128(start.unsigned_abs().into());
        let readings = readings.map(|(from, until, at)| {
            let mut readings = Readings::default();
            for at in at {
                readings.merge(reading(*at));
            }
            SessionReadings {
                from,
                until,
                readings,
            }
        });
        PlaceRow {
            began_at: start,
            transaction_no: start,
            session: PlaceSession {
                key,
                start_at: Timestamp(start),
                start_received_at: Timestamp(start),
                written_start_at: Some(Timestamp(start)),
                heard_at: Timestamp(start),
                stop: None,
            },
            successor: None,
            readings: readings.and_then(|readings| serde_json::to_string(&readings).ok()),
        }
    }

    fn reading(at: i64) -> Readings {
        Readings::of_row(Timestamp(at), at, false, r#"[{"value":"7"}]"#)
    }

    /// The times that are read again, by session, after the row at the end of `rows` was added.
    fn scanned(rows: Vec<PlaceRow>, added: i64) -> Vec<(i64, i64)> {
        let of_added = rows.iter().find(|row| row.session.start_at.0 == added);
        let position = of_added
            .map(|row| order_of(&row.session))
            .unwrap_or_default();
        let mut round = Round::new([(PLACE, position)], []);
        assert_eq!(round.take_positions().1.len(), 1);
        round.add(Window {
            place: PLACE,
            position,
            limit: WINDOW,
            rows,
            is_unnamed: true,
        });
        let scans = round.scans();
        scans.iter().map(|scan| (scan.from, scan.until)).collect()
    }

    #[test]
    fn a_start_after_all_values_reads_no_values_of_the_session_before_it() {
        let before = row(1_000, Some((1_000, i64::MAX / 2, &[1_000, 4_999])));
        let scans = scanned(vec![before, row(5_000, None)], 5_000);
        let own: Vec<_> = scans.iter().map(|(from, _)| *from).collect();
        assert_eq!(own, [5_000]);
    }

    #[test]
    fn a_start_between_values_reads_those_of_the_session_that_it_cuts_and_its_own() {
        let before = row(1_000, Some((1_000, i64::MAX / 2, &[1_000, 9_000])));
        let after = row(7_000, Some((7_000, i64::MAX / 2, &[7_000, 9_000])));
        let scans = scanned(vec![before, row(5_000, None), after], 5_000);
        assert_eq!(scans, [(1_000, 4_999), (5_000, 6_999)]);
    }
}

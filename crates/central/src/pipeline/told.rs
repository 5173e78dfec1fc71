//! Which parts of the pipeline are told not to work: from the states of the parts to the events `pipeline.part_down` and
//! `pipeline.part_up`, each once.
//!
//! Only a state that lasts is told, so that a restart of a process and a connection that is made again have no event. What
//! is not known changes nothing.

use super::{Part, PartState};
use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A part must not work, or work again, for so many milliseconds before it is told: longer than a process takes to start, so
/// that an upgrade of the processes one after the other has no event.
pub const PART_TOLD_AFTER_MS: i64 = 15_000;

/// What was told, and what differs from it now. It is stored together with the events, so that each change is told once,
/// whichever process looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToldParts(BTreeMap<String, ToldPart>);

/// One part; a part that was told to work, and does, has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct ToldPart {
    is_down: bool,
    /// Since when it has not been as it was told.
    differs_since: Option<Timestamp>,
    /// When the last change that was told was noticed.
    told_at: Option<Timestamp>,
}

/// A change that is told: the object of the events `pipeline.part_down` and `pipeline.part_up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// The name of the part.
    pub part: String,
    /// Its state; `down` in `pipeline.part_down`.
    pub state: PartState,
    /// The state in words.
    pub detail: String,
    /// When the change was noticed.
    pub since: String,
    /// The same time.
    #[serde(skip)]
    pub at: Timestamp,
}

impl PartChange {
    /// Whether the part does not work.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state == PartState::Down
    }
}

impl ToldParts {
    /// Notes the parts as they are now; returns what is to be told. A part that is not judged keeps what was told.
    pub fn note(
        &mut self,
        now: Timestamp,
        parts: &[Part],
        is_judged: impl Fn(&str) -> bool,
    ) -> Vec<PartChange> {
        let mut changes = Vec::new();
        for part in parts {
            let mut told = self.0.remove(part.part).unwrap_or_default();
            let is_down = match part.state {
                PartState::Down => Some(true),
                PartState::Works | PartState::Degraded | PartState::Idle => Some(false),
                PartState::Unknown => None,
            };
            match is_down.filter(|_| is_judged(part.part)) {
                Some(is_down) if is_down != told.is_down => {
                    // A clock that was put back.
                    let since = told.differs_since.filter(|since| *since <= now);
                    let since = since.unwrap_or(now);
                    told.differs_since = Some(since);
                    if since.plus_millis(PART_TOLD_AFTER_MS) <= now {
                        told = ToldPart {
                            is_down,
                            differs_since: None,
                            told_at: Some(since),
                        };
                        changes.push(PartChange {
                            part: part.part.to_owned(),
                            state: part.state,
                            detail: part.detail.clone(),
                            since: since.to_string(),
                            at: since,
                        });
                    }
                }
                _ => told.differs_since = None,
            }
            if told != ToldPart::default() {
                self.0.insert(part.part.to_owned(), told);
            }
        }
        changes
    }

    /// Takes over changes that a process has noticed and not stored, in their order; returns those that are to be told. What
    /// was told before, by a process that noticed the same, is not told again.
    pub fn adopt(&mut self, now: Timestamp, noticed: Vec<PartChange>) -> Vec<PartChange> {
        let mut changes = Vec::new();
        for change in noticed {
            let told = self.0.entry(change.part.clone()).or_default();
            // A time after now is from a clock that was ahead.
            let last = told.told_at.filter(|at| *at <= now);
            if change.is_down() != told.is_down && last.is_none_or(|last| last < change.at) {
                *told = ToldPart {
                    is_down: change.is_down(),
                    differs_since: None,
                    told_at: Some(change.at),
                };
                changes.push(change);
            }
        }
        self.0.retain(|_, told| *told != ToldPart::default());
        changes
    }
}

/// Adds changes to those that wait to be told, of which there are at most `max`. Of more, the oldest is dropped, with the next
/// change of its part, so that a part that is told to work again was told not to.
pub fn keep_changes(waiting: &mut Vec<PartChange>, new: Vec<PartChange>, max: usize) {
    waiting.extend(new);
    while waiting.len() > max {
        let oldest = waiting.remove(0);
        if let Some(next) = waiting.iter().position(|one| one.part == oldest.part) {
            waiting.remove(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &'static str, state: PartState) -> Part {
        Part {
            part: name,
            state,
            detail: "words".to_owned(),
            since: None,
            in_per_s: None,
            out_per_s: None,
            waiting_records: None,
            waiting_bytes: None,
            oldest_waiting_s: None,
            full_in_s: None,
            faults: Vec::new(),
            last_error: None,
            versions: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// What is told while a part has these states, a second each, and another process takes over after each.
    fn told(states: &[(PartState, usize)]) -> Vec<(PartState, i64)> {
        let mut memory = String::from("{}");
        let mut changes = Vec::new();
        let states = states
            .iter()
            .flat_map(|(state, seconds)| std::iter::repeat_n(*state, *seconds));
        for (second, state) in (0_i64..).zip(states) {
            let mut parts: ToldParts = serde_json::from_str(&memory).expect("it was written so");
            let now = Timestamp(second * 1_000);
            let new = parts.note(now, &[part("rabbitmq", state)], |_| true);
            changes.extend(new.iter().map(|change| (change.state, change.at.0 / 1_000)));
            memory = serde_json::to_string(&parts).expect("JSON");
        }
        changes
    }

    #[test]
    fn a_change_that_lasts_is_told_once_with_the_time_at_which_it_was_noticed() {
        use PartState::{Degraded, Down, Works};
        let states = [
            (Works, 5),
            (Down, 60),
            (Works, 60),
            (Down, 14),
            (Degraded, 60),
        ];
        assert_eq!(told(&states), [(Down, 5), (Works, 65)]);
        assert_eq!(told(&[(Down, 30)]), [(Down, 0)]);
    }

    #[test]
    fn restarts_one_after_the_other_and_what_is_not_known_are_not_told() {
        use PartState::{Degraded, Down, Idle, Unknown, Works};
        let restarts: Vec<(PartState, usize)> = (0..100)
            .flat_map(|_| {
                [
                    (Down, 15),
                    (Works, 2),
                    (Degraded, 10),
                    (Down, 12),
                    (Idle, 1),
                ]
            })
            .collect();
        assert_eq!(told(&restarts), []);
        assert_eq!(
            told(&[(Down, 10), (Unknown, 60), (Down, 10), (Works, 60)]),
            []
        );
        // What was told stays while it is not known.
        let states = [
            (Down, 20),
            (Unknown, 60),
            (Down, 20),
            (Unknown, 9),
            (Works, 20),
        ];
        assert_eq!(told(&states), [(Down, 0), (Works, 109)]);
    }

    fn change(part: &str, state: PartState, at: i64) -> PartChange {
        PartChange {
            part: part.to_owned(),
            state,
            detail: "words".to_owned(),
            since: Timestamp(at).to_string(),
            at: Timestamp(at),
        }
    }

    #[test]
    fn what_another_process_has_told_is_not_told_again() {
        use PartState::{Down, Works};
        let now = Timestamp(1_000_000);
        let mut parts = ToldParts::default();
        let outage = |from, to| {
            vec![
                change("database", Down, from),
                change("database", Works, to),
            ]
        };
        assert_eq!(parts.adopt(now, outage(100, 200)), outage(100, 200));
        // Another process has noticed the same outage a little sooner, or later.
        assert_eq!(parts.adopt(now, outage(99, 199)), []);
        assert_eq!(parts.adopt(now, outage(101, 201)), []);
        assert_eq!(parts.adopt(now, outage(300, 400)), outage(300, 400));
        // That it does not work was stored before the process was started.
        let down = vec![change("rabbitmq", Down, 500)];
        assert_eq!(parts.adopt(now, down.clone()), down);
        let again = vec![
            change("rabbitmq", Down, 600),
            change("rabbitmq", Works, 700),
        ];
        assert_eq!(parts.adopt(now, again.clone()), again[1..]);
        // A clock was ahead when something was told.
        let later = outage(2_000_000, 2_000_001);
        assert_eq!(parts.adopt(Timestamp(3_000_000), later.clone()), later);
        assert_eq!(parts.adopt(now, outage(800, 900)), outage(800, 900));
        // It goes on with what was told.
        let down = [part("database", Down)];
        parts.adopt(now, vec![change("database", Down, 950)]);
        assert_eq!(parts.note(Timestamp(1_100_000), &down, |_| true), []);
    }

    #[test]
    fn of_too_many_changes_that_wait_the_oldest_are_dropped() {
        use PartState::{Down, Works};
        let mut waiting = vec![
            change("database", Down, 1),
            change("rabbitmq", Down, 2),
            change("database", Works, 3),
        ];
        let newest = vec![change("database", Down, 4)];
        keep_changes(&mut waiting, newest, 3);
        assert_eq!(
            waiting,
            [change("rabbitmq", Down, 2), change("database", Down, 4)]
        );
    }

    #[test]
    fn a_part_that_is_not_judged_and_a_clock_that_was_put_back_are_not_told() {
        let mut parts = ToldParts::default();
        let down = [part("consumers", PartState::Down)];
        for second in 0..60 {
            let now = Timestamp(1_000_000 + second * 1_000);
            assert_eq!(parts.note(now, &down, |name| name == "database"), []);
        }
        assert_eq!(parts, ToldParts::default());
        assert_eq!(parts.note(Timestamp(1_000_000), &down, |_| true), []);
        assert_eq!(parts.note(Timestamp(0), &down, |_| true), []);
        assert_eq!(parts.note(Timestamp(14_999), &down, |_| true), []);
        assert_eq!(parts.note(Timestamp(15_000), &down, |_| true).len(), 1);
    }
}

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

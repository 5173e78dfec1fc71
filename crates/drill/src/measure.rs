//! Measurements from the fleet's ledger file: the longest time without an answer, and which acknowledged messages are
//! not stored yet.

use anyhow::{Context, Result};
use central::model::ChargerKey;
use central::query::{MessageFilter, PageRequest, QueryStore};
use central::{RecordKind, Timestamp};
use simulator::TimestampUs;
use simulator::ledger::{CommandOutcome, LedgerEntry, LedgerLine, Outcome};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;
use testbed::commands::SeenById;

/// The lines of a ledger file. If the fleet still runs, the last line may be incomplete; it is ignored.
pub(super) fn read_ledger(path: &Path) -> Result<Vec<LedgerEntry>> {
    let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    let mut lines = Vec::new();
    for text in BufReader::new(file).lines() {
        let text = text.with_context(|| format!("read {}", path.display()))?;
        match LedgerLine::parse(&text) {
            Ok(LedgerLine::Message(line)) => lines.push(*line),
            Ok(LedgerLine::Command(_)) => {}
            Err(_) => break,
        }
    }
    Ok(lines)
}

/// What the chargers of a finished run did with commands, from its ledger file.
pub(super) fn read_commands(path: &Path) -> Result<SeenById> {
    let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    let mut commands = SeenById::new();
    for text in BufReader::new(file).lines() {
        let text = text.with_context(|| format!("read {}", path.display()))?;
        if let LedgerLine::Command(entry) = LedgerLine::parse(&text)? {
            let seen = commands.entry(entry.message_id).or_default();
            seen.received += 1;
            seen.answered += u32::from(entry.outcome != CommandOutcome::Unanswered);
        }
    }
    Ok(commands)
}

/// The longest time from a call to its answer, of the calls sent from `from` to `to`. A call that got no answer counts until
/// `to`. What is sent later belongs to the end of the load, in which all chargers end their transactions at once.
pub(super) fn longest_wait(lines: &[LedgerEntry], from: TimestampUs, to: TimestampUs) -> Duration {
    let waits = lines.iter().filter_map(|line| {
        let sent_at = line.sent_at.filter(|at| (from..=to).contains(at))?;
        Some(line.acknowledged_at.unwrap_or(to).since(sent_at))
    });
    waits.max().unwrap_or_default()
}

/// The longest time from `from` to `to` in which no charger got an answer; both ends count as answers.
///
/// `waiting_only`: count only time in which at least one charger waited for an answer. Otherwise a pause in which nobody had
/// anything to send is a gap too, which is right only where chargers may have had no connection to send on.
pub(super) fn longest_gap(
    lines: &[LedgerEntry],
    from: TimestampUs,
    to: TimestampUs,
    waiting_only: bool,
) -> Duration {
    /// What happens at a time. An answer comes before a call of the same time: no charger waits between them.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        Answered,
        Sent,
        Over,
    }
    let mut events: Vec<(TimestampUs, Event)> = lines
        .iter()
        .flat_map(|line| {
            let sent = line.sent_at.map(|at| (at, Event::Sent));
            let answered = line.acknowledged_at.map(|at| (at, Event::Answered));
            sent.into_iter().chain(answered)
        })
        .filter(|(at, _)| *at <= to)
        .collect();
    events.push((to, Event::Over));
    events.sort_unstable();
    let mut waiting: u64 = 0;
    // The last answer, or the time since which somebody waits.
    let mut since = from;
    let mut longest = Duration::ZERO;
    for (at, event) in events {
        let is_gap = !waiting_only || waiting > 0;
        match event {
            Event::Sent => {
                if !is_gap {
                    since = since.max(at);
                }
                waiting += 1;
            }
            Event::Answered | Event::Over => {
                if is_gap && at >= from {
                    longest = longest.max(at.since(since));
                }
                waiting = waiting.saturating_sub(1);
                since = since.max(at);
            }
        }
    }
    longest
}

/// The time within which `share` (0 to 1) of the messages were answered that were sent between the two times of any of
/// `times`, and sent once: a message whose connection broke says nothing about answers. None if there is no such message.
pub(super) fn share_answered_within(
    lines: &[LedgerEntry],
    times: &[(TimestampUs, TimestampUs)],
    share: f64,
) -> Option<Duration> {
    let took = |line: &LedgerEntry| {
        let (sent, acknowledged) = (line.sent_at?, line.acknowledged_at?);
        let is_within = times.iter().any(|(from, to)| (*from..=*to).contains(&sent));
        (line.attempts == 1 && is_within).then(|| acknowledged.since(sent))
    };
    let mut all: Vec<Duration> = lines.iter().filter_map(took).collect();
    all.sort_unstable();
    let index = (all.len() as f64 * share) as usize;
    all.get(index.min(all.len().saturating_sub(1))).copied()
}

/// By how much the times of chargers and of records may differ, in milliseconds: all are of this machine's clock.
const CLOCKS_MS: i64 = 5_000;

/// Acknowledged messages that were not found in the database yet.
pub(super) struct NotStored {
    /// The index in `sought` by charger and message id. A resent message may have several ids.
    ids: HashMap<(ChargerKey, String), usize>,
    sought: Vec<Sought>,
    left: usize,
    /// All of them were received from this time on.
    from: Timestamp,
    /// And before this one.
    to: Timestamp,
}

struct Sought {
    /// When its charger sent it for the first time.
    sent_at: Option<Timestamp>,
    is_found: bool,
}

fn millis(at: TimestampUs) -> Timestamp {
    Timestamp(i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX))
}

impl NotStored {
    /// The messages acknowledged until `until`, all of them received after `from`.
    pub(super) fn new(lines: &[LedgerEntry], until: TimestampUs, from: Timestamp) -> Self {
        let mut ids = HashMap::new();
        let mut sought = Vec::new();
        let mut last = from;
        for line in lines {
            let acknowledged_at = line.acknowledged_at.filter(|at| *at <= until);
            let (Outcome::Acknowledged, Some(acknowledged_at)) = (line.outcome, acknowledged_at)
            else {
                continue;
            };
            let charger = ChargerKey::of(&line.charger_id);
            for id in &line.message_ids {
                ids.insert((charger.clone(), id.clone()), sought.len());
            }
            sought.push(Sought {
                sent_at: line.sent_at.map(millis),
                is_found: false,
            });
            last = last.max(millis(acknowledged_at));
        }
        Self {
            left: sought.len(),
            ids,
            sought,
            from,
            to: last.plus_millis(CLOCKS_MS),
        }
    }

    /// The times between which the missing messages were received. What is stored while this is read, and what was received
    /// before all of them, is outside: a load that fills the database faster than it is read has no influence.
    fn range(&self) -> Option<(Timestamp, Timestamp)> {
        let missing = self.sought.iter().filter(|sought| !sought.is_found);
        let oldest = missing.map(|sought| sought.sent_at).min()?;
        // None is less than each time: of this message it is not known.
        let from = oldest.map_or(self.from, |sent_at| sent_at.plus_millis(-CLOCKS_MS));
        Some((from.max(self.from), self.to))
    }

    /// Reads the stored messages of [`NotStored::range`] once; returns how many are still missing. If the database is
    /// unavailable, that is the number before.
    pub(super) fn count(&mut self, database: &dyn QueryStore) -> usize {
        let Some((from, to)) = self.range() else {
            return 0;
        };
        let filter = MessageFilter {
            kind: Some(RecordKind::Call),
            from: Some(from),
            to: Some(to),
            ..MessageFilter::default()
        };
        let mut page = PageRequest {
            limit: central::query::PAGE_MAX,
            after: None,
        };
        while self.left > 0 {
            let Ok(rows) = database.messages(&filter, &page) else {
                return self.left;
            };
            for row in rows.items {
                self.found(&row.charger_id, row.message_id);
            }
            if rows.next.is_none() {
                return self.left;
            }
            page.after = rows.next;
        }
        self.left
    }

    fn found(&mut self, charger: &str, id: String) {
        let Some(&index) = self.ids.get(&(ChargerKey::of(charger), id)) else {
            return;
        };
        if let Some(sought) = self.sought.get_mut(index)
            && !sought.is_found
        {
            sought.is_found = true;
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(id: &str, acknowledged_at: Option<u64>) -> LedgerEntry {
        serde_json::from_value(json!({
            "charger_id": "DRILL-1", "ocpp_version": "1.6", "action": "MeterValues", "class": "T", "n": 1,
            "natural_key": "", "transaction_id": null, "message_ids": [id, format!("{id}-again")],
            "sent_at": 1, "acknowledged_at": acknowledged_at, "attempts": 1,
            "outcome": if acknowledged_at.is_some() { "acknowledged" } else { "unanswered" },
        }))
        .unwrap()
    }

    #[test]
    fn longest_wait_is_that_of_a_call_of_the_load() {
        let call = |sent: u64, answered: Option<u64>| {
            let mut line = line("a", answered);
            line.sent_at = Some(TimestampUs(sent));
            line
        };
        let wait = |lines: &[LedgerEntry]| {
            longest_wait(lines, TimestampUs(1_000), TimestampUs(10_000)).as_micros()
        };
        let (before, within) = (call(999, Some(9_000)), call(1_000, Some(1_200)));
        let (at_the_end, after) = (call(10_000, Some(10_500)), call(10_001, Some(19_000)));
        assert_eq!(wait(&[before.clone(), within.clone(), after.clone()]), 200);
        assert_eq!(wait(&[within.clone(), at_the_end]), 500);
        assert_eq!(wait(&[within, call(4_000, None)]), 6_000);
        assert_eq!(wait(&[before, after]), 0);
    }

    #[test]
    fn longest_gap_includes_both_ends_and_ignores_answers_outside() {
        let lines = [
            line("a", Some(100)),
            line("b", Some(900)),
            line("c", Some(400)),
            line("d", None),
        ];
        let gap =
            |from, to| longest_gap(&lines, TimestampUs(from), TimestampUs(to), false).as_micros();
        assert_eq!(gap(0, 1_000), 500);
        assert_eq!(gap(0, 2_000), 1_100);
        assert_eq!(gap(400, 900), 500);
        assert_eq!(gap(2_000, 3_000), 1_000);
    }

    #[test]
    fn a_pause_in_which_no_charger_waits_is_a_gap_only_if_it_may_be_one() {
        let call = |sent: u64, answered: Option<u64>| {
            let mut line = line("a", answered);
            line.sent_at = Some(TimestampUs(sent));
            line
        };
        let gap = |lines: &[LedgerEntry], waiting_only| {
            longest_gap(lines, TimestampUs(0), TimestampUs(10_000), waiting_only).as_micros()
        };
        let rare = [call(1_000, Some(1_100)), call(9_000, Some(9_300))];
        assert_eq!(gap(&rare, true), 300);
        assert_eq!(gap(&rare, false), 8_200);
        // The second waits until the third is answered, which was sent when the second waited already.
        let slow = [
            call(1_000, Some(1_100)),
            call(2_000, Some(6_000)),
            call(3_000, Some(5_000)),
        ];
        assert_eq!(gap(&slow, true), 3_000);
        // Never answered: until the end.
        let unanswered = [call(1_000, Some(1_100)), call(4_000, None)];
        assert_eq!(gap(&unanswered, true), 6_000);
        // The answer and the next call have the same time.
        let next = [call(1_000, Some(2_000)), call(2_000, Some(2_500))];
        assert_eq!(gap(&next, true), 1_000);
        // What was sent before the time counts from its beginning.
        let before = [call(1_000, Some(7_000))];
        let late = longest_gap(&before, TimestampUs(5_000), TimestampUs(8_000), true);
        assert_eq!(late.as_micros(), 2_000);
        assert_eq!(gap(&[], true), 0);
    }

    #[test]
    fn answers_in_a_storm_are_those_to_messages_that_were_sent_once_within_it() {
        let sent = |sent_at: u64, answer_at: u64, attempts: u32| {
            let mut line = line("a", Some(answer_at));
            (line.sent_at, line.attempts) = (Some(TimestampUs(sent_at)), attempts);
            line
        };
        let mut lines: Vec<LedgerEntry> = (0..99).map(|i| sent(1_000 + i, 1_010 + i, 1)).collect();
        let within = |lines: &[LedgerEntry], share| {
            let times = [
                (TimestampUs(0), TimestampUs(1)),
                (TimestampUs(1_000), TimestampUs(2_000)),
            ];
            share_answered_within(lines, &times, share).map(|time| time.as_micros())
        };
        lines.push(sent(999, 90_000, 1));
        lines.push(sent(2_001, 90_000, 1));
        lines.push(sent(1_500, 90_000, 2));
        assert_eq!(within(&lines, 0.99), Some(10));
        lines.push(sent(1_500, 1_600, 1));
        assert_eq!(
            (within(&lines, 0.99), within(&lines, 0.5)),
            (Some(100), Some(10))
        );
        assert_eq!(within(&[], 0.99), None);
    }

    #[test]
    fn only_the_time_of_the_missing_messages_is_read() {
        let call = |id: &str, sent_s: u64| {
            let mut line = line(id, Some((sent_s + 1) * 1_000_000));
            line.sent_at = Some(TimestampUs(sent_s * 1_000_000));
            line
        };
        let mut lines = vec![call("a", 100), call("b", 200), call("c", 300)];
        let until = TimestampUs(1_000 * 1_000_000);
        let begun = Timestamp(90_000);
        let seconds = |range: Option<(Timestamp, Timestamp)>| {
            range.map(|(from, to)| (from.0 / 1_000, to.0 / 1_000))
        };
        let mut not_stored = NotStored::new(&lines, until, begun);
        assert_eq!(seconds(not_stored.range()), Some((95, 306)));
        not_stored.found("DRILL-1", "a".into());
        not_stored.found("DRILL-1", "c".into());
        assert_eq!(seconds(not_stored.range()), Some((195, 306)));
        not_stored.found("DRILL-1", "b".into());
        assert_eq!(not_stored.range(), None);
        // Of one it is not known when it was sent, and no other was received before the run.
        lines[1].sent_at = None;
        let not_stored = NotStored::new(&lines, until, begun);
        assert_eq!(seconds(not_stored.range()), Some((90, 306)));
    }

    #[test]
    fn message_is_found_once_under_any_of_its_ids() {
        let lines = [
            line("a", Some(10)),
            line("b", Some(20)),
            line("late", Some(99)),
            line("d", None),
        ];
        let mut not_stored = NotStored::new(&lines, TimestampUs(50), Timestamp(0));
        assert_eq!(not_stored.left, 2);
        not_stored.found("drill-1", "a-again".into());
        not_stored.found("DRILL-1", "a".into());
        not_stored.found("DRILL-1", "late".into());
        not_stored.found("DRILL-2", "b".into());
        assert_eq!(not_stored.left, 1);
        not_stored.found("DRILL-1", "b".into());
        assert_eq!(not_stored.left, 0);
    }
}

//! What became of claims of which the database knows no end: those of a process that was killed, and those of this one
//! whose commit is unknown.
//!
//! Nothing is guessed. The record of sending has the claim's `next_seq` or a later number. The journal's records from there
//! on are read; of those that the journal no longer has, the database must have all. A command whose record of sending
//! is found without a reply is recorded as unanswered. One whose record provably does not exist was not sent, and is
//! queued again unless it may have been shown as uncertain. Any other claim is examined again later.

use crate::clock::wall_clock;
use crate::commands::Commands;
use crate::resume::scan;
use central::model::{ChargerKey, CommandId, NotSent, Refusal, SILENCE_MAX_MS, Sent};
use central::ports::{CommandQueue, OpenClaim, Unavailable};
use central::record::{Notes, call_unanswered};
use central::{AnswerKind, Record, RecordKind, Seq, Timestamp};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Claims that are settled at a time.
const CLAIMS_MAX: usize = 1_000;
/// How often open claims are queried.
const EVERY: Duration = Duration::from_secs(10);
/// The first pause before claims that were not provable are examined again; it doubles up to [`EVERY`], because each
/// examination reads the journal.
const AGAIN: Duration = Duration::from_secs(1);
/// A claim of this process that no connection has is settled after this time: the commit was not reported.
const OWN_AFTER_MS: i64 = 10_000;
/// A claim is not released in this last part of [`SILENCE_MAX_MS`]: time passes between the look at the database's clock and the
/// end of the transaction.
const MARGIN_MS: i64 = 5_000;
/// A claim that cannot be proved either way is recorded as unanswered after this time.
const GIVE_UP_MS: i64 = 24 * 3_600 * 1_000;

/// Decides when claims are settled.
pub(super) struct Settler {
    next: Instant,
    pause: Duration,
}

/// What the journal says of one command.
#[derive(Default)]
struct Found {
    /// The record of the call.
    call: Option<Vec<u8>>,
    /// Whether there is a reply, or the end of waiting.
    has_end: bool,
}

/// What became of a claim.
enum Verdict {
    /// Its records are on the way to the database.
    OnItsWay,
    /// It was sent, and nothing followed.
    Sent,
    NotSent,
    /// Not provable yet.
    Unknown,
}

impl Settler {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            next: now,
            pause: AGAIN,
        }
    }

    /// Settles claims, if it is time.
    pub(super) fn run(
        &mut self,
        commands: &Commands,
        queue: &dyn CommandQueue,
    ) -> Result<(), Unavailable> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        let open = queue.claims(commands.gateway, commands.started, CLAIMS_MAX)?;
        let time = queue.time()?;
        let is_due = |open: &OpenClaim| {
            let is_old = open.claim.started < commands.started
                || time >= open.claim.at.plus_millis(OWN_AFTER_MS);
            is_old && !commands.is_known(open.command.id)
        };
        let due: Vec<OpenClaim> = open.into_iter().filter(is_due).collect();
        if due.is_empty() {
            self.pause = AGAIN;
            self.next = now + EVERY;
            return Ok(());
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(EVERY);
        settle(commands, queue, &due, time)
    }
}

fn settle(
    commands: &Commands,
    queue: &dyn CommandQueue,
    due: &[OpenClaim],
    time: Timestamp,
) -> Result<(), Unavailable> {
    let journal = &commands.journal;
    let status = journal.status();
    // The process or connection that wrote records of these commands has ended, so no more records follow.
    let end = Seq(status.appended_seq.saturating_add(1));
    // What is not durable cannot be read yet.
    if journal.wait_durable(status.appended_seq).is_err() {
        return Ok(());
    }
    let first = due.iter().map(|open| open.claim.next_seq).min();
    let from = first.unwrap_or(end).0.max(status.oldest_seq);
    let mut found: HashMap<CommandId, Found> = due
        .iter()
        .map(|open| (open.command.id, Found::default()))
        .collect();
    let mut read = Vec::new();
    let scanned = scan(journal, from.saturating_sub(1), |seq, bytes| {
        note_read(&mut read, Seq(seq));
        let Ok(record) = Record::decode(bytes) else {
            return;
        };
        let id = CommandId::from_message_id(record.message_id);
        let Some(found) = id.and_then(|id| found.get_mut(&id)) else {
            return;
        };
        match record.kind {
            RecordKind::CallToCharger => found.call = Some(bytes.to_vec()),
            RecordKind::CallUnanswered => found.has_end = true,
            RecordKind::CallResult | RecordKind::CallError => {
                found.has_end |= !record.notes.has(Notes::UNSOLICITED);
            }
            RecordKind::Call
            | RecordKind::Send
            | RecordKind::CallResultError
            | RecordKind::Unreadable
            | RecordKind::Connected
            | RecordKind::Disconnected
            | RecordKind::GatewayStarted => {}
        }
    });
    if scanned.is_err() {
        // The journal is closed: this process ends.
        return Ok(());
    }
    for open in due {
        let id = open.command.id;
        let found = found.remove(&id).unwrap_or_default();
        let verdict = if found.has_end {
            Verdict::OnItsWay
        } else if !has_rest(queue, open, &read, end)? {
            Verdict::Unknown
        } else if found.call.is_some() || open.sent.is_some() {
            Verdict::Sent
        } else {
            Verdict::NotSent
        };
        match verdict {
            Verdict::OnItsWay => commands.ended(id),
            Verdict::Sent => {
                let why = "the gateway was killed before the answer";
                if record_end(commands, open, found.call.as_deref(), why) {
                    commands.settled.increment(1);
                }
            }
            Verdict::NotSent => {
                give_back(queue, open, time)?;
                commands.settled.increment(1);
                commands.hint(ChargerKey::of(&open.command.charger_id));
            }
            Verdict::Unknown if time >= open.claim.at.plus_millis(GIVE_UP_MS) => {
                let why = "the gateway was killed; whether it was sent is not known";
                record_end(commands, open, found.call.as_deref(), why);
            }
            Verdict::Unknown => {}
        }
    }
    Ok(())
}

/// Notes that a record was read; `read` are ranges without gaps, in order.
fn note_read(read: &mut Vec<(Seq, Seq)>, seq: Seq) {
    match read.last_mut() {
        Some((_, last)) if last.next() == Some(seq) => *last = seq,
        _ => read.push((seq, seq)),
    }
}

/// Whether the database has all records since the claim that were not read from the journal. After this, the database
/// also has what follows from them.
fn has_rest(
    queue: &dyn CommandQueue,
    open: &OpenClaim,
    read: &[(Seq, Seq)],
    end: Seq,
) -> Result<bool, Unavailable> {
    let gateway = open.claim.gateway;
    for (from, to) in gaps(open.claim.next_seq, end, read) {
        if !queue.has_all(gateway, from, to)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The parts of `from..end` that are in none of the ranges, each as its first number and the one after its last.
fn gaps(from: Seq, end: Seq, read: &[(Seq, Seq)]) -> Vec<(Seq, Seq)> {
    let mut gaps = Vec::new();
    let mut next = from;
    for (first, last) in read {
        if *first > next {
            gaps.push((next, (*first).min(end)));
        }
        if *last >= next {
            next = last.next().unwrap_or(*last);
        }
    }
    if next < end {
        gaps.push((next, end));
    }
    gaps.retain(|(from, to)| from < to);
    gaps
}

/// The command was not sent: it is queued again, unless it may already have been shown as uncertain. The database does
/// neither if it has a record of sending meanwhile.
fn give_back(
    queue: &dyn CommandQueue,
    open: &OpenClaim,
    time: Timestamp,
) -> Result<(), Unavailable> {
    let (claim, id) = (open.claim, open.command.id);
    if time < claim.at.plus_millis(SILENCE_MAX_MS - MARGIN_MS) {
        return queue.release(claim, &[id]);
    }
    let detail = "the gateway that had it ended before it was sent";
    queue.refuse(claim, id, &Refusal::new(NotSent::Expired, detail), time)
}

/// Records that the reply is no longer waited for; returns whether the journal has taken it.
fn record_end(commands: &Commands, open: &OpenClaim, call: Option<&[u8]>, why: &str) -> bool {
    let now = wall_clock();
    let message_id = open.command.id.to_string();
    let blank = Record {
        kind: RecordKind::CallToCharger,
        charger_id: &open.command.charger_id,
        ocpp_version: open
            .sent
            .as_ref()
            .map_or(ocpp::Version::V16, |sent| sent.version),
        message_id: &message_id,
        action: &open.command.action,
        payload: "",
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: now,
        epoch: open
            .sent
            .as_ref()
            .map_or(open.claim.started, |sent: &Sent| sent.epoch),
        notes: Notes::default(),
        reason: "",
    };
    let call = call.and_then(|bytes| Record::decode(bytes).ok());
    let bytes = call_unanswered(&call.unwrap_or(blank), why, now);
    match commands.journal.append(&bytes, None) {
        Ok(_) => {
            commands.ended(open.command.id);
            true
        }
        Err(error) => {
            tracing::debug!(%error, command = %open.command.id, "its end is recorded later");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_was_not_read() {
        let seqs = |pairs: &[(u64, u64)]| -> Vec<(Seq, Seq)> {
            pairs.iter().map(|(a, b)| (Seq(*a), Seq(*b))).collect()
        };
        for (from, end, read, expected) in [
            (5, 9, vec![], vec![(5, 9)]),
            (5, 9, vec![(5, 8)], vec![]),
            (5, 9, vec![(1, 20)], vec![]),
            (5, 9, vec![(7, 8)], vec![(5, 7)]),
            (5, 9, vec![(1, 5), (8, 8)], vec![(6, 8)]),
            (5, 9, vec![(20, 30)], vec![(5, 9)]),
            (9, 9, vec![], vec![]),
        ] {
            let found = gaps(Seq(from), Seq(end), &seqs(&read));
            assert_eq!(found, seqs(&expected), "{from}..{end} {read:?}");
        }
    }

    #[test]
    fn numbers_in_a_row_are_one_range() {
        let mut read = Vec::new();
        for seq in [3, 4, 5, 8, 9] {
            note_read(&mut read, Seq(seq));
        }
        assert_eq!(read, [(Seq(3), Seq(5)), (Seq(8), Seq(9))]);
    }
}

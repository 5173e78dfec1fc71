//! Rows of commands, the same for both databases.

use crate::paging::cut;
use crate::refusal::Refusal;
use crate::state::{Unreadable, or_leave_out, read_with, readable};
use central::effect::{self, ClaimedCommand};
use central::model::{
    ChargerKey, Claim, Command, CommandId, CommandProgress, CommandStage, CommandView, EffectPhase,
    NotSent, Refusal as NotSentBecause, StoredCommand, TraceParent,
};
use central::ports::{OpenClaim, Unavailable};
use central::query::{Page, Place};
use central::{Epoch, GatewayId, Record, RecordId, Seq, Timestamp};
use uuid::Uuid;

/// The columns of [`CommandRow`], of the table `commands c` and of [`JOINS`].
pub(crate) const COLUMNS: &str = "c.no, c.id, c.charger_id, c.action, c.payload, c.answer_within_ms, c.send_before, \
     c.created_at, c.requested_by, c.waits, c.stage, c.gateway, c.started, c.next_seq, c.claimed_at, c.reason, \
     c.detail, c.ended_at, p.state, e.state, c.repeats, c.repeated_by, c.traceparent, c.skips_check";

/// What records and messages say of each command, beside the table `commands c`.
pub(crate) const JOINS: &str =
    "LEFT JOIN command_progress p ON p.id = c.id LEFT JOIN command_effects e ON e.id = c.id";

/// The columns of a command that effects can be joined with, of the table `commands c`; see [`ClaimedRow`].
pub(crate) const CLAIMED_COLUMNS: &str = "c.id, c.charger_key, c.action, c.payload, c.gateway, c.started, c.next_seq, c.claimed_at, c.effect_until";

/// A command that effects can be joined with.
#[derive(Debug)]
pub(crate) struct ClaimedRow {
    pub(crate) id: Uuid,
    pub(crate) charger_key: String,
    pub(crate) action: String,
    pub(crate) payload: String,
    pub(crate) gateway: Uuid,
    pub(crate) started: i64,
    pub(crate) next_seq: i64,
    pub(crate) claimed_at: i64,
    pub(crate) until: i64,
}

impl ClaimedRow {
    pub(crate) fn command(self) -> ClaimedCommand {
        ClaimedCommand {
            id: CommandId(self.id),
            charger: ChargerKey::of(&self.charger_key),
            action: self.action,
            payload: self.payload,
            claim: Claim {
                gateway: GatewayId(self.gateway),
                started: Epoch(self.started.cast_unsigned()),
                next_seq: Seq(self.next_seq.cast_unsigned()),
                at: Timestamp(self.claimed_at),
            },
            until: Timestamp(self.until),
        }
    }
}

/// The keys of commands that these records may be the effect of, by charger; sorted, each once.
pub(crate) fn effect_keys(records: &[(RecordId, Record<'_>)]) -> Vec<(String, String)> {
    let mut keys: Vec<(String, String)> = Vec::new();
    for (_, record) in records {
        let of_record = effect::keys(record);
        if of_record.is_empty() {
            continue;
        }
        let charger = ChargerKey::of(record.charger_id);
        keys.extend(
            of_record
                .into_iter()
                .map(|key| (charger.as_str().to_owned(), key)),
        );
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The earliest reception of these records.
pub(crate) fn first_received(records: &[(RecordId, Record<'_>)]) -> Timestamp {
    let received = records.iter().map(|(_, record)| record.received_at);
    received.min().unwrap_or_default()
}

/// The records that a row of `command_progress` names; none if it cannot be read.
pub(crate) fn records_of(id: &Uuid, state: &str) -> impl Iterator<Item = RecordId> + use<> {
    let progress: Option<CommandProgress> = readable(state, &format_args!("command {id}"));
    let progress = progress.unwrap_or_default();
    let sent = progress.sent.map(|sent| sent.record);
    let reply = progress.reply.map(|reply| reply.record);
    let end = progress.unanswered.map(|end| end.record);
    [sent, reply, end].into_iter().flatten()
}

/// A command's row with its progress.
#[derive(Debug)]
pub(crate) struct CommandRow {
    pub(crate) no: i64,
    pub(crate) id: Uuid,
    pub(crate) charger_id: String,
    pub(crate) action: String,
    pub(crate) payload: String,
    pub(crate) answer_within_ms: i64,
    pub(crate) send_before: i64,
    pub(crate) created_at: i64,
    pub(crate) requested_by: String,
    pub(crate) waits: bool,
    pub(crate) stage: i64,
    pub(crate) gateway: Option<Uuid>,
    pub(crate) started: Option<i64>,
    pub(crate) next_seq: Option<i64>,
    pub(crate) claimed_at: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) progress: Option<String>,
    pub(crate) effect: Option<String>,
    pub(crate) repeats: Option<Uuid>,
    pub(crate) repeated_by: Option<Uuid>,
    pub(crate) traceparent: Option<String>,
    pub(crate) skips_check: bool,
}

pub(crate) const QUEUED: i64 = 0;
pub(crate) const CLAIMED: i64 = 1;
pub(crate) const NOT_SENT: i64 = 2;

/// The detail of a request that did not wait and was not claimed in time.
pub(crate) const NOT_TAKEN_IN_TIME: &str =
    "no gateway with a connection of the charger claimed it in time";
/// The detail of a request that did not wait, while an earlier command was outstanding.
pub(crate) const CHARGER_WAS_BUSY: &str =
    "an earlier command to this charger was not finished in time";

impl CommandRow {
    /// The command as the port returns it.
    pub(crate) fn stored(self, unreadable: Unreadable) -> Result<StoredCommand, Refusal> {
        let stage = self.stage()?;
        let progress = self.progress(unreadable)?;
        let effect = self.effect.as_deref();
        let effect = effect.map(|json| read_with(json, &self.whose(), unreadable));
        let effect = effect.transpose()?;
        Ok(StoredCommand {
            effect: effect.unwrap_or_default(),
            repeats: self.repeats.map(CommandId),
            repeated_by: self.repeated_by.map(CommandId),
            traceparent: self.traceparent.as_deref().and_then(TraceParent::parse),
            // What shows the command looks it up.
            charger_is_absent: false,
            created_at: Timestamp(self.created_at),
            waits_when_offline: self.waits,
            stage,
            progress,
            requested_by: self.requested_by.clone(),
            command: self.command(),
        })
    }

    /// A claim without an end; `None` if it cannot be read, so that nothing is decided about it.
    pub(crate) fn open_claim(self) -> Option<OpenClaim> {
        let whose = self.whose();
        let read = || {
            let CommandStage::Claimed(claim) = self.stage()? else {
                return Err(self.corrupt());
            };
            Ok(OpenClaim {
                claim,
                sent: self.progress(Unreadable::Fails)?.sent,
                command: self.command(),
            })
        };
        or_leave_out(read(), &whose)
    }

    fn whose(&self) -> impl std::fmt::Display + use<> {
        let id = self.id;
        std::fmt::from_fn(move |f| write!(f, "command {id}"))
    }

    fn progress(&self, unreadable: Unreadable) -> Result<CommandProgress, Refusal> {
        let progress = self.progress.as_deref();
        let progress = progress.map(|json| read_with(json, &self.whose(), unreadable));
        Ok(progress.transpose()?.unwrap_or_default())
    }

    pub(crate) fn command(self) -> Command {
        Command {
            id: CommandId(self.id),
            charger_id: self.charger_id,
            action: self.action,
            payload: self.payload,
            answer_within_ms: u32::try_from(self.answer_within_ms).unwrap_or(u32::MAX),
            send_before: Timestamp(self.send_before),
            skips_check: self.skips_check,
        }
    }

    fn stage(&self) -> Result<CommandStage, Refusal> {
        match self.stage {
            QUEUED => Ok(CommandStage::Queued),
            CLAIMED => {
                let claim = (self.gateway, self.started, self.next_seq, self.claimed_at);
                let (Some(gateway), Some(started), Some(next_seq), Some(at)) = claim else {
                    return Err(self.corrupt());
                };
                Ok(CommandStage::Claimed(Claim {
                    gateway: GatewayId(gateway),
                    started: Epoch(started.cast_unsigned()),
                    next_seq: Seq(next_seq.cast_unsigned()),
                    at: Timestamp(at),
                }))
            }
            NOT_SENT => {
                let reason = self.reason.as_deref().and_then(NotSent::from_name);
                let reason = reason.ok_or_else(|| self.corrupt())?;
                Ok(CommandStage::NotSent {
                    refusal: NotSentBecause::new(reason, self.detail.clone().unwrap_or_default()),
                    at: Timestamp(self.ended_at.unwrap_or_default()),
                })
            }
            _ => Err(self.corrupt()),
        }
    }

    fn corrupt(&self) -> Refusal {
        let detail = format!("the row of command {} has impossible values", self.id);
        Refusal::corrupt(detail)
    }
}

/// Rows of commands that one page reads at most, for a filter that is not a column.
const FILTERED_ROWS_MAX: usize = 2_000;

/// Rows of them that are in memory at a time.
const FILTERED_ROWS_AT_ONCE: usize = 200;

/// A page of the commands before `before` whose effect is in the wanted phase. `read` returns rows before a number. If few
/// match, the page is short and has a next one.
pub(crate) fn page_of(
    before: i64,
    limit: usize,
    wanted: Option<EffectPhase>,
    mut read: impl FnMut(i64, usize) -> Result<Vec<(i64, CommandView)>, Unavailable>,
) -> Result<Page<CommandView>, Unavailable> {
    let place = |(no, view)| (Place::Command(no), view);
    let Some(wanted) = wanted else {
        let rows = read(before, limit + 1)?;
        return Ok(cut(rows.into_iter().map(place).collect(), limit));
    };
    let (mut before, mut rows_read, mut items) = (before, 0, Vec::new());
    loop {
        let rows = read(before, FILTERED_ROWS_AT_ONCE)?;
        let is_last = rows.len() < FILTERED_ROWS_AT_ONCE;
        rows_read += rows.len();
        for (no, view) in rows {
            if view.effect.state == wanted && items.len() == limit {
                let next = Some(Place::Command(before).to_cursor());
                return Ok(Page { items, next });
            }
            before = no;
            if view.effect.state == wanted {
                items.push(view);
            }
        }
        if is_last || rows_read >= FILTERED_ROWS_MAX {
            let next = (!is_last).then(|| Place::Command(before).to_cursor());
            return Ok(Page { items, next });
        }
    }
}

/// The condition that excludes most commands whose effect is not in this phase; `PARAMETER` is the time.
pub(crate) fn effect_condition(wanted: Option<EffectPhase>, parameter: &str) -> String {
    match wanted {
        Some(EffectPhase::Expected) => format!(" AND c.effect_until > {parameter}"),
        _ => format!(" AND {parameter} IS NOT NULL"),
    }
}

/// How many numbers are looked up at a time.
const SLICE: u64 = 4_096;

/// The slices of `from..to`, each as its first and its last number.
pub(crate) fn slices(from: Seq, to: Seq) -> impl Iterator<Item = (Seq, Seq)> {
    (from.0..to.0)
        .step_by(usize::try_from(SLICE).unwrap_or(usize::MAX))
        .map(move |first| {
            let last = first.saturating_add(SLICE - 1).min(to.0 - 1);
            (Seq(first), Seq(last))
        })
}

/// Whether all numbers from `first` to `last` are among these.
pub(crate) fn are_all(mut seqs: Vec<Seq>, first: Seq, last: Seq) -> bool {
    seqs.sort_unstable();
    seqs.dedup();
    seqs.len() as u64 == last.0 - first.0 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_the_range_once() {
        for (from, to) in [(1, 1), (1, 2), (1, 4_097), (1, 4_098), (9, 20_000)] {
            let mut next = from;
            for (first, last) in slices(Seq(from), Seq(to)) {
                assert_eq!(first.0, next);
                assert!(last.0 - first.0 < SLICE);
                next = last.0 + 1;
            }
            assert_eq!(next, to);
        }
    }

    #[test]
    fn all_are_there_only_if_none_is_missing() {
        let seqs = |numbers: &[u64]| numbers.iter().copied().map(Seq).collect::<Vec<_>>();
        assert!(are_all(seqs(&[3, 1, 2, 2]), Seq(1), Seq(3)));
        assert!(!are_all(seqs(&[3, 1, 1]), Seq(1), Seq(3)));
    }
}

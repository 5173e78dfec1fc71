//! Calls of the central system (commands): each is checked, carried out, answered, and noted for the ledger.
//!
//! A charger answers every action that its version has: [`actions`] is the table, with one row per action, and the other
//! modules have one function per row, grouped as the specification's functional blocks. What a command makes the charger
//! keep is in [`kept`], which is allocated with the first command, so that an idle charger uses no memory for it.
//!
//! A command is carried out at once and answered before the messages that it causes. The settings can make a charger
//! reject, delay or ignore commands, or lose the connection ([`crate::CommandFault`]).

mod actions;
mod availability;
mod certificates;
mod customer;
mod der;
mod device_model;
mod diagnostics;
mod display;
mod firmware;
mod jobs;
mod kept;
mod local_list;
mod misc;
mod monitoring;
mod profiles;
mod remote_transactions;
mod reports;
mod reservations;
mod reset;
mod streams;
mod tariffs;
mod trigger;
mod variables;

pub(super) use kept::Kept;
pub(super) use reset::BootReason;

use super::Charger;
use super::output::{Count, Output, ReceivedCommand};
use crate::command_fault::FaultKind;
use crate::ledger::CommandOutcome;
use crate::timestamp::TimestampUs;
use ocpp::frame::{self, Call, MessageId};
use ocpp::{ErrorCode, Version, action};
use serde_json::{Value, json};

/// Maximum number of commands whose answer is delayed at one time; a further one is answered without its delay.
const DELAYED_MAX: usize = 8;
/// A command with a longer payload is answered without its delay.
const DELAYED_BYTES_MAX: usize = 16 * 1024;
/// While this many messages wait to be sent, commands are answered with CALLERROR, because they may cause more.
const WAITING_MESSAGES_MAX: usize = 200;

/// A command whose answer is delayed. It is carried out at `due`.
#[derive(Debug)]
pub(super) struct Delayed {
    due: TimestampUs,
    command: Command,
    fault: Option<FaultKind>,
}

#[derive(Debug)]
struct Command {
    id: String,
    action: String,
    payload: String,
    received_at: TimestampUs,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Result(Value),
    Error(ErrorCode, String),
}

impl Answer {
    fn status(status: &str) -> Self {
        Self::Result(json!({ "status": status }))
    }

    fn accepted() -> Self {
        Self::status("Accepted")
    }

    fn rejected() -> Self {
        Self::status("Rejected")
    }

    fn status_if(condition: bool, yes: &str, no: &str) -> Self {
        Self::status(if condition { yes } else { no })
    }

    fn empty() -> Self {
        Self::Result(json!({}))
    }
}

impl Charger {
    /// Handles a call of the central system.
    pub(super) fn handle_call(&mut self, call: &Call<'_>, now: TimestampUs) {
        let command = Command {
            id: call.id.as_str().to_owned(),
            action: call.action.clone().into_owned(),
            payload: call.payload.to_owned(),
            received_at: now,
        };
        let faults = &self.settings.command_faults;
        let plan = crate::command_fault::plan(faults, &command.action, &mut self.rng);
        if let Some(delay) = plan.delay
            && command.payload.len() <= DELAYED_BYTES_MAX
            && self.kept().delayed.len() < DELAYED_MAX
        {
            let delayed = Delayed {
                due: now.plus(delay),
                command,
                fault: plan.fault,
            };
            self.kept().delayed.push(delayed);
        } else {
            self.carry_out(command, plan.fault, now);
        }
    }

    fn carry_out(&mut self, command: Command, fault: Option<FaultKind>, now: TimestampUs) {
        let (answer, executed) = self.answer(&command, fault, now);
        let (text, outcome) = match &answer {
            Answer::Result(value) => (value.to_string(), CommandOutcome::Result),
            Answer::Error(code, _) => (code.as_str(self.version).to_owned(), CommandOutcome::Error),
        };
        let is_sent = !matches!(fault, Some(FaultKind::Silent | FaultKind::Drop));
        if is_sent {
            let id = MessageId::from(command.id.as_str());
            let frame = match &answer {
                Answer::Result(_) => frame::write_call_result(&id, &text),
                Answer::Error(_, why) => frame::write_call_error(&id, &text, why, "{}"),
            };
            self.outputs.push_back(Output::Send(frame));
            self.count(Count::CallAnswered);
        }
        let outcome = if is_sent {
            outcome
        } else {
            CommandOutcome::Unanswered
        };
        let answered = is_sent.then_some((now, text));
        self.note_command(command, executed, outcome, answered, fault);
        if fault == Some(FaultKind::Drop) {
            self.outputs.push_back(Output::Drop);
            self.connection_lost(now);
        }
    }

    /// The answer, and whether the command was carried out.
    fn answer(
        &mut self,
        command: &Command,
        fault: Option<FaultKind>,
        now: TimestampUs,
    ) -> (Answer, bool) {
        let refused = |code, why: String| (Answer::Error(code, why), false);
        let Some(info) = action::lookup(self.version, &command.action) else {
            let why = format!("OCPP {} has no such action", self.version);
            return refused(ErrorCode::NotImplemented, why);
        };
        let Some(carry_out) = actions::handler(self.version, info.name) else {
            let why = "a charging station sends this action".to_owned();
            return refused(ErrorCode::NotSupported, why);
        };
        if let Some(violation) = info.check_request(&command.payload).first() {
            return refused(violation.error_code(), violation.to_string());
        }
        match fault {
            Some(FaultKind::Reject) => return (rejection(info), false),
            Some(FaultKind::Error) => {
                return refused(ErrorCode::InternalError, "simulated failure".to_owned());
            }
            Some(FaultKind::Silent | FaultKind::Drop) | None => {}
        }
        if self.pending.len() >= WAITING_MESSAGES_MAX {
            let why = "too many messages wait to be sent".to_owned();
            return refused(ErrorCode::InternalError, why);
        }
        match serde_json::from_str(&command.payload) {
            Ok(payload) => (carry_out(self, &payload, now), true),
            Err(error) => refused(ErrorCode::FormatViolation, error.to_string()),
        }
    }

    /// Writes the ledger entry of a command.
    fn note_command(
        &mut self,
        command: Command,
        executed: bool,
        outcome: CommandOutcome,
        answered: Option<(TimestampUs, String)>,
        fault: Option<FaultKind>,
    ) {
        if !self.settings.keep_ledger {
            return;
        }
        let (answered_at, answer) = answered.unzip();
        self.outputs
            .push_back(Output::Command(Box::new(ReceivedCommand {
                message_id: command.id,
                action: command.action,
                payload: command.payload,
                connection: self.connections,
                received_at: command.received_at,
                executed,
                outcome,
                answered_at,
                answer,
                fault,
            })));
    }

    /// Ends the commands whose answer is delayed, because the connection was lost. They are not carried out.
    pub(super) fn drop_delayed_commands(&mut self) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        for Delayed { command, fault, .. } in std::mem::take(&mut kept.delayed) {
            self.note_command(command, false, CommandOutcome::Unanswered, None, fault);
        }
    }

    /// Does what is due of the commands: delayed answers, a reset, the steps of jobs, the end of reservations.
    pub(super) fn drive_commands(&mut self, now: TimestampUs) {
        if self.kept.is_none() {
            return;
        }
        while let Some(delayed) = self.take_delayed(now) {
            self.carry_out(delayed.command, delayed.fault, now);
        }
        if !self.draining {
            self.expire_reservations(now);
            self.drive_jobs(now);
            self.drive_streams(now);
        }
        self.drive_reset(now);
    }

    fn take_delayed(&mut self, now: TimestampUs) -> Option<Delayed> {
        let delayed = &mut self.kept.as_mut()?.delayed;
        let index = delayed.iter().position(|one| one.due <= now)?;
        Some(delayed.remove(index))
    }

    pub(super) fn commands_deadline(&self) -> Option<TimestampUs> {
        let kept = self.kept.as_ref()?;
        let delayed = kept.delayed.iter().map(|one| one.due).min();
        let (jobs, reservations, streams) = if self.draining {
            (None, None, None)
        } else {
            (
                self.jobs_deadline(),
                kept.reservations_deadline(),
                self.streams_deadline(),
            )
        };
        [delayed, jobs, reservations, streams]
            .into_iter()
            .flatten()
            .min()
    }

    /// What commands made the charger keep.
    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// The index of the connector with this number, from 1 (an EVSE in 2.x).
    fn connector_index(&self, number: &Value) -> Option<usize> {
        let index = usize::try_from(number.as_u64()?).ok()?.checked_sub(1)?;
        (index < self.connectors.len()).then_some(index)
    }

    /// The status with a reason, which exists in 2.x only.
    fn status_because(&self, status: &str, reason: &str) -> Answer {
        match self.version {
            Version::V16 => Answer::status(status),
            _ => Answer::Result(json!({"status": status, "statusInfo": {"reasonCode": reason}})),
        }
    }
}

/// The answer of an action to a command that the charger refuses: a status that the response's schema has, or a CALLERROR
/// if it has none.
fn rejection(info: &action::ActionInfo) -> Answer {
    const REFUSALS: [&str; 8] = [
        "Rejected",
        "Failed",
        "UnlockFailed",
        "NotSupported",
        "NotFound",
        "Unknown",
        "NoProfiles",
        "NoFirmware",
    ];
    let refusal = REFUSALS.into_iter().find(|status| {
        let payload = json!({ "status": status }).to_string();
        info.check_response(&payload).is_empty()
            && !info
                .check_response(r#"{"status":"no such status"}"#)
                .is_empty()
    });
    match refusal {
        Some(status) => Answer::status(status),
        None => Answer::Error(ErrorCode::GenericError, "rejected".to_owned()),
    }
}

/// The items of a list, which may be absent.
fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A time in a payload; `None` if it is absent or no time.
fn time(value: &Value) -> Option<TimestampUs> {
    let at: jiff::Timestamp = value.as_str()?.parse().ok()?;
    u64::try_from(at.as_microsecond()).ok().map(TimestampUs)
}

/// The pages of a report: each has at most `page` items, and all but the last have `tbc`.
fn pages(all: Vec<Value>, page: usize) -> Vec<(Vec<Value>, bool)> {
    let count = all.len().div_ceil(page);
    let mut all = all.into_iter();
    (1..=count)
        .map(|number| (all.by_ref().take(page).collect(), number < count))
        .collect()
}

/// A self-signed certificate in PEM.
#[cfg(test)]
pub(super) fn test_root() -> &'static str {
    certificates::tests::ROOT
}

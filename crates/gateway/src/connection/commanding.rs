//! How a connection takes commands and reports their outcome. If a command is in the journal, the journal's records say
//! what follows; else it was not sent, and its claim is released.

use crate::RECORD_OVERHEAD;
use crate::commands::ClaimedCommand;
use crate::connection::Connection;
use central::model::{CommandId, NotSent, Refusal};
use central::station::NotTaken;
use central::{RecordKind, Timestamp};
use serde::{Deserialize, Serialize};

/// A command that the station has taken.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Commanding {
    claimed: ClaimedCommand,
    /// Whether the record of sending is in the journal.
    is_recorded: bool,
    /// Whether the reply, or the end of waiting, is in the journal.
    has_end: bool,
}

impl Commanding {
    pub(super) const fn id(&self) -> CommandId {
        self.claimed.command.id
    }
}

impl Connection {
    /// From now on commands are taken.
    pub(super) fn begin_commands(&self) {
        if self.commanding.is_some() {
            // Of another process; the slot is opened once it has ended.
            return;
        }
        self.control.open_for_command();
        self.parts.commands.hint(self.key.clone());
    }

    /// Finishes the command that has ended, and takes the next one that was given. Returns whether the station has
    /// something to do.
    pub(super) fn take_command(&mut self, wall: Timestamp) -> bool {
        if self.commanding.is_some() && self.station.wants_command() {
            self.end_command();
            self.control.open_for_command();
            self.parts.commands.hint(self.key.clone());
        }
        if self.commanding.is_some() || !self.station.wants_command() {
            return false;
        }
        let Some(claimed) = self.control.take_command() else {
            return false;
        };
        let (commands, bytes_max) = (
            &self.parts.commands,
            self.parts.delivery.journal.record_bytes_max(),
        );
        let taken = match claimed.command.payload.len() + RECORD_OVERHEAD > bytes_max {
            true => Err(NotTaken::Refused(Refusal::new(
                NotSent::NotSupportedByCharger,
                "the payload is too large for a record of the journal",
            ))),
            false => self.station.handle_command(&claimed.command, wall),
        };
        match taken {
            Ok(()) => {
                self.commanding = Some(Box::new(Commanding {
                    claimed,
                    is_recorded: false,
                    has_end: false,
                }));
                return true;
            }
            Err(NotTaken::NotNow) => commands.give_back(claimed),
            Err(NotTaken::Refused(refusal)) => commands.refuse(claimed, refusal),
        }
        self.control.open_for_command();
        false
    }

    /// The journal has taken a record of this connection.
    pub(super) fn command_recorded(&mut self, kind: RecordKind) {
        let Some(commanding) = &mut self.commanding else {
            return;
        };
        match kind {
            RecordKind::CallToCharger => commanding.is_recorded = true,
            // A late reply of an earlier command can be meant; then the end of this one is recorded later, or found in
            // the journal.
            RecordKind::CallResult | RecordKind::CallError | RecordKind::CallUnanswered => {
                commanding.has_end = commanding.is_recorded;
            }
            RecordKind::Call
            | RecordKind::Send
            | RecordKind::CallResultError
            | RecordKind::Unreadable
            | RecordKind::Connected
            | RecordKind::Disconnected
            | RecordKind::GatewayStarted => {}
        }
    }

    /// The connection has ended, and its last records are in the journal or refused.
    pub(super) fn end_commands(&mut self) {
        self.end_command();
    }

    fn end_command(&mut self) {
        let Some(commanding) = self.commanding.take() else {
            return;
        };
        let commands = &self.parts.commands;
        let id = commanding.claimed.command.id;
        match (commanding.is_recorded, commanding.has_end) {
            (false, _) => commands.give_back(commanding.claimed),
            (true, true) => commands.ended(id),
            (true, false) => commands.left_open(id),
        }
    }
}

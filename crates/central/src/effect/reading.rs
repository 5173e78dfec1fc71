//! What a charger's answer says about the effect, and by when the effect is expected.

use super::{Expectation, Transfer, text_of};
use crate::model::Command;
use crate::secret::Address;
use crate::time::Timestamp;
use ocpp::json::Raw;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Whether an effect follows this answer of the charger.
pub(crate) fn has_follow_up(action: &str, answer: &str) -> bool {
    let status = text_of(answer, "status");
    let is = |wanted: &[&str]| status.as_deref().is_some_and(|is| wanted.contains(&is));
    match action {
        // An answer without a name says that there is nothing to upload.
        "GetDiagnostics" => text_of(answer, "fileName").is_some_and(|name| !name.is_empty()),
        // 1.6 has no status.
        "UpdateFirmware" => status.is_none() || is(&["Accepted", "AcceptedCanceled"]),
        "ChangeConfiguration" => is(&["RebootRequired"]),
        "SetVariables" => needs_reboot(answer),
        "UnlockConnector" => is(&["Unlocked"]),
        _ => is(&["Accepted", "AcceptedCanceled", "Scheduled"]),
    }
}

/// Whether a variable that was set takes effect after the next boot.
fn needs_reboot(answer: &str) -> bool {
    let mut needs = false;
    let _ = Raw::new(answer).members(|name, value| {
        if name == "setVariableResult" {
            let _ = value.items(|item| {
                needs |=
                    text_of(item.as_str(), "attributeStatus").as_deref() == Some("RebootRequired");
            });
        }
    });
    needs
}

/// By when an effect is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    within_ms: i64,
    scheduled_ms: i64,
    late_ms: i64,
    /// The command's own time, such as when to install firmware or the end of a reservation.
    not_before: Option<Timestamp>,
}

impl Deadline {
    pub(crate) fn of(expectation: &Expectation, action: &str, payload: &str) -> Self {
        let (within_ms, scheduled_ms, late_ms) = match expectation {
            // A charger waits for the plug; 1.6 calls that ConnectionTimeOut, usually one or two minutes. A charger that
            // loses its connection meanwhile reports the start when it returns.
            Expectation::RemoteStart(_) | Expectation::Start(_) => {
                (5 * MINUTE, 5 * MINUTE, 7 * DAY)
            }
            // The contactor opens at once, and the cable may be unlocked first.
            Expectation::Stop(_) => (2 * MINUTE, 2 * MINUTE, 7 * DAY),
            // A restart takes minutes; one that waits for the end of transactions takes as long as these. A setting that
            // needs a restart has none of its own.
            Expectation::Boot if action == "Reset" => (5 * MINUTE, DAY, HOUR),
            Expectation::Boot => (DAY, DAY, 7 * DAY),
            Expectation::Message(_) => (MINUTE, MINUTE, 5 * MINUTE),
            // `Scheduled` waits for the end of the transaction.
            Expectation::Status(_) => (MINUTE, DAY, 5 * MINUTE),
            Expectation::Reservation(_) => (5 * MINUTE, 5 * MINUTE, DAY),
            Expectation::Report(_) => (REPORT_WITHIN_MS, REPORT_WITHIN_MS, DAY),
            Expectation::Transfer(of) => match of.transfer {
                Transfer::Firmware => (6 * HOUR, 6 * HOUR, 7 * DAY),
                Transfer::Publication => (2 * HOUR, 2 * HOUR, 7 * DAY),
                Transfer::Diagnostics | Transfer::Log => (HOUR, HOUR, 7 * DAY),
                Transfer::BatterySwap => (15 * MINUTE, 15 * MINUTE, DAY),
            },
        };
        Self {
            within_ms,
            scheduled_ms,
            late_ms,
            not_before: own_time(payload).map(|at| at.min(Timestamp(i64::MAX / 4))),
        }
    }

    /// By when it is expected after an answer at `answered_at`; `is_scheduled`: the answer is `Scheduled`.
    pub(crate) fn after(&self, answered_at: Timestamp, is_scheduled: bool) -> Timestamp {
        let within_ms = match is_scheduled {
            true => self.scheduled_ms,
            false => self.within_ms,
        };
        let from = self
            .not_before
            .map_or(answered_at, |at| at.max(answered_at));
        from.plus_millis(within_ms)
    }

    /// The latest time by which it may be expected, for an answer before this time.
    fn latest(&self, answered_before: Timestamp) -> Timestamp {
        self.after(answered_before, true)
            .max(self.after(answered_before, false))
    }

    /// Messages at or after this time are not the effect of the command, by the clock of its `send_before`.
    pub(crate) fn until(&self, command: &Command) -> Timestamp {
        let answer_within_ms = i64::from(command.answer_within_ms);
        self.latest(command.send_before.plus_millis(answer_within_ms))
            .plus_millis(self.late_ms)
    }
}

/// How long after the answer a report should be complete: 2 minutes.
const REPORT_WITHIN_MS: i64 = 2 * MINUTE;

/// How long after a page the next one should come: 1 minute.
pub(crate) const PAGE_WITHIN_MS: i64 = MINUTE;

/// The latest time in the payload at which the charger is to do something.
fn own_time(payload: &str) -> Option<Timestamp> {
    let mut found: Option<Timestamp> = None;
    let mut note = |value: Raw<'_>| {
        found = found.max(value.timestamp().map(Timestamp::from));
    };
    let _ = Raw::new(payload).members(|name, value| match name {
        "retrieveDate" | "expiryDate" | "expiryDateTime" => note(value),
        "firmware" => {
            let _ = value.members(|name, value| {
                if matches!(name, "retrieveDateTime" | "installDateTime") {
                    note(value);
                }
            });
        }
        _ => {}
    });
    found
}

/// The address of the file that the command transfers, without user, password, query and fragment, which can be secret.
pub(super) fn address(payload: &str) -> Option<String> {
    let mut found = None;
    let _ = Raw::new(payload).members(|name, value| match name {
        "location" if !value.is_object() => found = value.text(),
        "firmware" | "log" => {
            let _ = value.members(|name, value| {
                if matches!(name, "location" | "remoteLocation") {
                    found = value.text();
                }
            });
        }
        _ => {}
    });
    found.map(|address| without_secrets(&address))
}

/// An address without user, password, query and fragment.
fn without_secrets(address: &str) -> String {
    let read = Address::read(address);
    format!("{}{}", read.scheme, read.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_can_be_secret() {
        for (address, shown) in [
            ("ftp://u:p@h.example/a/b", "ftp://h.example/a/b"),
            (
                "https://h.example:8443/x?sig=1#y",
                "https://h.example:8443/x",
            ),
            ("https://u:p@h.example?token=1", "https://h.example"),
            ("sftp://u:p%40@h/x@y", "sftp://h/x@y"),
            ("u:p@h/x", "h/x"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(address), shown);
        }
    }
}

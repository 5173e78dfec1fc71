//! The numbers under which both databases keep what a record is. They are part of the schema: a new kind gets
//! a new number, and none changes its meaning.

use crate::refusal::Refusal;
use central::ports::UnavailableKind;
use central::{AnswerKind, RecordKind};
use ocpp::Version;

pub(crate) fn version(number: impl Into<i64>) -> Result<Version, Refusal> {
    let number = number.into();
    let mut all = Version::ALL.into_iter();
    all.find(|version| *version as i64 == number)
        .ok_or_else(|| unknown("OCPP version", number))
}

pub(crate) fn kind(number: impl Into<i64>) -> Result<RecordKind, Refusal> {
    Ok(match number.into() {
        1 => RecordKind::Call,
        2 => RecordKind::Send,
        3 => RecordKind::CallResult,
        4 => RecordKind::CallError,
        5 => RecordKind::CallResultError,
        6 => RecordKind::Unreadable,
        7 => RecordKind::Connected,
        8 => RecordKind::Disconnected,
        9 => RecordKind::GatewayStarted,
        number => return Err(unknown("kind", number)),
    })
}

pub(crate) fn answer_kind(number: impl Into<i64>) -> Result<AnswerKind, Refusal> {
    Ok(match number.into() {
        0 => AnswerKind::None,
        1 => AnswerKind::Result,
        2 => AnswerKind::Error,
        number => return Err(unknown("kind of answer", number)),
    })
}

/// A number that no build has written.
pub(crate) fn unknown(what: &str, number: impl Into<i64>) -> Refusal {
    let detail = format!("a message has the unknown {what} {}", number.into());
    Refusal::away(UnavailableKind::Corrupt, detail)
}

//! The numbers that stand for versions and kinds in the rows of both databases. They are part of the schema: a new
//! kind gets a new number, and no number changes its meaning.

use crate::refusal::Refusal;
use central::{AnswerKind, RecordKind};
use ocpp::Version;

pub(crate) fn version(number: impl Into<i64>) -> Result<Version, Refusal> {
    let number = number.into();
    let mut all = Version::ALL.into_iter();
    all.find(|version| *version as i64 == number)
        .ok_or_else(|| unknown("OCPP version", number))
}

pub(crate) fn kind(number: impl Into<i64>) -> Result<RecordKind, Refusal> {
    let number = number.into();
    u8::try_from(number)
        .ok()
        .and_then(RecordKind::from_number)
        .ok_or_else(|| unknown("kind", number))
}

pub(crate) fn answer_kind(number: impl Into<i64>) -> Result<AnswerKind, Refusal> {
    Ok(match number.into() {
        0 => AnswerKind::None,
        1 => AnswerKind::Result,
        2 => AnswerKind::Error,
        number => return Err(unknown("kind of answer", number)),
    })
}

/// The refusal of a row with a number that this build does not know.
pub(crate) fn unknown(what: &str, number: impl Into<i64>) -> Refusal {
    let detail = format!("a message has the unknown {what} {}", number.into());
    Refusal::corrupt(detail)
}

//! The members of requests for webhooks: one place where the API and the command line check them, so that both refuse the
//! same values with the same words. The URL is not here, because settings say what it may reach.

use crate::Timestamp;
use crate::model::{
    EventId, EventType, WEBHOOK_DESCRIPTION_CHARS_MAX, WEBHOOK_SECRET_OVERLAP_DEFAULT_MS,
    WEBHOOK_SECRET_OVERLAP_MAX_MS,
};
use crate::ports::RedeliverFrom;
use crate::query::parameters;

/// Types in a filter at most.
const TYPES_MAX: usize = 50;

/// What [`since`] reads, for error messages.
pub const SINCE_EXPECTED: &str = "the id of an event, or a time such as 2026-01-31T12:00:00Z";

/// Whether these are types of events, as [`EventType::named`] names them (`transaction.*`): 50 at most, none for all.
#[must_use]
pub fn are_types(types: &[String]) -> bool {
    types.len() <= TYPES_MAX && types.iter().all(|name| !EventType::named(name).is_empty())
}

/// What [`are_types`] accepts, for error messages.
#[must_use]
pub fn types_expected() -> String {
    let names: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    format!(
        "a list of types of events, such as [\"transaction.*\"]; the types are {}",
        names.join(", ")
    )
}

/// Whether this can be the description of a webhook.
#[must_use]
pub fn is_description(text: &str) -> bool {
    text.chars().count() <= WEBHOOK_DESCRIPTION_CHARS_MAX
}

/// What [`is_description`] accepts, for error messages.
#[must_use]
pub fn description_expected() -> String {
    format!("a text of at most {WEBHOOK_DESCRIPTION_CHARS_MAX} characters")
}

/// Until when the former secret stays valid after a rotation at `now`: for so many seconds, or 24 hours if none are given.
/// `None` if they are less than 0 or more than 30 days.
#[must_use]
pub fn former_until(seconds: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let overlap_ms = match seconds {
        None => WEBHOOK_SECRET_OVERLAP_DEFAULT_MS,
        Some(seconds) => seconds
            .checked_mul(1_000)
            .filter(|ms| (0..=WEBHOOK_SECRET_OVERLAP_MAX_MS).contains(ms))?,
    };
    Some(Timestamp(now.0.saturating_add(overlap_ms)))
}

/// What [`former_until`] accepts, for error messages.
#[must_use]
pub fn former_valid_expected() -> String {
    let seconds_max = WEBHOOK_SECRET_OVERLAP_MAX_MS / 1_000;
    format!("a whole number of seconds from 0 to {seconds_max}")
}

/// Where a redelivery begins; see [`SINCE_EXPECTED`].
#[must_use]
pub fn since(text: &str) -> Option<RedeliverFrom> {
    let id = EventId::parse(text).map(RedeliverFrom::Event);
    // A number alone would be taken for a time.
    let time = || Some(text).filter(|text| text.contains('T'));
    id.or_else(|| time().and_then(parameters::time).map(RedeliverFrom::Time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_names_or_groups_and_bounded() {
        let types =
            |names: &[&str]| are_types(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert!(types(&[]));
        assert!(types(&["charger.booted", "transaction.*"]));
        assert!(!types(&["charger.booted", "nonsense"]));
        assert!(types(&["charger.booted"; TYPES_MAX]));
        assert!(!types(&["charger.booted"; TYPES_MAX + 1]));
    }

    #[test]
    fn former_secret_is_valid_for_a_day_or_as_long_as_is_said() {
        let at = |seconds| former_until(seconds, Timestamp(1_000)).map(|until| until.0);
        assert_eq!(at(None), Some(86_401_000));
        assert_eq!(at(Some(0)), Some(1_000));
        assert_eq!(at(Some(2_592_000)), Some(2_592_001_000));
        for wrong in [-1, 2_592_001, i64::MAX, i64::MIN] {
            assert_eq!(at(Some(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn redelivery_begins_at_an_event_or_a_time() {
        let event = EventId::parse("1042-1769860802000").map(RedeliverFrom::Event);
        assert!(event.is_some());
        assert_eq!(since("1042-1769860802000"), event);
        let time = since("1970-01-01T00:00:01Z");
        assert_eq!(time, Some(RedeliverFrom::Time(Timestamp(1_000))));
        for wrong in ["", "1042", "yesterday", "T"] {
            assert_eq!(since(wrong), None, "{wrong}");
        }
    }
}

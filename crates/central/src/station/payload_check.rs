//! Whether a payload is valid, tolerated or broken (rule F-10), by the charger's check mode.

use super::spoken_version;
use crate::actions::Row;
use crate::ports::CheckMode;
use crate::quirk::notes_of_violations;
use crate::record::Notes;
use ocpp::ErrorCode;
use ocpp::action::DeliveryClass;
use ocpp::check::{Violation, ViolationKind};
use ocpp::json::Raw;
use std::fmt::Write;

/// The result of checking a payload.
#[derive(Debug)]
pub(super) enum PayloadCheck {
    /// It is what the schema wants.
    Valid,
    /// It breaks the schema in a way that is tolerated.
    Tolerated {
        /// A description for people.
        reason: String,
        /// The quirks.
        notes: Notes,
    },
    /// It breaks the schema of its row's version, and is valid or tolerated in that of this row (quirk 3).
    ValidIn(&'static Row),
    /// It cannot be understood.
    Broken {
        /// A description for people.
        reason: String,
        /// The code of the CALLERROR.
        code: ErrorCode,
    },
}

/// The longest description of violations, in bytes; it is for people.
const REASON_BYTES_MAX: usize = 500;

pub(super) fn check(row: &Row, payload: &str, mode: CheckMode) -> PayloadCheck {
    if mode == CheckMode::Off {
        return if Raw::new(payload).is_object() {
            PayloadCheck::Valid
        } else {
            PayloadCheck::Broken {
                reason: "the payload is not an object".to_owned(),
                code: ErrorCode::FormatViolation,
            }
        };
    }
    let violations = row.info.check_request(payload);
    let is_tolerated =
        |violation: &Violation| violation.is_tolerated() || is_free_content(row, violation);
    if !violations.is_empty() && violations.iter().all(|one| is_free_content(row, one)) {
        return tolerated(&violations);
    }
    // The first that is not tolerated decides.
    let Some(worst) = violations
        .iter()
        .find(|violation| !is_tolerated(violation))
        .or(violations.first())
    else {
        return PayloadCheck::Valid;
    };
    // Strict mode does not refuse transaction messages, so it tolerates in them what warn mode tolerates.
    let tolerates = mode == CheckMode::Warn || row.info.class == DeliveryClass::T;
    if tolerates && is_tolerated(worst) {
        return tolerated(&violations);
    }
    if mode == CheckMode::Warn
        && let Some(row) = row_of_other_version(row, payload)
    {
        return PayloadCheck::ValidIn(row);
    }
    PayloadCheck::Broken {
        reason: words(std::slice::from_ref(worst)),
        code: worst.error_code(),
    }
}

fn tolerated(violations: &[Violation]) -> PayloadCheck {
    PayloadCheck::Tolerated {
        reason: words(violations),
        notes: notes_of_violations(violations),
    }
}

/// Whether a broken message is answered with a CALLRESULT: a transaction message and meter values always; unless
/// the mode is strict, a boot, because a charger that cannot boot is locked out (F-12), a message that the charger keeps
/// until it is answered, because a refused one may come for ever or be lost (class Q, N-12), and a message that is always
/// refused by the status of its answer.
pub(super) fn is_answered_when_broken(row: &Row, mode: CheckMode) -> bool {
    let is_answered =
        row.action.is_boot || row.action.is_refused_by_status || row.info.class == DeliveryClass::Q;
    row.info.class == DeliveryClass::T
        || row.action.is_never_refused
        || (is_answered && mode != CheckMode::Strict)
}

/// Whether the violation is the type of a member whose content only the two vendors know: chargers write objects, lists
/// and numbers as the `data` of a `DataTransfer`, as 2.x allows.
fn is_free_content(row: &Row, violation: &Violation) -> bool {
    violation.kind == ViolationKind::Type
        && row
            .action
            .free_member
            .is_some_and(|pointer| violation.path == pointer)
}

/// The action of this name in another version, if the payload is valid or tolerated there.
fn row_of_other_version(row: &Row, payload: &str) -> Option<&'static Row> {
    let mut others = spoken_version::others(row.version).iter();
    others.find_map(|version| spoken_version::usable(*version, row.name(), payload))
}

fn words(violations: &[Violation]) -> String {
    let mut out = String::new();
    for violation in violations {
        let start = if out.is_empty() { "" } else { "; " };
        // Writing to a String cannot fail.
        let _ = write!(out, "{start}{violation}");
        if out.len() > REASON_BYTES_MAX {
            out.truncate(out.floor_char_boundary(REASON_BYTES_MAX));
            out.push('…');
            break;
        }
    }
    out
}

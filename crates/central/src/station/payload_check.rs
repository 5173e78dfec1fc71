//! Whether a payload is valid, tolerated or broken (rule F-10), by the charger's check mode.

use crate::actions::{self, Row};
use crate::ports::CheckMode;
use ocpp::action::{ActionInfo, DeliveryClass};
use ocpp::check::Violation;
use ocpp::json::Raw;
use ocpp::{ErrorCode, Version};
use std::fmt::Write;

/// The result of checking a payload.
#[derive(Debug)]
pub(super) enum PayloadCheck {
    /// It is what the schema wants.
    Valid,
    /// It breaks the schema in a way that is tolerated; says how.
    Tolerated(String),
    /// It is broken in the connection's version and valid in 1.6 (quirk 3).
    ValidIn16(&'static Row),
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

pub(super) fn check(
    version: Version,
    info: &ActionInfo,
    payload: &str,
    mode: CheckMode,
) -> PayloadCheck {
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
    let violations = info.check_request(payload);
    // The first that is not tolerated decides.
    let Some(worst) = violations
        .iter()
        .find(|violation| !violation.is_tolerated())
        .or(violations.first())
    else {
        return PayloadCheck::Valid;
    };
    // Strict mode does not refuse transaction messages, so it tolerates in them what warn mode tolerates.
    let tolerates = mode == CheckMode::Warn || info.class == DeliveryClass::T;
    if tolerates && worst.is_tolerated() {
        return PayloadCheck::Tolerated(words(&violations));
    }
    if mode == CheckMode::Warn
        && let Some(row) = row_of_16(version, info.name, payload)
    {
        return PayloadCheck::ValidIn16(row);
    }
    PayloadCheck::Broken {
        reason: words(std::slice::from_ref(worst)),
        code: worst.error_code(),
    }
}

/// Whether a broken message is answered with success: a transaction message always, a boot unless the mode is
/// strict, because a charger that cannot boot is locked out (F-12).
pub(super) fn never_refused(row: &Row, mode: CheckMode) -> bool {
    row.info.class == DeliveryClass::T || (row.action.is_boot && mode != CheckMode::Strict)
}

/// The action of this name in 1.6, if the payload is valid or tolerated there.
fn row_of_16(version: Version, name: &str, payload: &str) -> Option<&'static Row> {
    if version == Version::V16 {
        return None;
    }
    let row = actions::find(Version::V16, name)?;
    let violations = row.info.check_request(payload);
    violations
        .iter()
        .all(Violation::is_tolerated)
        .then_some(row)
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

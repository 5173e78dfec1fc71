//! Whether a payload is valid, tolerated or broken (rule F-10), by the charger's check mode.

use crate::ports::CheckMode;
use ocpp::action::{self, ActionInfo, DeliveryClass};
use ocpp::check::{self, Violation};
use ocpp::json::Raw;
use ocpp::{ErrorCode, Version};
use std::fmt::Write;

/// The result of checking a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PayloadCheck {
    /// It is what the schema wants.
    Valid,
    /// It breaks the schema in a way that is tolerated; says how.
    Tolerated(String),
    /// It is broken in the connection's version and valid in 1.6 (quirk 3).
    ValidIn16(String),
    /// It cannot be understood.
    Broken {
        /// In words.
        reason: String,
        /// For the CALLERROR.
        code: ErrorCode,
    },
}

/// Words about violations are for people; more than this is no help, in bytes.
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
    let violations = check::request(version, info.name, payload);
    // One that is not tolerated says more than all others.
    let Some(worst) = violations
        .iter()
        .find(|violation| !violation.is_tolerated())
        .or(violations.first())
    else {
        return PayloadCheck::Valid;
    };
    // In strict mode transaction messages are still not refused, so a forgivable mistake in
    // them stays one.
    let is_forgiven =
        worst.is_tolerated() && (mode == CheckMode::Warn || never_refused(info, mode));
    if is_forgiven {
        return PayloadCheck::Tolerated(words(&violations));
    }
    if mode == CheckMode::Warn && is_valid_in_16(version, info.name, payload) {
        return PayloadCheck::ValidIn16("written as OCPP 1.6 wants it".to_owned());
    }
    PayloadCheck::Broken {
        reason: words(std::slice::from_ref(worst)),
        code: worst.error_code(),
    }
}

/// Whether a broken message is answered with success all the same: transaction messages always
/// and a boot unless the operator wants it strict, because a charger that cannot boot is
/// locked out (F-12).
pub(super) fn never_refused(info: &ActionInfo, mode: CheckMode) -> bool {
    info.class == DeliveryClass::T || (info.name == "BootNotification" && mode != CheckMode::Strict)
}

fn is_valid_in_16(version: Version, name: &str, payload: &str) -> bool {
    version != Version::V16
        && action::lookup(Version::V16, name).is_some_and(|info| {
            info.is_to_central()
                && check::request(Version::V16, name, payload)
                    .iter()
                    .all(Violation::is_tolerated)
        })
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

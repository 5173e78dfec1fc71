//! What a payload is worth: fine, forgiven, or broken (rule F-10), by the charger's check mode.

use crate::ports::CheckMode;
use ocpp::action::{self, ActionInfo, DeliveryClass};
use ocpp::check::{self, Violation};
use ocpp::json::Raw;
use ocpp::{ErrorCode, Version};
use std::fmt::Write;

/// The verdict on a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing to remark.
    Fine,
    /// Wrong in a way that is tolerated.
    Tolerated(String),
    /// Makes no sense in the connection's version, but does in 1.6 (quirk 3).
    Older(String),
    /// Not understood.
    Broken {
        /// In words.
        reason: String,
        /// For the CALLERROR.
        code: ErrorCode,
    },
}

/// Words about violations are for people; more than this is no help, in bytes.
const REASON_BYTES_MAX: usize = 500;

pub(super) fn read(version: Version, info: &ActionInfo, payload: &str, mode: CheckMode) -> Reading {
    if mode == CheckMode::Off {
        return if Raw::new(payload).is_object() {
            Reading::Fine
        } else {
            Reading::Broken {
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
        return Reading::Fine;
    };
    // In strict mode transaction messages are still not refused, so a forgivable mistake in
    // them stays one.
    let is_forgiven =
        worst.is_tolerated() && (mode == CheckMode::Warn || never_refused(info, mode));
    if is_forgiven {
        return Reading::Tolerated(words(&violations));
    }
    if mode == CheckMode::Warn && is_older(version, info.name, payload) {
        return Reading::Older("written as OCPP 1.6 wants it".to_owned());
    }
    Reading::Broken {
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

fn is_older(version: Version, name: &str, payload: &str) -> bool {
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

//! Corrects an assumed version. For a charger that offers no subprotocol, the version of the settings is assumed. Its
//! messages show whether that is true, and must not be refused because of the assumption.

use super::Station;
use crate::actions::{self, Row};
use crate::{Quirk, Timestamp};
use ocpp::Version;
use ocpp::check::Violation;
use ocpp::frame::{self, Frame, Parsed};
use ocpp::json::Raw;

/// The other versions in which a message may be written, the likeliest first.
pub(super) const fn others(version: Version) -> &'static [Version] {
    match version {
        Version::V16 => &[Version::V201, Version::V21],
        Version::V201 => &[Version::V21, Version::V16],
        Version::V21 => &[Version::V16, Version::V201],
    }
}

/// The row of this action in `version`, if the payload is valid or tolerated there.
pub(super) fn usable(version: Version, action: &str, payload: &str) -> Option<&'static Row> {
    let row = actions::find(version, action)?;
    let violations = row.info.check_request(payload);
    violations
        .iter()
        .all(Violation::is_tolerated)
        .then_some(row)
}

impl Station {
    /// Replaces an assumed version, from this call on, if the call shows another one. A version of the handshake
    /// stays.
    pub(super) fn take_version(&mut self, action: &str, payload: &str) {
        if !self.is_version_assumed {
            return;
        }
        if let Some(shown) = shown_by(self.version, action, payload) {
            self.correct_version(shown);
        }
    }

    /// Handles a message of a type that only a later version has, if the version is assumed. Returns whether it did.
    pub(super) fn handle_of_later_version(&mut self, text: &str, now: Timestamp) -> bool {
        const LATEST: Version = Version::V21;
        if !self.is_version_assumed || self.version == LATEST {
            return false;
        }
        let Parsed {
            frame: Ok(Frame::Send(send)),
            quirks,
        } = frame::parse_noting(text, LATEST)
        else {
            return false;
        };
        self.quirks = quirks;
        self.correct_version(LATEST);
        let fault = self.frame_fault();
        self.handle_send(&send, fault.as_ref(), now);
        true
    }

    fn correct_version(&mut self, shown: Version) {
        self.version = shown;
        self.memory.set_shown_version(Some(shown));
        self.frame_notes = self.frame_notes.with(Quirk::VersionCorrected.note());
    }
}

/// The version that this call shows; `None` if it conforms to `assumed`.
fn shown_by(assumed: Version, action: &str, payload: &str) -> Option<Version> {
    let Some(row) = actions::find(assumed, action) else {
        // The name alone shows it, also with a broken payload.
        let mut having = others(assumed)
            .iter()
            .copied()
            .filter(|version| actions::find(*version, action).is_some());
        return having
            .next()
            .map(|version| latest(version, action, payload));
    };
    let violations = row.info.check_request(payload);
    if violations.iter().all(Violation::is_tolerated) {
        let version = match violations.is_empty() {
            true => assumed,
            false => latest(assumed, action, payload),
        };
        return Some(version).filter(|version| *version != assumed);
    }
    let other = others(assumed)
        .iter()
        .copied()
        .find(|version| usable(*version, action, payload).is_some());
    match other {
        Some(version) => Some(latest(version, action, payload)),
        None if row.action.is_boot => shown_by_broken_boot(payload)
            .filter(|shown| (*shown == Version::V16) != (assumed == Version::V16)),
        None => None,
    }
}

/// 2.1 for a message of 2.0.1 that breaks the schema there and is valid in 2.1: it uses what only 2.1 has. Else
/// `version`.
fn latest(version: Version, action: &str, payload: &str) -> Version {
    let is_valid = |version| {
        let row = actions::find(version, action);
        row.is_some_and(|row| row.info.check_request(payload).is_empty())
    };
    match version == Version::V201 && !is_valid(version) && is_valid(Version::V21) {
        true => Version::V21,
        false => version,
    }
}

/// The version of a boot that is broken in each: only 2.x puts the charger's data into an object of its own.
fn shown_by_broken_boot(payload: &str) -> Option<Version> {
    let mut shown = None;
    let _ = Raw::new(payload).members(|name, _| match name {
        "chargingStation" => shown = Some(Version::V201),
        "chargePointVendor" | "chargePointModel" => shown = Some(Version::V16),
        _ => {}
    });
    shown
}

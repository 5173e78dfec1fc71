//! Which actions exist, who may send them, and what their sender does when they are not delivered. The last decides
//! how a central system must treat them: see [`DeliveryClass`].
//!
//! The list is generated together with the facts of the schemas, so an action cannot be in one and not in the other.

use crate::check::Violation;
use crate::check::engine;
use crate::check::shape::Object;
use crate::{Version, tables};
use std::fmt;

/// Who may send an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The charger.
    ToCentral,
    /// The central system.
    ToCharger,
    /// Both (`DataTransfer`).
    Both,
}

/// What the sender does with a message that was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryClass {
    /// Transaction-related (Q-2, Q-3): queued while the socket is closed; while it is open, repeated a few times and
    /// then discarded (Q-6). Never answered with CALLERROR (Q-12).
    T,
    /// Queued while the socket is closed by another rule, at least for some contents: critical security events,
    /// severe monitor events.
    Q,
    /// Not queued: dropped on timeout or CALLERROR. All actions of the central system are of this class too.
    N,
    /// A SEND of 2.1: it has no answer, so its sender never knows whether it was delivered (F-3).
    S,
}

/// One action of one version.
#[derive(Clone, Copy)]
pub struct ActionInfo {
    /// The name on the wire, case-sensitive (F-4).
    pub name: &'static str,
    /// Who may send it.
    pub direction: Direction,
    /// What its sender does when it is not delivered.
    pub class: DeliveryClass,
    pub(crate) request: &'static Object,
    /// `None` for a SEND, which has no response (F-3).
    pub(crate) response: Option<&'static Object>,
}

/// A row of the generated tables.
pub(crate) const fn action(
    name: &'static str,
    direction: Direction,
    class: DeliveryClass,
    request: &'static Object,
    response: Option<&'static Object>,
) -> ActionInfo {
    ActionInfo {
        name,
        direction,
        class,
        request,
        response,
    }
}

impl fmt::Debug for ActionInfo {
    /// Without the payloads' facts, which fill pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionInfo")
            .field("name", &self.name)
            .field("direction", &self.direction)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

impl ActionInfo {
    /// Whether a charger may send it.
    #[must_use]
    pub const fn is_to_central(&self) -> bool {
        !matches!(self.direction, Direction::ToCharger)
    }

    /// Whether the central system may send it.
    #[must_use]
    pub const fn is_to_charger(&self) -> bool {
        !matches!(self.direction, Direction::ToCentral)
    }

    /// As [`crate::check::request`], without looking the action up.
    #[must_use]
    pub fn check_request(&self, payload: &str) -> Vec<Violation> {
        engine::check(Some(self.request), payload)
    }

    /// As [`crate::check::response`], without looking the action up. Of a SEND, which has no response (F-3), the payload
    /// must only be a JSON object.
    #[must_use]
    pub fn check_response(&self, payload: &str) -> Vec<Violation> {
        engine::check(self.response, payload)
    }
}

/// The action with exactly this name in `version`.
#[must_use]
pub fn lookup(version: Version, name: &str) -> Option<&'static ActionInfo> {
    let table = all(version);
    let found = table.binary_search_by(|row| row.name.cmp(name)).ok()?;
    table.get(found)
}

/// Every action of `version`, sorted by name: 39 in 1.6, 64 in 2.0.1, 91 in 2.1.
#[must_use]
pub const fn all(version: Version) -> &'static [ActionInfo] {
    tables::actions(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(version: Version, direction: Direction) -> usize {
        all(version)
            .iter()
            .filter(|row| row.direction == direction)
            .count()
    }

    #[test]
    fn the_versions_have_39_64_and_91_actions() {
        use Direction::{Both, ToCentral, ToCharger};
        let counts = |version| {
            [
                all(version).len(),
                count(version, ToCentral),
                count(version, ToCharger),
                count(version, Both),
            ]
        };
        assert_eq!(counts(Version::V16), [39, 13, 25, 1]);
        assert_eq!(counts(Version::V201), [64, 24, 39, 1]);
        assert_eq!(counts(Version::V21), [91, 36, 54, 1]);
    }

    #[test]
    fn the_tables_are_sorted_so_every_action_is_found() {
        for version in Version::ALL {
            assert!(
                all(version)
                    .windows(2)
                    .all(|pair| pair[0].name < pair[1].name)
            );
            for row in all(version) {
                let found = lookup(version, row.name).expect("it is in the table");
                assert!(std::ptr::eq(found, row));
            }
            assert!(lookup(version, "heartbeat").is_none());
            assert!(lookup(version, "").is_none());
        }
    }

    #[test]
    fn ocpp_2_1_has_all_actions_of_2_0_1() {
        for row in all(Version::V201) {
            let later = lookup(Version::V21, row.name).expect("it is in 2.1");
            assert_eq!((later.direction, later.class), (row.direction, row.class));
        }
    }

    #[test]
    fn only_transaction_messages_are_of_class_t() {
        let of = |version, class| -> Vec<&str> {
            all(version)
                .iter()
                .filter(|row| row.class == class)
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(
            of(Version::V16, DeliveryClass::T),
            ["MeterValues", "StartTransaction", "StopTransaction"]
        );
        assert_eq!(of(Version::V201, DeliveryClass::T), ["TransactionEvent"]);
        assert_eq!(of(Version::V21, DeliveryClass::T), ["TransactionEvent"]);
        assert_eq!(
            of(Version::V16, DeliveryClass::Q),
            ["SecurityEventNotification"]
        );
        assert_eq!(
            of(Version::V201, DeliveryClass::Q),
            ["NotifyEvent", "SecurityEventNotification"]
        );
        assert_eq!(
            of(Version::V21, DeliveryClass::S),
            ["NotifyPeriodicEventStream"]
        );
    }

    #[test]
    fn both_sides_send_data_transfer() {
        for version in Version::ALL {
            let both = lookup(version, "DataTransfer").expect("in every version");
            assert!(both.is_to_central() && both.is_to_charger());
        }
    }

    #[test]
    fn a_response_is_checked_as_by_name_and_each_violation_has_its_place() {
        let info = lookup(Version::V201, "GetVariables").expect("it is in the table");
        let payload = r#"{"getVariableResult":[{"attributeStatus":"Yes","component":{},"variable":{"name":"B"}}]}"#;
        let violations = info.check_response(payload);
        assert_eq!(
            violations,
            crate::check::response(Version::V201, "GetVariables", payload)
        );
        let places: Vec<_> = violations.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(
            places,
            [
                "/getVariableResult/0/attributeStatus",
                "/getVariableResult/0/component/name"
            ]
        );
        let valid = r#"{"getVariableResult":[{"attributeStatus":"UnknownVariable","component":{"name":"A"},"variable":{"name":"B"}}]}"#;
        assert_eq!(info.check_response(valid), []);
    }

    #[test]
    fn only_sends_have_no_response() {
        for version in Version::ALL {
            for row in all(version) {
                let is_send = row.class == DeliveryClass::S;
                assert_eq!(row.response.is_none(), is_send, "{version} {}", row.name);
            }
        }
    }
}

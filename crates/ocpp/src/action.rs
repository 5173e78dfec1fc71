//! Which actions exist, who may send them, and what becomes of them when nobody answers. The last
//! decides how careful we must be: see [`DeliveryClass`].

mod table;

use crate::Version;

/// Who may send an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Only the charger asks.
    ToCentral,
    /// Only the central system asks.
    ToCharger,
    /// Either asks (`DataTransfer`).
    Both,
}

/// What the sender does with a message that was not delivered (ocpp-rules 0.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryClass {
    /// Transaction-related: kept while the socket is closed; repeated a few times, then discarded,
    /// while it is open. Never answered with CALLERROR.
    T,
    /// Kept while the socket is closed by another rule, at least for some contents (critical
    /// security events, severe monitor events).
    Q,
    /// Not kept: dropped on timeout or CALLERROR. All actions of the central system are of this
    /// class too.
    N,
    /// A SEND of 2.1: no answer exists, so its sender never knows.
    S,
}

/// One action of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionInfo {
    /// The name on the wire, case-sensitive (F-4).
    pub name: &'static str,
    /// Who may send it.
    pub direction: Direction,
    /// What its sender does when it is not delivered.
    pub class: DeliveryClass,
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
pub fn all(version: Version) -> &'static [ActionInfo] {
    match version {
        Version::V16 => &table::V16,
        Version::V201 => &table::V201,
        Version::V21 => &table::V21,
    }
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
                assert_eq!(lookup(version, row.name), Some(row));
            }
            assert_eq!(lookup(version, "heartbeat"), None);
            assert_eq!(lookup(version, ""), None);
        }
    }

    #[test]
    fn a_later_2_x_keeps_the_actions_of_the_earlier() {
        for row in all(Version::V201) {
            assert_eq!(lookup(Version::V21, row.name), Some(row));
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
    fn data_transfer_goes_both_ways() {
        for version in Version::ALL {
            let both = lookup(version, "DataTransfer").expect("in every version");
            assert!(both.is_to_central() && both.is_to_charger());
        }
    }
}

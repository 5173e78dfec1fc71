//! What is said of each action: who may send it, what it belongs to, and whether a command may be repeated. For people
//! and programs that choose a command; [`ocpp::schema`] says what its payload is.

use crate::actions::commands;
use crate::actions::profiles::profile;
use ocpp::Version;
use ocpp::action::{ActionInfo, DeliveryClass, Direction};
use serde::Serialize;

/// An action of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionView {
    /// The version.
    pub ocpp_version: Version,
    /// The name, in the spelling of OCPP.
    pub action: &'static str,
    /// Who may send it: `charger`, `central_system` or `both`.
    pub sent_by: &'static str,
    /// Of 1.6 the feature profile, of 2.x the functional block.
    pub profile: &'static str,
    /// What a charger does with it when it is not delivered: `T`, `Q`, `N` or `S` (see [`DeliveryClass`]).
    pub delivery_class: &'static str,
    /// Whether a command may be sent again without harm: `always`, `never`, or `by_payload` if that depends on the
    /// payload. `None` if only chargers send it.
    pub safe_to_repeat: Option<&'static str>,
}

impl ActionView {
    fn of(version: Version, info: &ActionInfo) -> Self {
        Self {
            ocpp_version: version,
            action: info.name,
            sent_by: match info.direction {
                Direction::ToCentral => "charger",
                Direction::ToCharger => "central_system",
                Direction::Both => "both",
            },
            profile: profile(version, info.name),
            delivery_class: match info.class {
                DeliveryClass::T => "T",
                DeliveryClass::Q => "Q",
                DeliveryClass::N => "N",
                DeliveryClass::S => "S",
            },
            safe_to_repeat: info.is_to_charger().then(|| commands::repeat_of(info.name)),
        }
    }
}

/// Every action of the version, by name.
pub fn all(version: Version) -> impl Iterator<Item = ActionView> {
    let infos = ocpp::action::all(version).iter();
    infos.map(move |info| ActionView::of(version, info))
}

/// The action with this name, in any letter case; `None` if the version does not have it.
#[must_use]
pub fn find(version: Version, action: &str) -> Option<(ActionView, &'static ActionInfo)> {
    let mut infos = ocpp::action::all(version).iter();
    let info = infos.find(|info| info.name.eq_ignore_ascii_case(action))?;
    Some((ActionView::of(version, info), info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_a_profile_and_each_command_says_whether_it_may_be_repeated() {
        for version in Version::ALL {
            for view in all(version) {
                assert!(!view.profile.is_empty(), "{version} {}", view.action);
                assert_eq!(view.safe_to_repeat.is_none(), view.sent_by == "charger");
            }
        }
    }

    #[test]
    fn an_action_is_found_in_any_letter_case_in_the_versions_that_have_it() {
        let reset = find(Version::V16, "reset").expect("1.6 has Reset").0;
        assert_eq!((reset.action, reset.profile), ("Reset", "Core"));
        assert_eq!(reset.safe_to_repeat, Some("never"));
        let list = find(Version::V21, "SendLocalList").expect("2.1 has it").0;
        assert_eq!(list.safe_to_repeat, Some("by_payload"));
        assert!(find(Version::V16, "SetVariables").is_none());
    }
}

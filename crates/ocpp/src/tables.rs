//! The facts of the official JSON schemas, generated: see `xtask/src/codegen.rs`. Which message is
//! checked against which table is decided here.

use crate::Version;
use crate::check::shape::{Action, Object};

#[rustfmt::skip]
mod choices;
#[rustfmt::skip]
mod shared;
#[rustfmt::skip]
mod v16;
#[rustfmt::skip]
mod v201;
#[rustfmt::skip]
mod v21;

/// What a request must look like; None for an unknown action.
pub(crate) fn request(version: Version, action: &str) -> Option<&'static Object> {
    find(version, action).map(|action| action.request)
}

/// What a response must look like; None for an unknown action, and for one that has no response.
pub(crate) fn response(version: Version, action: &str) -> Option<&'static Object> {
    find(version, action).and_then(|action| action.response)
}

fn find(version: Version, name: &str) -> Option<&'static Action> {
    let actions = match version {
        Version::V16 => v16::ACTIONS,
        Version::V201 => v201::ACTIONS,
        Version::V21 => v21::ACTIONS,
    };
    let at = actions
        .binary_search_by(|action| action.name.cmp(name))
        .ok()?;
    actions.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_actions() {
        for (version, actions) in [
            (Version::V16, v16::ACTIONS),
            (Version::V201, v201::ACTIONS),
            (Version::V21, v21::ACTIONS),
        ] {
            let count = match version {
                Version::V16 => 39,
                Version::V201 => 64,
                Version::V21 => 91,
            };
            assert_eq!(actions.len(), count);
            for action in actions {
                assert!(request(version, action.name).is_some());
                let has_response = response(version, action.name).is_some();
                assert_eq!(
                    has_response,
                    action.name != "NotifyPeriodicEventStream",
                    "{}",
                    action.name
                );
            }
        }
        assert!(request(Version::V16, "Teleport").is_none());
    }
}

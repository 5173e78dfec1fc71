//! `SignCertificate`: the request is recorded for an operator to act on.

use super::Action;
use crate::answer::{Decision, Scene};
use crate::project;

pub(super) const ACTION: Action = Action {
    answer,
    project: project::nothing,
    ..Action::plain("SignCertificate")
};

/// The charger waits for a certificate after `Accepted`; `Rejected` would end its attempt (A02).
fn answer(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Accepted"}"#.into())
}

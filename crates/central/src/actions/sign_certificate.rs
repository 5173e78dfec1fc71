//! `SignCertificate`: the request is recorded and rejected, because Wattpost signs no certificates.

use super::Action;
use crate::answer::{Decision, Scene};
use crate::project;

pub(super) const ACTION: Action = Action {
    project: project::nothing,
    ..Action::refused("SignCertificate", answer)
};

/// After `Accepted` the charger would wait for a certificate that never comes, and ask again and again (A02).
fn answer(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Rejected"}"#.into())
}

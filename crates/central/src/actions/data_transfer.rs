//! `DataTransfer`: no vendor's messages are implemented.

use super::Action;
use crate::answer::{Decision, Scene};
use crate::project;
use crate::project::charger::member;

pub(super) const ACTION: Action = Action {
    project: project::nothing,
    free_member: Some("/data"),
    ..Action::refused("DataTransfer", answer)
};

/// A refusal in a CALLRESULT, since the message itself is valid (F-9). A message that names no vendor is rejected.
fn answer(scene: &Scene<'_>) -> Decision {
    let answer = match member(scene.payload, "vendorId") {
        Some(_) => r#"{"status":"UnknownVendorId"}"#,
        None => r#"{"status":"Rejected"}"#,
    };
    Decision::Answer(answer.into())
}

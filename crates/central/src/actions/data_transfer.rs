//! `DataTransfer`: no vendor's messages are implemented.

use super::Action;
use crate::answer::{Decision, Scene};
use crate::project;

pub(super) const ACTION: Action = Action {
    answer,
    project: project::nothing,
    ..Action::plain("DataTransfer")
};

/// A refusal in a CALLRESULT, since the message itself is valid (F-9).
fn answer(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"UnknownVendorId"}"#.into())
}

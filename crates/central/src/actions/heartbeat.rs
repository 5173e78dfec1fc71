//! Heartbeat: answered with the time; the policy decides whether it gets a record.

use super::{Action, Repeats};
use crate::answer::{Decision, Scene};
use crate::project;

pub(super) const ACTION: Action = Action {
    answer,
    project: project::nothing,
    repeats: Repeats::Never,
    is_recorded: |policy| policy.record_heartbeats,
    ..Action::plain("Heartbeat")
};

fn answer(scene: &Scene<'_>) -> Decision {
    Decision::Answer(format!(r#"{{"currentTime":"{}"}}"#, scene.now).into())
}

//! Authorize (1.6): the verdict on a token.

use super::id_tag;
use crate::actions::Action;
use crate::answer::{Decision, Scene, TokenForm};
use crate::project;

pub(super) const ACTION: Action = Action {
    answer,
    project: project::nothing,
    presents: id_tag::presented,
    ..Action::plain("Authorize")
};

fn answer(scene: &Scene<'_>) -> Decision {
    id_tag::ask(scene, TokenForm::Authorize, None)
}

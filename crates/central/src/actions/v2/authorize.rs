//! Authorize (2.x): the verdict on a token.

use super::presented_token::{PresentedToken, presented};
use crate::actions::Action;
use crate::answer::{Decision, Scene};
use crate::project;

pub(super) const ACTION: Action = Action {
    answer,
    project: project::nothing,
    presents: presented,
    ..Action::plain("Authorize")
};

fn answer(scene: &Scene<'_>) -> Decision {
    let presented = PresentedToken::read(scene.payload);
    if presented.has_certificate {
        // Wattpost holds no root certificates, so it cannot check a contract certificate (C07).
        return Decision::Answer(
            r#"{"idTokenInfo":{"status":"Invalid"},"certificateStatus":"CertChainError"}"#.into(),
        );
    }
    presented.ask(scene.version, None)
}

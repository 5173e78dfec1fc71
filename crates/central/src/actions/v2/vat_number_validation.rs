//! `VatNumberValidation` (2.1).

use crate::actions::Action;
use crate::answer::{Decision, Scene};
use crate::project;
use ocpp::json::{Raw, write_string};

pub(super) const ACTION: Action = Action {
    answer,
    project: project::nothing,
    ..Action::plain("VatNumberValidation")
};

/// VAT numbers are not validated yet, so every one is rejected; the answer must repeat the number.
fn answer(scene: &Scene<'_>) -> Decision {
    const CHARS_MAX: usize = 20;
    let mut number = String::new();
    let mut evse_id = None;
    let _ = Raw::new(scene.payload).members(|name, value| match name {
        "vatNumber" => {
            let text = value.text().unwrap_or_default();
            number = text.chars().take(CHARS_MAX).collect();
        }
        "evseId" => evse_id = value.integer(),
        _ => {}
    });
    let mut out = String::from(r#"{"vatNumber":"#);
    write_string(&mut out, &number);
    if let Some(evse_id) = evse_id.filter(|id| *id >= 0) {
        out.push_str(&format!(r#","evseId":{evse_id}"#));
    }
    out.push_str(r#","status":"Rejected"}"#);
    Decision::Answer(out.into())
}

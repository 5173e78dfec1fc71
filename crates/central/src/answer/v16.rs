//! Answers of OCPP 1.6, where they differ from `{}`. A StopTransaction is answered `{}`: a stop cannot be
//! refused, and its idTagInfo is optional.

use super::token::{TokenForm, TokenQuestion, Verdict};
use super::{Decision, Scene};
use crate::policy::UnknownToken;
use crate::transaction_id::{next_transaction_id, transaction_id};
use ocpp::json::Raw;

pub(crate) fn authorize(scene: &Scene<'_>) -> Decision {
    ask(scene, TokenForm::Authorize)
}

pub(crate) fn start_transaction(scene: &Scene<'_>) -> Decision {
    let transaction_id = match scene.ended_transaction {
        Some(ended) => next_transaction_id(scene.charger_id, scene.payload, ended),
        None => transaction_id(scene.charger_id, scene.payload),
    };
    ask(scene, TokenForm::Start { transaction_id })
}

/// Asks for the idTag. Read from as much of the payload as is JSON, since a broken start is answered
/// with success all the same.
fn ask(scene: &Scene<'_>, form: TokenForm) -> Decision {
    let mut id = None;
    let _ = Raw::new(scene.payload).members(|name, value| {
        if name == "idTag" {
            id = value.text();
        }
    });
    match id {
        Some(id) => Decision::Ask(TokenQuestion {
            id: id.into_owned(),
            form,
        }),
        None => {
            let verdict = match scene.policy.unknown_token {
                UnknownToken::Accept => Verdict::ACCEPTED,
                UnknownToken::Reject => Verdict::bare("Invalid"),
            };
            Decision::Answer(form.write(&verdict))
        }
    }
}

//! The idTag of a message of 1.6, as a question to the directory, and with what was answered.

use crate::answer::{Decision, Scene, TokenForm, TokenQuestion, Verdict};
use crate::model::{Presented, TokenMembers};
use crate::policy::UnknownToken;
use crate::record::Record;
use crate::running::Beginning;
use ocpp::json::Raw;

/// Asks about the idTag. It is read from as much of the payload as is JSON, since a broken start is answered with
/// success too. `begins` is the transaction that the message begins.
pub(super) fn ask(scene: &Scene<'_>, form: TokenForm, begins: Option<Beginning>) -> Decision {
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
            begins,
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

/// The idTag of the message, with its connector if it names one; unless the answer accepts it as known.
pub(super) fn presented(record: &Record<'_>) -> Option<Presented> {
    Presented::of(record, "idTagInfo", |payload| {
        let mut members = TokenMembers::default();
        let _ = Raw::new(payload).members(|name, value| match name {
            "idTag" => members.id = value.text().map(Into::into),
            "connectorId" => members.connector = value.integer(),
            _ => {}
        });
        members
    })
}

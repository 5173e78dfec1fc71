//! The token that a message of 2.x presents, as a question to the directory, and with what was answered.

use crate::answer::{Decision, TokenForm, TokenQuestion, Verdict};
use crate::model::{Presented, TokenMembers};
use crate::record::Record;
use crate::running::Beginning;
use ocpp::Version;
use ocpp::json::Raw;

/// The token of a message, and whether a certificate came with it.
#[derive(Default)]
pub(super) struct PresentedToken {
    id: Option<String>,
    token_type: Option<String>,
    evse: Option<i64>,
    pub(super) has_token: bool,
    pub(super) has_certificate: bool,
}

impl PresentedToken {
    /// Read from as much of the payload as is JSON.
    pub(super) fn read(payload: &str) -> Self {
        let mut presented = Self::default();
        let _ = Raw::new(payload).members(|name, value| match name {
            "idToken" if value.is_object() => {
                presented.has_token = true;
                let _ = value.members(|name, value| match name {
                    "idToken" => presented.id = value.text().map(Into::into),
                    "type" => presented.token_type = value.text().map(Into::into),
                    _ => {}
                });
            }
            // A charger that writes the token as a text instead of an object.
            "idToken" if !value.is_null() => {
                presented.has_token = true;
                presented.id = value.text().map(Into::into);
            }
            "evse" => {
                let _ = value.members(|name, value| {
                    if name == "id" {
                        presented.evse = value.integer();
                    }
                });
            }
            "certificate" | "iso15118CertificateHashData" => {
                presented.has_certificate |= !value.is_null();
            }
            _ => {}
        });
        presented
    }

    /// Asks about the token. `begins` is the transaction that the message begins with it.
    pub(super) fn ask(self, version: Version, begins: Option<Beginning>) -> Decision {
        let form = TokenForm::IdTokenInfo { version };
        // A driver who may charge without a token (a start button, a free site) has none to ask about.
        if self.token_type.as_deref() == Some("NoAuthorization") {
            return Decision::Answer(form.write(&Verdict::ACCEPTED));
        }
        Decision::Ask(TokenQuestion {
            id: self.id.unwrap_or_default(),
            form,
            begins,
        })
    }
}

/// The token of the message, with its EVSE if it names one; unless the answer accepts it as known.
pub(super) fn presented(record: &Record<'_>) -> Option<Presented> {
    Presented::of(record, "idTokenInfo", |payload| {
        let members = PresentedToken::read(payload);
        TokenMembers {
            id: members.id,
            token_type: members.token_type,
            connector: members.evse,
        }
    })
}

//! Answers of OCPP 2.0.1 and 2.1, where they differ from `{}`.

mod certificates;

use super::token::{TokenForm, TokenQuestion, Verdict};
use super::{Decision, EMPTY, Scene};
use ocpp::Version;
use ocpp::json::{Raw, write_string};

pub(crate) use certificates::{
    get_15118_ev_certificate, get_certificate_chain_status, get_certificate_status,
};

/// The request is recorded, so it is accepted.
pub(crate) fn accepted(_: &Scene<'_>) -> Decision {
    status("Accepted")
}

/// The central system makes no charging schedules: the car charges by what the charger has.
pub(crate) fn rejected(_: &Scene<'_>) -> Decision {
    status("Rejected")
}

/// The central system makes no charging schedules; 2.1 has a status for that.
pub(crate) fn no_charging_profile(_: &Scene<'_>) -> Decision {
    status("NoChargingProfile")
}

fn status(status: &str) -> Decision {
    Decision::Answer(format!(r#"{{"status":"{status}"}}"#).into())
}

/// The token, and what may vouch for it.
#[derive(Default)]
struct Presented {
    id: Option<String>,
    token_type: Option<String>,
    has_token: bool,
    has_certificate: bool,
}

impl Presented {
    /// Read from as much of the payload as is JSON.
    fn read(payload: &str) -> Self {
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
            // A charger that writes the token as a mere text.
            "idToken" if !value.is_null() => {
                presented.has_token = true;
                presented.id = value.text().map(Into::into);
            }
            "certificate" | "iso15118CertificateHashData" => {
                presented.has_certificate |= !value.is_null();
            }
            _ => {}
        });
        presented
    }

    fn question(self, version: Version) -> Decision {
        let form = TokenForm::IdTokenInfo { version };
        // Whoever may charge without a token (a start button, a whole free site) has none to ask for.
        if self.token_type.as_deref() == Some("NoAuthorization") {
            return Decision::Answer(form.write(&Verdict::ACCEPTED));
        }
        Decision::Ask(TokenQuestion {
            id: self.id.unwrap_or_default(),
            form,
        })
    }
}

pub(crate) fn authorize(scene: &Scene<'_>) -> Decision {
    let presented = Presented::read(scene.payload);
    if presented.has_certificate {
        // We hold no roots to check a contract certificate against, and do not vouch for what we
        // have not seen (C07).
        return Decision::Answer(
            r#"{"idTokenInfo":{"status":"Invalid"},"certificateStatus":"CertChainError"}"#.into(),
        );
    }
    presented.question(scene.version)
}

/// An idTokenInfo whenever the event carries a token (Q-20), else nothing: all is optional.
pub(crate) fn transaction_event(scene: &Scene<'_>) -> Decision {
    let presented = Presented::read(scene.payload);
    if presented.has_token {
        presented.question(scene.version)
    } else {
        EMPTY
    }
}

/// Nobody is asked about VAT numbers yet; the number must be told back.
pub(crate) fn vat_number_validation(scene: &Scene<'_>) -> Decision {
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

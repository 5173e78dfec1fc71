//! What we say to each action, in each version. Pure: the answer follows from the payload, the
//! policy and the time.
//!
//! An answer never depends on a backend. The one thing that may have to be found out is how a token
//! stands; then the decision is a [`Decision::Ask`], and [`TokenForm::write`] makes the answer from
//! the verdict.

mod registration;
mod token;
mod v16;
mod v2;

pub(crate) use token::{TokenForm, TokenQuestion, Verdict};

use crate::Timestamp;
use crate::policy::Policy;
use crate::ports::Registration;
use ocpp::Version;
use std::borrow::Cow;

/// What an answer may depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) charger_id: &'a str,
    /// The payload as the charger wrote it; may be broken.
    pub(crate) payload: &'a str,
    pub(crate) policy: &'a Policy,
    pub(crate) registration: Registration,
    pub(crate) now: Timestamp,
    /// The id of the stopped session whose start was equal to this one (1.6 StartTransaction).
    pub(crate) ended_transaction: Option<i64>,
    /// A random number, drawn for this call.
    pub(crate) dice: u64,
}

/// What to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A CALLRESULT with this payload.
    Answer(Cow<'static, str>),
    /// A CALLRESULT that says how this token stands.
    Ask(TokenQuestion),
}

const EMPTY: Decision = Decision::Answer(Cow::Borrowed("{}"));

/// The answer to a call that a charger may make. An action that is not named in the versions' tables
/// is one whose answer carries nothing.
pub(crate) fn decide(version: Version, action: &str, scene: &Scene<'_>) -> Decision {
    match action {
        "BootNotification" => registration::boot_notification(scene),
        "Heartbeat" => registration::heartbeat(scene),
        // Nobody has taught us a vendor's language yet; a refusal in a CALLRESULT (F-9).
        "DataTransfer" => Decision::Answer(r#"{"status":"UnknownVendorId"}"#.into()),
        // Once the request is durable it is ours to see to; `Rejected` would end it (A02).
        "SignCertificate" => Decision::Answer(r#"{"status":"Accepted"}"#.into()),
        _ => match version {
            Version::V16 => v16::decide(action, scene),
            Version::V201 | Version::V21 => v2::decide(version, action, scene),
        },
    }
}

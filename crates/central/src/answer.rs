//! What we say to each action, in each version. Pure: the answer follows from the payload, the
//! policy and the time.
//!
//! An answer never depends on a backend. The one thing that may have to be found out is how a token
//! stands; then the decision is a [`Decision::Ask`], and [`TokenForm::write`] makes the answer from
//! the verdict.

pub(crate) mod registration;
mod token;
pub(crate) mod v16;
pub(crate) mod v2;

pub(crate) use token::{TokenForm, TokenQuestion, Verdict};

use crate::Timestamp;
use crate::actions;
use crate::policy::Policy;
use crate::ports::Registration;
use ocpp::Version;
use std::borrow::Cow;

/// What an answer may depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// The version that the message is of.
    pub(crate) version: Version,
    pub(crate) charger_id: &'a str,
    /// The payload as the charger wrote it; may be broken.
    pub(crate) payload: &'a str,
    pub(crate) policy: &'a Policy,
    pub(crate) registration: Registration,
    pub(crate) now: Timestamp,
    /// The id of the stopped session whose start was equal to this one (1.6 StartTransaction).
    pub(crate) ended_transaction: Option<i64>,
    /// A random number, drawn for this call.
    pub(crate) random: u64,
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

/// The answer to a call that a charger may make.
pub(crate) fn decide(action: &str, scene: &Scene<'_>) -> Decision {
    match actions::find(scene.version, action) {
        Some(row) => (row.answer)(scene),
        None => EMPTY,
    }
}

/// The answer `{}`: the action's response has no required member.
pub(crate) const fn empty(_: &Scene<'_>) -> Decision {
    EMPTY
}

/// No vendor's messages are implemented; a refusal in a CALLRESULT (F-9).
pub(crate) fn data_transfer(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"UnknownVendorId"}"#.into())
}

/// Once the request is durable it is for us to process; `Rejected` would end it (A02).
pub(crate) fn sign_certificate(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Accepted"}"#.into())
}

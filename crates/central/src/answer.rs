//! What an answer may depend on, and what is decided. Each action decides in its own file ([`crate::actions`]); the
//! answer follows from the payload, the policy and the time.
//!
//! Only the status of a token must be asked for: then the decision is a [`Decision::Ask`], and [`TokenForm::write`]
//! makes the answer from the verdict.

mod token;

pub(crate) use token::{TokenForm, TokenQuestion, Verdict};

use crate::Timestamp;
use crate::policy::Policy;
use crate::ports::Registration;
use ocpp::Version;
use std::borrow::Cow;

/// Everything that an answer may depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// The version of the message.
    pub(crate) version: Version,
    pub(crate) charger_id: &'a str,
    /// The payload as the charger wrote it; may be broken.
    pub(crate) payload: &'a str,
    pub(crate) policy: &'a Policy,
    pub(crate) registration: Registration,
    pub(crate) now: Timestamp,
    /// The id of the stopped session whose start was equal to this one (StartTransaction, 1.6).
    pub(crate) ended_transaction: Option<i64>,
    /// A random number, drawn for this call.
    pub(crate) random: u64,
}

/// How old the time of a message may be that reports what happens now, in milliseconds. An older message was kept by its
/// charger while it was offline.
const LIVE_MS: i64 = 60_000;

impl Scene<'_> {
    /// Whether a message with this time reports what happens now; without a plausible time that is not known.
    pub(crate) fn is_live(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at.is_plausible() && at.plus_millis(LIVE_MS) > self.now)
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A CALLRESULT with this payload.
    Answer(Cow<'static, str>),
    /// A CALLRESULT with the status of this token, which must be asked for.
    Ask(TokenQuestion),
}

const EMPTY: Decision = Decision::Answer(Cow::Borrowed("{}"));

/// The answer `{}`: the action's response has no required member.
pub(crate) const fn empty(_: &Scene<'_>) -> Decision {
    EMPTY
}

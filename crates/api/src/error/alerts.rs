//! Alerts and silences.

use super::kinds::{ALERT_NOT_FIRING, TOO_MANY_SILENCES, UNKNOWN_ALERT, UNKNOWN_SILENCE};
use super::{ApiError, quoted};
use central::model::{AlertState, SILENCES_MAX};
use uuid::Uuid;

impl ApiError {
    pub(crate) fn unknown_alert(id: &str) -> Self {
        Self::new(
            &UNKNOWN_ALERT,
            format!("No alert is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn unknown_silence(id: &str) -> Self {
        Self::new(
            &UNKNOWN_SILENCE,
            format!("No silence is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn alert_not_firing(id: Uuid, state: AlertState) -> Self {
        Self::new(
            &ALERT_NOT_FIRING,
            format!(
                "The alert {id} is {}; only an alert that fires can be acknowledged.",
                state.as_str()
            ),
        )
    }

    pub(crate) fn too_many_silences() -> Self {
        Self::new(
            &TOO_MANY_SILENCES,
            format!("There are {SILENCES_MAX} silences, which is the maximum; remove some."),
        )
    }
}

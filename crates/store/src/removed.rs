//! Rows of chargers that an operator has removed.

use crate::refusal::Refusal;
use central::Timestamp;
use central::model::Actor;

/// When a charger was removed, and by whom, from its columns.
pub(crate) fn removal(
    at: Option<i64>,
    actor: Option<&str>,
) -> Result<Option<(Timestamp, Actor)>, Refusal> {
    let (Some(at), Some(actor)) = (at, actor) else {
        return Ok(None);
    };
    let actor = serde_json::from_str(actor).map_err(|error| Refusal::corrupt(error.to_string()))?;
    Ok(Some((Timestamp(at), actor)))
}

/// The column of who removed a charger.
pub(crate) fn actor_column(actor: &Actor) -> Result<String, Refusal> {
    serde_json::to_string(actor).map_err(|error| Refusal::unreachable(error.to_string()))
}

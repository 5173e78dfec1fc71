//! Rows of chargers that an operator has removed.

use crate::refusal::Refusal;
use crate::state::or_log;
use central::Timestamp;
use central::model::{Actor, ActorKind};

/// When a charger was removed, and by whom, from its columns. It is shown as removed by Wattpost if who did it cannot be
/// read: that it was removed is what counts.
pub(crate) fn removal(
    charger: &str,
    at: Option<i64>,
    actor: Option<&str>,
) -> Option<(Timestamp, Actor)> {
    let (at, actor) = (at?, actor?);
    let read = serde_json::from_str(actor);
    let actor = or_log(read, &format_args!("who removed charger {charger}"));
    let unknown = Actor {
        kind: ActorKind::Wattpost,
        name: None,
    };
    Some((Timestamp(at), actor.unwrap_or(unknown)))
}

/// The column of who removed a charger.
pub(crate) fn actor_column(actor: &Actor) -> Result<String, Refusal> {
    serde_json::to_string(actor).map_err(|error| Refusal::unreachable(error.to_string()))
}

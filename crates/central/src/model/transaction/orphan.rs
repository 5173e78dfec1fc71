//! Stops that came under no usable id, given back to the starts that they end (rule Q-17).

use super::TransactionView;
use ocpp::Version;

/// Pairs stops without a start (transactionId -1 or 0, OCPP 1.6) with open starts of the same charger:
/// the same token if the stop names one, not before the start, not below its meter; of several such
/// starts the latest. `views` are transactions of one charger, in any order; of a stop that was
/// paired only the start's view remains, now ended. Everything else is returned as it is.
///
/// A guess, and a careful one: a stop that fits no start stays on its own. Total and independent of
/// the order of `views`.
#[must_use]
pub fn pair_orphans(views: Vec<TransactionView>) -> Vec<TransactionView> {
    let (mut orphans, mut rest): (Vec<_>, Vec<_>) = views.into_iter().partition(is_orphan);
    // The first stop chooses first; keys settle ties, so that the order of `views` does not matter.
    orphans.sort_by_key(|stop| (stop.ended_at, stop.key));
    for stop in orphans {
        let start = rest
            .iter_mut()
            .filter(|start| fits(start, &stop))
            .max_by_key(|start| (start.started_at, start.key));
        match start {
            Some(start) => end(start, &stop),
            None => rest.push(stop),
        }
    }
    rest
}

fn is_orphan(view: &TransactionView) -> bool {
    let names_nothing = view.transaction_id.parse::<i64>().is_ok_and(|id| id <= 0);
    view.ocpp_version == Some(Version::V16)
        && names_nothing
        && view.started_at.is_none()
        && view.ended_at.is_some()
}

fn fits(start: &TransactionView, stop: &TransactionView) -> bool {
    let same_token = match (&start.id_token, &stop.id_token) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        // A stop without a token was made without a card; it fits any.
        (_, None) => true,
        (None, Some(_)) => false,
    };
    let meter_rises = match (start.meter_start_wh, stop.meter_stop_wh) {
        (Some(a), Some(b)) => a <= b,
        _ => true,
    };
    start.open
        && start.ocpp_version == Some(Version::V16)
        && start.started_at.is_some()
        && start.started_at <= stop.ended_at
        && same_token
        && meter_rises
}

fn end(start: &mut TransactionView, stop: &TransactionView) {
    start.open = false;
    start.ended_at = stop.ended_at;
    start.last_at = start.last_at.max(stop.last_at);
    start.meter_stop_wh = stop.meter_stop_wh;
    start.stop_reason.clone_from(&stop.stop_reason);
    start.power_w = None;
    if let (Some(a), Some(b)) = (start.meter_start_wh, stop.meter_stop_wh) {
        start.energy_wh = Some(b - a);
    }
}

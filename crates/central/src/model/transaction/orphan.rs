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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::model::transaction::ContentKey;
    use crate::model::{First, Latest, Stamp, Start, Stop, TransactionState};
    use crate::{GatewayId, RecordId};
    use uuid::Uuid;

    fn stamp(at: i64) -> Stamp {
        Stamp {
            at: Timestamp(at),
            received_at: Timestamp(at),
            record: RecordId {
                gateway: GatewayId(Uuid::nil()),
                seq: 1,
            },
            part: 0,
        }
    }

    fn key(at: i64) -> ContentKey {
        ContentKey {
            at: Timestamp(at),
            hash: 7,
        }
    }

    fn blank() -> TransactionState {
        TransactionState {
            version: Latest::new(stamp(0), Version::V16),
            ..TransactionState::default()
        }
    }

    fn start(id: &str, at: i64, token: &str, meter_wh: f64) -> TransactionView {
        let mut state = blank();
        let start = Start {
            id_token: Some(token.to_owned()),
            meter_wh: Some(meter_wh),
            ..Start::default()
        };
        state.starts.insert(key(at), First::new(stamp(at), start));
        state.views("cp", id).remove(0)
    }

    fn stop(at: i64, token: Option<&str>, meter_wh: f64) -> TransactionView {
        let mut state = blank();
        let stop = Stop {
            id_token: token.map(str::to_owned),
            meter_wh: Some(meter_wh),
            ..Stop::default()
        };
        state.stops.insert(key(at), First::new(stamp(at), stop));
        state.views("cp", "-1").remove(0)
    }

    /// (id, end) of what remains.
    fn paired(views: Vec<TransactionView>) -> Vec<(String, Option<i64>)> {
        let mut left: Vec<_> = pair_orphans(views)
            .into_iter()
            .map(|view| (view.transaction_id, view.ended_at.map(|at| at.0)))
            .collect();
        left.sort();
        left
    }

    fn own(id: &str, end: Option<i64>) -> (String, Option<i64>) {
        (id.to_owned(), end)
    }

    #[test]
    fn a_stop_ends_the_latest_start_before_it() {
        let views = vec![
            stop(50, Some("A"), 9.0),
            start("1", 10, "a", 1.0),
            start("2", 40, "A", 5.0),
        ];
        assert_eq!(paired(views), [own("1", None), own("2", Some(50))]);
    }

    #[test]
    fn a_stop_that_fits_nothing_stays_on_its_own() {
        for start in [
            start("1", 60, "A", 1.0),
            start("1", 10, "B", 1.0),
            start("1", 10, "A", 10.0),
        ] {
            let left = paired(vec![start, stop(50, Some("A"), 9.0)]);
            assert_eq!(left, [own("-1", Some(50)), own("1", None)]);
        }
    }

    #[test]
    fn a_stop_without_a_token_ends_any_start() {
        let left = paired(vec![start("1", 10, "A", 1.0), stop(50, None, 9.0)]);
        assert_eq!(left, [own("1", Some(50))]);
    }

    #[test]
    fn each_start_ends_once() {
        let views = vec![
            start("1", 10, "A", 1.0),
            stop(60, Some("A"), 9.0),
            stop(50, Some("A"), 9.0),
        ];
        assert_eq!(paired(views), [own("-1", Some(60)), own("1", Some(50))]);
    }
}

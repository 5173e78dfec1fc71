//! Pairs stops without a usable id with the starts that they end (OCPP 1.6, rule Q-17).
//!
//! A charger that never got an id for its start (it was offline, or it lost the answer) stops the session with -1, 0 or no
//! id. Some firmware does this in every session. The cost of pairing must not grow with the number of a charger's
//! sessions, so a pair depends on at most [`PAIRING_WINDOW`] adjacent rows in the order of time. After a late message, a
//! store therefore updates the pairs without reading the charger's whole history.

use super::TransactionView;
use crate::Timestamp;
use crate::model::Token;
use crate::natural_key::StableHasher;
use ocpp::Version;
use uuid::Uuid;

/// A start is at most this many places before its stop, counted in the same charger's starts without a stop and stops
/// without a start. A stop that fits none of these starts stays unpaired.
///
/// So a row that is added, changed or removed affects only the partners of rows at most this many places before and
/// after it. These partners depend on rows at most twice as many places away.
pub const PAIRING_WINDOW: usize = 32;

/// A start without a stop, or a stop without a start, with everything that pairing depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// When it started, or stopped.
    pub at: Timestamp,
    /// Whether it is a stop.
    pub is_stop: bool,
    /// The transaction's key.
    pub key: Uuid,
    /// A hash of the token in lower case; `None` without a token.
    pub token: Option<i64>,
    /// The meter reading, in watt-hours.
    pub meter_wh: Option<f64>,
}

impl Candidate {
    /// The sort key of a charger's candidates.
    #[must_use]
    pub const fn place(&self) -> (Timestamp, bool, Uuid) {
        (self.at, self.is_stop, self.key)
    }

    fn fits(&self, stop: &Self) -> bool {
        let same_token = match (self.token, stop.token) {
            (Some(a), Some(b)) => a == b,
            // A stop without a token fits any start.
            (_, None) => true,
            (None, Some(_)) => false,
        };
        let meter_rises = match (self.meter_wh, stop.meter_wh) {
            (Some(a), Some(b)) => a <= b,
            _ => true,
        };
        same_token && meter_rises
    }
}

impl TransactionView {
    /// The key of the token that was accepted for it ([`Token::key_of`]); `None` if its token was refused, or is not known.
    #[must_use]
    pub fn accepted_token(&self) -> Option<String> {
        let is_accepted = self.verdict.as_deref() == Some("Accepted");
        let token = self.id_token.as_deref().filter(|_| is_accepted)?;
        Some(Token::key_of(token))
    }

    /// The transaction as a candidate for pairing; `None` if it is complete, or not of 1.6.
    #[must_use]
    pub fn candidate(&self) -> Option<Candidate> {
        if self.ocpp_version != Some(Version::V16) {
            return None;
        }
        let names_nothing = || {
            self.transaction_id.is_empty()
                || self.transaction_id.parse::<i64>().is_ok_and(|id| id <= 0)
        };
        let (at, is_stop, meter_wh) = match (self.started_at, self.ended_at) {
            (Some(started_at), None) => (started_at, false, self.source.first_register_wh()),
            (None, Some(ended_at)) if names_nothing() => {
                (ended_at, true, self.source.stop_register_wh())
            }
            _ => return None,
        };
        let token = self.id_token.as_ref().map(|token| {
            let mut hasher = StableHasher::new("wattpost token for pairing 1");
            hasher.add(&token.to_ascii_lowercase());
            hasher.finish_u64().cast_signed()
        });
        Some(Candidate {
            at,
            is_stop,
            key: self.key,
            token,
            meter_wh,
        })
    }
}

/// The partner of each candidate. A stop ends the latest start before it that fits, that no earlier stop has ended, and
/// that is at most [`PAIRING_WINDOW`] places before it. A start fits if its meter reading is not above the stop's, and if
/// its token is the stop's or the stop has none. `candidates` are of one charger, sorted by [`Candidate::place`].
///
/// For a consecutive part of a charger's candidates the result is the same as for all of them, except for the first twice
/// [`PAIRING_WINDOW`] candidates and for starts among the last [`PAIRING_WINDOW`].
#[must_use]
pub fn pair(candidates: &[Candidate]) -> Vec<Option<usize>> {
    let mut partners = vec![None; candidates.len()];
    let mut open: Vec<usize> = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        open.retain(|start| place - start <= PAIRING_WINDOW);
        if !candidate.is_stop {
            open.push(place);
            continue;
        }
        let start = open
            .iter()
            .rposition(|&start| candidates[start].fits(candidate));
        if let Some(start) = start {
            let start = open.remove(start);
            partners[start] = Some(place);
            partners[place] = Some(start);
        }
    }
    partners
}

/// Pairs all transactions of one charger: the view of a paired stop is removed, and that of its start is ended; all other
/// views are unchanged. Total, and independent of the order of `views`. A store must show the same.
#[must_use]
pub fn pair_orphans(mut views: Vec<TransactionView>) -> Vec<TransactionView> {
    let mut candidates: Vec<(Candidate, usize)> = views
        .iter()
        .enumerate()
        .filter_map(|(at, view)| Some((view.candidate()?, at)))
        .collect();
    candidates.sort_by_key(|(candidate, _)| candidate.place());
    let (candidates, places): (Vec<_>, Vec<_>) = candidates.into_iter().unzip();
    let mut is_hidden = vec![false; views.len()];
    for (at, partner) in pair(&candidates).into_iter().enumerate() {
        if let Some(partner) = partner
            && candidates[at].is_stop
        {
            let stop = views[places[at]].clone();
            views[places[partner]].end_by(&stop);
            is_hidden[places[at]] = true;
        }
    }
    let mut hidden = is_hidden.into_iter();
    views.retain(|_| !hidden.next().unwrap_or(false));
    views
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::model::transaction::ContentKey;
    use crate::model::{First, Latest, Stamp, Start, Stop, TransactionState};
    use crate::record::Seq;
    use crate::{GatewayId, RecordId};
    use uuid::Uuid;

    fn stamp(at: i64) -> Stamp {
        Stamp {
            at: Timestamp(at),
            received_at: Timestamp(at),
            record: RecordId {
                gateway: GatewayId(Uuid::nil()),
                seq: Seq(1),
            },
            part: 0,
        }
    }

    fn key(at: i64) -> ContentKey {
        ContentKey {
            at: Timestamp(at),
            hash: 7,
            record: 0,
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
        let id = crate::model::unnamed_stop_id("-1", &key(at));
        state.views("cp", &id).remove(0)
    }

    /// (id, end) of the remaining views.
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
    fn a_stop_that_fits_no_start_stays_unpaired() {
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

    /// A history with several tokens and meters, and with stops that fit no start.
    fn history(words: &[(u8, i64)]) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = (0..)
            .zip(words)
            .map(|(n, (word, at))| Candidate {
                at: Timestamp(*at),
                is_stop: word % 2 == 0,
                key: Uuid::from_u128(n),
                token: (word % 3 > 0).then_some(i64::from(word % 5)),
                meter_wh: (word % 7 > 0).then_some(f64::from(word % 11)),
            })
            .collect();
        all.sort_by_key(Candidate::place);
        all
    }

    proptest::proptest! {
        #[test]
        fn a_part_of_the_history_is_paired_as_in_the_whole(
            words in proptest::collection::vec((proptest::prelude::any::<u8>(), 0..2_000_i64), 1..400),
            from in 0..300_usize,
            length in 1..300_usize,
        ) {
            let all = history(&words);
            let from = from.min(all.len());
            let to = (from + length).min(all.len());
            let (whole, part) = (pair(&all), pair(&all[from..to]));
            let is_end = to == all.len();
            for place in from..to {
                let is_inner = (from == 0 || place >= from + 2 * PAIRING_WINDOW)
                    && (is_end || all[place].is_stop || place + PAIRING_WINDOW < to);
                if is_inner {
                    let partner = part[place - from].map(|at| at + from);
                    proptest::prop_assert_eq!(partner, whole[place], "place {}", place);
                }
            }
        }

        #[test]
        fn partners_are_mutual_and_within_the_window(
            words in proptest::collection::vec((proptest::prelude::any::<u8>(), 0..500_i64), 1..200),
        ) {
            let all = history(&words);
            let partners = pair(&all);
            for (place, partner) in partners.iter().enumerate() {
                let Some(partner) = *partner else { continue };
                proptest::prop_assert_eq!(partners[partner], Some(place));
                proptest::prop_assert!(place.abs_diff(partner) <= PAIRING_WINDOW);
                proptest::prop_assert_ne!(all[place].is_stop, all[partner].is_stop);
            }
        }
    }

    #[test]
    fn a_start_outside_the_window_stays_open() {
        let mut views = vec![start("1", 0, "A", 1.0)];
        for at in 1..=PAIRING_WINDOW as i64 {
            views.push(start(&format!("1{at}"), at, "B", 1.0));
        }
        views.push(stop(1_000, Some("A"), 9.0));
        assert!(paired(views.clone()).contains(&own("1", None)));
        views.remove(1);
        assert!(paired(views).contains(&own("1", Some(1_000))));
    }
}

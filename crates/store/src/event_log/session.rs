//! Which events of a session are in the log already. Several changes of a session are one entry of the queue, and its start
//! and its end are two events, whatever was read when.

use central::Timestamp;
use central::model::{EventType, TransactionView};

/// Rows of `event_sessions` of which is looked, each time that events expire, whether their session or command still exists.
pub(crate) const SESSION_ROWS_CHECKED: i64 = 5_000;

/// Which events of a session, or of a command's effect, are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Session {
    pub(crate) stages: i16,
    /// A hash of what the last event of it showed.
    pub(crate) shown: i64,
}

impl Session {
    const STARTED: i16 = 1;
    const ENDED: i16 = 2;
    const CLOSED: i16 = 4;
    const RECONCILED: i16 = 8;
    /// Of a command.
    pub(super) const EFFECT_SEEN: i16 = 16;

    /// The events that are due for the session as it is now, in their order. Sets the stages.
    pub(super) fn due(
        &mut self,
        view: &TransactionView,
        shown: i64,
    ) -> Vec<(EventType, Timestamp)> {
        let last_at = view.last_at.unwrap_or_default();
        let closed = view.closed.as_ref();
        let was_closed = self.stages & Self::CLOSED != 0;
        let is_reconciled = closed.is_some_and(|closed| closed.reconciled);
        let stages = [
            (
                Self::STARTED,
                view.started_at.is_some(),
                EventType::TransactionStarted,
                view.started_at,
            ),
            (
                Self::CLOSED,
                closed.is_some() && !is_reconciled,
                EventType::TransactionClosed,
                closed.map(|closed| closed.at),
            ),
            (
                Self::ENDED,
                view.place_stop().is_some(),
                EventType::TransactionEnded,
                view.ended_at,
            ),
            (
                Self::RECONCILED,
                was_closed && is_reconciled,
                EventType::TransactionReconciled,
                view.ended_at,
            ),
        ];
        let mut due = Vec::new();
        for (stage, is_reached, kind, at) in stages {
            if is_reached && self.stages & stage == 0 {
                self.stages |= stage;
                due.push((kind, at.unwrap_or(last_at)));
            }
        }
        if closed.is_none() {
            // A superseded session that reports again is open again, and may be closed again.
            self.stages &= !(Self::CLOSED | Self::RECONCILED);
        }
        if due.is_empty() && shown != self.shown {
            due.push((EventType::TransactionUpdated, last_at));
        }
        self.shown = shown;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::sample;

    #[test]
    fn a_session_is_updated_only_when_it_shows_something_else() {
        let mut session = Session::default();
        let mut view = sample::transaction("CP-1", 1, true);
        let kinds = |due: Vec<(EventType, Timestamp)>| -> Vec<EventType> {
            due.into_iter().map(|(kind, _)| kind).collect()
        };
        assert_eq!(
            kinds(session.due(&view, 1)),
            [EventType::TransactionStarted]
        );
        assert_eq!(kinds(session.due(&view, 1)), []);
        assert_eq!(
            kinds(session.due(&view, 2)),
            [EventType::TransactionUpdated]
        );
        view.started_at = None;
        assert_eq!(kinds(session.due(&view, 2)), []);
    }
}

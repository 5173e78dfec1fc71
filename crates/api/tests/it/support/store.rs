//! A store in memory that can be made to refuse, hang or fail.

use central::model::{ChargerView, ConnectorView, TransactionView};
use central::ports::Unavailable;
use central::query::{
    ChargerDetail, ChargerFilter, DeadLetterRow, MessageFilter, MessageRow, Page, PageRequest,
    Place, QueryError, QueryStore, TransactionFilter,
};
use central::record::Notes;
use central::{AnswerKind, GatewayId, RecordId, RecordKind, Timestamp};
use std::sync::{Condvar, Mutex};
use uuid::Uuid;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000;

/// How the store answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    Unavailable(Unavailable),
    /// Calls wait until the mood changes.
    Hangs,
    Panics,
}

/// Rows in the order in which they are listed.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) chargers: Vec<ChargerView>,
    pub(crate) connectors: Vec<ConnectorView>,
    pub(crate) transactions: Vec<TransactionView>,
    pub(crate) messages: Vec<MessageRow>,
    pub(crate) dead_letters: Vec<DeadLetterRow>,
    pub(crate) mood: Mutex<(Mood, usize)>,
    pub(crate) changed: Condvar,
}

impl FakeStore {
    pub(crate) fn set(&self, mood: Mood) {
        self.mood.lock().expect("not poisoned").0 = mood;
        self.changed.notify_all();
    }

    /// How many calls hang now.
    pub(crate) fn hanging(&self) -> usize {
        self.mood.lock().expect("not poisoned").1
    }

    fn ready(&self) -> Result<(), QueryError> {
        let mut mood = self.mood.lock().expect("not poisoned");
        while mood.0 == Mood::Hangs {
            mood.1 += 1;
            mood = self.changed.wait(mood).expect("not poisoned");
            mood.1 -= 1;
        }
        let mood = mood.0.clone();
        assert_ne!(mood, Mood::Panics, "as the test wanted");
        match mood {
            Mood::Unavailable(away) => Err(away.into()),
            _ => Ok(()),
        }
    }

    fn page<T: Clone>(
        &self,
        rows: &[T],
        wanted: &PageRequest,
        place: impl Fn(usize, &T) -> Place,
        matches: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, QueryError> {
        self.ready()?;
        let places = || rows.iter().enumerate().map(|(i, row)| place(i, row));
        let start = match &wanted.after {
            None => 0,
            Some(cursor) => {
                let after = Place::from_cursor(cursor)?;
                let index = places().position(|place| place == after);
                match (index, &after, places().next()) {
                    (Some(index), ..) => 1 + index,
                    // Chargers are selected by name, so the position need not be that of a row.
                    (None, Place::Charger(key), Some(Place::Charger(_))) => places()
                        .filter(|place| matches!(place, Place::Charger(row) if row <= key))
                        .count(),
                    _ => return Err(QueryError::BadCursor),
                }
            }
        };
        let mut found = (start..rows.len())
            .filter(|i| matches(&rows[*i]))
            .peekable();
        let chosen: Vec<usize> = found.by_ref().take(wanted.rows()).collect();
        let more = found.peek().is_some();
        let last = chosen.last().map(|i| place(*i, &rows[*i]).to_cursor());
        Ok(Page {
            items: chosen.iter().map(|i| rows[*i].clone()).collect(),
            next: last.filter(|_| more),
        })
    }
}

impl QueryStore for FakeStore {
    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerView>, QueryError> {
        let place = |_, row: &ChargerView| Place::Charger(row.charger_id.to_lowercase());
        self.page(&self.chargers, page, place, |row| {
            let online = filter.online.is_none_or(|online| online == row.online);
            let search = filter.search.as_deref().unwrap_or_default().to_lowercase();
            online && row.charger_id.to_lowercase().contains(&search)
        })
    }

    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, QueryError> {
        self.ready()?;
        let found = self.chargers.iter().find(|row| same(&row.charger_id, id));
        Ok(found.map(|charger| ChargerDetail {
            charger: charger.clone(),
            connectors: {
                let connectors = self.connectors.iter();
                let own = connectors.filter(|row| same(&row.charger_id, id));
                own.cloned().collect()
            },
        }))
    }

    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, QueryError> {
        let place = |i: usize, row: &TransactionView| {
            Place::Transaction(Timestamp(START + i as i64), row.key)
        };
        self.page(&self.transactions, page, place, |row| {
            let began = row.started_at.unwrap_or_default();
            filter.open.is_none_or(|open| open == row.open)
                && filter
                    .charger
                    .as_deref()
                    .is_none_or(|id| same(&row.charger_id, id))
                && filter.from.is_none_or(|from| began >= from)
                && filter.to.is_none_or(|to| began < to)
        })
    }

    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, QueryError> {
        self.ready()?;
        Ok(self.transactions.iter().find(|row| row.key == key).cloned())
    }

    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, QueryError> {
        let place = |_, row: &MessageRow| Place::Message(row.id);
        self.page(&self.messages, page, place, |row| {
            filter
                .charger
                .as_deref()
                .is_none_or(|id| same(&row.charger_id, id))
                && filter
                    .action
                    .as_deref()
                    .is_none_or(|action| action == row.action)
                && filter.kind.is_none_or(|kind| kind == row.kind)
                && filter.from.is_none_or(|from| row.received_at >= from)
                && filter.to.is_none_or(|to| row.received_at < to)
        })
    }

    fn dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, QueryError> {
        let place = |i: usize, _: &DeadLetterRow| Place::DeadLetter(i as i64);
        self.page(&self.dead_letters, page, place, |_| true)
    }

    fn count_messages(&self, _: &MessageFilter) -> Result<u64, QueryError> {
        self.ready()?;
        Ok(self.messages.len() as u64)
    }

    fn count_transactions(&self, _: &TransactionFilter) -> Result<u64, QueryError> {
        self.ready()?;
        Ok(self.transactions.len() as u64)
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// A charger that is online or not.
pub(crate) fn charger(id: &str, online: bool) -> ChargerView {
    ChargerView {
        charger_id: id.to_owned(),
        ocpp_version: Some(ocpp::Version::V16),
        online,
        gateway_id: None,
        remote: None,
        connected_at: Some(Timestamp(START)),
        disconnected_at: None,
        disconnect_reason: None,
        first_seen_at: Some(Timestamp(START)),
        last_seen_at: Some(Timestamp(START)),
        booted_at: None,
        boot: None,
        firmware_status: None,
    }
}

/// A connector of a 1.6 charger.
pub(crate) fn connector(charger_id: &str, connector: i64) -> ConnectorView {
    ConnectorView {
        charger_id: charger_id.to_owned(),
        evse: 0,
        connector,
        status: Some("Available".to_owned()),
        error_code: None,
        info: None,
        vendor_error_code: None,
        since: Some(Timestamp(START)),
    }
}

/// The `number`-th transaction, begun `number` seconds after [`START`].
pub(crate) fn transaction(charger_id: &str, number: u32, open: bool) -> TransactionView {
    let started_at = Timestamp(START + 1_000 * i64::from(number));
    TransactionView {
        key: Uuid::from_u128(u128::from(number)),
        charger_id: charger_id.to_owned(),
        transaction_id: number.to_string(),
        ocpp_version: Some(ocpp::Version::V16),
        evse: None,
        connector: Some(1),
        id_token: Some("TAG".to_owned()),
        token_type: None,
        verdict: Some("Accepted".to_owned()),
        started_at: Some(started_at),
        ended_at: (!open).then(|| started_at.plus_millis(60_000)),
        open,
        last_at: Some(started_at),
        meter_start_wh: Some(100.0),
        meter_stop_wh: None,
        energy_wh: None,
        power_w: None,
        soc_percent: None,
        charging_state: None,
        stop_reason: None,
        remote_start_id: None,
        reservation_id: None,
        offline: false,
        missing_seq: Vec::new(),
        conflicting_stops: 0,
    }
}

/// The message with sequence number `seq`, received `seq` seconds after [`START`].
pub(crate) fn message(charger_id: &str, seq: u64, action: &str) -> MessageRow {
    MessageRow {
        id: RecordId {
            gateway: GatewayId(Uuid::from_u128(0xfeed)),
            seq,
        },
        charger_id: charger_id.to_owned(),
        ocpp_version: ocpp::Version::V16,
        kind: RecordKind::Call,
        message_id: format!("m-{seq}"),
        action: action.to_owned(),
        payload: format!("{{\"n\":{seq}}}"),
        answer_kind: AnswerKind::Result,
        answer: "{}".to_owned(),
        received_at: Timestamp(START + 1_000 * seq as i64),
        epoch: 1,
        notes: Notes::default(),
        reason: String::new(),
    }
}

/// The dead letter of the record with sequence number `seq`.
pub(crate) fn dead_letter(seq: u64) -> DeadLetterRow {
    DeadLetterRow {
        record_id: format!("00000000-0000-0000-0000-00000000feed/{seq}"),
        reason: "record is damaged: unknown kind".to_owned(),
        at: Timestamp(START),
        size_bytes: 3,
        content: "\u{fffd}ab".to_owned(),
    }
}

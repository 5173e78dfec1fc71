//! The contents of a database as one value, so that tests can compare databases whose rows have different numbers.

use crate::refusal::Refusal;
use central::RecordId;
use central::memory::Contents;
use central::model::{EventRow, MeterValueRow, QuirkCounts, UnknownTokenCounts};
use central::ports::Unavailable;
use central::project::Changes;
use central::query::{MessageFilter, QueryError, QueryStore, all_messages};
use serde::de::DeserializeOwned;

/// A dead letter: its id, its bytes and its reason.
pub(crate) type DeadLetterEntry = (RecordId, (Vec<u8>, String));

/// All tables but the messages.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) states: Changes,
    pub(crate) meter_values: Vec<MeterValueRow>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) dead_letters: Vec<DeadLetterEntry>,
    pub(crate) quirks: QuirkCounts,
    pub(crate) unknown_tokens: UnknownTokenCounts,
}

impl Tables {
    /// These tables with all records of `store`.
    pub(crate) fn with_records(self, store: &impl QueryStore) -> Result<Contents, Unavailable> {
        let meter_values = self.meter_values.into_iter();
        let events = self.events.into_iter();
        let mut contents = Contents {
            states: self.states,
            meter_values: meter_values
                .map(|row| ((row.charger.clone(), row.at.0, row.key_hash), row))
                .collect(),
            events: events
                .map(|row| ((row.charger.clone(), row.at.0, row.key_hash), row))
                .collect(),
            dead: self.dead_letters.into_iter().collect(),
            quirks: self.quirks,
            unknown_tokens: self.unknown_tokens,
            ..Contents::default()
        };
        for message in all_messages(store, &MessageFilter::default()) {
            let message = message.map_err(|error| match error {
                QueryError::Unavailable(unavailable) => unavailable,
                QueryError::BadCursor => {
                    Refusal::corrupt("it refuses its own cursor").into_unavailable()
                }
            })?;
            contents
                .records
                .insert(message.id, message.record().encode());
        }
        Ok(contents)
    }
}

/// Parses a stored state.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::corrupt(format!("{text}: {error}")))
}

//! Transactions, messages and dead letters.

use super::kinds::{
    DEAD_LETTER_DISCARDED, NO_OPEN_TRANSACTION, OTHER_NUMBER, SEVERAL_TRANSACTIONS,
    TRANSACTION_ENDED, TRANSACTION_MAY_RUN, UNKNOWN_DEAD_LETTER, UNKNOWN_MESSAGE,
    UNKNOWN_TRANSACTION,
};
use super::{ApiError, Fault, quoted, shortened};
use central::ports::NotClosed;
use central::ports::NotSelected;
use uuid::Uuid;

impl ApiError {
    pub(crate) fn unknown_dead_letter(id: &str) -> Self {
        Self::new(
            &UNKNOWN_DEAD_LETTER,
            format!("There is no dead letter of record {}.", quoted(id)),
        )
    }

    pub(crate) fn dead_letter_discarded(why: &NotSelected) -> Self {
        Self::new(
            &DEAD_LETTER_DISCARDED,
            format!("Nothing is changed: {why}."),
        )
    }

    pub(crate) fn other_number(why: &NotSelected) -> Self {
        Self::new(
            &OTHER_NUMBER,
            format!(
                "Nothing is changed: {why}. Look at them again, then repeat with the new number."
            ),
        )
    }

    pub(crate) fn transaction_ended(key: Uuid) -> Self {
        Self::new(
            &TRANSACTION_ENDED,
            format!("The transaction {key} has ended; GET /api/v1/transactions/{key} shows when."),
        )
    }

    /// A transaction that was not closed.
    pub(crate) fn not_closed(refused: &NotClosed) -> Self {
        match refused {
            NotClosed::Unknown { key } => Self::unknown_transaction(*key),
            NotClosed::Superseded { .. }
            | NotClosed::ClosedBefore { .. }
            | NotClosed::Stopped { .. }
            | NotClosed::Ended { .. } => {
                Self::new(&TRANSACTION_ENDED, format!("It stays as it is: {refused}."))
            }
            NotClosed::MayRun { .. } => Self::new(
                &TRANSACTION_MAY_RUN,
                format!("It stays as it is: {refused}; wait, or set force to true."),
            ),
            NotClosed::InFuture { .. } | NotClosed::BeforeStart { .. } => {
                Self::bad_members(vec![Fault::of_member("at", format!("at {refused}"))])
            }
        }
    }

    pub(crate) fn no_open_transaction(why: &str) -> Self {
        Self::new(
            &NO_OPEN_TRANSACTION,
            format!("{why}; give transaction_id if you know it."),
        )
    }

    pub(crate) fn several_transactions(ids: &[&str]) -> Self {
        Self::new(
            &SEVERAL_TRANSACTIONS,
            format!(
                "The charger has several open transactions; give one as transaction_id: {}.",
                shortened(&ids.join(", "))
            ),
        )
    }

    pub(crate) fn unknown_message(id: central::RecordId) -> Self {
        Self::new(
            &UNKNOWN_MESSAGE,
            format!("The database has no message with the record id {id}."),
        )
    }

    pub(crate) fn unknown_transaction(key: Uuid) -> Self {
        Self::new(
            &UNKNOWN_TRANSACTION,
            format!("No transaction is known by the key {key}."),
        )
    }
}

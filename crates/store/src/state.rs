//! Stored states: the JSON of a value that is merged with every change of it.

use crate::refusal::Refusal;
use central::model::{ChargerState, ChargerView, GatewayState, Merge, TransactionState};
use central::{GatewayId, Timestamp};
use common::log_bound::{Bounds, LogBound};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Instant;

/// Number of states cached per table; with more the table's cache is cleared.
const CACHED_MAX: usize = 20_000;

/// Clears the cache of a table that has become too large.
pub(crate) fn clear_if_many<K, V>(cached: &mut HashMap<K, V>) {
    if cached.len() > CACHED_MAX {
        cached.clear();
    }
}

/// What all states have in common.
pub(crate) trait State:
    Merge + Clone + PartialEq + Default + Serialize + DeserializeOwned
{
}
impl<T: Merge + Clone + PartialEq + Default + Serialize + DeserializeOwned> State for T {}

/// Merges; returns the new state's JSON if it has changed.
pub(crate) fn merge_into<S: State>(held: &mut S, incoming: &S) -> Result<Option<String>, Refusal> {
    let mut merged = held.clone();
    merged.merge(incoming.clone());
    if merged == *held {
        return Ok(None);
    }
    let json = serde_json::to_string(&merged)
        .map_err(|error| Refusal::Poison(format!("cannot write the state as JSON: {error}")))?;
    *held = merged;
    Ok(Some(json))
}

/// A stored state that cannot be read. It goes to the table `set_aside`, and a new state replaces it, because it must
/// not block later messages. The messages that it was built from are still stored.
#[derive(Debug)]
pub(crate) struct SetAside {
    pub(crate) what: String,
    pub(crate) reason: String,
}

/// Parses the state of `what` to merge into it.
pub(crate) fn parse<S: State>(json: &str, what: impl FnOnce() -> String) -> Result<S, SetAside> {
    serde_json::from_str(json).map_err(|error| {
        let (what, reason) = (what(), error.to_string());
        tracing::error!(
            what,
            reason,
            "a stored state cannot be read; it is set aside and replaced by a new one"
        );
        SetAside { what, reason }
    })
}

/// Parses the state of `whose` to return it.
pub(crate) fn read<S: DeserializeOwned>(json: &str, whose: &dyn Display) -> Result<S, Refusal> {
    serde_json::from_str(json).map_err(|error| {
        Refusal::corrupt(format!("a stored state of {whose} cannot be read: {error}"))
    })
}

/// What is done with a stored state that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is an error, because what is made of the state is kept.
    Fails,
    /// It is as if there were no state, because others are read with it and must not be affected.
    IsNone,
}

/// As [`read`]; a state that cannot be read may be the default.
pub(crate) fn read_with<S: DeserializeOwned + Default>(
    json: &str,
    whose: &dyn Display,
    unreadable: Unreadable,
) -> Result<S, Refusal> {
    match unreadable {
        Unreadable::Fails => read(json, whose),
        Unreadable::IsNone => Ok(readable(json, whose).unwrap_or_default()),
    }
}

/// Parses the state of `whose`; `None` when it cannot be read, which must not affect others that are read with it. It is set
/// aside when it is next changed.
pub(crate) fn readable<S: DeserializeOwned>(json: &str, whose: &dyn Display) -> Option<S> {
    or_log(serde_json::from_str(json), whose)
}

/// What was read; `None`, with a line in the log, when it cannot be read.
pub(crate) fn or_log<T, E: Display>(read: Result<T, E>, whose: &dyn Display) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            log_unreadable(&whose.to_string(), &error);
            None
        }
    }
}

/// What was read, with others; `None`, with a line in the log, when it cannot be read.
pub(crate) fn or_leave_out<T>(read: Result<T, Refusal>, whose: &dyn Display) -> Option<T> {
    or_log(read.map_err(Refusal::into_unavailable), whose)
}

/// Lines of the log about what is stored and cannot be read: it may be read many times per second.
static UNREADABLE: LazyLock<LogBound> = LazyLock::new(|| {
    LogBound::new(Bounds {
        per_subject: 1,
        per_source: 1,
        total: 20,
    })
});

fn log_unreadable(whose: &str, error: &dyn Display) {
    metrics::counter!("wattpost_store_unreadable_total").increment(1);
    let now = Instant::now();
    if let Some(unlogged) = UNREADABLE.take_unlogged(now) {
        tracing::error!(
            lines = unlogged.lines,
            "further lines about what is stored and cannot be read were not logged"
        );
    }
    if UNREADABLE.may_log("unreadable", &whose, "", now) {
        tracing::error!(
            whose,
            %error,
            "what is stored cannot be read; the others are read without it"
        );
    }
}

/// Parses a transaction's state to return it, as [`readable`].
pub(crate) fn read_transaction(wire_id: &str, json: &str) -> Option<TransactionState> {
    readable(json, &format_args!("transaction {wire_id}"))
}

/// The identity of a charger as it was spelled last: in its state, or else `first`, as it was spelled first.
pub(crate) fn last_spelling(first: String, state: Option<&str>) -> String {
    let state: Option<ChargerState> = state.and_then(|json| readable(json, &first));
    let last = state.and_then(|state| state.charger_id.get().cloned());
    last.unwrap_or(first)
}

/// When a gateway with this state last reported that it runs.
pub(crate) fn gateway_alive_at(json: Option<&str>) -> Option<Timestamp> {
    let state: Option<GatewayState> = json.and_then(|json| readable(json, &"a gateway"));
    state.and_then(|state| state.alive_at)
}

/// The gateways, and the time by the clock that their [`GatewayState::alive_at`] is from.
pub(crate) struct Gateways {
    pub(crate) states: HashMap<GatewayId, GatewayState>,
    pub(crate) now: Timestamp,
}

impl Gateways {
    /// The view of a charger.
    pub(crate) fn view(&self, key: &str, state: &ChargerState) -> ChargerView {
        let connection = state.connection.as_ref();
        let gateway = connection.and_then(|connection| self.states.get(&connection.gateway));
        state.view(key, gateway, self.now)
    }
}

//! What a request for a batch says: its plan and its chargers. The HTTP API and the command line read it here.

use crate::change::{Given, Members};
use crate::commands::expiry;
use crate::error::ApiError;
use crate::operations::Work;
use crate::page;
use central::Timestamp;
use central::command_request::{
    ANSWER_WITHIN_DEFAULT_MS, ANSWER_WITHIN_MS_MAX, ANSWER_WITHIN_MS_MIN, CommandRequest,
    WAIT_MAX_MS,
};
use central::model::{
    BATCH_AT_ONCE_DEFAULT, BATCH_AT_ONCE_MAX, BATCH_EXPIRES_DEFAULT_MS, BATCH_ITEMS_MAX,
    BATCH_PER_SECOND_DEFAULT, BATCH_PER_SECOND_MAX, BatchId, BatchPlan, BatchWork, ChargerKey,
    CommandId, WhenOffline,
};
use central::operation::{Operation, Request};
use central::ports::{ChangeRequest, NewBatch};
use central::query::{
    ChargerDetail, ChargerFilter, PAGE_MAX, PageRequest, QueryStore, RemovedChargers,
};
use ocpp::Version;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use uuid::Uuid;

/// The members of a body.
const MEMBERS: &[&str] = &[
    "action",
    "payload",
    "operation",
    "parameters",
    "chargers",
    "filter",
    "at_once",
    "per_second",
    "stop_after_failures",
    "stop_at_failed_percent",
    "when_offline",
    "expires_at",
    "answer_within_ms",
];
/// Chargers that a dry run shows.
const SHOWN_MAX: usize = 1_000;

/// Selects chargers by what is known of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    online: Option<bool>,
    q: Option<String>,
    site: Option<String>,
    group: Option<String>,
    ocpp_version: Option<Version>,
    vendor: Option<String>,
    model: Option<String>,
    firmware: Option<String>,
}

impl Selection {
    fn has(&self, detail: &ChargerDetail) -> bool {
        let charger = &detail.charger;
        let boot = charger.boot.as_ref();
        let is = |wanted: &Option<String>, found: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == found
        };
        self.ocpp_version
            .is_none_or(|wanted| charger.ocpp_version == Some(wanted))
            && is(&self.vendor, boot.and_then(|boot| boot.vendor.as_ref()))
            && is(&self.model, boot.and_then(|boot| boot.model.as_ref()))
            && is(&self.firmware, boot.and_then(|boot| boot.firmware.as_ref()))
    }
}

/// Which chargers a batch is for.
enum Chargers {
    Listed(Vec<String>),
    Selected(Selection),
}

/// A request for a batch, as `POST /api/v1/batches` takes it.
pub struct BatchRequest {
    plan: BatchPlan,
    chargers: Chargers,
}

/// Why a request for a batch is refused, with the place of each fault.
#[derive(Debug)]
pub struct BatchRefused(ApiError);

impl fmt::Display for BatchRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.detail())?;
        let faults = self.0.faults();
        // A single one is in the sentence.
        for fault in faults.iter().filter(|_| faults.len() > 1) {
            write!(f, "\n  {}: {}", fault.pointer, fault.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for BatchRefused {}

impl BatchRequest {
    /// Reads the JSON of a request. `now` is the database's time
    /// ([`DatabaseClock::time`](central::ports::DatabaseClock::time)).
    ///
    /// # Errors
    /// When it is not an object, or a member is unknown or not valid.
    pub fn from_json(json: &[u8], now: Timestamp) -> Result<Self, BatchRefused> {
        Members::read(json)
            .and_then(|members| Self::read(members, now))
            .map_err(BatchRefused)
    }

    /// What the batch would do: the number of chargers, and the first ones with the command of each, or why it would get
    /// none.
    ///
    /// # Errors
    /// When a charger is not known, none or too many are selected, or the database cannot be read.
    pub fn shown_without_effect(self, store: &dyn QueryStore) -> Result<Value, BatchRefused> {
        self.dry_run(store).map_err(BatchRefused)
    }

    /// The batch with its chargers, which are selected now.
    ///
    /// # Errors
    /// As [`shown_without_effect`](Self::shown_without_effect).
    pub fn into_batch(
        self,
        store: &dyn QueryStore,
        request: ChangeRequest,
    ) -> Result<NewBatch, BatchRefused> {
        self.selected(store, request).map_err(BatchRefused)
    }

    pub(super) fn dry_run(self, store: &dyn QueryStore) -> Result<Value, ApiError> {
        Ok(dry_run(store, &self.plan, &select(store, self.chargers)?))
    }

    pub(super) fn selected(
        self,
        store: &dyn QueryStore,
        request: ChangeRequest,
    ) -> Result<NewBatch, ApiError> {
        let selected = select(store, self.chargers)?.into_iter();
        Ok(NewBatch {
            id: BatchId(common::id::new_v7()),
            plan: BatchPlan {
                traceparent: request.origin.traceparent.clone(),
                ..self.plan
            },
            chargers: selected.map(|detail| detail.charger.charger_id).collect(),
            request,
        })
    }

    pub(super) fn read(mut members: Members, now: Timestamp) -> Result<Self, ApiError> {
        let number = |most: u32| format!("a whole number from 1 to {most}");
        let mut count = |name: &str, most: u32| {
            let given = members.take_if(name, &number(most), |value: &u32| {
                (1..=most).contains(value)
            });
            given.value()
        };
        let at_once = count("at_once", BATCH_AT_ONCE_MAX);
        let per_second = count("per_second", BATCH_PER_SECOND_MAX);
        let stop_after_failures = count("stop_after_failures", 1_000_000);
        let stop_at_failed_percent = count("stop_at_failed_percent", 100);
        let when_offline = members.take("when_offline", "fail or wait").value();
        let answer_within_ms = members.take_if(
            "answer_within_ms",
            "a whole number from 1000 to 600000",
            |value| (ANSWER_WITHIN_MS_MIN..=ANSWER_WITHIN_MS_MAX).contains(value),
        );
        let expires_at: Given<String> = members.take("expires_at", "a time with its offset");
        let action: Option<String> = members.take("action", "the name of an action").value();
        let payload: Given<Map<String, Value>> = members.take("payload", "a JSON object");
        let operation: Option<String> = members
            .take("operation", "the name of an operation")
            .value();
        let parameters: Given<Map<String, Value>> = members.take("parameters", "a JSON object");
        let listed: Option<Vec<String>> = members.take("chargers", "a list of identities").value();
        let selection: Given<Selection> = members.take(
            "filter",
            "an object with some of online, q, site, group, ocpp_version, vendor, model and firmware",
        );
        members.finish(MEMBERS)?;
        let work = match (action, operation) {
            (Some(action), None) => action_of(&action, payload.value().unwrap_or_default(), now)?,
            (None, Some(operation)) => {
                operation_of(operation, parameters.value().unwrap_or_default())?
            }
            (None, None) => {
                return Err(ApiError::bad_member("/action", "give action, or operation"));
            }
            (Some(_), Some(_)) => {
                let why = "action and operation are given; give one of them";
                return Err(ApiError::bad_member("/operation", why));
            }
        };
        let chargers = match (listed, selection.value()) {
            (Some(listed), None) => Chargers::Listed(listed),
            (None, Some(selection)) => Chargers::Selected(selection),
            (None, None) => {
                let why = "give chargers, or a filter; {} selects every charger";
                return Err(ApiError::bad_member("/filter", why));
            }
            (Some(_), Some(_)) => {
                let why = "chargers and filter are given; give one of them";
                return Err(ApiError::bad_member("/filter", why));
            }
        };
        let expires_at = match expires_at.value() {
            None => now.plus_millis(BATCH_EXPIRES_DEFAULT_MS),
            Some(text) => expiry(&text)?,
        };
        if expires_at <= now || expires_at > now.plus_millis(WAIT_MAX_MS) {
            let why = "expires_at must be in the next 30 days";
            return Err(ApiError::bad_member("/expires_at", why));
        }
        let plan = BatchPlan {
            work,
            at_once: at_once.unwrap_or(BATCH_AT_ONCE_DEFAULT),
            per_second: per_second.unwrap_or(BATCH_PER_SECOND_DEFAULT),
            stop_after_failures,
            stop_at_failed_percent,
            when_offline: when_offline.unwrap_or(WhenOffline::Fail),
            answer_within_ms: answer_within_ms.value().unwrap_or(ANSWER_WITHIN_DEFAULT_MS),
            expires_at,
            traceparent: None,
        };
        Ok(Self { plan, chargers })
    }
}

/// An action that the central system can send in some version, with a payload that is not too long.
fn action_of(
    action: &str,
    payload: Map<String, Value>,
    now: Timestamp,
) -> Result<BatchWork, ApiError> {
    let request = CommandRequest {
        charger_id: "any".to_owned(),
        action: action.to_owned(),
        payload: Value::Object(payload.clone()).to_string(),
        waits_when_offline: false,
        expires_at: None,
        answer_within_ms: None,
        skips_check: false,
    };
    let new = request.accept(CommandId(Uuid::nil()), "", None, None, now);
    let new = new.map_err(|error| ApiError::bad_command(&error))?;
    Ok(BatchWork::Action {
        action: new.command.action,
        payload,
    })
}

fn operation_of(name: String, parameters: Map<String, Value>) -> Result<BatchWork, ApiError> {
    let Some(operation) = Operation::from_name(&name) else {
        let names: Vec<&str> = Operation::ALL.into_iter().map(Operation::as_str).collect();
        let why = format!("operation must be one of {}", names.join(", "));
        return Err(ApiError::bad_member("/operation", &why));
    };
    if let Err(mut faults) = Request::read(operation, parameters.clone()) {
        for fault in &mut faults {
            fault.pointer = format!("/parameters{}", fault.pointer);
        }
        return Err(ApiError::invalid(&faults));
    }
    Ok(BatchWork::Operation {
        operation: name,
        parameters,
    })
}

/// The chargers by identity, or in the order of the list. Every one is known.
fn select(store: &dyn QueryStore, chargers: Chargers) -> Result<Vec<ChargerDetail>, ApiError> {
    let (filter, selection) = match &chargers {
        Chargers::Listed(_) => (ChargerFilter::default(), Selection::default()),
        Chargers::Selected(selection) => {
            let filter = ChargerFilter {
                online: selection.online,
                search: selection.q.clone(),
                site: selection.site.clone(),
                group: selection.group.clone(),
                removed: RemovedChargers::Hidden,
                ..ChargerFilter::default()
            };
            let Chargers::Selected(selection) = chargers else {
                return Err(ApiError::internal());
            };
            let found = scan(store, &filter, |detail| selection.has(detail))?;
            return bounded(found);
        }
    };
    let Chargers::Listed(listed) = chargers else {
        return Err(ApiError::internal());
    };
    let wanted: BTreeSet<ChargerKey> = listed.iter().map(|id| ChargerKey::of(id)).collect();
    if wanted.len() < listed.len() {
        let why = "chargers names a charger more than once (letter case does not matter)";
        return Err(ApiError::bad_member("/chargers", why));
    }
    let found = scan(store, &filter, |detail| {
        selection.has(detail) && wanted.contains(&ChargerKey::of(&detail.charger.charger_id))
    })?;
    let mut known: BTreeMap<ChargerKey, ChargerDetail> = found
        .into_iter()
        .map(|detail| (ChargerKey::of(&detail.charger.charger_id), detail))
        .collect();
    let mut chargers = Vec::with_capacity(listed.len());
    for (at, id) in listed.iter().enumerate() {
        match known.remove(&ChargerKey::of(id)) {
            Some(detail) => chargers.push(detail),
            None => {
                let why = format!("no charger is known by the identity {id:.100?}");
                return Err(ApiError::bad_member(&format!("/chargers/{at}"), &why));
            }
        }
    }
    bounded(chargers)
}

fn bounded(chargers: Vec<ChargerDetail>) -> Result<Vec<ChargerDetail>, ApiError> {
    let why = match chargers.len() {
        0 => "no charger is selected".to_owned(),
        count if count > BATCH_ITEMS_MAX => {
            format!("{count} chargers are selected; a batch may have {BATCH_ITEMS_MAX}")
        }
        _ => return Ok(chargers),
    };
    Err(ApiError::bad_member("", &why))
}

/// The chargers that `is_wanted` accepts, page by page.
fn scan(
    store: &dyn QueryStore,
    filter: &ChargerFilter,
    is_wanted: impl Fn(&ChargerDetail) -> bool,
) -> Result<Vec<ChargerDetail>, ApiError> {
    let mut page = PageRequest {
        limit: PAGE_MAX,
        ..PageRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let read = store.chargers(filter, &page);
        let read = read.map_err(|error| page::query_error(error, &page))?;
        found.extend(read.items.into_iter().filter(&is_wanted));
        match read.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// What the batch would do: the first chargers with the command of each, or why it would get none.
fn dry_run(store: &dyn QueryStore, plan: &BatchPlan, selected: &[ChargerDetail]) -> Value {
    let work = Work::of(plan);
    let mut refused = 0;
    let mut items = Vec::new();
    for detail in selected {
        let made = work.as_ref().map_err(Clone::clone);
        let made =
            made.and_then(|work| work.command(store, detail, CommandId(common::id::new_v7())));
        refused += usize::from(made.is_err());
        if items.len() < SHOWN_MAX {
            items.push(json!({
                "charger_id": detail.charger.charger_id,
                "online": detail.charger.online,
                "ocpp_version": detail.charger.ocpp_version,
                "action": made.as_ref().ok().map(|wanted| &wanted.request.action),
                "problem": made.as_ref().err().map(ApiError::detail),
            }));
        }
    }
    json!({"total": selected.len(), "refused": refused, "chargers": items})
}

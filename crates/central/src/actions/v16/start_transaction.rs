//! StartTransaction (1.6): the answer gives the transaction its id.

use super::id_tag;
use crate::Timestamp;
use crate::actions::{Action, Repeats, TransactionMessage};
use crate::answer::{Decision, Scene, TokenForm};
use crate::model::{ChargerKey, Start};
use crate::natural_key::NaturalKey;
use crate::project::charger::{member, owned};
use crate::project::place::Place;
use crate::project::transaction::{add_details, content_key, transaction, whole_wh};
use crate::project::{Changes, Source};
use crate::resend::{Role, SessionPart, SessionTag, transaction_id_member};
use crate::running::{Beginning, SessionNews};
use crate::transaction_id::{next_transaction_id, transaction_id};
use ocpp::json::Raw;
use ocpp::v16;

const NAME: &str = "StartTransaction";

pub(super) const ACTION: Action = Action {
    answer,
    project,
    presents: id_tag::presented,
    repeats: Repeats::NaturalKey(TransactionMessage {
        natural_key,
        part,
        news,
        // One start, one id, one verdict: another verdict could stop what the first one started.
        keeps_first_answer: true,
    }),
    ..Action::plain(NAME)
};

/// The members that a charger repeats when it sends a start again; the transaction's id is derived from them.
pub(crate) fn natural_key(payload: &str) -> NaturalKey<'_> {
    const MEMBERS: &[&str] = &["connectorId", "idTag", "timestamp", "meterStart"];
    NaturalKey::of(NAME, payload, MEMBERS)
}

/// A start names no session; its answer does.
fn part(payload: &str) -> SessionPart {
    let mut timestamp = None;
    let _ = Raw::new(payload).members(|name, value| {
        if name == "timestamp" {
            timestamp = value.timestamp();
        }
    });
    let is_dated = timestamp.is_some_and(|at| Timestamp::from(at).is_plausible());
    SessionPart {
        role: Role::Start,
        session: SessionTag::NONE,
        is_undated_start: !is_dated,
    }
}

fn answer(scene: &Scene<'_>) -> Decision {
    let charger = ChargerKey::of(scene.charger_id);
    let transaction_id = match scene.ended_transaction {
        Some(ended) => next_transaction_id(&charger, scene.payload, ended),
        None => transaction_id(&charger, scene.payload),
    };
    let (place, at) = place_and_time(scene.payload);
    let begins = Beginning {
        transaction_id: transaction_id.to_string(),
        place,
        is_live: scene.is_live(at),
    };
    id_tag::ask(scene, TokenForm::Start { transaction_id }, Some(begins))
}

/// The connector and the time, from as much of the payload as is JSON.
fn place_and_time(payload: &str) -> (Option<i64>, Option<Timestamp>) {
    let (mut place, mut at) = (None, None);
    let _ = Raw::new(payload).members(|name, value| match name {
        "connectorId" => place = value.integer(),
        "timestamp" => at = value.timestamp().map(Timestamp::from),
        _ => {}
    });
    (place, at)
}

fn news(payload: &str, answer: &str) -> Option<SessionNews> {
    Some(SessionNews::Began {
        transaction_id: transaction_id_member(answer)?.to_string(),
        place: place_and_time(payload).0,
    })
}

fn project(changes: &mut Changes, source: &Source<'_>) {
    // A broken start is projected too, because the charger got an id for it.
    let view = v16::StartTransaction::read(source.record.payload).unwrap_or_default();
    let (id, verdict) = start_answer(source);
    let at = source.effective(view.timestamp);
    let stamp = source.stamp(at, 0);
    let meter_wh = view.meter_start.map(whole_wh);
    let place = Place::of_connector(view.connector_id);
    let id_token = owned(view.id_tag);
    let start = Start {
        evse: None,
        connector: place.connector,
        id_token: id_token.clone(),
        token_type: None,
        meter_wh,
        reservation_id: view.reservation_id,
        remote_start_id: None,
        verdict: verdict.clone(),
    };
    let key = content_key(source, view.timestamp, &natural_key(source.record.payload));
    let state = transaction(changes, source, id.to_string());
    state.starts.entry(key).or_default().set(stamp, start);
    add_details(state, source, at, false, |details| {
        details.place.set(stamp, (place.evse, place.connector));
        if let Some(token) = id_token {
            details.token.set(stamp, (token, None));
        }
        if let Some(verdict) = verdict {
            details.verdict.set(stamp, verdict);
        }
    });
}

/// The id and the verdict in the answer.
fn start_answer(source: &Source<'_>) -> (i64, Option<String>) {
    let (mut id, mut verdict) = (None, None);
    let _ = Raw::new(source.record.answer).members(|name, value| match name {
        "transactionId" => id = value.integer(),
        "idTagInfo" => verdict = owned(member(value.as_str(), "status")),
        _ => {}
    });
    let derived = || transaction_id(source.charger, source.record.payload).into();
    (id.unwrap_or_else(derived), verdict)
}

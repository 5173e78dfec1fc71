//! StopTransaction (1.6). Answered `{}`: a stop cannot be refused, and its idTagInfo is optional.

use crate::actions::{Action, Repeats, TransactionMessage};
use crate::model::{Stop, unnamed_stop_id};
use crate::natural_key::{NaturalKey, members};
use crate::project::charger::owned;
use crate::project::meter;
use crate::project::place::Place;
use crate::project::transaction::{add_stop_details, content_key, transaction, whole_wh};
use crate::project::{Changes, Source};
use crate::resend::{Role, SessionPart, SessionTag, transaction_id_member};
use crate::running::SessionNews;
use ocpp::json::Raw;
use ocpp::v16;

const NAME: &str = "StopTransaction";

pub(super) const ACTION: Action = Action {
    project,
    repeats: Repeats::NaturalKey(TransactionMessage {
        natural_key,
        part,
        news,
        keeps_first_answer: false,
    }),
    ..Action::plain(NAME)
};

/// The members that stops must have to be recognised by less than their whole content.
const MEMBERS: &[&str] = &["transactionId", "timestamp", "meterStop"];

/// The transaction's id; for an id that names no transaction (rule Q-17: all stops whose starts got no answer use -1)
/// also the time, the meter reading and the token.
fn natural_key(payload: &str) -> NaturalKey<'_> {
    match members(payload, MEMBERS) {
        Some([id, ..]) if names_a_transaction(id) => NaturalKey::of_members(NAME, [id, "", "", ""]),
        _ => content_natural_key(payload),
    }
}

/// What distinguishes stops, also two of one transaction with different registers. A power cut stops two connectors
/// in one second with one register, so stops that name no transaction differ by their token too, if they have one.
fn content_natural_key(payload: &str) -> NaturalKey<'_> {
    let Some([id, timestamp, meter_stop, _]) = members(payload, MEMBERS) else {
        return NaturalKey::whole(NAME, payload);
    };
    let token = match members(payload, &["idTag"]) {
        Some([token, ..]) if !names_a_transaction(id) => token,
        _ => "",
    };
    NaturalKey::of_members(NAME, [id, timestamp, meter_stop, token])
}

fn names_a_transaction(id: &str) -> bool {
    matches!(Raw::new(id).integer(), Some(1..))
}

fn part(payload: &str) -> SessionPart {
    SessionPart {
        role: Role::Stop,
        session: SessionTag::of_number(transaction_id_member(payload)),
        is_undated_start: false,
    }
}

/// A stop whose id names no transaction may be of any transaction of its charger.
fn news(payload: &str, _: &str) -> Option<SessionNews> {
    let id = transaction_id_member(payload).filter(|id| *id > 0);
    Some(SessionNews::Ended {
        transaction_id: id.map(|id| id.to_string()),
    })
}

fn project(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v16::StopTransaction::read(source.record.payload) else {
        return;
    };
    let id = view.transaction_id.map(|id| id.to_string());
    let readings = meter::rows(
        changes,
        source,
        "transactionData",
        &view.transaction_data,
        Place::default(),
        id.as_deref(),
    );
    let at = source.effective(view.timestamp);
    let stamp = source.stamp(at, 0);
    let meter_wh = view.meter_stop.map(whole_wh);
    let stop = Stop {
        meter_wh,
        // A stop without a reason means Local (F-12).
        reason: owned(view.reason).or_else(|| Some("Local".to_owned())),
        id_token: owned(view.id_tag),
    };
    let key = content_key(
        source,
        view.timestamp,
        &content_natural_key(source.record.payload),
    );
    let id = match view.transaction_id {
        Some(1..) => id.unwrap_or_default(),
        // The id names no transaction.
        _ => unnamed_stop_id(&id.unwrap_or_default(), &key),
    };
    let state = transaction(changes, source, id);
    state.stops.entry(key).or_default().set(stamp, stop);
    add_stop_details(state, source, at, false, |details| {
        meter::add(&mut details.readings, source, &readings);
    });
}

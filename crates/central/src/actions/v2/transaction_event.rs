//! TransactionEvent (2.x): start, course and end of a transaction.

use super::presented_token::{PresentedToken, presented};
use crate::Timestamp;
use crate::actions::{Action, Repeats, TransactionMessage};
use crate::answer::{self, Decision, Scene};
use crate::model::{Details, Start, Stop, TransactionState};
use crate::natural_key::{NaturalKey, members};
use crate::project::charger::{member, owned};
use crate::project::meter::{self, Reading};
use crate::project::place::Place;
use crate::project::transaction::{add_details, add_stop_details, content_key, transaction};
use crate::project::{Changes, Source};
use crate::resend::{Role, SessionPart, SessionTag};
use crate::running::{Beginning, SessionNews};
use ocpp::json::Raw;
use ocpp::v2;

const NAME: &str = "TransactionEvent";

pub(super) const ACTION: Action = Action {
    answer,
    project,
    presents: presented,
    repeats: Repeats::NaturalKey(TransactionMessage {
        natural_key,
        part,
        news,
        keeps_first_answer: false,
    }),
    ..Action::plain(NAME)
};

/// The transaction's id and `seqNo`; also the event's type, because some chargers do not increase `seqNo`.
fn natural_key(payload: &str) -> NaturalKey<'_> {
    let found = members(payload, &["transactionInfo", "seqNo", "eventType"]);
    let Some([info, seq_no, event_type, _]) = found else {
        return NaturalKey::whole(NAME, payload);
    };
    match members(info, &["transactionId"]) {
        Some([id, ..]) => NaturalKey::of_members(NAME, [id, seq_no, event_type, ""]),
        None => NaturalKey::whole(NAME, payload),
    }
}

fn part(payload: &str) -> SessionPart {
    let mut part = SessionPart {
        role: Role::Updated,
        ..SessionPart::NONE
    };
    let _ = Raw::new(payload).members(|name, value| match name {
        "eventType" => {
            part.role = match value.text().as_deref() {
                Some("Started") => Role::Started,
                Some("Ended") => Role::Ended,
                _ => Role::Updated,
            };
        }
        "transactionInfo" => {
            let _ = value.members(|name, value| {
                if name == "transactionId" {
                    part.session = SessionTag::of(value.as_str());
                }
            });
        }
        _ => {}
    });
    part
}

/// An idTokenInfo if the event carries a token, else `{}`: all members are optional.
fn answer(scene: &Scene<'_>) -> Decision {
    let presented = PresentedToken::read(scene.payload);
    if presented.has_token {
        presented.ask(scene.version, begins(scene))
    } else {
        answer::empty(scene)
    }
}

/// What an event says of its transaction, from as much of the payload as is JSON.
#[derive(Default)]
struct Outline {
    event_type: Option<String>,
    trigger: Option<String>,
    transaction_id: Option<String>,
    evse: Option<i64>,
    at: Option<Timestamp>,
    is_offline: bool,
}

impl Outline {
    fn read(payload: &str) -> Self {
        let mut outline = Self::default();
        let _ = Raw::new(payload).members(|name, value| match name {
            "eventType" => outline.event_type = value.text().map(Into::into),
            "triggerReason" => outline.trigger = value.text().map(Into::into),
            "timestamp" => outline.at = value.timestamp().map(Timestamp::from),
            "offline" => outline.is_offline = value.as_str() == "true",
            "transactionInfo" => {
                let _ = value.members(|name, value| {
                    if name == "transactionId" {
                        outline.transaction_id = value.text().map(Into::into);
                    }
                });
            }
            "evse" => {
                let _ = value.members(|name, value| {
                    if name == "id" {
                        outline.evse = value.integer();
                    }
                });
            }
            _ => {}
        });
        outline
    }
}

/// The transaction that the token of an event begins: the token of its first event, or the one that the driver presents
/// after plugging in. Any other token of a transaction stops it, or was answered before.
fn begins(scene: &Scene<'_>) -> Option<Beginning> {
    let outline = Outline::read(scene.payload);
    let is_begun = match outline.event_type.as_deref()? {
        "Started" => true,
        "Updated" => matches!(
            outline.trigger.as_deref(),
            Some("Authorized" | "RemoteStart")
        ),
        _ => false,
    };
    Some(Beginning {
        transaction_id: outline.transaction_id.filter(|_| is_begun)?,
        place: outline.evse,
        is_live: !outline.is_offline && scene.is_live(outline.at),
    })
}

fn news(payload: &str, _: &str) -> Option<SessionNews> {
    let outline = Outline::read(payload);
    match outline.event_type.as_deref()? {
        "Started" => Some(SessionNews::Began {
            transaction_id: outline.transaction_id?,
            place: outline.evse,
        }),
        "Ended" => Some(SessionNews::Ended {
            transaction_id: Some(outline.transaction_id?),
        }),
        _ => None,
    }
}

fn project(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v2::TransactionEvent::read(source.record.payload) else {
        return;
    };
    let place = Place::of_evse(view.evse);
    let id = owned(view.transaction_id);
    let values = &view.meter_value;
    let readings = meter::rows(changes, source, "meterValue", values, place, id.as_deref());
    let Some(id) = id else {
        return;
    };
    let at = source.effective(view.timestamp);
    let stamp = source.stamp(at, 0);
    let key = content_key(source, view.timestamp, &natural_key(source.record.payload));
    let (id_token, token_type) = match view.id_token {
        Some(token) => (owned(token.id_token), owned(token.token_type)),
        None => (None, None),
    };
    let mut verdict = None;
    let _ = Raw::new(source.record.answer).members(|name, value| {
        if name == "idTokenInfo" {
            verdict = owned(member(value.as_str(), "status"));
        }
    });

    let is_reusable = TransactionState::may_be_used_again(&id);
    let state = transaction(changes, source, id);
    match view.event_type.as_deref() {
        Some("Started") => {
            let start = Start {
                evse: place.evse,
                connector: place.connector,
                id_token: id_token.clone(),
                token_type: token_type.clone(),
                meter_wh: readings.iter().find_map(Reading::first_energy_wh),
                reservation_id: view.reservation_id,
                remote_start_id: view.remote_start_id,
                verdict: verdict.clone(),
            };
            state.starts.entry(key).or_default().set(stamp, start);
        }
        Some("Ended") => {
            let stop = Stop {
                meter_wh: readings.iter().rev().find_map(Reading::energy_wh),
                // No reason means Local (F-12).
                reason: owned(view.stopped_reason).or_else(|| Some("Local".to_owned())),
                id_token: id_token.clone(),
            };
            state.stops.entry(key).or_default().set(stamp, stop);
        }
        _ => {}
    }
    // An absurdly large number would push all others out of the window.
    let seq_no = view
        .seq_no
        .filter(|seq_no| (0..=i64::from(i32::MAX)).contains(seq_no));
    let is_end = view.event_type.as_deref() == Some("Ended");
    let change = |details: &mut Details| {
        if let Some(seq_no) = seq_no {
            details.seq.insert(seq_no);
        }
        details.offline |= view.offline == Some(true);
        if place.is_named() {
            details.place.set(stamp, (place.evse, place.connector));
        }
        if let Some(token) = id_token {
            details.token.set(stamp, (token, token_type));
        }
        if let Some(verdict) = verdict {
            details.verdict.set(stamp, verdict);
        }
        if let Some(charging_state) = owned(view.charging_state) {
            details.charging_state.set(stamp, charging_state);
        }
        if let Some(remote_start_id) = view.remote_start_id {
            details.remote_start_id.set(stamp, remote_start_id);
        }
        if let Some(reservation_id) = view.reservation_id {
            details.reservation_id.set(stamp, reservation_id);
        }
        meter::add(&mut details.readings, source, &readings);
    };
    if is_end {
        add_stop_details(state, source, at, is_reusable, change);
    } else {
        add_details(state, source, at, is_reusable, change);
    }
}

//! MeterValues (1.6): of a transaction where it names one, else of a connector.

use crate::actions::{Action, Repeats, TransactionMessage};
use crate::natural_key::NaturalKey;
use crate::project::meter;
use crate::project::place::Place;
use crate::project::transaction::{add_details, newest, transaction};
use crate::project::{Changes, Source};
use crate::resend::SessionPart;
use ocpp::v16;

const NAME: &str = "MeterValues";

pub(super) const ACTION: Action = Action {
    project,
    repeats: Repeats::NaturalKey(TransactionMessage {
        natural_key: |payload| NaturalKey::whole(NAME, payload),
        part: |_| SessionPart::NONE,
        news: |_, _| None,
        keeps_first_answer: false,
    }),
    ..Action::plain(NAME)
};

fn project(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v16::MeterValues::read(source.record.payload) else {
        return;
    };
    let place = Place::of_connector(view.connector_id);
    let id = view.transaction_id.map(|id| id.to_string());
    let values = &view.meter_value;
    let readings = meter::rows(changes, source, "meterValue", values, place, id.as_deref());
    // Chargers that got no id write 0 or less: the values become rows, but belong to no transaction.
    let Some(id) = id.filter(|_| view.transaction_id > Some(0)) else {
        return;
    };
    let at = newest(&readings).unwrap_or(source.record.received_at);
    let stamp = source.stamp(at, 0);
    let state = transaction(changes, source, id);
    add_details(state, source, at, false, |details| {
        if place.is_named() {
            details.place.set(stamp, (place.evse, place.connector));
        }
        meter::add(&mut details.readings, source, &readings);
    });
}

//! Where one record is on its way from its gateway to the database, and when it passed each station. A pure function of
//! what the database has and of the positions that gateways report.
//!
//! A record carries one time: when the gateway read the message. The positions of a gateway are heard every few seconds, so
//! the time of any other station is known to lie between two of these moments. What is not known is null, with the reason.

use crate::model::DeadLetterRow;
use crate::pipeline::ProcessState;
use crate::query::MessageRow;
use crate::record::RecordId;
use crate::time::Timestamp;
use serde::Serialize;

/// The positions of a gateway, as sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// When the gateway reported them: a record after them was not there before.
    pub at: Timestamp,
    /// When all of them were known, at `at` or later: a record up to them was there by then.
    pub known_at: Timestamp,
    /// The last record that is durable in the journal.
    pub durable: u64,
    /// The last record that was delivered: confirmed by RabbitMQ, or stored.
    pub delivered: u64,
    /// Every record up to here is stored; `None` if that is not known.
    pub stored: Option<u64>,
}

/// What the database has of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InDatabase {
    /// It is a message.
    Message(Box<MessageRow>),
    /// It could not be applied.
    DeadLetter(DeadLetterRow),
    /// Neither.
    Nothing,
    /// The database cannot be read, for this reason.
    Unknown(String),
}

/// What is known of the record's gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySeen {
    /// Whether it runs.
    pub state: ProcessState,
    /// Its positions, the oldest first, and never none.
    pub history: Vec<Positions>,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Its gateway has not written it.
    NotWritten,
    /// Only in the journal of its gateway.
    Journal,
    /// Delivered, and not in the database: in RabbitMQ or with a consumer.
    Rabbitmq,
    /// In the database, with all that follows from it.
    Stored,
    /// In the database as a dead letter.
    DeadLetter,
    /// It was stored, and is no longer: the retention deleted it, or a person discarded the dead letter.
    Deleted,
    /// Not known.
    Unknown,
}

/// Whether a record has passed a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// It has.
    Yes,
    /// It has not yet.
    NotYet,
    /// It never will: it is a dead letter.
    Never,
    /// Not known.
    Unknown,
}

/// A station on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Station {
    /// `received`, `durable`, `delivered`, `stored`, `projected` or `dead_letter`.
    pub station: &'static str,
    /// Whether the record has passed it.
    pub passed: Passed,
    /// When, exactly.
    pub at: Option<String>,
    /// When, at the earliest.
    pub not_before: Option<String>,
    /// When, at the latest.
    pub not_after: Option<String>,
    /// Why the time is not known, or not exactly.
    pub unknown: Option<String>,
}

/// The answer of `GET /api/v1/messages/{gateway_id}/{seq}/trace`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The record.
    pub record_id: String,
    /// For when it is made.
    pub as_of: String,
    /// Where the record is.
    pub place: Place,
    /// The same in words.
    pub detail: String,
    /// The stations in their order.
    pub stations: Vec<Station>,
}

/// The trace of a record at `now`. `gateway` is `None` if nothing was heard of it.
#[must_use]
pub fn trace(
    now: Timestamp,
    id: RecordId,
    has_broker: bool,
    found: &InDatabase,
    gateway: Option<&GatewaySeen>,
) -> Trace {
    let seq = id.seq.0;
    let latest = gateway.and_then(|gateway| gateway.history.last());
    let is_in_database = matches!(found, InDatabase::Message(_) | InDatabase::DeadLetter(_));
    // What is in the database has passed all stations, whatever was heard.
    let has = |upto: Option<u64>| match upto {
        _ if is_in_database => Passed::Yes,
        Some(upto) if seq <= upto => Passed::Yes,
        Some(_) => Passed::NotYet,
        None => Passed::Unknown,
    };
    let durable = has(latest.map(|latest| latest.durable));
    let delivered = has(latest.map(|latest| latest.delivered));
    let was_stored = latest
        .and_then(|latest| latest.stored)
        .map(|upto| seq <= upto);
    let (place, detail) = place(found, durable, delivered, was_stored, has_broker, gateway);
    let received_at = match found {
        InDatabase::Message(row) => Some(row.received_at),
        _ => None,
    };
    let timed = |station, passed, of: fn(&Positions) -> Option<u64>| {
        let mut station = Station::new(station, passed);
        if passed == Passed::Yes {
            let times = gateway.map(|gateway| between(&gateway.history, seq, of));
            let (after, before) = times.unwrap_or_default();
            station.not_before = after.or(received_at).map(|at| at.to_string());
            station.not_after = before.map(|at| at.to_string());
            station.unknown = Some(match (after, before, gateway) {
                (Some(_), Some(_), _) => {
                    "it lies between two reports of the gateway's positions".to_owned()
                }
                (_, _, None) => "no positions of the gateway are known".to_owned(),
                _ => "it was before the oldest kept report of the gateway's positions".to_owned(),
            });
        }
        station
    };
    let mut received = Station::new("received", durable);
    match received_at {
        Some(at) => received.at = Some(at.to_string()),
        None if durable == Passed::Yes => {
            received.unknown =
                Some("it is a part of the record, which is not in the database".to_owned());
        }
        None => {}
    }
    let stored = match place {
        Place::Stored | Place::Deleted => Passed::Yes,
        Place::DeadLetter => Passed::Never,
        Place::Unknown => Passed::Unknown,
        Place::NotWritten | Place::Journal | Place::Rabbitmq => Passed::NotYet,
    };
    let mut stations = vec![
        received,
        timed("durable", durable, |at| Some(at.durable)),
        timed("delivered", delivered, |at| Some(at.delivered)),
    ];
    match found {
        InDatabase::DeadLetter(letter) => {
            let mut station = Station::new("dead_letter", Passed::Yes);
            station.at = Some(letter.at.to_string());
            stations.push(station);
        }
        _ => {
            let of: fn(&Positions) -> Option<u64> = |at| at.stored;
            stations.push(timed("stored", stored, of));
            // One database transaction.
            stations.push(timed("projected", stored, of));
        }
    }
    for station in &mut stations {
        if station.passed == Passed::Unknown {
            station.unknown = Some(detail.clone());
        }
    }
    Trace {
        record_id: id.to_string(),
        as_of: now.to_string(),
        place,
        detail,
        stations,
    }
}

fn place(
    found: &InDatabase,
    durable: Passed,
    delivered: Passed,
    was_stored: Option<bool>,
    has_broker: bool,
    gateway: Option<&GatewaySeen>,
) -> (Place, String) {
    let words = |place, words: &str| (place, words.to_owned());
    match found {
        InDatabase::Message(_) => return words(Place::Stored, "it is in the database"),
        InDatabase::DeadLetter(letter) => {
            let why = format!("it could not be applied: {}", letter.reason);
            return (Place::DeadLetter, why);
        }
        InDatabase::Nothing | InDatabase::Unknown(_) => {}
    }
    let Some(gateway) = gateway else {
        return words(
            Place::Unknown,
            "it is not in the database, and no report of its gateway is known",
        );
    };
    let at_gateway = match gateway.state {
        ProcessState::Running => "",
        ProcessState::Gone => ", which has not reported for 20 seconds",
        ProcessState::Stopped => ", which is stopped",
        ProcessState::Retired => ", which is retired",
    };
    match (durable, delivered, found) {
        (Passed::Yes, Passed::Yes, InDatabase::Unknown(why)) => (
            Place::Unknown,
            format!("it was delivered; whether it is in the database is not known: {why}"),
        ),
        (Passed::Yes, Passed::Yes, _) if was_stored == Some(true) => words(
            Place::Deleted,
            "it was stored, and is no longer: the retention deleted it, or its dead letter was discarded",
        ),
        (Passed::Yes, Passed::Yes, _) if has_broker => words(
            Place::Rabbitmq,
            "RabbitMQ has confirmed it; it waits in a queue or with a consumer",
        ),
        (Passed::Yes, Passed::Yes, _) => words(
            Place::Unknown,
            "it was delivered to the database, which does not have it (any more)",
        ),
        (Passed::Yes, _, _) => (
            Place::Journal,
            format!("it is in the journal of its gateway{at_gateway}, and not delivered yet"),
        ),
        (_, _, _) => (
            Place::NotWritten,
            format!("its gateway{at_gateway} has not reported a record with this number yet"),
        ),
    }
}

/// Between which moments a position passed a number: after the first, which is not known if the history begins later, and
/// at or before the second.
fn between(
    history: &[Positions],
    seq: u64,
    of: fn(&Positions) -> Option<u64>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let mut before = None;
    for positions in history {
        match of(positions) {
            Some(upto) if upto >= seq => return (before, Some(positions.known_at)),
            Some(_) => before = Some(positions.at),
            None => {}
        }
    }
    (before, None)
}

impl Station {
    const fn new(station: &'static str, passed: Passed) -> Self {
        Self {
            station,
            passed,
            at: None,
            not_before: None,
            not_after: None,
            unknown: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::sample;
    use crate::record::Seq;

    const NOW: Timestamp = Timestamp(sample::START + 100_000);

    fn id(seq: u64) -> RecordId {
        RecordId {
            seq: Seq(seq),
            ..sample::message("CP-1", 1, "Heartbeat").id
        }
    }

    fn seen() -> GatewaySeen {
        let at = |second: i64, durable, delivered, stored| Positions {
            at: Timestamp(sample::START + second * 1_000),
            known_at: Timestamp(sample::START + second * 1_000 + 500),
            durable,
            delivered,
            stored,
        };
        GatewaySeen {
            state: ProcessState::Running,
            history: vec![
                at(0, 10, 8, Some(5)),
                at(5, 20, 15, None),
                at(10, 30, 25, Some(20)),
            ],
        }
    }

    fn of(seq: u64, has_broker: bool, found: &InDatabase) -> Trace {
        trace(NOW, id(seq), has_broker, found, Some(&seen()))
    }

    #[test]
    fn a_record_is_at_the_place_that_its_number_and_the_database_tell() {
        let unreadable = InDatabase::Unknown("the database does not answer".to_owned());
        for (seq, has_broker, found, place) in [
            (31, true, &InDatabase::Nothing, Place::NotWritten),
            (31, true, &unreadable, Place::NotWritten),
            (30, true, &InDatabase::Nothing, Place::Journal),
            (26, false, &unreadable, Place::Journal),
            (25, true, &InDatabase::Nothing, Place::Rabbitmq),
            (25, true, &unreadable, Place::Unknown),
            (25, false, &InDatabase::Nothing, Place::Unknown),
            (20, true, &InDatabase::Nothing, Place::Deleted),
        ] {
            assert_eq!(of(seq, has_broker, found).place, place, "{seq} {found:?}");
        }
        let row = sample::message("CP-1", 40, "Heartbeat");
        let stored = of(40, true, &InDatabase::Message(Box::new(row)));
        assert_eq!(stored.place, Place::Stored, "before the report tells so");
        assert!(stored.stations.iter().all(|one| one.passed == Passed::Yes));
        let dead = of(3, true, &InDatabase::DeadLetter(sample::dead_letter(3)));
        assert_eq!(dead.place, Place::DeadLetter);
        assert_eq!(
            dead.stations.last().map(|one| one.station),
            Some("dead_letter")
        );
        let nobody = trace(NOW, id(1), true, &InDatabase::Nothing, None);
        assert_eq!(nobody.place, Place::Unknown);
    }

    #[test]
    fn a_station_was_passed_between_two_reports() {
        let row = sample::message("CP-1", 12, "Heartbeat");
        let found = of(12, true, &InDatabase::Message(Box::new(row.clone())));
        let ms = |ms: i64| Some(Timestamp(sample::START + ms).to_string());
        let time = |second: i64| ms(second * 1_000);
        // Half a second later, the positions were known.
        let known = |second: i64| ms(second * 1_000 + 500);
        let times: Vec<_> = found
            .stations
            .iter()
            .map(|one| {
                (
                    one.station,
                    one.at.clone(),
                    one.not_before.clone(),
                    one.not_after.clone(),
                )
            })
            .collect();
        assert_eq!(
            times,
            [
                ("received", Some(row.received_at.to_string()), None, None),
                ("durable", None, time(0), known(5)),
                ("delivered", None, time(0), known(5)),
                ("stored", None, time(0), known(10)),
                ("projected", None, time(0), known(10)),
            ]
        );
        // Before the oldest report, it is known from the record at the earliest.
        let row = sample::message("CP-1", 3, "Heartbeat");
        let early = of(3, true, &InDatabase::Message(Box::new(row.clone())));
        assert_eq!(
            early.stations[1].not_before,
            Some(row.received_at.to_string())
        );
        assert_eq!(early.stations[1].not_after, known(0));
        let waiting = of(28, true, &InDatabase::Nothing);
        assert_eq!(waiting.stations[0].passed, Passed::Yes);
        assert!(waiting.stations[0].unknown.is_some());
        assert_eq!(waiting.stations[2].passed, Passed::NotYet);
        assert_eq!(waiting.stations[2].not_after, None);
    }
}

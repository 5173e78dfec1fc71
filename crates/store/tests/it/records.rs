//! Single messages by their ids and by their calls, and messages of a charger by time: the same on both databases.

use crate::common::{
    Adapter, Sent, apply, at, call, gateway, heartbeat, id, meter_values, on_every_adapter, start,
    stop,
};
use crate::effects::{claimed, command_id, sent_and_answered};
use central::model::ChargerKey;
use central::query::{
    Cursor, MentionFilter, MessageFilter, PageRequest, QueryStore, SessionMessages,
    TransactionFilter, WireId, with_pairs, without_answered_calls,
};
use central::{GatewayId, RecordId, RecordKind, Timestamp};

on_every_adapter!(
    a_message_is_found_by_its_id_on_whatever_day_it_was_received,
    a_call_of_the_central_system_is_joined_with_its_reply,
    messages_by_time_are_in_order_across_gateways_and_days,
    the_messages_of_a_transaction_are_found,
    connections_are_listed_with_their_ends,
    the_runs_of_gateways_end_with_their_last_record,
);

const DAY: i64 = 24 * 60;

fn a_message_is_found_by_its_id_on_whatever_day_it_was_received<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = [
        heartbeat(1, "CP-1"),
        call(id(0, 2), "CP-1", 3 * DAY, "Heartbeat", "{}"),
        call(id(1, 2), "CP-2", 900 * DAY, "Heartbeat", "{}"),
    ];
    apply(&store, &sent).unwrap();
    for one in &sent {
        let found = store.message(one.id).unwrap().unwrap();
        assert_eq!(found.record().encode(), one.bytes);
    }
    for other in [id(0, 3), id(1, 1), id(7, 1), id(0, u64::MAX), id(0, 0)] {
        assert_eq!(store.message(other).unwrap(), None, "{other}");
    }
}

fn a_call_of_the_central_system_is_joined_with_its_reply<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    claimed(&store, 5, "CP-1", ("Reset", r#"{"type":"Soft"}"#), 1);
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    let sent = sent_and_answered(
        2,
        5,
        ocpp::Version::V16,
        "Reset",
        r#"{"status":"Accepted"}"#,
    );
    apply(&store, &sent).unwrap();
    let rows = store
        .messages_of_calls(&[command_id(5), command_id(6)])
        .unwrap();
    let mut kinds: Vec<RecordKind> = rows.iter().map(|row| row.kind).collect();
    kinds.sort_by_key(|kind| *kind as u8);
    assert_eq!(kinds, [RecordKind::CallResult, RecordKind::CallToCharger]);
    let all = store
        .messages(&MessageFilter::default(), &page(None, 9))
        .unwrap()
        .items;
    let paired = without_answered_calls(&store, &MessageFilter::default(), all).unwrap();
    let paired = with_pairs(&store, paired).unwrap();
    assert_eq!(paired.len(), 2, "the call is the pair of its reply");
    assert!(paired[1].pair.is_some() && paired[1].latency_ms.is_some());
    assert_eq!(paired[1].command_id, Some(command_id(5)));
}

fn page(after: Option<Cursor>, limit: usize) -> PageRequest {
    PageRequest { after, limit }
}

/// All ids in the order of the pages.
fn scan(store: &dyn QueryStore, filter: &MentionFilter, limit: usize) -> Vec<RecordId> {
    let (mut seen, mut after) = (Vec::new(), None);
    for _ in 0..1_000 {
        let found = store.messages_by_time(filter, &page(after, limit)).unwrap();
        assert!(found.items.len() <= limit);
        seen.extend(found.items.iter().map(|row| row.id));
        after = found.next;
        if after.is_none() {
            return seen;
        }
    }
    panic!("the scan does not end");
}

fn messages_by_time_are_in_order_across_gateways_and_days<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let values = |gateway, seq, minute| meter_values(id(gateway, seq), "CP-1", minute, 7);
    // The charger moves between two gateways; one message is 50 days later, and one exactly at the end of a page.
    let sent = [
        values(0, 1, 0),
        values(1, 1, 5),
        values(0, 2, 10),
        values(0, 3, 10),
        values(1, 2, 10),
        values(1, 3, 31 * DAY),
        values(0, 4, 50 * DAY),
        meter_values(id(0, 5), "CP-2", 6, 7),
        heartbeat(6, "CP-1"),
    ];
    apply(&store, &sent).unwrap();
    let filter = MentionFilter {
        charger: "cp-1".to_owned(),
        from: at(0),
        to: at(60 * DAY),
        text: r#""transactionId":7"#.to_owned(),
        at: vec![at(6)],
    };
    let want = [
        id(0, 1),
        id(1, 1),
        id(0, 6),
        id(0, 2),
        id(0, 3),
        id(1, 2),
        id(1, 3),
        id(0, 4),
    ];
    for limit in 1..10 {
        assert_eq!(scan(&store, &filter, limit), want, "pages of {limit}");
    }
    // The times of a charger whose clock was wrong.
    let decades = MentionFilter {
        from: Timestamp(1_262_304_000_000),
        to: Timestamp(4_102_444_700_000),
        ..filter.clone()
    };
    assert_eq!(scan(&store, &decades, 9), want);
    let first = store.messages_by_time(&decades, &page(None, 9)).unwrap();
    assert_eq!(
        first.items.len(),
        6,
        "the first page has the first messages"
    );
    let second = store.messages_by_time(&decades, &page(first.next, 9));
    let second = second.unwrap();
    assert_eq!((second.items.len(), second.next), (2, None));
    let early = MentionFilter {
        to: at(10),
        ..filter.clone()
    };
    assert_eq!(scan(&store, &early, 9), want[..3]);
    let nobody = MentionFilter {
        charger: "CP-9".to_owned(),
        ..filter
    };
    assert_eq!(scan(&store, &nobody, 9), []);
}

fn the_messages_of_a_transaction_are_found<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent: [Sent; 6] = [
        heartbeat(1, "CP-1"),
        start(id(0, 2), "CP-1", 2, 77),
        meter_values(id(0, 3), "CP-1", 3, 77),
        meter_values(id(0, 4), "CP-1", 4, 78),
        stop(id(0, 5), "CP-1", 5, 77),
        start(id(0, 6), "CP-2", 2, 77),
    ];
    apply(&store, &sent).unwrap();
    let filter = TransactionFilter {
        charger: Some("CP-1".to_owned()),
        open: Some(false),
        ..TransactionFilter::default()
    };
    let listed = store.transactions(&filter, &page(None, 9)).unwrap().items;
    let view = &listed[0];
    let wire = WireId {
        charger: ChargerKey::of("CP-1"),
        id: "77".to_owned(),
    };
    let on_wire = store.transactions_on_wire(&[wire]).unwrap();
    assert_eq!(on_wire, listed);
    let messages = SessionMessages::of(&store, view, Timestamp(0)).unwrap();
    let found = store
        .messages_by_time(&messages.filter, &page(None, 9))
        .unwrap();
    let seqs = found.items.iter().filter(|row| messages.has(row));
    let seqs: Vec<u64> = seqs.map(|row| row.id.seq.0).collect();
    assert_eq!(seqs, [2, 3, 5]);
}

fn gateway_record(id: RecordId, kind: RecordKind, epoch: u64, minute: i64, reason: &str) -> Sent {
    let payload = match kind {
        RecordKind::Connected => r#"{"remote":"192.0.2.1:4000"}"#,
        _ => "",
    };
    let record = central::Record {
        kind,
        charger_id: match kind {
            RecordKind::GatewayStarted => "",
            _ => "CP-1",
        },
        ocpp_version: ocpp::Version::V16,
        message_id: "",
        action: "",
        payload,
        answer_kind: central::AnswerKind::None,
        answer: "",
        received_at: at(minute),
        epoch: central::Epoch(epoch),
        notes: central::record::Notes::default(),
        reason,
    };
    Sent {
        id,
        bytes: record.encode(),
    }
}

fn the_runs_of_gateways_end_with_their_last_record<A: Adapter>() {
    use RecordKind::{Connected, GatewayStarted};
    let database = A::new();
    let store = database.open();
    let epoch = |minute: i64| at(minute).0.unsigned_abs();
    let start =
        |seq, minute: i64| gateway_record(id(0, seq), GatewayStarted, epoch(minute), minute, "");
    let heard = |seq, minute| gateway_record(id(0, seq), Connected, epoch(20), minute, "");
    let sent = [
        start(1, 0),
        heard(2, 30),
        start(3, 40),
        start(4, 50),
        heard(5, 90),
        // Another gateway, which has no record of a start.
        gateway_record(id(1, 8), Connected, epoch(60), 60, ""),
        gateway_record(id(1, 9), Connected, epoch(61), 70, ""),
    ];
    for one in sent.iter().rev() {
        apply(&store, std::slice::from_ref(one)).unwrap();
    }
    let runs = |gateways: &[GatewayId], from, to, max| {
        let runs = store
            .gateway_runs(gateways, at(from), at(to), max)
            .unwrap()?;
        let mut times: Vec<_> = runs.iter().map(|run| (run.from, run.to)).collect();
        times.sort_unstable();
        Some(times)
    };
    let times = |times: &[(i64, i64)]| {
        let times = times.iter().map(|(from, to)| (at(*from), at(*to)));
        Some(times.collect::<Vec<_>>())
    };
    let first = &[gateway(0)][..];
    assert_eq!(
        runs(first, 0, 100, 9),
        times(&[(0, 30), (40, 40), (50, 90)])
    );
    // Before the range only that it ran counts.
    assert_eq!(runs(first, 45, 100, 9), times(&[(0, 40), (50, 90)]));
    assert_eq!(runs(first, 10, 20, 9), times(&[(0, 30)]));
    // Within an outage.
    assert_eq!(runs(first, 32, 38, 9), times(&[(0, 30)]));
    assert_eq!(runs(first, 60, 70, 9), times(&[(0, 90)]));
    assert_eq!(runs(&[gateway(1)], 0, 100, 9), times(&[(60, 70)]));
    assert_eq!(
        runs(&[gateway(0), gateway(1)], 45, 100, 1),
        times(&[(0, 40), (50, 90), (60, 70)])
    );
    assert_eq!(runs(first, 0, 100, 2), None);
    assert_eq!(runs(&[gateway(5)], 0, 100, 9), times(&[]));
}

fn connections_are_listed_with_their_ends<A: Adapter>() {
    use RecordKind::{Connected, Disconnected, GatewayStarted};
    let database = A::new();
    let store = database.open();
    let sent = [
        gateway_record(id(0, 1), Connected, 10, 1, ""),
        gateway_record(id(0, 2), Disconnected, 10, 2, "no pong in time"),
        // Another gateway, which is killed and starts again.
        gateway_record(id(1, 1), Connected, 20, 3, ""),
        gateway_record(id(1, 2), RecordKind::Unreadable, 20, DAY, ""),
        gateway_record(id(1, 3), RecordKind::CallUnanswered, 20, DAY + 1, "late"),
        gateway_record(id(1, 4), GatewayStarted, 25, DAY + 2, ""),
        gateway_record(id(1, 5), GatewayStarted, 27, DAY + 3, ""),
        // Only its end is left.
        gateway_record(id(0, 3), Disconnected, 30, DAY + 4, "closed by the charger"),
        gateway_record(id(1, 6), Connected, 40, DAY + 5, ""),
        gateway_record(id(1, 7), RecordKind::Unreadable, 40, DAY + 6, ""),
    ];
    // The order in which they are stored does not matter.
    for one in sent.iter().rev() {
        apply(&store, std::slice::from_ref(one)).unwrap();
    }
    for limit in 1..6 {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let found = store.connections("cp-1", &page(after, limit)).unwrap();
            assert!(found.items.len() <= limit);
            rows.extend(found.items);
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        let epochs: Vec<u64> = rows.iter().map(|row| row.epoch.0).collect();
        assert_eq!(epochs, [40, 30, 20, 10], "limit {limit}");
        let [open, end_only, killed, first] = &rows[..] else {
            panic!("four connections");
        };
        assert_eq!(first.connected_at, Some(at(1)));
        assert_eq!(first.remote.as_deref(), Some("192.0.2.1:4000"));
        assert_eq!(first.ended, Some((at(2), "no pong in time".to_owned())));
        assert_eq!(killed.ended, None);
        assert_eq!(killed.last_record_at, Some(at(DAY)));
        assert_eq!(killed.gateway_started_at, Some(at(DAY + 2)));
        assert_eq!(killed.next_at, Some(Timestamp(30)), "limit {limit}");
        assert_eq!(end_only.connected_at, None);
        assert_eq!(end_only.next_at, Some(at(DAY + 5)));
        assert_eq!((open.next_at, open.gateway_started_at), (None, None));
        assert_eq!(open.last_record_at, Some(at(DAY + 6)));
    }
    assert!(
        store
            .connections("CP-2", &page(None, 9))
            .unwrap()
            .items
            .is_empty()
    );
    let elsewhere = Cursor::from_text("m0123456789abcdef0123456789abcdef.1");
    assert!(
        store
            .connections("CP-1", &page(Some(elsewhere), 9))
            .is_err()
    );
}

//! The laws of the port `Maintenance`, on both databases.

use crate::common::{
    Adapter, apply, at, call, gateway, id, meter_values, on_every_adapter, start, stop,
};
use central::Seq;
use central::ports::{DeadLetter, Maintenance, Store};
use central::project::Changes;

on_every_adapter!(
    checks_and_maintenance_rounds_change_no_contents,
    stored_sequence_numbers_of_a_gateway_are_returned,
);

fn checks_and_maintenance_rounds_change_no_contents<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = [
        start(id(0, 1), "CP-1", 1, 7),
        meter_values(id(0, 2), "CP-1", 2, 7),
        stop(id(0, 3), "CP-1", 5, 7),
        call(id(0, 4), "CP-2", 9, "Heartbeat", "{}"),
    ];
    apply(&store, &sent).unwrap();
    let before = A::contents(&store);
    store.ping().unwrap();
    for day in [0, 1, 400] {
        let lack = store.maintain(at(day * 24 * 60)).unwrap();
        assert_eq!(lack, store.lacks_durability().unwrap());
        assert_eq!(A::contents(&store), before, "day {day}");
    }
    assert_eq!(apply(&store, &sent).unwrap().known, 4);
}

fn stored_sequence_numbers_of_a_gateway_are_returned<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let last = |number| {
        let last = store.last_seq(gateway(number)).unwrap();
        last.map(|seq| seq.0)
    };
    assert_eq!(last(0), None);
    let sent: Vec<_> = [(0, 7), (0, 40_000), (1, 3), (0, 41), (2, 1)]
        .map(|(number, seq)| call(id(number, seq), "CP-1", 1, "Heartbeat", "{}"))
        .into();
    apply(&store, &sent).unwrap();
    assert_eq!(
        (last(0), last(1), last(2), last(3)),
        (Some(40_000), Some(3), Some(1), None)
    );
    let letter = |number, seq| DeadLetter {
        id: id(number, seq),
        bytes: vec![1],
        reason: "a reason".to_owned(),
    };
    let letters = [letter(0, 9), letter(1, 70_000), letter(3, 5)];
    store.apply(&[], &Changes::default(), &letters).unwrap();
    assert_eq!(
        (last(0), last(1), last(2), last(3)),
        (Some(40_000), Some(70_000), Some(1), Some(5))
    );
    let stored = |number, first, last| {
        let seqs = store.stored_seqs(gateway(number), Seq(first), Seq(last));
        let mut seqs: Vec<u64> = seqs.unwrap().into_iter().map(|seq| seq.0).collect();
        seqs.sort_unstable();
        seqs
    };
    assert_eq!(stored(0, 0, u64::MAX), [7, 9, 41, 40_000]);
    assert_eq!(stored(0, 8, 41), [9, 41]);
    assert_eq!(stored(1, 3, 69_999), [3]);
    assert!(stored(0, 42, 39_999).is_empty() && stored(0, 50, 40).is_empty());
    assert!(stored(9, 0, u64::MAX).is_empty(), "an unknown gateway");
}

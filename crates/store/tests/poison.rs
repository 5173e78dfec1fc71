//! A record that the database refuses for ever does not hold up the others.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use central::ledger::{Ledger, PageRequest};
use common::{Home, Said, apply, call, heartbeat, id};

/// Makes the database refuse every message with the payload `poison`.
fn refuse_poison(home: &Home) {
    home.stranger()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.payload = 'poison'
             BEGIN SELECT RAISE(ABORT, 'not with me'); END",
        )
        .unwrap();
}

fn batch(poisoned: &[u64]) -> Vec<Said> {
    (1..=37)
        .map(|seq| {
            if poisoned.contains(&seq) {
                call(id(0, seq), "NEWCOMER", 0, "Heartbeat", "poison")
            } else {
                heartbeat(seq, &format!("CP-{}", seq % 5))
            }
        })
        .collect()
}

#[test]
fn refused_records_become_dead_letters_and_all_others_are_applied() {
    for poisoned in [vec![1], vec![37], vec![5, 6, 20], (1..=37).collect()] {
        let home = Home::new();
        let store = home.open();
        refuse_poison(&home);
        let said = batch(&poisoned);
        let applied = apply(&store, &said).unwrap();
        assert_eq!(applied.new, 37 - poisoned.len() as u64);
        let contents = store.contents().unwrap();
        for said in &said {
            let is_dead = poisoned.contains(&said.id.seq);
            assert_eq!(contents.records.contains_key(&said.id), !is_dead);
            assert_eq!(contents.dead.contains_key(&said.id), is_dead);
        }
        let (bytes, reason) = &contents.dead[&id(0, poisoned[0])];
        assert_eq!(*bytes, said[poisoned[0] as usize - 1].bytes);
        assert_eq!(reason, "not with me");
        // The records that went in after the refusal are numbered and listed like any other.
        if poisoned.len() < 37 {
            let charger = store.charger("cp-3").unwrap().unwrap();
            assert_eq!(charger.charger.charger_id, "CP-3");
        }
    }
}

#[test]
fn a_dead_letter_can_be_read_with_its_reason() {
    let home = Home::new();
    let store = home.open();
    refuse_poison(&home);
    apply(&store, &batch(&[3, 9])).unwrap();
    let first = store
        .dead_letters(&PageRequest {
            after: None,
            limit: 1,
        })
        .unwrap();
    assert_eq!(first.items[0].record_id, id(0, 3).to_string());
    assert_eq!(first.items[0].reason, "not with me");
    assert!(first.items[0].content.contains("NEWCOMER"));
    let second = store
        .dead_letters(&PageRequest {
            after: first.next,
            limit: 10,
        })
        .unwrap();
    assert_eq!(second.items[0].record_id, id(0, 9).to_string());
    assert_eq!(second.next, None);
}

#[test]
fn what_cannot_be_numbered_is_a_dead_letter() {
    let home = Home::new();
    let store = home.open();
    let said = [
        heartbeat(1, "CP-1"),
        heartbeat(u64::MAX, "CP-1"),
        heartbeat(2, "CP-1"),
    ];
    let applied = apply(&store, &said).unwrap();
    assert_eq!(applied.new, 2);
    let contents = store.contents().unwrap();
    assert!(contents.dead[&id(0, u64::MAX)].1.contains("number"));
}

#[test]
fn a_state_that_cannot_be_read_is_set_aside_and_begun_anew() {
    let home = Home::new();
    let store = home.open();
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    home.stranger()
        .execute("UPDATE chargers SET state = '{\"charger_id\": 7}'", [])
        .unwrap();
    apply(&store, &[heartbeat(2, "CP-1")]).unwrap();
    assert!(store.charger("CP-1").unwrap().is_some());
    let aside: (String, String) = home
        .stranger()
        .query_row("SELECT what, state FROM set_aside", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(
        aside,
        ("charger cp-1".to_owned(), "{\"charger_id\": 7}".to_owned())
    );
}

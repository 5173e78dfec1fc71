//! Killed in the middle: a batch is there as a whole or not at all, and what was reported is there.

use crate::common::{Adapter, Home, Said, apply, id, meter_values};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use store::{SqliteOptions, SqliteStore};

/// Where the child writes; without it, it has nothing to do.
const PATH: &str = "WATTPOST_TEST_DATABASE";

const BATCH: u64 = 50;

fn batch(number: u64) -> Vec<Said> {
    (0..BATCH)
        .map(|n| {
            let seq = number * BATCH + n + 1;
            let charger = format!("CP-{}", seq % 7);
            meter_values(
                id(0, seq),
                &charger,
                seq.cast_signed(),
                (seq % 7).cast_signed() + 1,
            )
        })
        .collect()
}

/// The child's part: applies batches until it is killed, and says which are done.
#[test]
fn child_applies_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    let options = SqliteOptions {
        log_bytes: 512 * 1024,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(PathBuf::from(path), options).unwrap();
    let done = store.contents().unwrap().records.len() as u64 / BATCH;
    for number in done.. {
        apply(&store, &batch(number)).unwrap();
        println!("\ndone {number}");
    }
}

#[test]
fn what_was_reported_is_there_and_batches_are_whole() {
    let home = Home::new();
    let mut reported = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::child_applies_until_it_is_killed",
                "--nocapture",
            ])
            .env(PATH, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.lines().map_while(Result::ok);
        // A different number of batches each round, so that the kill falls at different places.
        let wanted = 3 + round * 2;
        let last = lines
            .by_ref()
            .filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok())
            .nth(wanted)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        reported = lines
            .filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok())
            .last()
            .unwrap_or(last)
            .max(reported);
        check(&home, reported);
    }
}

fn check(home: &Home, reported: u64) {
    let store = home.open();
    let contents = store.contents().unwrap();
    let mut batches: BTreeMap<u64, u64> = BTreeMap::new();
    for id in contents.records.keys() {
        *batches.entry((id.seq.0 - 1) / BATCH).or_default() += 1;
    }
    assert!(
        batches.len() as u64 > reported,
        "{} > {reported}",
        batches.len()
    );
    assert!(
        batches.values().all(|records| *records == BATCH),
        "{batches:?}"
    );
    // Inbox and changes are one: every message has its meter value, and the states fit.
    assert_eq!(contents.meter_values.len(), contents.records.len());
    let all: Vec<Said> = (0..batches.len() as u64).flat_map(batch).collect();
    let reference = central::memory::MemoryStore::default();
    apply(&reference, &all).unwrap();
    assert_eq!(contents, reference.contents());
}

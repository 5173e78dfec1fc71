//! The process is killed while it writes: a batch is stored as a whole or not at all, and what was reported as stored
//! is stored.

use crate::common::{Adapter, Sent, SqliteDatabase, apply, id, meter_values};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use store::{SqliteOptions, SqliteStore};

/// The environment variable with the child's database; without it the child's test does nothing.
const PATH: &str = "WATTPOST_TEST_DATABASE";

const BATCH: u64 = 50;

fn batch(number: u64) -> Vec<Sent> {
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

/// Runs in the child: applies batches until it is killed, and prints the number of each.
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
fn reported_batches_survive_a_kill_and_batches_are_whole() {
    let database = SqliteDatabase::new();
    let mut reported = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::child_applies_until_it_is_killed",
                "--nocapture",
            ])
            .env(PATH, database.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.lines().map_while(Result::ok);
        // A different number of batches in each round, so that the kill hits different places.
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
        check(&database, reported);
    }
}

fn check(database: &SqliteDatabase, reported: u64) {
    let store = database.open();
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
    // Messages and changes are stored together: every message has its meter value, and the states are equal.
    assert_eq!(contents.meter_values.len(), contents.records.len());
    let all: Vec<Sent> = (0..batches.len() as u64).flat_map(batch).collect();
    let reference = central::memory::MemoryStore::default();
    apply(&reference, &all).unwrap();
    assert_eq!(contents, reference.contents());
}

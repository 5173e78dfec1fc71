//! On real files: a process is killed while it writes, and the next start reads every record that the process
//! had reported durable.

use crate::common::{read_after, record, small};
use journal::{Journal, Options};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// The directory to write to; set in the child process only.
const CHILD: &str = "WATTPOST_TEST_JOURNAL_DIR";

/// The test's name, with which the child process runs only this test.
const THIS_TEST: &str = "real_files::a_killed_process_loses_nothing_that_it_reported";

fn options() -> Options {
    Options {
        bytes_max: 64 << 20,
        segment_bytes: 256 << 10,
        ..small()
    }
}

/// What the child process does until it is killed: prints each number that has become durable.
fn write_until_killed(dir: &Path) {
    let (journal, _) = Journal::open(dir, options()).unwrap();
    let mut seq = journal.durable_seq();
    loop {
        for _ in 0..5 {
            seq += 1;
            journal.append(&record(0, seq, 400), None).unwrap();
        }
        journal.wait_durable(seq).unwrap();
        println!("durable {seq}");
        if seq % 20 == 0 {
            journal.forget_upto(seq - 10).unwrap();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_reported() {
    if let Some(dir) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", THIS_TEST, "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut reported = 0;
        let mut reports = 0;
        let mut note = |line: String| {
            if let Some(seq) = line.strip_prefix("durable ") {
                reported = seq.parse().unwrap();
                reports += 1;
            }
            reports
        };
        for line in &mut lines {
            if note(line.unwrap()) >= round * 37 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Lines that it printed before it was killed count too.
        for line in lines.map_while(Result::ok) {
            note(line);
        }
        let (journal, recovery) = Journal::open(dir.path(), options()).unwrap();
        assert!(recovery.durable_seq >= reported, "round {round}");
        let mut next = recovery.cursor + 1;
        for (seq, bytes) in read_after(&journal, recovery.cursor) {
            assert_eq!(seq, next);
            assert!(bytes == record(0, seq, 400), "record {seq}");
            next += 1;
        }
        assert_eq!(next, recovery.durable_seq + 1);
        journal.close().unwrap();
    }
}

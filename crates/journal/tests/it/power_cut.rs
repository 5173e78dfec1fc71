//! The power is cut at every operation of the disk, and any part of what was not synced is lost: every record
//! that was reported durable is read, in order, and nothing else.

use crate::common::{self, eventually, open, read_after, read_all, record};
use journal::Journal;
use journal::sim::{SimDisk, Tear};

const TEARS: [Tear; 4] = [Tear::LoseAll, Tear::KeepAll, Tear::Prefix, Tear::Sectors];

/// What one process did with the journal before its end.
struct RunResult {
    /// The appended records; record `seq` is at `seq - 1`.
    taken: Vec<Vec<u8>>,
    durable: u64,
    forgotten: u64,
}

/// Appends, waits and forgets until it is done or the power is cut.
fn run(journal: &Journal, run: u64, mut taken: Vec<Vec<u8>>) -> RunResult {
    let mut forgotten = journal.cursor();
    'run: for round in 0..24_u64 {
        for step in 0..=round % 5 {
            let seq = taken.len() as u64 + 1;
            let length = (seq * 977 % 9_000 + step) as usize;
            let bytes = record(run, seq, length);
            let Ok(given) = journal.append(&bytes, None) else {
                break 'run;
            };
            assert_eq!(given, seq);
            taken.push(bytes);
        }
        if round % 3 != 1 && journal.wait_durable(taken.len() as u64).is_err() {
            break;
        }
        if round % 4 == 3 {
            forgotten = journal.durable_seq().saturating_sub(4).max(forgotten);
            if journal.forget_upto(forgotten).is_err() {
                break;
            }
        }
    }
    RunResult {
        taken,
        durable: journal.durable_seq(),
        forgotten,
    }
}

/// Opens the journal that was left; returns it with its records.
fn check(disk: &SimDisk, before: &RunResult, case: &str) -> (Journal, Vec<Vec<u8>>) {
    let (journal, recovery) = Journal::open_on(disk.clone(), common::small())
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let durable = journal.durable_seq();
    assert_eq!(recovery.durable_seq, durable);
    assert!(
        before.durable <= durable && durable <= before.taken.len() as u64,
        "{case}: {} were durable of {}, now {durable}",
        before.durable,
        before.taken.len(),
    );
    assert!(recovery.cursor <= before.forgotten, "{case}");
    assert!(recovery.oldest_seq <= recovery.cursor + 1, "{case}");
    let all = read_all(&journal);
    let mut next = all.first().map_or(durable + 1, |(seq, _)| *seq);
    assert!(next <= recovery.cursor + 1, "{case}");
    for (seq, bytes) in all {
        assert_eq!(seq, next, "{case}");
        assert!(bytes == before.taken[seq as usize - 1], "{case}: {seq}");
        next += 1;
    }
    assert_eq!(next, durable + 1, "{case}");
    (journal, before.taken[..durable as usize].to_vec())
}

#[test]
fn a_power_cut_at_every_step_loses_nothing_that_was_durable() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    run(&journal, 0, Vec::new());
    journal.close().unwrap();
    let steps = disk.steps();
    assert!(steps > 50, "only {steps} steps");
    // Grouping differs from run to run, and so does the number of operations.
    for step in 0..steps + 20 {
        let disk = SimDisk::new(step);
        disk.cut_power_after(step);
        let before = match Journal::open_on(disk.clone(), common::small()) {
            Ok((journal, _)) => run(&journal, 0, Vec::new()),
            Err(_) => RunResult {
                taken: Vec::new(),
                durable: 0,
                forgotten: 0,
            },
        };
        for tear in TEARS {
            let case = format!("step {step}, {tear:?}");
            let disk = disk.after_power_cut(tear, step);
            let (journal, kept) = check(&disk, &before, &case);
            // A second process continues, and the power is cut again.
            disk.cut_power_after(step % 17);
            let second = run(&journal, 1, kept);
            drop(journal);
            let disk = disk.after_power_cut(Tear::Sectors, step + 1);
            let (journal, _) = check(&disk, &second, &format!("{case}, second run"));
            journal.close().unwrap();
        }
    }
}

#[test]
fn records_that_a_killed_process_left_unsynced_are_durable_before_they_are_read() {
    for step in 8..120 {
        let disk = SimDisk::new(step);
        disk.cut_power_after(step);
        let Ok((journal, _)) = Journal::open_on(disk.clone(), common::small()) else {
            continue;
        };
        let before = run(&journal, 0, Vec::new());
        drop(journal);
        let killed = disk.after_kill();
        let (journal, kept) = check(&killed, &before, &format!("killed at step {step}"));
        let again = RunResult {
            durable: kept.len() as u64,
            taken: kept,
            forgotten: journal.cursor().max(before.forgotten),
        };
        let disk = killed.after_power_cut(Tear::LoseAll, step);
        check(
            &disk,
            &again,
            &format!("power cut after kill at step {step}"),
        );
    }
}

/// The disk after a kill, with a journal of `groups` groups of three records.
fn three_by_three(groups: u64) -> SimDisk {
    let disk = SimDisk::new(3);
    let (journal, _) = open(&disk);
    eventually("a segment is ready", || journal.status().segments_ready > 0);
    for group in 0..groups {
        // The writer may take the first one alone; then there are two writes, of one and of two records.
        for step in 1..=3 {
            journal
                .append(&record(0, group * 3 + step, 90), None)
                .unwrap();
        }
        journal.wait_durable(group * 3 + 3).unwrap();
    }
    let killed = disk.after_kill();
    drop(journal);
    killed
}

const FIRST: &str = "segment-0000000000000001.log";

#[test]
fn a_tail_torn_at_any_byte_is_truncated_after_the_last_valid_record() {
    let disk = three_by_three(2);
    let frame = (24 + 90_usize).next_multiple_of(8);
    // The first record of the second group follows three frames.
    let start = 8192 + 3 * frame;
    for keep in start..start + 3 * frame {
        let torn = disk.after_kill();
        torn.edit(FIRST, |bytes| bytes[keep..].fill(0));
        let (journal, recovery) = open(&torn);
        // Frames end with padding zeros, so losing only those loses nothing.
        let whole = 3 + (keep - start + frame - (24 + 90)) / frame;
        assert_eq!(recovery.durable_seq, whole as u64, "cut at {keep}");
        let fresh = record(1, whole as u64 + 1, 90);
        let seq = journal.append(&fresh, None).unwrap();
        journal.wait_durable(seq).unwrap();
        let all = read_all(&journal);
        assert_eq!(all.len(), whole + 1);
        assert_eq!(all[whole].1, fresh);
        drop(journal);
        let (journal, _) = open(&torn.after_power_cut(Tear::LoseAll, 0));
        assert_eq!(read_after(&journal, 0), all, "cut at {keep}");
    }
}

#[test]
fn valid_records_after_a_torn_one_are_never_read_later() {
    let disk = SimDisk::new(4);
    let (journal, _) = open(&disk);
    let first = journal.append(&record(0, 1, 90), None).unwrap();
    journal.wait_durable(first).unwrap();
    // While the sync of the second one blocks, three more gather and are written together.
    disk.set_stuck(true);
    journal.append(&record(0, 2, 90), None).unwrap();
    eventually("the second is written", || journal.written_seq() == 2);
    for seq in 3..=5 {
        journal.append(&record(0, seq, 90), None).unwrap();
    }
    disk.set_stuck(false);
    journal.wait_durable(5).unwrap();
    let frame = (24 + 90_usize).next_multiple_of(8);
    let torn = disk.after_kill();
    drop(journal);
    // Of the three, the power cut lost only the first.
    torn.edit(FIRST, |bytes| bytes[8192 + 2 * frame..][..frame].fill(0));
    let (journal, recovery) = open(&torn);
    assert_eq!(recovery.durable_seq, 2);
    assert_eq!(
        recovery.truncated_tail.unwrap().offset,
        8192 + 2 * frame as u64
    );
    let fresh = record(1, 3, 90);
    journal.append(&fresh, None).unwrap();
    journal.wait_durable(3).unwrap();
    drop(journal);
    let (journal, recovery) = open(&torn.after_power_cut(Tear::LoseAll, 0));
    assert_eq!(recovery.durable_seq, 3);
    let expected = [record(0, 1, 90), record(0, 2, 90), fresh];
    let all: Vec<Vec<u8>> = read_all(&journal).into_iter().map(|(_, b)| b).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_damaged_acknowledged_record_is_reported_with_file_and_offset_and_not_truncated() {
    let disk = three_by_three(3);
    let frame = (24 + 90_usize).next_multiple_of(8);
    for byte in 8192..8192 + 3 * frame {
        // The last bytes of a frame are padding.
        if (byte - 8192) % frame >= 24 + 90 {
            continue;
        }
        let bad = disk.after_kill();
        bad.edit(FIRST, |bytes| bytes[byte] ^= 0x10);
        let error = Journal::open_on(bad, common::small()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(FIRST), "{text}");
        let offset = 8192 + (byte - 8192) / frame * frame;
        assert!(text.contains(&format!("byte {offset}")), "{text}");
        assert!(text.contains("wattpost journal salvage"), "{text}");
    }
}

#[test]
fn after_a_clean_close_a_damaged_last_record_is_not_taken_for_a_torn_one() {
    let disk = SimDisk::new(5);
    let (journal, _) = open(&disk);
    let seq = journal.append(&record(0, 1, 90), None).unwrap();
    journal.wait_durable(seq).unwrap();
    journal.close().unwrap();
    disk.edit(FIRST, |bytes| bytes[8192 + 50] ^= 1);
    let error = Journal::open_on(disk, common::small()).unwrap_err();
    assert!(error.to_string().contains("were durable"), "{error}");
}

//! Damaged bytes among what is not yet delivered: found, named, and everything around them delivered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod common;

use common::{read_after, record, small};
use journal::sim::{SimDisk, Tear};
use journal::{
    Disk, Inspection, Journal, OpenError, Options, REMNANT, ReadError, inspect_on, salvage_on,
};

const RECORDS: u64 = 100;
const DATA: u64 = 8_192;

fn segment(index: u64) -> String {
    format!("segment-{index:016}.log")
}

/// A closed journal of several segments, with `delivered` records forgotten.
fn filled(delivered: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let options = Options {
        retain_bytes: u64::MAX / 2,
        ..small()
    };
    let (journal, _) = Journal::open_on(disk.clone(), options).unwrap();
    for seq in 1..=RECORDS {
        journal.append(&record(0, seq, 3_000), None).unwrap();
        // Each is a write of its own.
        journal.wait_durable(seq).unwrap();
    }
    journal.forget_upto(delivered).unwrap();
    journal.close().unwrap();
    disk
}

fn change(disk: &SimDisk, file: &str, offset: u64, bytes: &[u8]) {
    let file = disk.open(file).unwrap();
    assert_eq!(file.write_at(bytes, offset).unwrap(), bytes.len());
    file.sync().unwrap();
}

fn flip(disk: &SimDisk, file: &str, offset: u64) {
    let mut byte = [0];
    disk.open(file).unwrap().read_at(&mut byte, offset).unwrap();
    change(disk, file, offset, &[byte[0] ^ 0x10]);
}

/// Salvages, and checks that everything but the records `lost` is delivered as it was written.
fn salvaged(disk: &SimDisk, delivered: u64, lost: std::ops::RangeInclusive<u64>) -> Inspection {
    let mut kept = Vec::new();
    let found = salvage_on(disk, &mut |name, offset, bytes| {
        kept.push((name.to_owned(), offset, bytes.to_vec()));
        Ok(())
    })
    .unwrap();
    let named: Vec<u64> = found
        .damaged
        .iter()
        .flat_map(|place| place.first_seq..=place.last_seq)
        .collect();
    assert_eq!(named, lost.clone().collect::<Vec<_>>());
    let after = inspect_on(disk).unwrap();
    assert_eq!(after.damaged, []);
    assert_eq!((after.cursor, after.last_seq), (delivered, RECORDS));
    let (journal, recovery) = Journal::open_on(disk.clone(), small()).unwrap();
    assert_eq!(recovery.durable_seq, RECORDS);
    let all = read_after(&journal, delivered);
    assert_eq!(all.len() as u64, RECORDS - delivered);
    for (seq, bytes) in all {
        if lost.contains(&seq) {
            assert_eq!(bytes[0], REMNANT, "record {seq}");
        } else {
            assert_eq!(bytes, record(0, seq, 3_000), "record {seq}");
        }
    }
    assert_eq!(journal.append(b"next", None).unwrap(), RECORDS + 1);
    journal.close().unwrap();
    found
}

#[test]
fn a_sound_journal_has_nothing_to_salvage() {
    let disk = filled(40);
    let found = inspect_on(&disk).unwrap();
    assert_eq!(
        (found.cursor, found.last_seq, found.waiting()),
        (40, 100, 60)
    );
    assert!(found.segments.len() >= 4, "{found:?}");
    assert_eq!(found.damaged, []);
    assert_eq!(
        salvage_on(&disk, &mut |_, _, _| panic!("nothing to keep")).unwrap(),
        found
    );
}

#[test]
fn a_flipped_bit_in_any_part_of_a_record_costs_that_record_alone() {
    // Of records of 3,000 bytes, 24 of header: CRC, length, number, group, time, payload, its end.
    let framed = 3_024;
    for part in [0, 4, 5, 6, 7, 8, 15, 16, 20, 24, 1_500, 3_023] {
        for (file, nth) in [(1, 0), (1, 7), (2, 3), (3, 17)] {
            let disk = filled(0);
            let first = inspect_on(&disk).unwrap().segments[file - 1].first_seq;
            let offset = DATA + nth * framed + part;
            flip(&disk, &segment(file as u64), offset);
            let seq = first + nth;
            let found = salvaged(&disk, 0, seq..=seq);
            assert_eq!(found.damaged[0].offset, DATA + nth * framed);
            assert!(found.damaged[0].file.ends_with(segment(file as u64)));
        }
    }
}

#[test]
fn several_records_in_a_row_and_a_whole_rest_of_a_segment_are_passed_over() {
    for (from, length, lost) in [
        (3 * 3_024 + 100, 3_024 * 2, 4..=6),
        // All but the first record of the segment.
        (3_024 + 5, 17 * 3_024, 2..=18),
        // And the first.
        (0, 18 * 3_024, 1..=18),
    ] {
        let disk = filled(0);
        let last = inspect_on(&disk).unwrap().segments[0].last_seq;
        assert_eq!(last, 18);
        let noise: Vec<u8> = (0..length as u32).map(|n| (n * 7 % 251) as u8).collect();
        change(&disk, &segment(1), DATA + from, &noise);
        salvaged(&disk, 0, lost);
    }
}

#[test]
fn the_bytes_of_a_damaged_record_are_in_its_remnant_and_are_handed_over_whole() {
    let disk = filled(0);
    flip(&disk, &segment(1), DATA + 24 + 100);
    let mut kept = Vec::new();
    salvage_on(&disk, &mut |name, offset, bytes| {
        kept.push((name.to_owned(), offset, bytes.to_vec()));
        Ok(())
    })
    .unwrap();
    let mut written = record(0, 1, 3_000);
    written[100] ^= 0x10;
    let [(name, offset, bytes)] = kept.as_slice() else {
        panic!("{} stretches", kept.len());
    };
    assert_eq!((name.as_str(), *offset), (segment(1).as_str(), DATA));
    assert_eq!(&bytes[24..3_024], written);
    let (journal, _) = Journal::open_on(disk, small()).unwrap();
    let remnant = read_after(&journal, 0).remove(0).1;
    assert_eq!((remnant[0], &remnant[1..3_000]), (REMNANT, &written[1..]));
}

#[test]
fn a_lost_header_or_seal_and_a_missing_file_are_made_anew() {
    let disk = filled(0);
    change(&disk, &segment(2), 0, &[0; 512]);
    let found = inspect_on(&disk).unwrap();
    assert!(found.damaged[0].to_string().contains("header"), "{found:?}");
    salvage_on(&disk, &mut |_, _, _| Ok(())).unwrap();
    salvage_all_sound(&disk);

    let disk = filled(0);
    change(&disk, &segment(2), 4_096, &[0; 512]);
    assert_eq!(inspect_on(&disk).unwrap().damaged, [], "its records say it");
    salvage_all_sound(&disk);

    let disk = filled(0);
    let segments = inspect_on(&disk).unwrap().segments;
    disk.remove(&segment(2)).unwrap();
    disk.sync_dir().unwrap();
    let error = Journal::open_on(disk.clone(), small()).unwrap_err();
    assert!(
        error.to_string().contains("wattpost journal salvage"),
        "{error}"
    );
    salvaged(&disk, 0, segments[1].first_seq..=segments[1].last_seq);
}

#[test]
fn several_missing_files_and_a_missing_first_one_are_made_anew() {
    for missing in [&[2, 3][..], &[1]] {
        let disk = filled(0);
        let segments = inspect_on(&disk).unwrap().segments;
        for index in missing {
            disk.remove(&segment(*index)).unwrap();
        }
        disk.sync_dir().unwrap();
        let (first, last) = (
            missing[0] as usize - 1,
            missing[missing.len() - 1] as usize - 1,
        );
        salvaged(
            &disk,
            0,
            segments[first].first_seq..=segments[last].last_seq,
        );
    }
}

fn salvage_all_sound(disk: &SimDisk) {
    let (journal, _) = Journal::open_on(disk.clone(), small()).unwrap();
    assert_eq!(read_after(&journal, 0).len() as u64, RECORDS);
}

#[test]
fn damage_among_what_is_delivered_needs_no_salvage() {
    let disk = filled(60);
    flip(&disk, &segment(1), DATA + 24);
    assert_eq!(inspect_on(&disk).unwrap().damaged, []);
}

#[test]
fn damage_in_the_youngest_segment_names_the_command_and_is_salvaged() {
    let disk = filled(40);
    let youngest = inspect_on(&disk).unwrap().segments.len() as u64;
    let first = inspect_on(&disk).unwrap().segments[youngest as usize - 1].first_seq;
    flip(&disk, &segment(youngest), DATA + 3_024 + 30);
    let error = Journal::open_on(disk.clone(), small()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)));
    assert!(
        error.to_string().contains("wattpost journal salvage"),
        "{error}"
    );
    salvaged(&disk, 40, first + 1..=first + 1);
    // And its very last record, which only the mark of a clean end can tell from a torn one.
    let disk = filled(40);
    let last = inspect_on(&disk).unwrap().segments[youngest as usize - 1].clone();
    flip(&disk, &segment(youngest), last.bytes - 10);
    salvaged(&disk, 40, RECORDS..=RECORDS);
}

#[test]
fn salvaging_that_was_cut_short_is_done_again() {
    let whole = {
        let disk = filled(0);
        let before = disk.steps();
        damage_twice(&disk);
        salvage_on(&disk, &mut |_, _, _| Ok(())).unwrap();
        disk.steps() - before
    };
    for steps in 0..whole {
        let disk = filled(0);
        damage_twice(&disk);
        disk.cut_power_after(steps);
        let _ = salvage_on(&disk, &mut |_, _, _| Ok(()));
        let disk = disk.after_power_cut(Tear::Sectors, steps);
        let again = salvage_on(&disk, &mut |_, _, _| Ok(())).unwrap();
        let lost: Vec<u64> = again.damaged.iter().map(|place| place.first_seq).collect();
        assert!(lost.iter().all(|seq| [2, 30].contains(seq)), "{lost:?}");
        let (journal, _) = Journal::open_on(disk, small()).unwrap();
        for (seq, bytes) in read_after(&journal, 0) {
            match seq {
                2 | 30 => assert_eq!(bytes[0], REMNANT, "{steps} steps"),
                _ => assert_eq!(bytes, record(0, seq, 3_000), "{steps} steps"),
            }
        }
    }
}

fn damage_twice(disk: &SimDisk) {
    flip(disk, &segment(1), DATA + 3_024 + 500);
    flip(disk, &segment(2), DATA + 11 * 3_024 + 500);
}

#[test]
fn a_journal_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), small()).unwrap();
    let error = journal::inspect(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    journal.close().unwrap();
    assert_eq!(journal::inspect(dir.path()).unwrap().damaged, []);
    let nowhere = dir.path().join("nowhere");
    assert!(journal::inspect(&nowhere).is_err());
    assert!(!nowhere.exists(), "looking makes nothing");
}

#[test]
fn a_reader_passes_over_what_it_cannot_read() {
    let disk = filled(0);
    damage_twice(&disk);
    let (journal, _) = Journal::open_on(disk, small()).unwrap();
    let mut reader = journal.reader(0);
    let (mut seen, mut passed) = (Vec::new(), Vec::new());
    loop {
        match reader.read(1_000, usize::MAX, |seq, _| seen.push(seq)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(ReadError::Damaged(_)) => passed.push(reader.pass_over().unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(passed, [(2, 2), (30, 30)]);
    assert_eq!(seen.len(), 98);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
}

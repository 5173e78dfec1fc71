//! Bit rot in undelivered records: every damaged place is found and named, every other record is read under its
//! number, and salvage may be killed at any step.

use crate::common::{eventually, open, read_after, record, small};
use journal::sim::{Fault, SimDisk, Tear};
use journal::{Extracted, Journal, LostRecord, ReadError, extract_on, inspect_on, salvage_on};
use std::collections::BTreeMap;

const RECORD_HEADER: u64 = 24;

/// Number of records; they fill more than four segments of 64 KiB.
const RECORDS: u64 = 560;

/// A closed journal with records in at least five segments; records up to `cursor` are forgotten.
fn stopped(cursor: u64) -> (SimDisk, u64) {
    let disk = SimDisk::new(7);
    let (journal, _) = open(&disk);
    for seq in 1..=RECORDS {
        let bytes = record(0, seq, 300 + ((seq - 1) % 7) as usize * 41);
        assert_eq!(journal.append(&bytes, None).unwrap(), seq);
        if seq % 20 == 0 {
            journal.wait_durable(seq).unwrap();
        }
    }
    journal.forget_upto(cursor).unwrap();
    eventually("a segment is prepared", || {
        journal.status().segments_ready > 0
    });
    journal.close().unwrap();
    assert!(places(&disk).len() >= 5);
    (disk, RECORDS)
}

/// For each segment file its valid records: number, offset, length.
type Places = Vec<(String, Vec<(u64, u64, u64)>)>;

fn places(disk: &SimDisk) -> Places {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for name in disk.names().iter().filter(|n| n.starts_with("segment")) {
        let path = dir.path().join(name);
        disk.edit(name, |bytes| std::fs::write(&path, bytes).unwrap());
        let places: Vec<_> = journal::record_locations(&path)
            .unwrap()
            .iter()
            .map(|place| (place.seq, place.offset, place.length))
            .collect();
        if !places.is_empty() {
            all.push((name.clone(), places));
        }
    }
    all
}

fn flip(disk: &SimDisk, name: &str, at: u64) {
    disk.edit(name, |bytes| bytes[at as usize] ^= 0x10);
}

fn replacement(lost: &LostRecord<'_>) -> Vec<u8> {
    let mut bytes = format!("lost {}:", lost.seq).into_bytes();
    bytes.extend_from_slice(lost.bytes);
    bytes
}

/// Salvages, and checks that every record after `cursor` except `lost` is read as it was written.
fn salvaged(disk: &SimDisk, cursor: u64, last: u64, lost: &[u64]) -> BTreeMap<u64, Vec<u8>> {
    salvage_on(disk, replacement).expect("salvaged");
    let after = inspect_on(disk).unwrap();
    assert!(after.is_intact(), "{after:?}");
    let (journal, recovery) = open(disk);
    assert!(!recovery.created);
    let read: BTreeMap<u64, Vec<u8>> = read_after(&journal, cursor).into_iter().collect();
    assert_eq!(
        read.keys().copied().collect::<Vec<_>>(),
        (cursor + 1..=last).collect::<Vec<_>>()
    );
    for (seq, bytes) in &read {
        if lost.contains(seq) {
            assert!(
                bytes.starts_with(format!("lost {seq}:").as_bytes()),
                "record {seq}"
            );
        } else {
            assert_eq!(
                bytes,
                &record(0, *seq, 300 + ((seq - 1) % 7) as usize * 41),
                "record {seq}"
            );
        }
    }
    assert_eq!(journal.append(b"next", None).unwrap(), last + 1);
    journal.close().unwrap();
    read
}

/// Offset and length of each.
type Ranges = Vec<(u64, u64)>;

/// The records that are left, and offset and length of each damaged range. Nothing is changed.
fn extracted(disk: &SimDisk) -> (BTreeMap<u64, Vec<u8>>, Ranges) {
    let (mut left, mut damaged) = (BTreeMap::new(), Vec::new());
    let before = disk.steps();
    extract_on(disk, |part| {
        match part {
            Extracted::Record { seq, bytes } => assert!(left.insert(seq, bytes.to_vec()).is_none()),
            Extracted::Damaged(range) => damaged.push((range.offset, range.length)),
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(disk.steps(), before);
    (left, damaged)
}

#[test]
fn an_intact_journal_is_not_changed() {
    let (disk, last) = stopped(5);
    let inspection = inspect_on(&disk).unwrap();
    assert!(inspection.is_intact(), "{inspection:?}");
    assert_eq!((inspection.cursor, inspection.undelivered()), (5, last - 5));
    assert_eq!(
        inspection.segments.iter().map(|s| s.records).sum::<u64>(),
        last
    );
    let before = disk.steps();
    salvage_on(&disk, replacement).unwrap();
    assert_eq!(disk.steps(), before);
}

/// In the first, a middle and the last sealed segment and in the newest; in an early, a middle and the last
/// record of each; in every field of the record.
#[test]
fn a_flipped_bit_costs_one_record_and_is_reported_with_file_and_offset() {
    let (intact, last) = stopped(3);
    let segments = places(&intact);
    let count = segments.len();
    assert!(count >= 4);
    for segment in [0, count / 2, count - 2, count - 1] {
        let (name, records) = &segments[segment];
        for which in [
            4.min(records.len() - 1),
            records.len() / 2,
            records.len() - 1,
        ] {
            let (seq, offset, length) = records[which];
            // CRC, the length's low and high byte, number, group, time, payload's first and last bytes.
            let fields = [
                0,
                3,
                4,
                7,
                8,
                15,
                16,
                20,
                RECORD_HEADER,
                length / 2,
                RECORD_HEADER + 299,
            ];
            for field in fields {
                let disk = intact.after_kill();
                flip(&disk, name, offset + field);
                let inspection = inspect_on(&disk).unwrap();
                let found: Vec<_> = inspection.blocking_damage().collect();
                assert_eq!(
                    found.len(),
                    1,
                    "segment {segment}, record {seq}, byte {field}: {inspection:?}"
                );
                assert!(found[0].file.ends_with(name));
                assert_eq!(
                    (found[0].offset, found[0].length, found[0].lost),
                    (offset, length, Some((seq, seq)))
                );
                let (left, damaged) = extracted(&disk);
                let expected = (4..=last).filter(|other| *other != seq);
                assert!(
                    left.keys().copied().eq(expected),
                    "segment {segment}, record {seq}"
                );
                assert_eq!(damaged, [(offset, length)]);
                let read = salvaged(&disk, 3, last, &[seq]);
                for (seq, bytes) in &left {
                    assert_eq!(bytes, &read[seq]);
                }
                let kept = &read[&seq][format!("lost {seq}:").len()..];
                assert_eq!(kept.len() as u64, length, "all its bytes are kept");
            }
        }
    }
}

#[test]
fn the_bytes_of_adjacent_damaged_records_are_kept_separately() {
    let (disk, last) = stopped(3);
    let (name, records) = places(&disk)[1].clone();
    for (_, offset, _) in &records[10..14] {
        flip(&disk, &name, offset + RECORD_HEADER + 5);
    }
    let lost: Vec<u64> = records[10..14].iter().map(|(seq, ..)| *seq).collect();
    let read = salvaged(&disk, 3, last, &lost);
    for (seq, _, length) in &records[10..14] {
        assert_eq!(
            read[seq].len() as u64,
            format!("lost {seq}:").len() as u64 + length
        );
    }
}

#[test]
fn a_damaged_header_or_seal_costs_no_record() {
    let (intact, last) = stopped(3);
    let segments = places(&intact);
    for (at, (name, _)) in segments.iter().enumerate() {
        for damaged in [&[20_u64][..], &[4100], &[20, 4100]] {
            // Without the provisional seal the end of the newest segment is unknown; it is read to its end.
            let disk = intact.after_kill();
            for byte in damaged {
                flip(&disk, name, *byte);
            }
            let inspection = inspect_on(&disk).unwrap();
            assert!(
                inspection.unrepairable.is_empty(),
                "segment {at}, {damaged:?}: {inspection:?}"
            );
            assert_eq!(
                inspection
                    .blocking_damage()
                    .filter_map(|place| place.lost)
                    .count(),
                0,
                "{inspection:?}"
            );
            salvaged(&disk, 3, last, &[]);
        }
    }
}

#[test]
fn a_missing_segment_costs_its_own_records_only() {
    let (intact, last) = stopped(3);
    let segments = places(&intact);
    // All but the newest: nothing else tells how many records that one held.
    for (name, records) in &segments[..segments.len() - 1] {
        let disk = intact.after_kill();
        let first_kept = records.iter().map(|(seq, ..)| *seq).filter(|seq| *seq > 3);
        let lost: Vec<u64> = first_kept.collect();
        remove(&disk, name);
        assert!(Journal::open_on(disk.clone(), small()).is_err(), "{name}");
        salvaged(&disk, 3, last, &lost);
    }
}

#[test]
fn a_missing_newest_segment_cannot_be_repaired() {
    let (disk, _) = stopped(3);
    let segments = places(&disk);
    let (newest, _) = segments.last().unwrap();
    remove(&disk, newest);
    let inspection = inspect_on(&disk).unwrap();
    let behind = disk
        .names()
        .iter()
        .any(|name| name > newest && name.starts_with("segment"));
    assert!(behind, "the prepared segment is still there");
    assert_eq!(inspection.unrepairable.len(), 1, "{inspection:?}");
    assert!(
        salvage_on(&disk, replacement)
            .unwrap_err()
            .to_string()
            .contains("restore this file")
    );
}

#[test]
fn a_tail_torn_by_a_power_cut_is_not_damage() {
    for steps in 0..60 {
        let disk = SimDisk::new(steps);
        let (journal, _) = open(&disk);
        let mut acknowledged = 0;
        disk.cut_power_after(40 + steps);
        for seq in 1..400_u64 {
            if journal
                .append(&record(0, seq, 300 + ((seq - 1) % 7) as usize * 41), None)
                .is_err()
            {
                break;
            }
            if seq % 5 == 0 && journal.wait_durable(seq).is_ok() {
                acknowledged = seq;
            }
        }
        drop(journal);
        let disk = disk.after_power_cut(Tear::Sectors, steps);
        let inspection = inspect_on(&disk).unwrap();
        assert!(inspection.is_intact(), "cut at {steps}: {inspection:?}");
        let (journal, _) = open(&disk);
        assert!(journal.durable_seq() >= acknowledged);
        assert_eq!(
            journal.durable_seq(),
            inspection.undelivered(),
            "cut at {steps}: {inspection:?}"
        );
    }
}

/// A power cut stops salvage at each of its steps; run again, it has the same result.
#[test]
fn salvage_may_be_interrupted_at_any_step() {
    let (intact, last) = stopped(3);
    let segments = places(&intact);
    let mut lost = Vec::new();
    for segment in [1, 2, segments.len() - 1] {
        let (name, records) = &segments[segment];
        let (seq, offset, _) = records[records.len() / 2];
        flip(&intact, name, offset + 4);
        lost.push(seq);
    }
    let whole = intact.after_kill();
    let before = whole.steps();
    salvage_on(&whole, replacement).unwrap();
    let steps = whole.steps() - before;
    assert!(steps >= 12, "{steps}");
    for cut in 0..steps {
        for tear in [Tear::KeepAll, Tear::Prefix, Tear::Sectors] {
            let disk = intact.after_kill();
            disk.cut_power_after(cut);
            let _ = salvage_on(&disk, replacement);
            let disk = disk.after_power_cut(tear, cut);
            salvaged(&disk, 3, last, &lost);
        }
    }
}

#[test]
fn a_disk_error_during_salvage_leaves_the_journal_as_it_was() {
    let (intact, last) = stopped(3);
    let segments = places(&intact);
    let (name, records) = &segments[1];
    flip(&intact, name, records[9].1 + 30);
    for fault in 0..4 {
        let disk = intact.after_kill();
        match fault {
            0 => disk.set_capacity(disk.used()),
            1 => disk.inject(Fault::WriteError(0)),
            2 => disk.inject(Fault::ShortWrite(0)),
            _ => disk.inject(Fault::SyncError(0)),
        }
        assert!(salvage_on(&disk, replacement).is_err(), "fault {fault}");
        disk.set_capacity(u64::MAX);
        salvaged(&disk.after_kill(), 3, last, &[records[9].0]);
    }
}

#[test]
fn a_reader_skips_damaged_records() {
    let (disk, last) = stopped(3);
    let (name, records) = places(&disk)[1].clone();
    flip(&disk, &name, records[9].1 + 30);
    flip(&disk, &name, records[10].1 + 4);
    let (journal, _) = open(&disk);
    let mut reader = journal.reader(3);
    let mut seen = Vec::new();
    let mut passed = Vec::new();
    loop {
        match reader.read(50, 1 << 20, |seq, _| seen.push(seq)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(ReadError::Damaged(damage)) => {
                let message = damage.to_string();
                assert!(
                    message.contains(&name) && message.contains("journal salvage"),
                    "{message}"
                );
                assert!(
                    message.contains(&format!("at byte {}", records[9].1)),
                    "{message}"
                );
                passed.extend(reader.skip_damaged());
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(passed, [records[9].0, records[10].0]);
    let expected: Vec<u64> = (4..=last).filter(|seq| !passed.contains(seq)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn damage_among_forgotten_records_in_the_segment_of_the_cursor_is_harmless() {
    let (disk, _) = stopped(0);
    let (name, records) = places(&disk)[1].clone();
    let cursor = records[20].0;
    {
        let (journal, _) = open(&disk);
        journal.forget_upto(cursor).unwrap();
        journal.close().unwrap();
    }
    eventually("the segment still exists", || disk.names().contains(&name));
    flip(&disk, &name, records[5].1 + 30);
    let (journal, _) = open(&disk);
    let read = read_after(&journal, cursor);
    assert_eq!(read[0].0, cursor + 1);
    assert_eq!(read.last().unwrap().0, journal.durable_seq());
}

fn remove(disk: &SimDisk, name: &str) {
    use journal::Disk;
    disk.remove(name).unwrap();
    disk.sync_dir().unwrap();
}

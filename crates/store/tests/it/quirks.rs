//! Counts of quirks: laws for every adapter, and the upgrade of a database that has none.

use crate::common::{
    self, Adapter, PostgresDatabase, Sent, SqliteDatabase, apply, event, heartbeat, id,
    on_every_adapter,
};
use crate::laws::on_store;
use crate::writers;
use central::model::{ChargerKey, QuirkCount};
use central::query::{PageRequest, Place, QueryError, QueryStore, QuirkFilter};
use central::record::Notes;
use central::{Quirk, Record, RecordKind};
use std::collections::BTreeMap;
use store::PostgresStore;

on_every_adapter!(
    quirks_are_counted_once_for_each_record,
    a_charger_makes_no_more_rows_than_there_are_quirks,
    writers_with_the_same_records_count_them_once,
    the_summary_is_by_the_latest_boot_and_paged,
);

/// A Heartbeat with these notes.
fn quirky(seq: u64, charger_id: &str, notes: Notes) -> Sent {
    let sent = heartbeat(seq, charger_id);
    let record = Record {
        notes,
        ..sent.record()
    };
    Sent {
        id: sent.id,
        bytes: record.encode(),
    }
}

fn boots(seq: u64, charger_id: &str, vendor: &str, firmware: &str) -> Sent {
    let payload = format!(
        r#"{{"chargePointVendor":"{vendor}","chargePointModel":"M","firmwareVersion":"{firmware}"}}"#
    );
    common::answered(
        id(0, seq),
        charger_id,
        seq.cast_signed(),
        "BootNotification",
        &payload,
        r#"{"status":"Accepted"}"#,
    )
}

fn quirks_are_counted_once_for_each_record<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let (number, long) = (Quirk::NumberId.note(), Quirk::LongId.note());
        let all = [
            quirky(1, "CP-1", number),
            quirky(2, "CP-1", number.with(long)),
            heartbeat(3, "CP-1"),
            quirky(4, "cp-1", Notes::QUARANTINED),
            event(id(0, 5), RecordKind::Unreadable, "CP-2", 5, 1),
            quirky(6, "CP-2", number),
        ];
        // The newest first; repeats in one batch, among new records, and of a whole batch.
        apply(store, &[all[5].clone(), all[5].clone()]).unwrap();
        apply(store, &[all[1].clone(), all[5].clone(), all[4].clone()]).unwrap();
        apply(store, &all).unwrap();
        apply(store, &all).unwrap();
        let count = |count, first, last| QuirkCount {
            count,
            first_at: common::at(first),
            last_at: common::at(last),
        };
        let (one, two) = (ChargerKey::of("CP-1"), ChargerKey::of("CP-2"));
        let expected = BTreeMap::from([
            ((one.clone(), Quirk::NumberId), count(2, 1, 2)),
            ((one.clone(), Quirk::LongId), count(1, 2, 2)),
            ((one, Quirk::Quarantined), count(1, 4, 4)),
            ((two.clone(), Quirk::UnreadableFrame), count(1, 5, 5)),
            ((two, Quirk::NumberId), count(1, 6, 6)),
        ]);
        assert_eq!(contents().quirks, expected);
    });
}

fn a_charger_makes_no_more_rows_than_there_are_quirks<A: Adapter>() {
    on_store::<A>(|store, contents| {
        let sent: Vec<Sent> = (0..60)
            .flat_map(|i| {
                [
                    boots(2 * i + 1, "CP-1", &format!("Vendor {i}"), "1"),
                    // Every bit, also those that no quirk has.
                    quirky(2 * i + 2, "CP-1", Notes(u32::MAX)),
                ]
            })
            .collect();
        apply(store, &sent).unwrap();
        let quirks = contents().quirks;
        // All but that of a frame that cannot be read.
        assert_eq!(quirks.len(), Quirk::ALL.len() - 1);
        assert!(quirks.values().all(|count| count.count == 60));
    });
}

fn writers_with_the_same_records_count_them_once<A: Adapter>() {
    let database = A::new();
    let all: Vec<Sent> = (1..=60)
        .map(|seq| quirky(seq, &format!("CP-{}", seq % 3), Quirk::NumberId.note()))
        .collect();
    writers::meet(&database, &all);
    let counts = A::contents(&database.open()).quirks;
    assert_eq!(counts.len(), 3);
    for (of, count) in counts {
        assert_eq!(count.count, 20, "{of:?}");
    }
}

fn the_summary_is_by_the_latest_boot_and_paged<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let number = Quirk::NumberId.note();
    let sent = [
        boots(1, "CP-1", "V", "1"),
        quirky(2, "CP-1", number),
        boots(3, "CP-1", "V", "2"),
        quirky(4, "CP-1", number),
        boots(5, "CP-2", "V", "2"),
        quirky(6, "CP-2", number.with(Notes::CONFLICT)),
        quirky(7, "CP-3", number),
        boots(8, "CP-4", &"W".repeat(1_000), "1"),
        quirky(9, "CP-4", number),
    ];
    apply(&store, &sent).unwrap();
    let shown = |filter: &QuirkFilter, limit| {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = store.quirks(filter, &PageRequest { after, limit }).unwrap();
            assert!(page.items.len() <= limit);
            rows.extend(page.items.into_iter().map(|row| {
                let vendor = row.model.vendor.chars().take(5).collect::<String>();
                let firmware = row.model.firmware;
                (row.quirk, vendor, firmware, row.chargers, row.count.count)
            }));
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    };
    let row = |quirk, vendor: &str, firmware: &str, chargers, count| {
        let (vendor, firmware) = (vendor.to_owned(), firmware.to_owned());
        (quirk, vendor, firmware, chargers, count)
    };
    let all = [
        row(Quirk::NumberId, "", "", 1, 1),
        row(Quirk::NumberId, "V", "2", 2, 3),
        row(Quirk::NumberId, "WWWWW", "1", 1, 1),
        row(Quirk::Conflict, "V", "2", 1, 1),
    ];
    for limit in [1, 2, 3, 4, 100] {
        assert_eq!(shown(&QuirkFilter::default(), limit), all, "{limit}");
    }
    let filter = QuirkFilter {
        quirk: Some(Quirk::NumberId),
        vendor: Some("V".to_owned()),
        ..QuirkFilter::default()
    };
    assert_eq!(shown(&filter, 1), all[1..2]);
    let filter = QuirkFilter {
        vendor: Some(String::new()),
        ..QuirkFilter::default()
    };
    assert_eq!(shown(&filter, 9), all[..1]);

    let of_one = store.charger_quirks("cp-2").unwrap();
    let quirks: Vec<Quirk> = of_one.iter().map(|view| view.quirk).collect();
    assert_eq!(quirks, [Quirk::NumberId, Quirk::Conflict]);
    assert_eq!(of_one[0].count, QuirkCount::once(common::at(6)));
    assert!(store.charger_quirks("nobody").unwrap().is_empty());
    let wrong = PageRequest {
        after: Some(Place::DeadLetter(1).to_cursor()),
        limit: 1,
    };
    let refused = store.quirks(&QuirkFilter::default(), &wrong);
    assert_eq!(refused, Err(QueryError::BadCursor));
}

#[test]
fn sqlite_database_without_quirks_is_upgraded() {
    let database = SqliteDatabase::new();
    let old = database.other_connection();
    old.execute_batch(include_str!("../../migrations/sqlite/0001_initial.sql"))
        .unwrap();
    old.pragma_update(None, "application_id", 0x5741_5454)
        .unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let store = database.open();
    apply(&store, &[quirky(1, "CP-1", Quirk::NumberId.note())]).unwrap();
    assert_eq!(store.charger_quirks("CP-1").unwrap().len(), 1);
}

#[test]
fn postgres_database_without_quirks_is_upgraded() {
    let database = PostgresDatabase::bare();
    database.execute(include_str!("../../migrations/postgres/0001_initial.sql"));
    database.execute("INSERT INTO wattpost_schema VALUES (1)");
    let migrated = PostgresStore::migrate(&database.url()).unwrap();
    assert_eq!(migrated.from, 1);
    let store = database.open();
    apply(&store, &[quirky(1, "CP-1", Quirk::NumberId.note())]).unwrap();
    assert_eq!(store.charger_quirks("CP-1").unwrap().len(), 1);
}

//! Chargers that name no version, or send messages of another one than they name.

use super::stop;
use crate::common::{START, TestCharger, at, call, connect, event, setup};
use central::model::ChargerKey;
use central::ports::CheckMode;
use central::record::Notes;
use central::resend::ResendMemory;
use central::station::CloseReason;
use central::{Quirk, Record, RecordKind};
use ocpp::Version;

const BOOT_2: &str = r#"{"chargingStation":{"vendorName":"V","model":"M"},"reason":"PowerUp"}"#;
const BOOT_16: &str = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;

fn names_none(assumed: Version) -> TestCharger {
    names_none_again(assumed, ResendMemory::default())
}

fn names_none_again(assumed: Version, memory: ResendMemory) -> TestCharger {
    let mut setup = setup(assumed);
    setup.is_version_assumed = true;
    setup.memory = memory;
    setup.connect()
}

fn corrected(record: &Record<'_>) -> bool {
    record.notes.has(Quirk::VersionCorrected.note())
}

/// The version of the connection, as the spelling of an error shows it.
fn spells_as_16(charger: &mut TestCharger) -> bool {
    charger.fails("spelling", "Authorize", "{}") == "OccurenceConstraintViolation"
}

#[test]
fn quirk_01_the_boot_shows_the_version_of_a_charger_that_names_none() {
    let mut charger = names_none(Version::V16);
    assert_eq!(
        at(charger.all_records()[0].payload, "/subprotocol"),
        serde_json::Value::Null
    );
    let answer = charger.succeeds("1", "BootNotification", BOOT_2);
    assert_eq!(at(&answer, "/status"), "Accepted");
    charger.succeeds("2", "TransactionEvent", &event("Started", 0, ""));
    charger.succeeds("3", "TransactionEvent", &event("Ended", 1, ""));
    let records = charger.records();
    assert!(
        records
            .iter()
            .all(|record| record.ocpp_version == Version::V201)
    );
    assert_eq!(
        records.iter().map(corrected).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(
        !records[0].notes.has(Notes::QUARANTINED),
        "{}",
        records[0].reason
    );
    assert!(!spells_as_16(&mut charger));
}

#[test]
fn quirk_01_any_message_that_only_one_version_has_shows_it() {
    let status = r#"{"timestamp":"2026-01-01T00:00:00Z","connectorStatus":"Available","evseId":1,"connectorId":1}"#;
    for (action, payload) in [
        ("TransactionEvent", event("Started", 0, "").as_str()),
        ("TransactionEvent", r#"{"eventType":7}"#),
        ("StatusNotification", status),
        (
            "Authorize",
            r#"{"idToken":{"idToken":"A","type":"Central"}}"#,
        ),
        (
            "BootNotification",
            r#"{"chargingStation":{"vendorName":"V"}}"#,
        ),
    ] {
        let mut charger = names_none(Version::V16);
        charger.succeeds("0", "Heartbeat", "{}");
        charger.succeeds("1", action, payload);
        let records = charger.records();
        assert!(
            !corrected(&records[0]),
            "a Heartbeat is the same in every version"
        );
        assert!(corrected(&records[1]), "{action} {payload}");
        assert_eq!(records[1].ocpp_version, Version::V201, "{action}");
    }
    for assumed in [Version::V201, Version::V21] {
        let mut charger = names_none(assumed);
        charger.succeeds("1", "StartTransaction", START);
        assert!(spells_as_16(&mut charger), "{assumed}");
        let mut charger = names_none(assumed);
        charger.succeeds("1", "BootNotification", BOOT_16);
        assert!(spells_as_16(&mut charger), "{assumed}");
    }
    // Of 2.x, only what 2.0.1 does not have shows 2.1.
    for assumed in [Version::V16, Version::V201] {
        let mut charger = names_none(assumed);
        let swap = r#"{"batteryData":[],"eventType":"BatteryIn","requestId":1,"idToken":{"idToken":"A","type":"Central"}}"#;
        charger.calls(&call("1", "BatterySwap", swap));
        assert_eq!(charger.records()[0].ocpp_version, Version::V21, "{assumed}");
        let mut charger = names_none(assumed);
        let send = r#"[6,"1","NotifyPeriodicEventStream",{"id":1,"pending":0,"basetime":"2026-01-01T00:00:00Z","data":[{"t":1,"v":"2"}]}]"#;
        assert!(charger.sends(send).is_empty());
        assert_eq!(charger.records()[0].kind, RecordKind::Send, "{assumed}");
        assert_eq!(charger.records()[0].ocpp_version, Version::V21, "{assumed}");
    }
}

#[test]
fn quirk_01_strict_mode_checks_against_the_version_that_was_shown() {
    let mut setup = setup(Version::V16);
    setup.is_version_assumed = true;
    setup.policy.check = CheckMode::Strict;
    let mut charger = setup.connect();
    let answer = charger.succeeds("1", "BootNotification", BOOT_2);
    assert_eq!(at(&answer, "/status"), "Accepted");
    charger.succeeds("2", "TransactionEvent", &event("Started", 0, ""));
    assert_eq!(charger.last_notes(), Notes::default());
}

#[test]
fn quirk_01_the_shown_version_is_remembered_across_connections_and_restarts() {
    let mut charger = names_none(Version::V16);
    charger.succeeds("1", "BootNotification", BOOT_2);
    charger.disconnects(CloseReason::ByCharger(None));
    let mut restarted = ResendMemory::default();
    for record in charger.all_records() {
        restarted.learn(&record);
    }
    for memory in [charger.station.into_memory(), restarted] {
        assert!(
            !memory.is_empty(),
            "it is kept while the charger is disconnected"
        );
        let mut next = names_none_again(Version::V16, memory);
        assert!(
            corrected(&next.all_records()[0]),
            "noted again for a later restart"
        );
        assert_eq!(next.all_records()[0].ocpp_version, Version::V201);
        assert!(!spells_as_16(&mut next));
        // A firmware may be exchanged for one of another version.
        next.succeeds("1", "BootNotification", BOOT_16);
        assert!(spells_as_16(&mut next));

        // What the handshake names takes precedence.
        let mut named = setup(Version::V21);
        named.memory = next.station.into_memory();
        let named = named.connect();
        assert_eq!(named.all_records()[0].ocpp_version, Version::V21);
        assert_eq!(named.station.into_memory().shown_version(), None);
    }
}

#[test]
fn quirk_01_a_resend_is_recognised_over_the_change_of_version() {
    // The same security event before and after the boot that shows the version.
    let mut charger = names_none(Version::V16);
    let security = r#"{"type":"StartupOfTheDevice","timestamp":"2026-01-01T00:00:00Z"}"#;
    charger.succeeds("1", "SecurityEventNotification", security);
    charger.succeeds("2", "BootNotification", BOOT_2);
    charger.succeeds("3", "SecurityEventNotification", security);
    assert_eq!(charger.records().len(), 2);

    // A call that is still in flight when the version changes is answered as it was asked.
    let mut setup = setup(Version::V16);
    setup.is_version_assumed = true;
    setup.disk_works = false;
    let mut charger = setup.connect();
    assert!(
        charger
            .sends(&call("1", "Authorize", r#"{"idTag":"A"}"#))
            .is_empty()
    );
    assert!(
        charger
            .sends(&call("2", "BootNotification", BOOT_2))
            .is_empty()
    );
    assert!(
        charger
            .sends(&call("3", "TransactionEvent", &event("Started", 0, "")))
            .is_empty()
    );
    let answers = charger.disk_syncs();
    assert_eq!(answers.len(), 3);
    assert_eq!(at(&answers[0], "/2/idTagInfo/status"), "Accepted");
    assert_eq!(at(&answers[2], "/0"), 3);
}

#[test]
fn quirk_03_negotiates_1_6_and_sends_2_0_1() {
    for mode in [CheckMode::Strict, CheckMode::Warn, CheckMode::Off] {
        let mut setup = setup(Version::V16);
        setup.policy.check = mode;
        let mut charger = setup.connect();
        charger.succeeds("1", "TransactionEvent", &event("Started", 0, ""));
        let record = &charger.records()[0];
        assert_eq!(record.ocpp_version, Version::V201);
        assert!(
            record
                .notes
                .has(Notes::TOLERATED.with(Quirk::OtherVersion.note()))
        );
        assert!(
            mode == CheckMode::Off || spells_as_16(&mut charger),
            "the handshake wins"
        );
    }
    let mut charger = connect(Version::V16);
    charger.succeeds("1", "BootNotification", BOOT_2);
    charger.succeeds("2", "TransactionEvent", &event("Started", 0, ""));
    let meter = r#"{"evseId":1,"meterValue":[{"timestamp":"2025-12-31T23:00:00Z","sampledValue":[{"value":1}]}]}"#;
    charger.succeeds("3", "MeterValues", meter);
    for record in charger.records() {
        assert_eq!(record.ocpp_version, Version::V201, "{}", record.action);
        assert!(
            record.notes.has(Quirk::OtherVersion.note()),
            "{}",
            record.action
        );
        assert!(!record.notes.has(Notes::QUARANTINED), "{}", record.action);
    }
    let database = crate::common::database::of(&[&charger]);
    let view =
        database.states.chargers[&ChargerKey::of("cp-17")].view("cp-17", None, crate::common::NOW);
    assert_eq!(view.boot.expect("it booted").vendor.as_deref(), Some("V"));
    // Both kinds of transaction on one connection.
    let id = crate::common::transaction_id(&charger.succeeds("4", "StartTransaction", START));
    charger.succeeds(
        "5",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
}

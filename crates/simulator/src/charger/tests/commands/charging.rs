//! Charging profiles.

use super::*;

#[test]
fn charging_profiles_are_kept_combined_reported_and_cleared() {
    let mut harness = accepted(Version::V16);
    let set = |connector: u8, profile: Value| json!({"connectorId": connector, "csChargingProfiles": profile});
    let tx = set(1, profile_16(1, "TxProfile", 0, 10.0));
    assert_eq!(harness.status("SetChargingProfile", tx.clone()), "Rejected");
    let default = set(0, profile_16(2, "TxDefaultProfile", 0, 16.0));
    assert_eq!(harness.status("SetChargingProfile", default), "Accepted");
    let max = set(1, profile_16(3, "ChargePointMaxProfile", 0, 13.0));
    assert_eq!(harness.status("SetChargingProfile", max), "Rejected");
    let max = set(0, profile_16(3, "ChargePointMaxProfile", 0, 13.0));
    assert_eq!(harness.status("SetChargingProfile", max), "Accepted");
    let ask = json!({"connectorId": 1, "duration": 3600, "chargingRateUnit": "W"});
    let schedule = harness.result("GetCompositeSchedule", ask.clone());
    assert_eq!(
        schedule["chargingSchedule"]["chargingSchedulePeriod"],
        json!([
            {"startPeriod": 0, "limit": 13.0 * 690.0, "numberPhases": 3},
            {"startPeriod": 600, "limit": 6.0 * 690.0, "numberPhases": 3},
        ])
    );
    charging(&mut harness);
    assert_eq!(harness.status("SetChargingProfile", tx), "Accepted");
    let schedule = harness.result("GetCompositeSchedule", ask.clone());
    let first = &schedule["chargingSchedule"]["chargingSchedulePeriod"][0];
    assert_eq!(first["limit"], 10.0 * 690.0);
    // The profile of the transaction ends with it.
    harness.status("UnlockConnector", json!({"connectorId": 1}));
    let schedule = harness.result("GetCompositeSchedule", ask);
    let first = &schedule["chargingSchedule"]["chargingSchedulePeriod"][0];
    assert_eq!(first["limit"], 13.0 * 690.0);
    assert_eq!(
        harness.status("ClearChargingProfile", json!({"id": 9})),
        "Unknown"
    );
    assert_eq!(
        harness.status("ClearChargingProfile", json!({})),
        "Accepted"
    );
    assert_eq!(harness.status("ClearChargingProfile", json!({})), "Unknown");

    for version in V2 {
        let mut harness = accepted(version);
        let set = |id, level| json!({"evseId": 1, "chargingProfile": profile_2(id, "TxDefaultProfile", level, 8.0)});
        assert_eq!(harness.status("SetChargingProfile", set(1, 0)), "Accepted");
        assert_eq!(harness.status("SetChargingProfile", set(2, 0)), "Rejected");
        assert_eq!(harness.status("SetChargingProfile", set(2, 1)), "Accepted");
        let ask = json!({"requestId": 4, "chargingProfile": {}});
        assert_eq!(harness.status("GetChargingProfiles", ask), "Accepted");
        let ask = json!({"requestId": 5, "evseId": 2, "chargingProfile": {}});
        assert_eq!(harness.status("GetChargingProfiles", ask), "NoProfiles");
        harness.run_for(5.0);
        assert_eq!(
            members(&harness, "ReportChargingProfiles", "tbc"),
            ["true", "false"]
        );
        assert_eq!(
            harness.status("ClearChargingProfile", json!({"chargingProfileId": 2})),
            "Accepted"
        );
    }
}

#[test]
fn a_charging_profile_limits_the_power_of_the_vehicle() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        charging(&mut harness);
        harness.run_for(125.0);
        let power = |harness: &Harness| {
            let (action, member) = match version {
                Version::V16 => ("MeterValues", "unit"),
                _ => ("TransactionEvent", "unitOfMeasure"),
            };
            let all = harness.of(action);
            let values = all.last().unwrap().payload["meterValue"][0]["sampledValue"].clone();
            let values = values.as_array().unwrap().clone();
            let one = values
                .into_iter()
                .find(|one| one["measurand"] == "Power.Active.Import")
                .unwrap();
            assert!(one.get(member).is_some());
            match &one["value"] {
                Value::String(text) => text.parse::<f64>().unwrap(),
                number => number.as_f64().unwrap(),
            }
        };
        assert!(power(&harness) > 7000.0, "{version}");
        let set = match version {
            Version::V16 => json!({
                "connectorId": 1, "csChargingProfiles": profile_16(1, "TxDefaultProfile", 0, 6.0),
            }),
            _ => json!({
                "evseId": 1, "chargingProfile": profile_2(1, "TxDefaultProfile", 0, 6.0),
            }),
        };
        assert_eq!(harness.status("SetChargingProfile", set), "Accepted");
        harness.run_for(65.0);
        let limited = power(&harness);
        assert!(limited < 6.0 * 690.0 * 1.02, "{version}: {limited}");
        harness.status("ClearChargingProfile", json!({}));
        harness.run_for(65.0);
        assert!(power(&harness) > 7000.0, "{version}");
    }
}

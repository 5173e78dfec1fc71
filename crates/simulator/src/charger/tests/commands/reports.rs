//! Display messages, monitors, event streams, DER controls, tariffs and data transfers.

use super::*;

#[test]
fn display_messages_are_kept_reported_and_cleared() {
    for version in V2 {
        let mut harness = accepted(version);
        let set = |id: u64| {
            json!({"message": {
                "id": id, "priority": "NormalCycle",
                "message": {"format": "UTF8", "content": "Hi"},
            }})
        };
        for id in 0..7 {
            assert_eq!(harness.status("SetDisplayMessage", set(id)), "Accepted");
        }
        let mut other = set(9);
        other["message"]["transactionId"] = json!("x");
        assert_eq!(
            harness.status("SetDisplayMessage", other),
            "UnknownTransaction"
        );
        let get = json!({"requestId": 3});
        assert_eq!(harness.status("GetDisplayMessages", get), "Accepted");
        let get = json!({"requestId": 4, "id": [99]});
        assert_eq!(harness.status("GetDisplayMessages", get), "Unknown");
        harness.run_for(5.0);
        let pages = harness.of("NotifyDisplayMessages");
        let counts: Vec<_> = pages
            .iter()
            .map(|page| page.payload["messageInfo"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [5, 2]);
        assert_eq!(
            harness.status("ClearDisplayMessage", json!({"id": 1})),
            "Accepted"
        );
        assert_eq!(
            harness.status("ClearDisplayMessage", json!({"id": 1})),
            "Unknown"
        );
    }
}

#[test]
fn monitors_are_set_reported_and_cleared() {
    for version in V2 {
        let mut harness = accepted(version);
        let set = request(&harness, "SetVariableMonitoring");
        let result = harness.result("SetVariableMonitoring", set.clone());
        assert_eq!(result["setMonitoringResult"][0]["id"], 1);
        let result = harness.result("SetVariableMonitoring", set);
        assert_eq!(result["setMonitoringResult"][0]["status"], "Duplicate");
        assert_eq!(
            harness.status("GetMonitoringReport", json!({"requestId": 6})),
            "Accepted"
        );
        let none = json!({"requestId": 6, "monitoringCriteria": ["PeriodicMonitoring"]});
        assert_eq!(
            harness.status("GetMonitoringReport", none),
            "EmptyResultSet"
        );
        harness.run_for(1.0);
        assert_eq!(
            members(&harness, "NotifyMonitoringReport", "requestId"),
            ["6"]
        );
        let cleared = harness.result("ClearVariableMonitoring", json!({"id": [1, 5]}));
        assert_eq!(cleared["clearMonitoringResult"][0]["status"], "Accepted");
        assert_eq!(cleared["clearMonitoringResult"][1]["status"], "NotFound");
        assert_eq!(
            harness.status("SetMonitoringLevel", json!({"severity": 10})),
            "Rejected"
        );
    }
}

#[test]
fn a_periodic_event_stream_is_offered_sent_adjusted_and_closed() {
    let mut harness = accepted(Version::V21);
    assert_eq!(
        harness.result("GetPeriodicEventStream", json!({})),
        json!({})
    );
    let mut set = request(&harness, "SetVariableMonitoring");
    set["setMonitoringData"][0]["periodicEventStream"] = json!({"interval": 10, "values": 1});
    harness.result("SetVariableMonitoring", set);
    harness.run_for(35.0);
    assert_eq!(harness.of("OpenPeriodicEventStream").len(), 1);
    assert_eq!(harness.sends.len(), 3);
    assert_eq!(harness.sends[0].0, "NotifyPeriodicEventStream");
    assert_eq!(harness.sends[0].1["data"][0]["v"], "300");
    let streams = harness.result("GetPeriodicEventStream", json!({}));
    assert_eq!(streams["constantStreamData"][0]["params"]["interval"], 10);
    let adjust = |id: u64| json!({"id": id, "params": {"interval": 100}});
    assert_eq!(
        harness.status("AdjustPeriodicEventStream", adjust(9)),
        "Rejected"
    );
    assert_eq!(
        harness.status("AdjustPeriodicEventStream", adjust(1)),
        "Accepted"
    );
    harness.run_for(200.0);
    assert_eq!(harness.sends.len(), 5);
    harness.result("ClearVariableMonitoring", json!({"id": [1]}));
    harness.run_for(500.0);
    assert_eq!(harness.sends.len(), 5);
    assert_eq!(harness.of("ClosePeriodicEventStream").len(), 1);
}

#[test]
fn der_controls_supersede_each_other_and_are_reported() {
    let mut harness = accepted(Version::V21);
    let set = |id: &str, priority: u64| {
        json!({
            "isDefault": false, "controlId": id, "controlType": "FixedVar",
            "fixedVar": {"priority": priority, "setpoint": 1.0, "unit": "PctMaxVar"},
        })
    };
    assert_eq!(
        harness.result("SetDERControl", set("a", 5)),
        json!({"status": "Accepted"})
    );
    let answer = harness.result("SetDERControl", set("b", 1));
    assert_eq!(answer["supersededIds"], json!(["a"]));
    let mut incomplete = set("c", 1);
    incomplete.as_object_mut().unwrap().remove("fixedVar");
    assert_eq!(harness.status("SetDERControl", incomplete), "Rejected");
    let curve = json!({
        "isDefault": true, "controlId": "d", "controlType": "VoltVar",
        "curve": {"priority": 0, "yUnit": "PctMaxVar", "curveData": [{"x": 1.0, "y": 2.0}]},
    });
    assert_eq!(harness.status("SetDERControl", curve), "Accepted");
    assert_eq!(
        harness.status("GetDERControl", json!({"requestId": 2})),
        "Accepted"
    );
    harness.run_for(5.0);
    let reports = harness.of("ReportDERControl");
    assert_eq!(reports.len(), 3);
    assert_eq!(reports[0].payload["fixedVar"][0]["isSuperseded"], true);
    assert_eq!(reports[2].payload["curve"][0]["curveType"], "VoltVar");
    assert!(reports[2].payload.get("tbc").is_none());
    assert_eq!(
        members(&harness, "NotifyDERStartStop", "controlId"),
        ["a", "b"]
    );
    let clear = json!({"isDefault": false, "controlId": "a"});
    assert_eq!(harness.status("ClearDERControl", clear.clone()), "Accepted");
    assert_eq!(harness.status("ClearDERControl", clear), "NotFound");
}

#[test]
fn tariffs_are_set_listed_changed_and_cleared() {
    let mut harness = accepted(Version::V21);
    let transaction = charging(&mut harness);
    assert_eq!(
        harness.status("GetTariffs", json!({"evseId": 0})),
        "NoTariff"
    );
    let tariff = |id: &str, currency: &str| json!({"tariffId": id, "currency": currency});
    let set = json!({"evseId": 1, "tariff": tariff("t1", "EUR")});
    assert_eq!(harness.status("SetDefaultTariff", set), "Accepted");
    let listed = harness.result("GetTariffs", json!({"evseId": 0}));
    assert_eq!(listed["tariffAssignments"][0]["evseIds"], json!([1]));
    let mut change = |transaction: &str, currency: &str| {
        let payload = json!({"transactionId": transaction, "tariff": tariff("t2", currency)});
        harness.status("ChangeTransactionTariff", payload)
    };
    assert_eq!(change("x", "EUR"), "TxNotFound");
    assert_eq!(change(&transaction, "USD"), "NoCurrencyChange");
    assert_eq!(change(&transaction, "EUR"), "Accepted");
    let cleared = harness.result("ClearTariffs", json!({"tariffIds": ["t1", "t9"]}));
    assert_eq!(
        cleared["clearTariffsResult"],
        json!([
            {"tariffId": "t1", "status": "Accepted"}, {"tariffId": "t9", "status": "NoTariff"},
        ])
    );
}

#[test]
fn firmware_is_published_and_a_battery_swapped() {
    let mut harness = accepted(Version::V21);
    let publish = request(&harness, "PublishFirmware");
    assert_eq!(harness.status("PublishFirmware", publish), "Accepted");
    let unpublish = json!({"checksum": "abc"});
    assert_eq!(
        harness.status("UnpublishFirmware", unpublish.clone()),
        "DownloadOngoing"
    );
    let swap = request(&harness, "RequestBatterySwap");
    assert_eq!(harness.status("RequestBatterySwap", swap), "Accepted");
    harness.run_for(60.0);
    assert_eq!(
        members(&harness, "PublishFirmwareStatusNotification", "status"),
        ["Downloading", "Downloaded", "ChecksumVerified", "Published"]
    );
    assert_eq!(
        members(&harness, "BatterySwap", "eventType"),
        ["BatteryIn", "BatteryOut"]
    );
    assert_eq!(members(&harness, "BatterySwap", "requestId"), ["8", "8"]);
    assert_eq!(
        harness.status("UnpublishFirmware", unpublish.clone()),
        "Unpublished"
    );
    assert_eq!(harness.status("UnpublishFirmware", unpublish), "NoFirmware");
}

#[test]
fn data_of_a_known_vendor_is_sent_back() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        let mut send = |vendor: &str, message: &str| {
            let payload = json!({"vendorId": vendor, "messageId": message, "data": "x"});
            harness.result("DataTransfer", payload)
        };
        assert_eq!(send("Other", "Echo")["status"], "UnknownVendorId");
        assert_eq!(send("Wattpost", "Other")["status"], "UnknownMessageId");
        assert_eq!(send("Wattpost", "Echo")["data"], "x");
    }
}

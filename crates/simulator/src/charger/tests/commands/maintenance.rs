//! Firmware, logs and certificates.

use super::*;

#[test]
fn a_firmware_update_goes_through_its_states_and_restarts_the_charger() {
    let mut harness = accepted(Version::V16);
    let payload = request(&harness, "UpdateFirmware");
    harness.result("UpdateFirmware", payload);
    harness.run_for(120.0);
    assert_eq!(
        members(&harness, "FirmwareStatusNotification", "status"),
        ["Downloading", "Downloaded", "Installing", "Installed"]
    );
    assert_eq!(harness.of("BootNotification").len(), 2);

    let signed = [
        "Downloading",
        "Downloaded",
        "SignatureVerified",
        "Installing",
        "InstallRebooting",
        "Installed",
    ];
    let mut harness = accepted(Version::V16);
    let payload = request(&harness, "SignedUpdateFirmware");
    assert_eq!(harness.status("SignedUpdateFirmware", payload), "Accepted");
    harness.run_for(120.0);
    assert_eq!(
        members(&harness, "SignedFirmwareStatusNotification", "status"),
        signed
    );
    for version in V2 {
        let mut harness = accepted(version);
        let transaction = charging(&mut harness);
        let mut payload = request(&harness, "UpdateFirmware");
        payload["firmware"]["signingCertificate"] = json!("x");
        assert_eq!(
            harness.status("UpdateFirmware", payload.clone()),
            "InvalidCertificate"
        );
        payload["firmware"]["signingCertificate"] = json!(test_root());
        payload["firmware"]["retrieveDateTime"] = json!(at(&harness, 60));
        assert_eq!(harness.status("UpdateFirmware", payload), "Accepted");
        harness.run_for(200.0);
        let states = members(&harness, "FirmwareStatusNotification", "status");
        assert_eq!(states[0], "DownloadScheduled");
        // It waits for the end of the transaction.
        assert_eq!(states[1..], signed[..3]);
        let stop = json!({ "transactionId": transaction });
        harness.status("RequestStopTransaction", stop);
        harness.run_for(200.0);
        assert_eq!(
            members(&harness, "FirmwareStatusNotification", "status")[1..],
            signed
        );
        assert!(
            members(&harness, "FirmwareStatusNotification", "requestId")
                .iter()
                .all(|id| id == "2")
        );
        assert_eq!(
            members(&harness, "BootNotification", "reason")[1],
            "FirmwareUpdate"
        );
    }
}

#[test]
fn a_log_is_uploaded_and_a_second_request_replaces_the_first() {
    let mut harness = accepted(Version::V16);
    let payload = request(&harness, "GetDiagnostics");
    let answer = harness.result("GetDiagnostics", payload);
    assert_eq!(answer["fileName"], "CP-1-diagnostics.log");
    harness.run_for(60.0);
    assert_eq!(
        members(&harness, "DiagnosticsStatusNotification", "status"),
        ["Uploading", "Uploaded"]
    );
    for version in V2 {
        let mut harness = accepted(version);
        let mut payload = request(&harness, "GetLog");
        assert_eq!(harness.status("GetLog", payload.clone()), "Accepted");
        harness.run_for(1.0);
        payload["requestId"] = json!(4);
        assert_eq!(harness.status("GetLog", payload), "AcceptedCanceled");
        harness.run_for(60.0);
        let states = members(&harness, "LogStatusNotification", "status");
        let ids = members(&harness, "LogStatusNotification", "requestId");
        let both: Vec<_> = states
            .iter()
            .zip(&ids)
            .map(|(a, b)| format!("{a} {b}"))
            .collect();
        assert_eq!(
            both,
            [
                "Uploading 3",
                "AcceptedCanceled 3",
                "Uploading 4",
                "Uploaded 4"
            ]
        );
    }
}

#[test]
fn a_job_goes_on_after_the_connection_was_lost() {
    let mut harness = accepted(Version::V201);
    let payload = request(&harness, "GetLog");
    harness.status("GetLog", payload);
    harness.run_for(1.0);
    harness.disconnect();
    harness.run_for(60.0);
    let states = members(&harness, "LogStatusNotification", "status");
    assert_eq!(states, ["Uploading", "Uploaded"]);
}

#[test]
fn certificates_are_installed_listed_and_deleted() {
    for version in Version::ALL {
        let mut harness = accepted(version);
        let install = request(&harness, "InstallCertificate");
        let list = match version {
            Version::V16 => json!({"certificateType": "CentralSystemRootCertificate"}),
            _ => json!({}),
        };
        let ids =
            |harness: &mut Harness| harness.result("GetInstalledCertificateIds", list.clone());
        assert_eq!(ids(&mut harness)["status"], "NotFound");
        let mut broken = install.clone();
        broken["certificate"] = json!("x");
        assert_eq!(harness.status("InstallCertificate", broken), "Rejected");
        assert_eq!(harness.status("InstallCertificate", install), "Accepted");
        let found = ids(&mut harness);
        let data = match version {
            Version::V16 => found["certificateHashData"][0].clone(),
            _ => found["certificateHashDataChain"][0]["certificateHashData"].clone(),
        };
        let delete = json!({ "certificateHashData": data });
        assert_eq!(
            harness.status("DeleteCertificate", delete.clone()),
            "Accepted"
        );
        assert_eq!(harness.status("DeleteCertificate", delete), "NotFound");
    }
}

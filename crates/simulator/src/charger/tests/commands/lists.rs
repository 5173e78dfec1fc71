//! The local list and reservations.

use super::*;

#[test]
fn the_local_list_has_a_version_that_only_grows_by_differences() {
    let mut harness = accepted(Version::V201);
    let mut send = |version: i64, kind: &str, list: Value| {
        harness.status(
            "SendLocalList",
            json!({"versionNumber": version, "updateType": kind, "localAuthorizationList": list}),
        )
    };
    let entry = |text: &str| json!({"idToken": token(text), "idTokenInfo": {"status": "Accepted"}});
    assert_eq!(send(5, "Full", json!([entry("A"), entry("B")])), "Accepted");
    assert_eq!(
        send(5, "Differential", json!([entry("C")])),
        "VersionMismatch"
    );
    assert_eq!(
        send(6, "Differential", json!([{"idToken": token("B")}])),
        "Accepted"
    );
    assert_eq!(send(7, "Full", json!(vec![entry("X"); 201])), "Failed");
    let version = harness.result("GetLocalListVersion", json!({}));
    assert_eq!(version["versionNumber"], 6);
    let read = |harness: &mut Harness| {
        let result = harness.result(
            "GetVariables",
            json!({"getVariableData": [
                {"component": {"name": "LocalAuthListCtrlr"}, "variable": {"name": "Entries"}},
            ]}),
        );
        result["getVariableResult"][0]["attributeValue"].clone()
    };
    assert_eq!(read(&mut harness), "1");
    let clear = json!({"requestId": 1, "report": true, "clear": true, "idToken": token("A")});
    assert_eq!(harness.status("CustomerInformation", clear), "Accepted");
    assert_eq!(read(&mut harness), "0");
    harness.run_for(5.0);
    let pages = harness.of("NotifyCustomerInformation");
    assert!(
        pages[0].payload["data"]
            .as_str()
            .unwrap()
            .contains("Accepted")
    );
}

#[test]
fn a_reservation_is_for_its_token_and_ends_by_use_by_command_or_by_time() {
    let mut harness = accepted(Version::V201);
    let reserve = |harness: &Harness, id: u64, evse: u8| {
        json!({
            "id": id, "evseId": evse, "idToken": token("A"), "expiryDateTime": at(harness, 600),
        })
    };
    let payload = reserve(&harness, 1, 1);
    assert_eq!(harness.status("ReserveNow", payload), "Accepted");
    let payload = reserve(&harness, 2, 1);
    assert_eq!(harness.status("ReserveNow", payload), "Occupied");
    harness.run_for(1.0);
    assert!(
        members(&harness, "StatusNotification", "connectorStatus").contains(&"Reserved".into())
    );
    let start = |text: &str| json!({"remoteStartId": 1, "idToken": token(text), "evseId": 1});
    assert_eq!(
        harness.status("RequestStartTransaction", start("B")),
        "Rejected"
    );
    assert_eq!(
        harness.status("RequestStartTransaction", start("A")),
        "Accepted"
    );
    harness.run_for(1.0);
    assert_eq!(
        harness.of("TransactionEvent")[0].payload["reservationId"],
        1
    );

    let payload = reserve(&harness, 3, 2);
    assert_eq!(harness.status("ReserveNow", payload), "Accepted");
    assert_eq!(
        harness.status("CancelReservation", json!({"reservationId": 3})),
        "Accepted"
    );
    assert_eq!(
        harness.status("CancelReservation", json!({"reservationId": 3})),
        "Rejected"
    );
    let payload = reserve(&harness, 4, 2);
    assert_eq!(harness.status("ReserveNow", payload), "Accepted");
    harness.run_for(700.0);
    let updates = harness.of("ReservationStatusUpdate");
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].payload["reservationUpdateStatus"], "Expired");
    assert_eq!(updates[0].payload["reservationId"], 4);
}

//! A start without the database and without a readable `directory.json`: it is not known which chargers may connect.

use crate::deployment::{Deployment, until};
use crate::handshake::{handshake_status, handshake_status_with};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The database is unavailable: SAFE-1, which has a password, must not be accepted without it, nor be refused
/// permanently. With the database available again, it is accepted with its password.
#[test]
fn charger_with_a_password_is_never_accepted_without_it() {
    for damage in [Some("{\"chargers\": {\"safe-1\""), None] {
        let mut deployment = Deployment::start("[gateway]\ndirectory_refresh_s = 1\n");
        assert_eq!(
            handshake_status(deployment.ocpp, "FIRST-DAY").0,
            101,
            "an empty database means that no charger was added"
        );
        deployment.run("charger add SAFE-1", &["--password", "correct horse"]);
        let is_known = until(TIMEOUT, || {
            handshake_status(deployment.ocpp, "SAFE-1").0 == 401
        });
        assert!(is_known, "SAFE-1 is accepted without its password");
        deployment.stop();

        let directory = deployment.data_dir().join("directory.json");
        match damage {
            Some(text) => std::fs::write(&directory, text).expect("damage directory.json"),
            None => std::fs::remove_file(&directory).expect("remove directory.json"),
        }
        let database = deployment.database_file();
        let away = deployment.path("away.db");
        std::fs::rename(&database, &away).expect("move the database away");
        std::fs::write(&database, [7; 8 << 10]).expect("write another file in its place");

        deployment.restart();
        for identity in ["SAFE-1", "OTHER"] {
            let (status, head) = handshake_status(deployment.ocpp, identity);
            assert_eq!(status, 503, "{identity}: {head}");
            assert!(head.contains("Retry-After: "), "{head}");
        }
        let (status, ready) = deployment.get("/health/ready");
        assert_eq!(status, 503);
        assert!(ready.contains("not known yet"), "{ready}");
        assert!(deployment.log().contains("no charger may connect"));

        std::fs::rename(&away, &database).expect("restore the database");
        let is_known = until(TIMEOUT, || {
            handshake_status(deployment.ocpp, "SAFE-1").0 == 401
        });
        assert!(is_known, "{:?}", deployment.get("/health/ready"));
        let password = "Authorization: Basic U0FGRS0xOmNvcnJlY3QgaG9yc2U=\r\n";
        let (status, head) = handshake_status_with(deployment.ocpp, "SAFE-1", password);
        assert_eq!(status, 101, "{head}");
        let is_exported = until(TIMEOUT, || {
            deployment.metric("wattpost_gateway_directory_loaded") == 1.0
        });
        assert!(is_exported, "the metric is still 0");
    }
}

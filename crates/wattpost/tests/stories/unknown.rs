//! A start with the database away and without a usable `directory.json`: nobody can be told from anybody.

use crate::deployment::{Deployment, until};
use crate::http::{handshake_status, handshake_status_with};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// SAFE-1 has a password. It must not come in without it because the database is away, nor be refused for
/// good; with the database back everything is as it was.
#[test]
fn a_charger_with_a_password_never_comes_in_without_it() {
    for damage in [Some("{\"chargers\": {\"safe-1\""), None] {
        let mut deployment = Deployment::start("[gateway]\ndirectory_refresh_s = 1\n");
        assert_eq!(
            handshake_status(deployment.ocpp, "FIRST-DAY").0,
            101,
            "an empty database is one that is known"
        );
        deployment.run("charger add SAFE-1", &["--password", "correct horse"]);
        let known = until(PATIENCE, || {
            handshake_status(deployment.ocpp, "SAFE-1").0 == 401
        });
        assert!(known, "SAFE-1 came in without its password");
        assert!(deployment.stop().success());

        let kept = deployment.data_dir().join("directory.json");
        match damage {
            Some(text) => std::fs::write(&kept, text).expect("damage the kept directory"),
            None => std::fs::remove_file(&kept).expect("lose the kept directory"),
        }
        let database = deployment.data_dir().join("wattpost.db");
        let away = deployment.path("away.db");
        std::fs::rename(&database, &away).expect("take the database away");
        std::fs::write(&database, [7; 8 << 10]).expect("put something unreadable in its place");

        deployment.restart();
        for identity in ["SAFE-1", "STRANGER"] {
            let (status, head) = handshake_status(deployment.ocpp, identity);
            assert_eq!(status, 503, "{identity}: {head}");
            assert!(head.contains("Retry-After: "), "{head}");
        }
        let (status, ready) = deployment.get("/health/ready");
        assert_eq!(status, 503);
        assert!(ready.contains("not known yet"), "{ready}");
        assert!(deployment.log().contains("no charger may connect"));

        std::fs::rename(&away, &database).expect("bring the database back");
        let known = until(PATIENCE, || {
            handshake_status(deployment.ocpp, "SAFE-1").0 == 401
        });
        assert!(known, "{:?}", deployment.get("/health/ready"));
        let password = "Authorization: Basic U0FGRS0xOmNvcnJlY3QgaG9yc2U=\r\n";
        let (status, head) = handshake_status_with(deployment.ocpp, "SAFE-1", password);
        assert_eq!(status, 101, "{head}");
        let shown = until(PATIENCE, || {
            deployment.metric("wattpost_gateway_directory_loaded") == 1.0
        });
        assert!(shown, "the figure says that nothing is loaded");
    }
}

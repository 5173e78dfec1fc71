//! The sessions of `testbed::sessions`, over sockets.

use crate::deployment::{Deployment, until};
use crate::players::{Exported, Playthrough};
use serde_json::Value;
use std::time::Duration;

/// For several hundred chargers, on a machine that builds at the same time.
const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn every_session_is_shown_as_expected() {
    let serve = Deployment::start("");
    let playthrough = Playthrough::of_all_sessions(serve.ocpp);
    let export = |what: &str| -> Vec<Value> {
        let output = serve
            .command(&format!("export {what}"))
            .arg("--quiet")
            .output()
            .expect("run wattpost");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("NDJSON")
    };
    let mut exported = Exported::default();
    assert!(until(TIMEOUT, || {
        exported.messages = export("messages");
        playthrough.is_stored(&exported.messages)
    }));
    exported.transactions = export("transactions");
    exported.connectors = export("connectors");
    let faults = playthrough.faults(&exported, serve.http);
    assert!(
        faults.is_empty(),
        "{} chargers, {} faults:\n{}",
        playthrough.len(),
        faults.len(),
        faults.join("\n")
    );
}

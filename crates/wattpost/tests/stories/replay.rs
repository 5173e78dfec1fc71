//! `wattpost replay`: a new database from the records of another one, and from an export.

use crate::charger::Charger;
use crate::deployment::Deployment;
use std::fs;

#[test]
fn a_replayed_database_shows_what_the_first_one_shows() {
    let mut deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    let start =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":100,"timestamp":"2026-02-01T10:00:00Z"}"#;
    let answer = charger.call("1", "StartTransaction", start);
    let id = answer[2]["transactionId"].as_i64().expect("an id");
    // White space is not in the JSON that the export embeds.
    charger.call("2", "Heartbeat", "{\r\n}");
    let stop =
        format!(r#"{{"transactionId":{id},"meterStop":900,"timestamp":"2026-02-01T11:00:00Z"}}"#);
    charger.call("3", "StopTransaction", &stop);
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    charger.call("4", "StatusNotification", status);
    drop(charger);
    deployment.run("token add", &["TAG-1"]);
    deployment.stop_when_stored();

    let show = |what: &str, database: &str| {
        let mut command = deployment.command(what);
        if !database.is_empty() {
            command.args(["--database-url", database]);
        }
        let output = command.output().expect("run");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let replay = |arguments: &[&str]| {
        let output = deployment.command("replay").args(arguments).output();
        let output = output.expect("run");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8(text).expect("UTF-8"),
        )
    };
    let url = |name: &str| format!("sqlite:{}", deployment.path(name).display());

    let (code, said) = replay(&["--to", &url("new.db")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("copied tokens: 1 rows"), "{said}");
    let export = deployment.path("messages.ndjson");
    fs::write(&export, show("export messages", "")).expect("write");
    let file = export.to_str().expect("UTF-8");
    let (code, said) = replay(&["--from-export", file, "--to", &url("exported.db")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("an export holds records only"), "{said}");
    for what in [
        "export messages",
        "export transactions",
        "export connectors",
    ] {
        let first = show(what, "");
        assert!(!first.is_empty(), "{what}");
        for name in ["new.db", "exported.db"] {
            assert_eq!(show(what, &url(name)), first, "{what} of {name}");
        }
    }
    assert_eq!(show("token list", &url("new.db")), show("token list", ""));

    let (code, said) = replay(&["--to", &url("new.db")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("the target is not empty"), "{said}");
    let itself = format!("sqlite:{}", deployment.database_file().display());
    let (code, said) = replay(&["--to", &itself]);
    assert_eq!(code, Some(1));
    assert!(said.contains("names the database that is read"), "{said}");

    let text = fs::read_to_string(&export).expect("read");
    fs::write(&export, text + "{\"record_id\":7}\n").expect("write");
    let (code, said) = replay(&["--from-export", file, "--to", &url("cut.db")]);
    assert_eq!(code, Some(1));
    let lines = fs::read_to_string(&export).expect("read").lines().count();
    assert!(
        said.contains(&format!("line {lines} is not one of")),
        "{said}"
    );
    assert!(said.contains("--continue"), "{said}");
    // What came before the line was stored, and the corrected file is continued.
    let text = fs::read_to_string(&export).expect("read");
    let whole = text.strip_suffix("{\"record_id\":7}\n").expect("the line");
    fs::write(&export, whole).expect("write");
    let arguments = ["--from-export", file, "--to", &url("cut.db"), "--continue"];
    let (code, said) = replay(&arguments);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("were stored already"), "{said}");
    assert_eq!(
        show("export transactions", &url("cut.db")),
        show("export transactions", "")
    );
}

//! The OpenAPI document as other programs use it: `schemathesis` compares it with what the server answers, and a client is
//! generated from it.

use crate::charger::{Charger, Incoming};
use crate::deployment::{Deployment, until};
use crate::full_length;
use crate::independent_client::python;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A deployment with a key of each right, and with chargers. `CP-17`, the charger of the document's examples, is connected
/// and answers every command.
fn deployment() -> (Deployment, String) {
    let deployment = Deployment::start("");
    for identity in ["CP-1", "CP-2", "CP-3"] {
        deployment.run("charger add", &[identity]);
        let mut charger = Charger::connect(deployment.ocpp, identity, "ocpp2.0.1");
        charger.call("1", "Heartbeat", "{}");
    }
    let mut charger = Charger::connect(deployment.ocpp, "CP-17", "ocpp1.6");
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    charger.call("1", "BootNotification", boot);
    let start =
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":0,"timestamp":"2026-01-01T00:00:00Z"}"#;
    charger.call("2", "StartTransaction", start);
    std::thread::spawn(move || {
        // An error means that no command has come for a while.
        loop {
            match charger.try_receive() {
                Ok(Incoming::Text(text)) => {
                    let call: Value = serde_json::from_str(&text).expect("JSON");
                    let id = call[1].as_str().expect("an id");
                    charger.send(&format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
                }
                Ok(Incoming::Close(_) | Incoming::End) => break,
                Err(_) => {}
            }
        }
    });
    let key = deployment.run("apikey add", &["tests", "--scope", "admin"]);
    let is_required = until(Duration::from_secs(30), || {
        deployment.get("/api/v1/chargers").0 == 401
    });
    assert!(is_required, "the API does not know its key");
    (deployment, key.trim_end().to_owned())
}

/// A program of the Python of `make setup`.
fn program(name: &str) -> PathBuf {
    python().with_file_name(name)
}

/// No route answers with a server error, or with a status, content type, header or body that the document does not have; none
/// accepts a request without the key that it asks for. The routes are those of the document, whichever they are.
#[test]
fn no_answer_differs_from_the_openapi_document() {
    let (deployment, key) = deployment();
    let mut command = Command::new(program("schemathesis"));
    command
        .args([
            "run",
            &format!("http://{}/api/openapi.json", deployment.http),
        ])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", CHECKS])
        // More workers are threads, and CPython 3.11 sometimes fails with "AST constructor recursion depth mismatch" when
        // several of them parse Python at the same time (python/cpython#106905), which Hypothesis does.
        .args(["--workers", "1", "--no-color", "--warnings", "off"])
        .current_dir(deployment.path(""));
    match full_length() {
        true => command.args(["--max-examples", "300"]),
        // A fixed seed: a build of the same code has the same result.
        false => command
            .args(["--max-examples", "3", "--seed", "1"])
            .args(["--phases", "examples,coverage,fuzzing"]),
    };
    let output = command.output().expect("run schemathesis");
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    let summary = said.lines().filter(|line| line.contains("generated"));
    println!("{}", summary.collect::<String>());
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,ignored_auth";

/// The types of the generated client are those that a program expects (mypy), and it lists, pages, sends a command and waits
/// for its outcome.
#[test]
fn a_generated_client_lists_pages_sends_a_command_and_waits_for_its_outcome() {
    let (deployment, key) = deployment();
    let dir = deployment.path("client");
    std::fs::create_dir(&dir).expect("create a directory");
    let document = deployment.path("openapi.json");
    let mut described: Value =
        serde_json::from_str(&deployment.get("/api/openapi.json").1).expect("JSON");
    // The generator sends the text of an import as a file, if it is told to.
    for import in ["/api/v1/tokens/import", "/api/v1/chargers/import"] {
        let body = &mut described["paths"][import]["post"]["requestBody"];
        body["content"]["text/csv"]["schema"]["format"] = "binary".into();
    }
    std::fs::write(&document, described.to_string()).expect("write");
    let config = deployment.path("generator.yaml");
    let settings = "post_hooks: []\ncontent_type_overrides: {text/csv: application/octet-stream}\n";
    std::fs::write(&config, settings).expect("write");
    let client = dir.join("client.py");
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/generated_client.py");
    std::fs::copy(source, &client).expect("copy");
    let run = |command: &mut Command| {
        let output = command.current_dir(&dir).output().expect("run");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
        stdout
    };
    let said = run(Command::new(program("openapi-python-client"))
        .args(["generate", "--fail-on-warning", "--meta", "none"])
        .arg("--config")
        .arg(&config)
        .arg("--path")
        .arg(&document)
        .arg("--output-path")
        .arg(dir.join("wattpost_client")));
    assert!(!said.contains("WARNING"), "{said}");
    run(Command::new(program("mypy")).args(["--strict", "--warn-unreachable", "client.py"]));
    let url = format!("http://{}", deployment.http);
    let found = run(Command::new(python()).arg(&client).args([".", &url, &key]));
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(
        found["identities"],
        serde_json::json!(["CP-1", "CP-17", "CP-2", "CP-3"])
    );
    assert_eq!(found["imported"], serde_json::json!([1, 0, 1]));
    assert_eq!(found["online"], true);
    assert_eq!(found["unknown"], "unknown_charger");
    assert_eq!(found["command"]["outcome"]["class"], "answered");
    assert_eq!(found["command"]["outcome"]["status"], "Accepted");
}

//! A message that is no record becomes a dead letter, which can be listed, retried and discarded.

use crate::deployment::{Deployment, TIMEOUT, until};
use crate::pipeline::{ALERTS_AT_ONCE, wait_for_alert};
use std::process::Command;

/// Publishes a message that is no record, as another program might by mistake. Returns false while no queue is bound.
fn publish_nonsense(deployment: &Deployment) -> bool {
    let code = "import pika, sys\n\
        connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))\n\
        channel = connection.channel()\n\
        channel.confirm_delivery()\n\
        channel.basic_publish('wattpost.records.0', '0.nonsense', b'not a record at all', mandatory=True)\n\
        connection.close()\n";
    let python = std::env::var("WATTPOST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python)
        .args(["-c", code, &deployment.broker_url])
        .output()
        .expect("run python");
    let error = String::from_utf8_lossy(&output.stderr);
    let is_early = ["UnroutableError", "NOT_FOUND"]
        .iter()
        .any(|name| error.contains(name));
    assert!(output.status.success() || is_early, "{error}");
    output.status.success()
}

#[test]
fn message_that_is_no_record_is_listed_retried_and_discarded() {
    let deployment = Deployment::new(ALERTS_AT_ONCE);
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    assert!(until(TIMEOUT, || publish_nonsense(&deployment)));
    wait_for_alert(&api, "DeadLetters", true);
    let mut listed = String::new();
    assert!(until(TIMEOUT, || {
        listed = deployment.run("deadletters list", &[]);
        listed.lines().count() == 1
    }));
    let (_, body) = api.get("/api/v1/dead-letters");
    assert!(body.contains("not a record at all"), "{body}");

    let id = listed.split_whitespace().next().expect("an id").to_owned();
    let (ok, said, _) = deployment.try_run("deadletters retry", &[&id]);
    assert!(!ok && said.contains("still cannot be applied"), "{said}");
    let (status, body) = api.get(&format!("/api/v1/dead-letters/{id}"));
    assert_eq!(status, 200, "{body}");
    let (ok, _, _) = deployment.try_run("deadletters discard", &[&id]);
    assert!(!ok, "it needs a reason");
    let flags = ["--all", "--because", "not a record", "--reason", "a test"];
    let (ok, _, _) = deployment.try_run("deadletters discard", &flags);
    assert!(!ok, "no such reason");
    let flags = [&*id, "--reason", "a test"];
    assert!(
        deployment
            .run("deadletters discard", &flags)
            .contains("discarded")
    );
    assert_eq!(deployment.run("deadletters list", &[]), "");
    let (ok, said, _) = deployment.try_run("deadletters discard", &flags);
    assert!(!ok && said.contains("was discarded at"), "{said}");
    let gone = deployment.run("deadletters list", &["--discarded"]);
    assert!(gone.contains("a test"), "{gone}");
    let (_, body) = api.get("/api/v1/audit?action=dead_letter.discarded");
    assert!(body.contains(&id) && body.contains("a test"), "{body}");
    let (_, body) = api.get("/api/v1/dead-letters");
    assert!(!body.contains("not a record at all"), "{body}");
    wait_for_alert(&api, "DeadLetters", false);
}

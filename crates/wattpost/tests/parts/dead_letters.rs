//! What nobody can apply is kept, shown, tried again and discarded when a person says so.

use crate::plant::{Plant, TIMEOUT, until};
use std::process::Command;

/// Publishes a message that is none of ours where records go in, as a third party might by mistake. False
/// while no queue is bound yet.
fn publish_nonsense(plant: &Plant) -> bool {
    let code = "import pika, sys\n\
        connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))\n\
        channel = connection.channel()\n\
        channel.confirm_delivery()\n\
        channel.basic_publish('wattpost.records.0', '0.nonsense', b'not a record at all', mandatory=True)\n\
        connection.close()\n";
    let python = std::env::var("WATTPOST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python)
        .args(["-c", code, &plant.broker_url])
        .output()
        .expect("run python");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_early = ["UnroutableError", "NOT_FOUND"]
        .iter()
        .any(|error| said.contains(error));
    assert!(output.status.success() || is_early, "{said}");
    output.status.success()
}

#[test]
fn a_message_that_is_no_record_is_kept_and_obeys_the_commands() {
    let plant = Plant::new("");
    let _consumer = plant.start("consumer", "consumer");
    let api = plant.start("api", "api");
    assert!(until(TIMEOUT, || publish_nonsense(&plant)));
    let mut listed = String::new();
    assert!(until(TIMEOUT, || {
        listed = plant.run("deadletters list", &[]);
        listed.lines().count() == 1
    }));
    let (_, body) = crate::http::get(api.http, "/api/v1/dead-letters");
    assert!(body.contains("not a record at all"), "{body}");

    let id = listed.split_whitespace().next().expect("an id").to_owned();
    let (ok, said, _) = plant.try_run("deadletters retry", &[&id]);
    assert!(!ok && said.contains("still cannot be applied"), "{said}");
    plant.run("deadletters discard", &[&id]);
    assert_eq!(plant.run("deadletters list", &[]), "");
    let (ok, said, _) = plant.try_run("deadletters discard", &[&id]);
    assert!(!ok && said.contains("no such dead letter"), "{said}");
}

//! What nobody can apply is kept, shown, tried again and discarded when a person says so.

use crate::plant::{PATIENCE, Plant, servers, until};
use std::process::Command;

/// Publishes a message that is none of ours to the exchange of records, as a third party might by mistake.
fn publish_nonsense(plant: &Plant) {
    let code = "import pika, sys\n\
        connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))\n\
        channel = connection.channel()\n\
        channel.confirm_delivery()\n\
        channel.basic_publish('wattpost.records', '0.nonsense', b'not a record at all')\n\
        connection.close()\n";
    let python = std::env::var("WATTPOST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python)
        .args(["-c", code, &plant.broker_url])
        .output()
        .expect("run python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_message_that_is_no_record_is_kept_and_obeys_the_commands() {
    let plant = Plant::new("");
    let _consumer = plant.start("consumer", "consumer");
    let api = plant.start("api", "api");
    let declared = || {
        let queues = servers()
            .rabbit
            .ctl(&["list_queues", "-p", &plant.virtual_host, "name"]);
        queues.is_ok_and(|queues| queues.contains("wattpost.records.0"))
    };
    assert!(until(PATIENCE, declared));
    publish_nonsense(&plant);
    let mut listed = String::new();
    assert!(until(PATIENCE, || {
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

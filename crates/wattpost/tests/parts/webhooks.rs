//! Two processes with the API send the events of one webhook, and one of them is killed.

use crate::deployment::{Deployment, Role, TIMEOUT, until};
use crate::webhook_receiver::{Message, Receiver};
use serde_json::Value;
use std::collections::HashSet;

const SETTINGS: &str =
    "[webhooks]\nallow_http = true\nallowed_networks = [\"127.0.0.1/32\"]\ntimeout_ms = 500\n";
const TOKENS: usize = 40;
/// The message during which the sender is killed.
const KILLED_AT: usize = 5;

/// The token of each message without repeats, in the order in which they came.
fn tokens(received: &[Message]) -> Vec<String> {
    let mut ids = HashSet::new();
    let new = received.iter().filter(|message| ids.insert(message.id()));
    let token = |event: &Value| {
        event["data"]["subject"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    new.map(|message| token(&message.event())).collect()
}

#[test]
fn when_one_of_two_senders_is_killed_the_other_takes_the_lease_and_skips_nothing() {
    let receiver = Receiver::start();
    receiver.leave_unanswered(KILLED_AT);
    let deployment = Deployment::new(SETTINGS);
    let mut apis = [
        deployment.start("api", "api-one"),
        deployment.start("api", "api-two"),
    ];
    let _consumer = deployment.start("consumer", "consumer");
    deployment.run("webhook add", &[&receiver.url(), "--type", "token.set"]);
    let wanted: Vec<String> = (0..TOKENS).map(|n| format!("T-{n:03}")).collect();
    let file = deployment.path("tokens.csv");
    std::fs::write(&file, format!("id\n{}\n", wanted.join("\n"))).expect("a file");
    deployment.run("token import", &[file.to_str().expect("UTF-8")]);

    let has_begun = until(TIMEOUT, || receiver.received().len() > KILLED_AT);
    assert!(has_begun, "{}\n{}", apis[0].log(), apis[1].log());
    let sent = |api: &Role| api.metric("wattpost_webhooks_attempts_total");
    let sender = apis.iter().position(|api| sent(api) > 0.0);
    let sender = sender.expect("a process has sent");
    assert!(sent(&apis[1 - sender]) == 0.0, "both have sent");
    apis[sender].kill();
    let is_complete = until(TIMEOUT, || tokens(&receiver.received()).len() == TOKENS);
    let other = &apis[1 - sender];
    assert!(is_complete, "{}", other.log());
    assert_eq!(tokens(&receiver.received()), wanted);
    assert!(sent(other) > 0.0);
    let received = receiver.received();
    let killed = &received[KILLED_AT];
    let again = received[KILLED_AT + 1..].iter();
    let again = again.filter(|message| message.id() == killed.id());
    assert_eq!(
        again.count(),
        1,
        "what was not answered is sent again, once"
    );
}

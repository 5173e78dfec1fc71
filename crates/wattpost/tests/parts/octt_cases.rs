//! The cases of the official test tool with a process for each role, RabbitMQ and PostgreSQL.

use crate::deployment::{Deployment, TIMEOUT, until};
use crate::octt::{SETTINGS, System, play_all, scripts};

#[test]
fn cases_of_the_official_test_tool_pass_with_a_process_for_each_role() {
    let deployment = Deployment::new(SETTINGS);
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    assert!(until(TIMEOUT, || gateway.is_up("rabbitmq")));
    let system = System {
        ocpp: gateway.ocpp,
        http: api.http,
        wattpost: &|subcommand, arguments| {
            deployment.run(subcommand, arguments);
        },
    };
    let scripts = scripts();
    let is_full = std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1");
    // Without `make stories`, the cases of 2.x are played only in one process (tests/stories).
    let count = if is_full { scripts.len() } else { 1 };
    play_all(&system, &scripts[..count]);
}

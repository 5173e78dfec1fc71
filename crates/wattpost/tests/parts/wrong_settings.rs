//! A wrong URL or password of RabbitMQ or PostgreSQL: `check` and the start fail with one sentence that names the key and
//! the remedy.

use crate::deployment::{Deployment, servers};

/// Runs `check` and the role; both must fail, with a line that contains all words.
fn refused(deployment: &Deployment, role: &str, flags: &[&str], words: &[&str]) {
    let (ok, said, error) = deployment.try_run("check", flags);
    let line = said
        .lines()
        .chain(error.lines())
        .find(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        !ok && line.is_some(),
        "check said, without {words:?}: {said}{error}"
    );

    let listen = ["--ocpp-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"];
    let (ok, said, error) = deployment.try_run(role, &[flags, &listen].concat());
    let line = error.lines().find(|line| {
        line.starts_with("wattpost: ") && words.iter().all(|word| line.contains(word))
    });
    assert!(
        !ok && line.is_some(),
        "{role} said, without {words:?}: {said}{error}"
    );
}

#[test]
fn text_that_is_no_url() {
    let deployment = Deployment::new("");
    refused(
        &deployment,
        "gateway",
        &["--broker-url=rabbit"],
        &["broker.url", "amqp://"],
    );
    refused(
        &deployment,
        "gateway",
        &["--database-url=mysql://x"],
        &["database.url", "postgres://"],
    );
}

#[test]
fn wrong_password() {
    let deployment = Deployment::new("");
    let servers = servers();
    let broker = servers.rabbit.url_as("wattpost", "wrong", &deployment.name);
    let flag = format!("--broker-url={broker}");
    refused(
        &deployment,
        "consumer",
        &[&flag],
        &["broker.url", "password"],
    );
    let database = servers
        .postgres
        .url_as("wattpost", "wrong", &deployment.name);
    let flag = format!("--database-url={database}");
    refused(
        &deployment,
        "gateway",
        &[&flag],
        &["database.url", "password"],
    );
}

#[test]
fn virtual_host_that_does_not_exist_or_is_not_permitted() {
    let deployment = Deployment::new("");
    let servers = servers();
    let flag = format!(
        "--broker-url={}",
        servers.rabbit.url_as("wattpost", "wattpost", "nowhere")
    );
    refused(&deployment, "gateway", &[&flag], &["broker.url", "nowhere"]);

    servers
        .rabbit
        .ctl(&["add_vhost", "forbidden"])
        .expect("add a virtual host");
    let flag = format!(
        "--broker-url={}",
        servers.rabbit.url_as("wattpost", "wattpost", "forbidden")
    );
    refused(
        &deployment,
        "gateway",
        &[&flag],
        &["broker.url", "set_permissions"],
    );
}

#[test]
fn database_that_does_not_exist_or_has_no_tables() {
    let deployment = Deployment::unmigrated("");
    for role in ["gateway", "consumer", "api"] {
        refused(&deployment, role, &[], &["wattpost migrate"]);
    }
    deployment.run("migrate", &[]);
    let url = servers().postgres.url_as("wattpost", "wattpost", "nowhere");
    refused(
        &deployment,
        "api",
        &[&format!("--database-url={url}")],
        &["database.url", "nowhere"],
    );
}

#[test]
fn two_gateways_with_one_data_directory() {
    let deployment = Deployment::new("");
    let _first = deployment.start("gateway", "command");
    let listen = ["--ocpp-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"];
    let (ok, _, error) = deployment.try_run("gateway", &listen);
    assert!(
        !ok && error.contains("journal") && error.contains("another"),
        "{error}"
    );
}

#[test]
fn consumer_and_durability_broker_need_a_broker_url() {
    let deployment = Deployment::new("");
    let (ok, _, error) = deployment.try_run("consumer", &["--broker-url="]);
    assert!(!ok && error.contains("broker.url"), "{error}");
    let deployment = Deployment::new("[gateway]\ndurability = \"broker\"");
    let (ok, _, error) = deployment.try_run("gateway", &["--broker-url="]);
    assert!(
        !ok && error.contains("gateway.durability") && error.contains("broker.url"),
        "{error}"
    );
}

#[test]
fn unavailable_servers_do_not_prevent_a_start() {
    let deployment = Deployment::new("");
    let unused = testbed::spare_port().expect("a port");
    let broker = format!("--broker-url=amqp://wattpost:wattpost@127.0.0.1:{unused}/%2f");
    let database =
        format!("--database-url=postgres://wattpost:wattpost@127.0.0.1:{unused}/wattpost");
    let (ok, said, _) = deployment.try_run("check", &[&broker, &database]);
    assert!(
        !ok && said.contains("WRONG broker") && said.contains("WRONG database"),
        "{said}"
    );
    let start_alone = || {
        let mut command = deployment.command("gateway", "alone");
        command.args([&broker, &database]);
        deployment.start_command(command, "alone")
    };
    // A gateway that has never read the database does not know which chargers may connect.
    let mut gateway = start_alone();
    let (status, head) = crate::handshake::handshake_status(gateway.ocpp, "CP-1");
    assert_eq!(status, 503, "{head}");
    gateway.stop();
    // Once it has read it, it serves chargers without the database.
    deployment.start("gateway", "alone").stop();
    let gateway = start_alone();
    let mut charger = crate::charger::Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
    let answer = charger.call("1", "Heartbeat", "{}");
    assert_eq!(answer[0], 3, "{answer}");
}

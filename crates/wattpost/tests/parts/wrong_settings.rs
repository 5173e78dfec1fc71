//! What a person gets who named RabbitMQ or PostgreSQL wrongly: one sentence with the key and the cure, from
//! `check` and from the start.

use crate::plant::{Plant, servers};

/// Runs `check` and the role; both must fail and say all words, in one line.
fn refused(plant: &Plant, role: &str, flags: &[&str], words: &[&str]) {
    let (ok, said, error) = plant.try_run("check", flags);
    let line = said
        .lines()
        .chain(error.lines())
        .find(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        !ok && line.is_some(),
        "check said, without {words:?}: {said}{error}"
    );

    let listen = ["--ocpp-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"];
    let (ok, said, error) = plant.try_run(role, &[flags, &listen].concat());
    let line = error.lines().find(|line| {
        line.starts_with("wattpost: ") && words.iter().all(|word| line.contains(word))
    });
    assert!(
        !ok && line.is_some(),
        "{role} said, without {words:?}: {said}{error}"
    );
}

#[test]
fn a_url_that_is_none() {
    let plant = Plant::new("");
    refused(
        &plant,
        "gateway",
        &["--broker-url=rabbit"],
        &["broker.url", "amqp://"],
    );
    refused(
        &plant,
        "gateway",
        &["--database-url=mysql://x"],
        &["database.url", "postgres://"],
    );
}

#[test]
fn a_wrong_password() {
    let plant = Plant::new("");
    let servers = servers();
    let broker = servers
        .rabbit
        .url_as("wattpost", "wrong", &plant.virtual_host);
    let flag = format!("--broker-url={broker}");
    refused(&plant, "consumer", &[&flag], &["broker.url", "password"]);
    let database = servers
        .postgres
        .url_as("wattpost", "wrong", &plant.virtual_host);
    let flag = format!("--database-url={database}");
    refused(&plant, "gateway", &[&flag], &["database.url", "password"]);
}

#[test]
fn a_virtual_host_that_is_missing_or_not_permitted() {
    let plant = Plant::new("");
    let servers = servers();
    let flag = format!(
        "--broker-url={}",
        servers.rabbit.url_as("wattpost", "wattpost", "nowhere")
    );
    refused(&plant, "gateway", &[&flag], &["broker.url", "nowhere"]);

    servers
        .rabbit
        .ctl(&["add_vhost", "forbidden"])
        .expect("add a virtual host");
    let flag = format!(
        "--broker-url={}",
        servers.rabbit.url_as("wattpost", "wattpost", "forbidden")
    );
    refused(
        &plant,
        "gateway",
        &[&flag],
        &["broker.url", "set_permissions"],
    );
}

#[test]
fn a_database_that_is_missing_or_has_no_tables() {
    let plant = Plant::unmigrated("");
    for role in ["gateway", "consumer", "api"] {
        refused(&plant, role, &[], &["wattpost migrate"]);
    }
    plant.run("migrate", &[]);
    let url = servers().postgres.url_as("wattpost", "wattpost", "nowhere");
    refused(
        &plant,
        "api",
        &[&format!("--database-url={url}")],
        &["database.url", "nowhere"],
    );
}

#[test]
fn two_gateways_with_one_data_directory() {
    let plant = Plant::new("");
    let _first = plant.start("gateway", "nobody");
    let listen = ["--ocpp-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"];
    let (ok, _, error) = plant.try_run("gateway", &listen);
    assert!(
        !ok && error.contains("journal") && error.contains("another"),
        "{error}"
    );
}

#[test]
fn a_consumer_without_rabbitmq_and_a_broker_that_no_url_names() {
    let plant = Plant::new("");
    let (ok, _, error) = plant.try_run("consumer", &["--broker-url="]);
    assert!(!ok && error.contains("broker.url"), "{error}");
    let plant = Plant::new("[gateway]\ndurability = \"broker\"");
    let (ok, _, error) = plant.try_run("gateway", &["--broker-url="]);
    assert!(
        !ok && error.contains("gateway.durability") && error.contains("broker.url"),
        "{error}"
    );
}

#[test]
fn what_is_away_does_not_stop_the_start() {
    let plant = Plant::new("");
    let nobody = testbed::spare_port().expect("a port");
    let broker = format!("--broker-url=amqp://wattpost:wattpost@127.0.0.1:{nobody}/%2f");
    let database =
        format!("--database-url=postgres://wattpost:wattpost@127.0.0.1:{nobody}/wattpost");
    let (ok, said, _) = plant.try_run("check", &[&broker, &database]);
    assert!(
        !ok && said.contains("WRONG broker") && said.contains("WRONG database"),
        "{said}"
    );
    let lonely = || {
        let mut command = plant.command("gateway", "lonely");
        command.args([&broker, &database]);
        plant.start_command(command, "lonely")
    };
    // It has never seen the database, so it cannot know who may come in.
    let mut gateway = lonely();
    let (status, head) = crate::http::handshake_status(gateway.ocpp, "CP-1");
    assert_eq!(status, 503, "{head}");
    gateway.stop();
    // Once it has, it serves chargers without.
    plant.start("gateway", "lonely").stop();
    let gateway = lonely();
    let mut charger = crate::charger::Charger::connect(gateway.ocpp, "CP-1", "ocpp1.6");
    let answer = charger.call("1", "Heartbeat", "{}");
    assert_eq!(answer[0], 3, "{answer}");
}

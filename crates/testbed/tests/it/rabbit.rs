//! A private RabbitMQ: it keeps confirmed messages when it is killed, and its memory alarm blocks publishers.

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use std::time::{Duration, Instant};
use testbed::RabbitMq;

/// RabbitMQ 3.10 forgets a new quorum queue, with all confirmed messages, if it is killed within the first seconds.
const SETTLE: Duration = Duration::from_secs(5);

async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    (connection, channel)
}

async fn declare(channel: &Channel) {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare("kept".into(), options, arguments)
        .await
        .expect("declare");
}

async fn publish(channel: &Channel, text: &str) -> Confirmation {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish(
            "".into(),
            "kept".into(),
            options,
            text.as_bytes(),
            persistent,
        )
        .await;
    confirm.expect("publish").await.expect("a confirm")
}

/// Publishes until a message is confirmed. A quorum queue has no leader at first, and a message that is published then
/// may never be confirmed, so each attempt has its own timeout and connection.
async fn publish_until_confirmed(url: &str, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (_connection, channel) = channel(url).await;
        match tokio::time::timeout(Duration::from_secs(2), publish(&channel, text)).await {
            Ok(Confirmation::Ack(_)) => return,
            other => assert!(Instant::now() < deadline, "not confirmed: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_messages_survive_a_kill_and_a_stop() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut rabbit = RabbitMq::start(dir.path()).expect("RabbitMQ");
    let pid = rabbit.pid();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("its name");
    assert_eq!(
        name.trim(),
        "beam.smp",
        "the process is the Erlang virtual machine"
    );
    {
        let (_connection, channel) = channel(&rabbit.url()).await;
        declare(&channel).await;
        tokio::time::sleep(SETTLE).await;
        assert!(publish(&channel, "one").await.is_ack());
    }
    rabbit.kill().expect("kill");
    assert!(!rabbit.is_running());
    assert!(std::net::TcpStream::connect(("127.0.0.1", rabbit.port())).is_err());
    rabbit.restart().expect("restart");
    publish_until_confirmed(&rabbit.url(), "two").await;
    rabbit.stop();
    rabbit.restart().expect("restart");
    let (_connection, channel) = channel(&rabbit.url()).await;
    let mut got = Vec::new();
    while got.last().is_none_or(|text| text != "two") {
        let options = BasicGetOptions { no_ack: true };
        let next = channel
            .basic_get("kept".into(), options)
            .await
            .expect("get");
        got.push(String::from_utf8(next.expect("a message").delivery.data).expect("text"));
    }
    assert_eq!(got.first().map(String::as_str), Some("one"), "{got:?}");
    assert!(
        rabbit.cpu_seconds() > 1.0,
        "CPU time of three starts: {}",
        rabbit.cpu_seconds()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_alarm_delays_confirms_until_it_is_cleared() {
    let dir = tempfile::tempdir().expect("a directory");
    let rabbit = RabbitMq::start(dir.path()).expect("RabbitMQ");
    let (_connection, channel) = channel(&rabbit.url()).await;
    declare(&channel).await;
    assert!(publish(&channel, "before").await.is_ack());

    rabbit.set_memory_alarm(true).expect("the alarm");
    assert!(
        rabbit
            .ctl(&["eval", "rabbit_alarm:get_alarms()."])
            .expect("alarms")
            .contains("memory")
    );
    let publishing = publish(&channel, "during");
    tokio::pin!(publishing);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut publishing).await;
    assert!(early.is_err(), "confirmed during the alarm");

    rabbit.set_memory_alarm(false).expect("the alarm");
    let confirmed = tokio::time::timeout(Duration::from_secs(20), publishing)
        .await
        .expect("a confirm in time");
    assert!(confirmed.is_ack());
}

#[test]
fn all_ports_are_on_loopback() {
    let dir = tempfile::tempdir().expect("a directory");
    let rabbit = RabbitMq::start(dir.path()).expect("RabbitMQ");
    let printed = rabbit.ctl(&["eval", "inet:i(tcp)."]).expect("sockets");
    let listening: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains("ACCEPTING"))
        .collect();
    assert!(
        listening.len() >= 2,
        "AMQP and Erlang distribution: {printed}"
    );
    for line in listening {
        assert!(
            line.contains(" localhost:") || line.contains(" 127.0.0.1:"),
            "{line}"
        );
    }
}

//! `Broker::check` tells wrong settings apart, each in one sentence with the key and the remedy; right settings
//! work, also over TLS.

use crate::common::{Gateway, Received, deliver_until_accepted};
use crate::{config, shared_node, virtual_host};
use broker::{Broker, CheckErrorKind, Config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;

/// Creates two certificate authorities, and a server certificate of the first; returns RabbitMQ's settings.
pub(crate) fn certificates(dir: &Path, port: u16, ca_file: &Path, other: &Path) -> Vec<String> {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("an authority")
    };
    let issuer = authority();
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .and_then(|params| params.signed_by(&key, &issuer))
        .expect("a certificate");
    let (cert_file, key_file) = (dir.join("server.pem"), dir.join("server-key.pem"));
    std::fs::write(ca_file, issuer.pem()).expect("written");
    std::fs::write(other, authority().pem()).expect("written");
    std::fs::write(&cert_file, certificate.pem()).expect("written");
    std::fs::write(&key_file, key.serialize_pem()).expect("written");
    vec![
        format!("listeners.ssl.1 = 127.0.0.1:{port}"),
        format!("ssl_options.cacertfile = {}", ca_file.display()),
        format!("ssl_options.certfile = {}", cert_file.display()),
        format!("ssl_options.keyfile = {}", key_file.display()),
        "ssl_options.verify = verify_none".into(),
        "ssl_options.fail_if_no_peer_cert = false".into(),
    ]
}

async fn refused(config: Config, kind: CheckErrorKind, words: &[&str]) {
    let error = Broker::check(&config).await.expect_err("refused");
    assert_eq!(error.kind, kind, "{error}");
    let sentence = error.to_string();
    assert!(!sentence.contains("s3cret"), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "{word} in: {sentence}");
    }
}

fn at(url: String) -> Config {
    Config {
        connect_timeout_ms: 5_000,
        ..crate::common::config(url)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_settings_give_a_report_of_the_queues() {
    let config = config();
    let report = Broker::check(&config).await.expect("right");
    assert_eq!(report.partitions_without_consumer, 3);
    assert_eq!((report.waiting_records, report.dead_records), (0, 0));
    assert!(
        report
            .node
            .ends_with(&shared_node().node.port().to_string())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_setting_has_an_error_of_its_own() {
    let node = &shared_node().node;
    let port = node.port();
    let unused_port = testbed::spare_port().expect("a port");
    refused(
        at("localhost:5672".into()),
        CheckErrorKind::Setting,
        &["broker.url", "amqp://"],
    )
    .await;
    refused(
        Config {
            partitions: 0,
            ..at(node.url())
        },
        CheckErrorKind::Setting,
        &["broker.partitions is 0", "1 to 256"],
    )
    .await;
    refused(
        at(format!(
            "amqp://wattpost:s3cret@127.0.0.1:{unused_port}/%2f"
        )),
        CheckErrorKind::Unreachable,
        &["broker.url", &unused_port.to_string(), "start it"],
    )
    .await;
    refused(
        at("amqp://wattpost:s3cret@nowhere.invalid/%2f".into()),
        CheckErrorKind::Unreachable,
        &["broker.url", "nowhere.invalid", "right host"],
    )
    .await;
    refused(
        at(node.url_as("wattpost", "s3cret", "/")),
        CheckErrorKind::Credentials,
        &["broker.url", "user wattpost", "password", "add_user"],
    )
    .await;
    refused(
        at(node.url_as("wattpost", "wattpost", "missing")),
        CheckErrorKind::VirtualHost,
        &["broker.url", "virtual host missing", "add_vhost missing"],
    )
    .await;
    // TLS to the port without TLS, and the reverse.
    refused(
        at(format!("amqps://wattpost:wattpost@127.0.0.1:{port}/%2f")),
        CheckErrorKind::Certificate,
        &["broker.url", "amqp://"],
    )
    .await;
    refused(
        at(format!(
            "amqp://wattpost:wattpost@127.0.0.1:{}/%2f",
            shared_node().tls_port
        )),
        CheckErrorKind::Unreachable,
        &["broker.url", "amqps://"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_permissions_are_reported_with_the_remedy() {
    let node = &shared_node().node;
    let virtual_host = virtual_host();
    let remedy = format!("set_permissions -p {virtual_host} poor");
    node.ctl(&["add_user", "poor", "poor"]).expect("a user");
    let config = at(node.url_as("poor", "poor", &virtual_host));
    refused(
        config.clone(),
        CheckErrorKind::Permission,
        &["broker.url", &remedy],
    )
    .await;
    node.ctl(&[
        "set_permissions",
        "-p",
        &virtual_host,
        "poor",
        "^nothing$",
        ".*",
        ".*",
    ])
    .expect("permissions");
    refused(
        config.clone(),
        CheckErrorKind::Permission,
        &["broker.url", &remedy],
    )
    .await;

    // The permissions in the error's remedy suffice for records and cluster events.
    let names = r"^(wattpost\..*|amq\.gen.*)$";
    node.ctl(&[
        "set_permissions",
        "-p",
        &virtual_host,
        "poor",
        names,
        names,
        names,
    ])
    .expect("permissions");
    Broker::check(&config).await.expect("permitted");
    let broker = Broker::start(config, "poor");
    central::ports::ClusterEvents::subscribe(&*broker, Box::new(|_| {}));
    broker.up().await;
    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(10, 2)).await;
    Received::default().all_of(&broker, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_declared_with_other_settings_are_reported() {
    let config = config();
    Broker::check(&config).await.expect("made");
    let other = Config {
        queue_records_max: 12_345,
        ..config
    };
    refused(
        other,
        CheckErrorKind::Mismatch,
        &[
            "broker.queue_records_max = 12345",
            "x-max-length",
            "delete_queue",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_delivered_over_tls_when_the_authority_is_known() {
    let shared_node = shared_node();
    let virtual_host = virtual_host();
    for host in ["localhost", "127.0.0.1"] {
        let config = Config {
            ca_file: Some(shared_node.ca_file.clone()),
            ..at(format!(
                "amqps://wattpost:wattpost@{host}:{}/{virtual_host}",
                shared_node.tls_port
            ))
        };
        Broker::check(&config).await.expect("right");
        let broker = Broker::start(config.clone(), "tls");
        broker.up().await;
        let mut gateway = Gateway::new();
        deliver_until_accepted(&broker, gateway.batch(2_000, 5)).await;
        Received::default().all_of(&broker, &gateway).await;

        let other = Config {
            ca_file: Some(shared_node.other_ca_file.clone()),
            ..config.clone()
        };
        refused(other, CheckErrorKind::Certificate, &["broker.ca_file"]).await;
        let system = Config {
            ca_file: None,
            ..config.clone()
        };
        refused(system, CheckErrorKind::Certificate, &["broker.ca_file"]).await;
        let missing = Config {
            ca_file: Some("/nowhere/ca.pem".into()),
            ..config
        };
        refused(
            missing,
            CheckErrorKind::Setting,
            &["broker.ca_file /nowhere/ca.pem"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_does_not_hide_the_error_of_the_next_node() {
    let port = shared_node().node.port();
    // Accepts connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let silent = listener.local_addr().expect("an address");
    let host = virtual_host();
    let config = Config {
        connect_timeout_ms: 10_000,
        ..at(format!(
            "amqp://wattpost:wrong@{silent}/{host},amqp://wattpost:wrong@127.0.0.1:{port}/{host}"
        ))
    };
    let words = ["does not accept user", &port.to_string()];
    let checked = refused(config, CheckErrorKind::Credentials, &words);
    // The timeout of a start.
    tokio::time::timeout(std::time::Duration::from_secs(5), checked)
        .await
        .expect("in time");
}

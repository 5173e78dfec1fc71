//! The broker against one real RabbitMQ; each test has a virtual host of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod cluster_events;
mod dead_letters;
mod delivery;
mod documents;
mod external_consumer;
mod network;
mod queue_limit;
mod redelivery;
mod slow_link;
mod topology;

use broker::Config;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use testbed::RabbitMq;

const VIRTUAL_HOSTS: usize = 40;

/// The node that all tests share, with a second port for TLS.
struct SharedNode {
    node: RabbitMq,
    tls_port: u16,
    ca_file: PathBuf,
    other_ca_file: PathBuf,
}

fn shared_node() -> &'static SharedNode {
    static NODE: OnceLock<SharedNode> = OnceLock::new();
    NODE.get_or_init(|| {
        let dir = common::dir("it");
        std::fs::create_dir_all(&dir).expect("a directory");
        let tls_port = testbed::spare_port().expect("a port");
        let ca_file = dir.join("ca.pem");
        let other_ca_file = dir.join("other-ca.pem");
        let settings = check::certificates(&dir, tls_port, &ca_file, &other_ca_file);
        let node = RabbitMq::start_with(&dir.join("node"), &settings).expect("RabbitMQ");
        common::make_virtual_hosts(&node, VIRTUAL_HOSTS);
        SharedNode {
            node,
            tls_port,
            ca_file,
            other_ca_file,
        }
    })
}

/// A virtual host that no other test uses.
fn virtual_host() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(n < VIRTUAL_HOSTS, "make more virtual hosts");
    format!("v{n}")
}

fn config() -> Config {
    common::config(
        shared_node()
            .node
            .url_as("wattpost", "wattpost", &virtual_host()),
    )
}

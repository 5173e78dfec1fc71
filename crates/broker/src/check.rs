//! Diagnoses the RabbitMQ settings for the operator, in one sentence with the key and the remedy.

use crate::Config;
use crate::address::Address;
use crate::dial::{DialError, RawConnection, Step, dial};
use crate::link::within;
use crate::topology::{self, DEAD};
use std::time::Duration;

/// The permissions that a user needs to configure, write and read: Wattpost's names, and the queue of cluster
/// events, which RabbitMQ names.
const NAMES: &str = r"^(wattpost\..*|amq\.gen.*)$";

/// Connect timeout for one of several nodes.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(2);

/// The result of a successful [`crate::Broker::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Host and port that answered.
    pub node: String,
    /// Messages ready in all partitions together.
    pub waiting_records: u64,
    /// Messages in the dead-letter queue.
    pub dead_records: u64,
    /// Partitions without a consumer.
    pub partitions_without_consumer: u16,
}

/// Why RabbitMQ cannot be used: one sentence with the key, the error and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct CheckError {
    /// The kind of error.
    pub kind: CheckErrorKind,
    /// The sentence for the operator.
    pub sentence: String,
}

/// Kinds of errors with RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckErrorKind {
    /// A setting is invalid by itself.
    Setting,
    /// Nothing listens at host and port, or it is not RabbitMQ.
    Unreachable,
    /// The server's certificate is not accepted.
    Certificate,
    /// User or password is wrong.
    Credentials,
    /// The virtual host does not exist.
    VirtualHost,
    /// The user has no access to the virtual host, or lacks a permission there.
    Permission,
    /// A queue or an exchange exists already with other properties.
    Mismatch,
    /// Anything else.
    Other,
}

/// Connects to every node in turn until one has everything that is needed.
pub(crate) async fn check(config: &Config) -> Result<Report, CheckError> {
    let setting = |sentence| CheckError {
        kind: CheckErrorKind::Setting,
        sentence,
    };
    config.check().map_err(|error| setting(error.to_string()))?;
    let nodes = Address::all(config).map_err(setting)?;
    let mut first: Option<CheckError> = None;
    // A silent node must not hide another node's answer.
    let limit = match nodes.len() {
        1 => config.connect_timeout(),
        _ => config.connect_timeout().min(ONE_OF_SEVERAL),
    };
    for node in &nodes {
        let checked = async {
            let raw = within(limit, dial(node, config, "check")).await?;
            within(config.connect_timeout(), inspect(raw, node, config)).await
        };
        let error = match checked.await {
            Ok(report) => return Ok(report),
            Err(error) => explain(&error, node, config),
        };
        let is_unspecific = |before: &CheckError| before.kind == CheckErrorKind::Unreachable;
        if first.as_ref().is_none_or(is_unspecific) {
            first = Some(error);
        }
    }
    Err(first.unwrap_or_else(|| setting("broker.url names no host".into())))
}

async fn inspect(raw: RawConnection, node: &Address, config: &Config) -> Result<Report, DialError> {
    let failed = |error: lapin::Error| DialError::of(Step::Declare, &error);
    topology::declare(&raw.connection, config)
        .await
        .map_err(failed)?;
    let channel = raw.connection.create_channel().await.map_err(failed)?;
    let mut report = Report {
        node: node.to_string(),
        waiting_records: 0,
        dead_records: 0,
        partitions_without_consumer: 0,
    };
    for partition in 0..config.partitions {
        let queue = topology::of_partition(partition);
        let depth = topology::depth(&channel, &queue).await.map_err(failed)?;
        report.waiting_records += depth.messages;
        report.partitions_without_consumer += u16::from(depth.consumers == 0);
    }
    let dead = topology::depth(&channel, DEAD).await.map_err(failed)?;
    report.dead_records = dead.messages;
    // The check is done; an error while closing adds nothing.
    let _ = raw.connection.close(200, "OK".into()).await;
    Ok(report)
}

fn explain(error: &DialError, node: &Address, config: &Config) -> CheckError {
    let detail = &error.detail;
    let (user, vhost) = (node.user(), node.vhost());
    let (kind, sentence) = match (error.step, error.code) {
        (Step::Connect, _) => (
            CheckErrorKind::Unreachable,
            format!(
                "broker.url: RabbitMQ does not answer at {node} ({detail}); start it there, or \
                 write the right host and port"
            ),
        ),
        (Step::Tls, _) if detail.starts_with("broker.") => {
            (CheckErrorKind::Setting, detail.clone())
        }
        (Step::Tls, _) => (
            CheckErrorKind::Certificate,
            format!(
                "broker.url: no TLS connection to {node} ({detail}); name the authority of its \
                 certificate in broker.ca_file, or write amqp:// and its port if RabbitMQ listens \
                 without TLS"
            ),
        ),
        (Step::Login, Some(403)) => (
            CheckErrorKind::Credentials,
            format!(
                "broker.url: RabbitMQ at {node} does not accept user {user} with this password; \
                 correct them, or run: rabbitmqctl add_user {user} PASSWORD (guest is accepted \
                 from the same machine only)"
            ),
        ),
        (Step::Login, Some(530)) if detail.contains("refused") => {
            (CheckErrorKind::Permission, permission(user, vhost, detail))
        }
        (Step::Login, Some(530)) => (
            CheckErrorKind::VirtualHost,
            format!(
                "broker.url: RabbitMQ at {node} has no virtual host {vhost} ({detail}); correct the \
                 end of the URL, or run: rabbitmqctl add_vhost {vhost}"
            ),
        ),
        (Step::Login, None) => (
            CheckErrorKind::Unreachable,
            format!(
                "broker.url: the server at {node} does not use AMQP 0.9.1 ({detail}); write \
                 RabbitMQ's port, and amqps:// if that port expects TLS"
            ),
        ),
        (Step::Declare, Some(403)) => (CheckErrorKind::Permission, permission(user, vhost, detail)),
        (Step::Declare, Some(406)) => (CheckErrorKind::Mismatch, mismatch(detail, vhost, config)),
        _ => (
            CheckErrorKind::Other,
            format!("broker.url: RabbitMQ at {node} refuses ({detail}); see its log"),
        ),
    };
    CheckError { kind, sentence }
}

fn permission(user: &str, vhost: &str, detail: &str) -> String {
    format!(
        "broker.url: user {user} lacks a permission in virtual host {vhost} ({detail}); run: \
         rabbitmqctl set_permissions -p {vhost} {user} '{NAMES}' '{NAMES}' '{NAMES}'"
    )
}

fn mismatch(detail: &str, vhost: &str, config: &Config) -> String {
    let (length, limit) = (config.queue_records_max, config.delivery_limit);
    format!(
        "broker.queue_records_max = {length} or broker.delivery_limit = {limit} is not what exists \
         behind broker.url ({detail}); set the values that it was declared with, or drain and \
         delete it (rabbitmqctl -p {vhost} delete_queue NAME), and it is declared again"
    )
}

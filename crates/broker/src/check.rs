//! Tells a person what is wrong with the settings of RabbitMQ, in one sentence that names the key and
//! the cure.

use crate::Config;

/// What [`crate::Broker::check`] found when all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// RabbitMQ's version, as it gives it.
    pub version: String,
    /// Host and port that answered.
    pub node: String,
    /// Records that wait, in all partitions together.
    pub waiting_records: u64,
    /// Records among the dead.
    pub dead_records: u64,
    /// Partitions that nobody consumes now.
    pub partitions_without_consumer: u16,
}

/// Why the road cannot be used: one sentence with the key, what is wrong and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct CheckError {
    /// Which sort of trouble.
    pub kind: CheckErrorKind,
    /// For people.
    pub sentence: String,
}

/// Sorts of trouble with RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckErrorKind {
    /// A setting is wrong by itself.
    Setting,
    /// Nobody answers at host and port, or what answers is no RabbitMQ.
    Unreachable,
    /// The other side's certificate is not accepted.
    Certificate,
    /// User or password is wrong.
    Credentials,
    /// There is no such virtual host.
    VirtualHost,
    /// The user may not use the virtual host, or may not do there what is needed.
    Permission,
    /// A queue or an exchange is there already with other properties.
    Mismatch,
    /// Anything else.
    Other,
}

pub(crate) async fn check(config: &Config) -> Result<Report, CheckError> {
    config.check().map_err(|sentence| CheckError {
        kind: CheckErrorKind::Setting,
        sentence,
    })?;
    std::future::ready(Err(CheckError {
        kind: CheckErrorKind::Other,
        sentence: "broker.url: not connected".into(),
    }))
    .await
}

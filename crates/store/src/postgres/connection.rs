//! How a connection is set up. Every setting here serves a guarantee or bounds a wait.

use super::PostgresOptions;
use super::error::PostgresOpenError;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The options of every connection to the database at `url`.
pub(crate) fn options(
    url: &str,
    limits: &PostgresOptions,
) -> Result<PgConnectOptions, PostgresOpenError> {
    // The default: the process's own cryptography provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let unusable = |why: &dyn std::fmt::Display| {
        PostgresOpenError(format!(
            "database.url cannot be used: {why}; give \"postgres://USER:PASSWORD@HOST/NAME\""
        ))
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(unusable(&"it does not begin with postgres://"));
    }
    let parsed = PgConnectOptions::from_str(url).map_err(|error| unusable(&error))?;
    let timeout = limits.statement_timeout.as_millis().to_string();
    // Shorter than the statement timeout, so that waiting for another session's lock and a batch that is too large give
    // different errors.
    let lock_timeout = (limits.statement_timeout * 3 / 4).as_millis().to_string();
    Ok(parsed
        .application_name("wattpost")
        // The last setting ends the transaction of a client that has vanished, which would otherwise block other
        // writers.
        .options([
            ("statement_timeout", timeout.as_str()),
            ("lock_timeout", lock_timeout.as_str()),
            ("idle_in_transaction_session_timeout", timeout.as_str()),
        ])
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::ZERO))
}

/// The runtime of the I/O: one thread.
pub(crate) fn runtime() -> Result<Runtime, PostgresOpenError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("store")
        .enable_all()
        .build()
        .map_err(|error| PostgresOpenError(format!("cannot start the database's thread: {error}")))
}

//! Alerts: the task that evaluates them, and the routes that show them.

mod config;
pub(crate) mod evaluator;
mod lease;
mod mail;
pub(crate) mod routes;

pub use config::AlertConfig;
pub use mail::{MailConfig, MailTls, Mailer};
pub use routes::{RuleView, rule_views};

use central::ports::{Alerts, DatabaseClock};
use std::sync::Arc;

/// What alerts need.
#[derive(Clone)]
pub struct AlertDeps {
    /// The alerts and silences.
    pub alerts: Arc<dyn Alerts>,
    /// The clock of the database, which all processes that evaluate share.
    pub clock: Arc<dyn DatabaseClock>,
    /// The settings.
    pub config: AlertConfig,
    /// Sends mails; `None`: none are sent.
    pub mailer: Option<Mailer>,
}

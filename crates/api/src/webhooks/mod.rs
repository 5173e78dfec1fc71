//! Webhooks: sends the events of the log to the receivers that the operator names.

pub mod address;
pub mod client;
mod config;
mod retry;
mod sender;
mod signature;

pub use config::WebhookConfig;
pub use sender::WebhookDeps;
pub(crate) use sender::run;

//! Webhooks: sends the events of the log to the receivers that the operator names.

pub mod address;
pub mod client;
mod config;
mod names;
mod retry;
mod sender;
mod signature;
mod test_message;

pub use config::WebhookConfig;
pub use names::Lookup;
pub use sender::WebhookDeps;
pub(crate) use sender::run;
pub use test_message::{Tested, send_test};

/// A new secret.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn new_secret() -> Result<central::model::WebhookSecret, getrandom::Error> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)?;
    Ok(central::model::WebhookSecret::from_random(random))
}

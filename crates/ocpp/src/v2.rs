//! Lenient typed views of the payloads that a central system projects, in 2.0.1 and 2.1. As lenient as [`crate::v16`],
//! for the same reasons.

mod boot_notification;
mod event_data;
mod evse;
mod id_token;
mod meter_values;
mod notify_event;
mod status_notification;
mod transaction_event;

pub use boot_notification::BootNotification;
pub use event_data::EventData;
pub use evse::Evse;
pub use id_token::IdToken;
pub use meter_values::MeterValues;
pub use notify_event::NotifyEvent;
pub use status_notification::StatusNotification;
pub use transaction_event::TransactionEvent;

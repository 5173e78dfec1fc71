//! What a central system acts on in 2.0.1 and 2.1, as lenient views of the payloads; the two
//! versions share them. As lenient as [`crate::v16`], for the same reasons.

mod authorize;
mod boot_notification;
mod data_transfer;
mod event_data;
mod evse;
mod firmware_status_notification;
mod id_token;
mod log_status_notification;
mod meter_values;
mod notify_event;
mod notify_report;
mod security_event_notification;
mod status_notification;
mod transaction_event;

pub use authorize::Authorize;
pub use boot_notification::BootNotification;
pub use data_transfer::DataTransfer;
pub use event_data::EventData;
pub use evse::Evse;
pub use firmware_status_notification::FirmwareStatusNotification;
pub use id_token::IdToken;
pub use log_status_notification::LogStatusNotification;
pub use meter_values::MeterValues;
pub use notify_event::NotifyEvent;
pub use notify_report::NotifyReport;
pub use security_event_notification::SecurityEventNotification;
pub use status_notification::StatusNotification;
pub use transaction_event::TransactionEvent;

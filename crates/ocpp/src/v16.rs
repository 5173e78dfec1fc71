//! Lenient typed views of the payloads that a central system projects, in 1.6.
//!
//! A payload with mistakes must still be usable: firmware writes numbers as strings, invents statuses, omits required
//! members. So every member is optional, numbers and booleans are also read from strings (see [`crate::json::Raw`]),
//! enumerations stay text, and members that are unknown or of a wrong type are ignored. [`crate::check`] reports what is
//! wrong. Texts borrow from the payload.

mod boot_notification;
mod meter_values;
mod start_transaction;
mod status_notification;
mod stop_transaction;

pub use boot_notification::BootNotification;
pub use meter_values::MeterValues;
pub use start_transaction::StartTransaction;
pub use status_notification::StatusNotification;
pub use stop_transaction::StopTransaction;
